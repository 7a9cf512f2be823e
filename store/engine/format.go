package engine

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/fxamacker/cbor/v2"

	"github.com/assay-chaos/assay/store/replica"
)

// ErrCorrupt marks an error about bytes that are not what was written. It is
// the one that the core repairs.
var ErrCorrupt = replica.ErrCorrupt

// The layout of the database.
//
//	"k" hash key   a record; hash is the key's replica.KeyHash, 8 bytes, big endian
//	"m" name       something about the store itself
//
// So the records lie in the order in which replicas compare theirs, and a range
// of hashes is one range on disk.
//
// Every value is sealed:
//
//	byte 0      format
//	bytes 1-4   CRC-32C of the database key, the format and the body, little endian
//	bytes 5-    body; of a record: CBOR, see diskRecord, diskAcceptor and diskCausal
//
// Pebble checksums its blocks and its log. The seal is end to end: it also
// catches what is damaged in memory, or filed under the wrong key.
const (
	sealPlain    = 1 // meta, and records without ballots and siblings
	sealAcceptor = 2 // records of CASPaxos; unknown to programs without it
	sealCausal   = 3 // records with siblings; unknown to programs without them
	sealSize     = 5
)

// layout is the number of the layout above. It is kept in the directory.
//
//	1  records under "k" key; not kept
//	2  records in order of the key's hash
const layout = 2

var (
	bootKey   = []byte("mboot")
	ownerKey  = []byte("mowner")
	layoutKey = []byte("mlayout")
	probeKey  = []byte("mprobe") // written to see whether the disk works
)

func recordKey(buf []byte, key string) []byte {
	return append(hashKey(buf, replica.KeyHash(key)), key...)
}

// hashKey is where the keys with a hash begin.
func hashKey(buf []byte, hash uint64) []byte {
	return binary.BigEndian.AppendUint64(append(buf, 'k'), hash)
}

// recordPrefix is what stands before the key of a record.
const recordPrefix = 1 + 8

// diskRecord is a record on disk. Its shape is this package's own, so that a
// change of the message format cannot change what old disks mean.
type diskRecord struct {
	_       struct{} `cbor:",toarray"`
	Counter int64
	Node    uint32
	Boot    uint64
	Seq     uint64
	Deleted bool
	Value   []byte
}

// diskAcceptor is a record of CASPaxos, with the acceptor's ballots.
type diskAcceptor struct {
	_                 struct{} `cbor:",toarray"`
	Record            diskRecord
	Promise, Accepted diskStamp
	Before            []diskStamp
}

type diskStamp struct {
	_       struct{} `cbor:",toarray"`
	Counter int64
	Node    uint32
	Boot    uint64
	Seq     uint64
}

func toDisk(s replica.Stamp) diskStamp {
	return diskStamp{Counter: s.Counter, Node: uint32(s.Node), Boot: s.Boot, Seq: s.Seq}
}

func (d diskStamp) stamp() replica.Stamp {
	return replica.Stamp{Counter: d.Counter, Node: replica.NodeID(d.Node), Boot: d.Boot, Seq: d.Seq}
}

func encodeRecord(key []byte, r *replica.Record) ([]byte, error) {
	if r.Siblings != nil {
		return encodeCausal(key, r.Siblings)
	}
	d := diskRecord{
		Counter: r.Stamp.Counter,
		Node:    uint32(r.Stamp.Node),
		Boot:    r.Stamp.Boot,
		Seq:     r.Stamp.Seq,
		Deleted: r.Deleted,
		Value:   r.Value,
	}
	if b := r.Ballots; b != nil {
		a := diskAcceptor{Record: d, Promise: toDisk(b.Promise), Accepted: toDisk(b.Accepted)}
		for _, s := range b.Before {
			a.Before = append(a.Before, toDisk(s))
		}
		body, err := cbor.Marshal(&a)
		if err != nil {
			return nil, err
		}
		return seal(key, sealAcceptor, body), nil
	}
	body, err := cbor.Marshal(&d)
	if err != nil {
		return nil, err
	}
	return seal(key, sealPlain, body), nil
}

func decodeRecord(key, sealed []byte) (replica.Record, error) {
	body, err := open(key, sealed)
	if err != nil {
		return replica.Record{}, err
	}
	if sealed[0] == sealCausal {
		return decodeCausal(body)
	}
	var a diskAcceptor
	var to any = &a.Record
	if sealed[0] == sealAcceptor {
		to = &a
	}
	if err := cbor.Unmarshal(body, to); err != nil {
		return replica.Record{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	d := &a.Record
	rec := replica.Record{
		Stamp: replica.Stamp{
			Counter: d.Counter,
			Node:    replica.NodeID(d.Node),
			Boot:    d.Boot,
			Seq:     d.Seq,
		},
		Deleted: d.Deleted,
		Value:   d.Value,
	}
	if sealed[0] == sealAcceptor {
		rec.Ballots = &replica.Ballots{Promise: a.Promise.stamp(), Accepted: a.Accepted.stamp()}
		for _, s := range a.Before {
			rec.Ballots.Before = append(rec.Ballots.Before, s.stamp())
		}
	}
	return rec, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func seal(key []byte, format byte, body []byte) []byte {
	s := make([]byte, sealSize, sealSize+len(body))
	s[0] = format
	binary.LittleEndian.PutUint32(s[1:], checksum(key, format, body))
	return append(s, body...)
}

// open gives the body, which lies within sealed.
func open(key, sealed []byte) ([]byte, error) {
	if len(sealed) < sealSize {
		return nil, fmt.Errorf("%w: %d bytes are too short for a value", ErrCorrupt, len(sealed))
	}
	body := sealed[sealSize:]
	want := binary.LittleEndian.Uint32(sealed[1:])
	if got := checksum(key, sealed[0], body); got != want {
		return nil, fmt.Errorf("%w: checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	if sealed[0] < sealPlain || sealed[0] > sealCausal {
		return nil, fmt.Errorf("value has format %d, and this program knows %d to %d: it was written by a newer one", sealed[0], sealPlain, sealCausal)
	}
	return body, nil
}

func checksum(key []byte, format byte, body []byte) uint32 {
	c := crc32.Update(0, castagnoli, key)
	c = crc32.Update(c, castagnoli, []byte{format})
	return crc32.Update(c, castagnoli, body)
}
