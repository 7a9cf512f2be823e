package sut

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/store/replica"
)

// simLog is a node's storage on a simulated disk: one append-only file, and in
// memory the newest record of each key. An entry is
//
//	crc uint32 | length uint32 | kind byte | body
//
// with the CRC-32C of everything after itself, little-endian. The body of a
// boot is its number; that of a write is the key's length and bytes, the
// stamp's counter, node, boot and seq, a byte that is 1 for a tombstone, and
// the value; numbers are varints. Where the record has ballots the stamp is
// preceded by those of the promise, of the accepted ballot and, with their
// number, of the versions before; and the kind is another.
//
// After a crash the file ends where an entry is cut off or does not match its
// sum. Appends survive in order, so that nothing durable lies behind that. An entry
// that was damaged looks the same; simdamage.go tells them apart.
type simLog struct {
	disk    *sim.Disk
	size    int // of the file
	records map[string]replica.Record
	at      map[string]span // where the newest entry of each key is
	last    string          // the key that was set last
	order   []place         // of records, by hash and key, from the first Scan on
	boot    uint64          // the greatest in the log
	buf     []byte          // entries to append
}

const (
	logFile   = "log"
	entryHead = 4 + 4

	entryBoot   = 1
	entryWrite  = 2
	entryAgreed = 3 // a write with ballots
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openLog reads what survived on the disk and cuts off the torn tail. The cut
// is how many bytes that was.
func openLog(disk *sim.Disk) (l *simLog, cut int, err error) {
	l = newLog(disk)
	data := disk.Read(logFile)
	good := l.replayAll(data)
	l.size = good
	if good < len(data) {
		if err := checkRest(data[good:]); err != nil {
			return nil, 0, err
		}
		disk.Truncate(logFile, int64(good))
	}
	return l, len(data) - good, nil
}

func newLog(disk *sim.Disk) *simLog {
	return &simLog{disk: disk, records: make(map[string]replica.Record), at: make(map[string]span)}
}

// replayAll applies the entries up to the torn end, and gives their length in
// bytes.
func (l *simLog) replayAll(data []byte) int {
	at := 0
	for at < len(data) {
		rest := data[at:]
		if body, next, ok := nextEntry(rest); ok {
			l.last = ""
			if !l.replay(body) {
				break
			}
			if body[0] != entryBoot {
				l.at[l.last] = span{at, at + entryHead + len(body)}
			}
			at = len(data) - len(next)
			continue
		}
		name, entry, both, ok := lostEntry(rest)
		if !ok || !l.lose(name, span{at, at + entry}) {
			break
		}
		at += both
	}
	return at
}

// nextEntry splits the first entry off.
func nextEntry(data []byte) (body, rest []byte, ok bool) {
	if len(data) < entryHead {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint32(data[4:]))
	if n < 1 || n > len(data)-entryHead {
		return nil, nil, false
	}
	end := entryHead + n
	if crc32.Checksum(data[4:end], castagnoli) != binary.LittleEndian.Uint32(data) {
		return nil, nil, false
	}
	body, rest = data[entryHead:end], data[end:]
	name := nameOf(body)
	if name == nil || len(rest) < nameHead+len(name) {
		return nil, nil, false
	}
	return body, rest[nameHead+len(name):], true
}

// replay applies an entry that was read. It says no to one that cannot have
// been written.
func (l *simLog) replay(body []byte) bool {
	d := decoder{rest: body[1:]}
	switch body[0] {
	case entryBoot:
		l.boot = d.uvarint()
	case entryWrite, entryAgreed:
		key := string(d.bytes(d.uvarint()))
		var rec replica.Record
		if body[0] == entryAgreed {
			rec.Ballots = &replica.Ballots{Promise: d.stamp(), Accepted: d.stamp()}
			for n := d.uvarint(); n > 0 && !d.bad; n-- {
				rec.Ballots.Before = append(rec.Ballots.Before, d.stamp())
			}
		}
		rec.Stamp = d.stamp()
		if tomb := d.bytes(1); !d.bad {
			rec.Deleted, rec.Value = tomb[0] == 1, d.rest
			l.set(key, rec)
		}
	default:
		return false
	}
	return !d.bad
}

// put applies a write and makes its entry. Append sends it to the disk.
func (l *simLog) put(w *replica.Write) {
	l.set(w.Key, w.Record)
	rec := &w.Record
	kind := byte(entryWrite)
	if rec.Ballots != nil {
		kind = entryAgreed
	}
	at := l.begin(kind)
	b := binary.AppendUvarint(l.buf, uint64(len(w.Key)))
	b = append(b, w.Key...)
	if bs := rec.Ballots; bs != nil {
		b = appendStamp(appendStamp(b, bs.Promise), bs.Accepted)
		b = binary.AppendUvarint(b, uint64(len(bs.Before)))
		for _, s := range bs.Before {
			b = appendStamp(b, s)
		}
	}
	b = appendStamp(b, rec.Stamp)
	tomb := byte(0)
	if rec.Deleted {
		tomb = 1
	}
	l.buf = append(append(b, tomb), rec.Value...)
	l.end(at)
}

func appendStamp(b []byte, s replica.Stamp) []byte {
	b = binary.AppendVarint(b, s.Counter)
	b = binary.AppendUvarint(b, uint64(s.Node))
	b = binary.AppendUvarint(b, s.Boot)
	return binary.AppendUvarint(b, s.Seq)
}

// putBoot makes the entry of a start.
func (l *simLog) putBoot(boot uint64) {
	l.boot = boot
	at := l.begin(entryBoot)
	l.buf = binary.AppendUvarint(l.buf, boot)
	l.end(at)
}

// begin leaves room for the head of an entry.
func (l *simLog) begin(kind byte) (at int) {
	at = len(l.buf)
	l.buf = append(l.buf, 0, 0, 0, 0, 0, 0, 0, 0, kind)
	return at
}

// end fills the head in, and puts the name behind.
func (l *simLog) end(at int) {
	e := l.buf[at:]
	binary.LittleEndian.PutUint32(e[4:], uint32(len(e)-entryHead))
	binary.LittleEndian.PutUint32(e, crc32.Checksum(e[4:], castagnoli))
	if e[entryHead] != entryBoot {
		l.at[l.last] = span{l.size + at, l.size + len(l.buf)}
	}
	l.buf = appendName(l.buf, e)
}

// append writes the entries made so far to the file. They are durable after the
// next sync of the disk.
func (l *simLog) append() {
	l.disk.Append(logFile, l.buf)
	l.size += len(l.buf)
	l.buf = l.buf[:0]
}

// Get gives the newest record of a key. One that is damaged is an error.
func (l *simLog) Get(key string) (replica.Record, bool, error) {
	if err := l.check(key); err != nil {
		return replica.Record{}, false, err
	}
	rec, ok := l.records[key]
	return rec, ok, nil
}

// set replaces the record of a key, or takes it out.
func (l *simLog) set(key string, rec replica.Record) {
	l.last = key
	if rec.IsZero() {
		l.remove(key)
		return
	}
	if l.order != nil {
		if _, ok := l.records[key]; !ok {
			p := place{replica.KeyHash(key), key}
			i, _ := slices.BinarySearchFunc(l.order, p, place.compare)
			l.order = slices.Insert(l.order, i, p)
		}
	}
	l.records[key] = rec
}

// remove takes the record of a key out.
func (l *simLog) remove(key string) {
	if _, ok := l.records[key]; !ok {
		return
	}
	delete(l.records, key)
	if l.order != nil {
		i, _ := slices.BinarySearchFunc(l.order, place{replica.KeyHash(key), key}, place.compare)
		l.order = slices.Delete(l.order, i, i+1)
	}
}

// place is where a key stands in a scan.
type place struct {
	hash uint64
	key  string
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.hash, q.hash), cmp.Compare(p.key, q.key))
}

// Scan gives the keys and stamps in order of the keys' hashes. Of one that is
// damaged there is an error instead.
func (l *simLog) Scan(from uint64, f func(key string, s replica.Stamp, err error) bool) error {
	if l.order == nil {
		l.order = make([]place, 0, len(l.records))
		for key := range l.records {
			l.order = append(l.order, place{replica.KeyHash(key), key})
		}
		slices.SortFunc(l.order, place.compare)
	}
	i, _ := slices.BinarySearchFunc(l.order, place{hash: from}, place.compare)
	for _, p := range l.order[i:] {
		stamp, err := l.records[p.key].Stamp, l.check(p.key)
		if err != nil {
			stamp = replica.Stamp{}
		}
		if !f(p.key, stamp, err) {
			break
		}
	}
	return nil
}

// decoder reads the fields of an entry; bad says that one was not there.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	d.skip(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	d.skip(n)
	return v
}

func (d *decoder) stamp() replica.Stamp {
	return replica.Stamp{Counter: d.varint(), Node: replica.NodeID(d.uvarint()), Boot: d.uvarint(), Seq: d.uvarint()}
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		d.bad, n = true, 0
	}
	d.rest = d.rest[n:]
}
