package sut

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/store/replica"
)

// This file is what the log does about bytes that are not what was written. A
// record is read from the disk every time, so that damage is found when it is
// there, and not at the next start only. At a start the log has to tell damage,
// which took a record that was acknowledged, from the torn end of a write that
// never was. So each entry is followed by its name, with a sum of its own:
//
//	crc uint32 | length of the entry uint32 | length of the name uint16 | name
//
// which is the beginning of the entry's body, up to the key (and of a boot all of
// it). An append survives a crash from its beginning on. An entry that does not
// match its sum, and is followed by its name, was there as a whole once: it is
// damaged, and the name says whose record is lost. (Alagappan et al.,
// "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018.)

// span is where an entry lies in the log, without its name.
type span struct{ from, to int }

const nameHead = 4 + 4 + 2

// nameOf gives the part of an entry's body that is its name, nil if there is none.
func nameOf(body []byte) []byte {
	if body[0] == entryBoot {
		return body
	}
	d := decoder{rest: body[1:]}
	d.bytes(d.uvarint())
	if d.bad {
		return nil
	}
	return body[:len(body)-len(d.rest)]
}

// appendName puts the name behind an entry.
func appendName(b, entry []byte) []byte {
	at, name := len(b), nameOf(entry[entryHead:])
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entry)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
	b = append(b, name...)
	binary.LittleEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:], castagnoli))
	return b
}

// lostEntry finds the name of a damaged entry that data begins with, and gives the
// lengths of the entry and of both.
func lostEntry(data []byte) (name []byte, entry, both int, ok bool) {
	for at := entryHead + 1; at+nameHead <= len(data); at++ {
		if int(binary.LittleEndian.Uint32(data[at+4:])) != at {
			continue
		}
		end := at + nameHead + int(binary.LittleEndian.Uint16(data[at+8:]))
		if end > len(data) || crc32.Checksum(data[at+4:end], castagnoli) != binary.LittleEndian.Uint32(data[at:]) {
			continue
		}
		if name := data[at+nameHead : end]; len(name) > 0 {
			return name, at, end, true
		}
	}
	return nil, 0, 0, false
}

// lose takes note of a damaged entry by its name. It says no to a name that cannot
// have been written.
func (l *simLog) lose(name []byte, at span) bool {
	if name[0] == entryBoot {
		return l.replay(name)
	}
	d := decoder{rest: name[1:]}
	key := string(d.bytes(d.uvarint()))
	if d.bad {
		return false
	}
	if _, ok := l.records[key]; !ok {
		l.set(key, replica.Record{Ballots: &replica.Ballots{}}) // something, for the scans
	}
	l.at[key] = at
	return true
}

// checkRest says whether what follows the last entry that could be read is more
// than a torn write.
func checkRest(rest []byte) error {
	for i := 1; i < len(rest); i++ {
		if _, _, ok := nextEntry(rest[i:]); ok {
			return fmt.Errorf("the log is damaged: %d bytes in it cannot be read, and hide which records are lost: begin with an empty disk", i)
		}
	}
	return nil
}

// check says whether the disk still has the record of a key as it was written.
func (l *simLog) check(key string) error {
	at, ok := l.at[key]
	if !ok || at.to > l.size { // not on the disk yet
		return nil
	}
	if data := l.disk.Read(logFile)[at.from:at.to]; crc32.Checksum(data[4:], castagnoli) != binary.LittleEndian.Uint32(data) {
		return fmt.Errorf("the record of %q: %w", key, replica.ErrCorrupt)
	}
	return nil
}

// AtRest implements [sim.Recorder].
func (s *System) AtRest(disk *sim.Disk) []sim.Extent {
	l := newLog(disk)
	l.size = l.replayAll(disk.Read(logFile))
	var all []sim.Extent
	for _, key := range slices.Sorted(maps.Keys(l.at)) {
		if l.check(key) == nil {
			all = append(all, sim.Extent{File: logFile, From: int64(l.at[key].from), To: int64(l.at[key].to)})
		}
	}
	return all
}
