package sut

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/replica"
)

// sampleLog is a log of a boot, a write, a tombstone, an empty value, a record
// with ballots, and a record that is taken out.
func sampleLog() *simLog {
	l := newLog(nil)
	l.putBoot(300)
	for _, w := range []replica.Write{
		{Key: "a", Record: replica.Record{Stamp: replica.Stamp{Counter: -1, Node: 2, Boot: 300, Seq: 1}, Value: []byte("old")}},
		{Key: "b", Record: replica.Record{Stamp: replica.Stamp{Counter: 1 << 60, Node: 1, Boot: 1, Seq: 2}, Deleted: true}},
		{Key: "", Record: replica.Record{Stamp: replica.Stamp{Counter: 1}, Value: []byte{}}},
		{Key: "a", Record: replica.Record{Stamp: replica.Stamp{Counter: 7, Node: 2, Boot: 300, Seq: 2}, Value: []byte("new")}},
		{Key: "c", Record: replica.Record{Stamp: replica.Stamp{Counter: 8}, Value: []byte("v"), Ballots: &replica.Ballots{
			Promise: replica.Stamp{Counter: 11, Node: 1, Boot: 2, Seq: 3}, Accepted: replica.Stamp{Counter: 10, Node: 2}, Before: []replica.Stamp{{Counter: 7, Seq: 9}, {Counter: 2}}}}},
		{Key: "d", Record: replica.Record{Stamp: replica.Stamp{Counter: 9}, Value: []byte("stray")}},
		{Key: "d"},
	} {
		l.put(&w)
	}
	return l
}

func TestLogReadsWhatWasWritten(t *testing.T) {
	written := sampleLog()
	read := newLog(nil)
	require.Equal(t, len(written.buf), read.replayAll(written.buf))
	require.Equal(t, uint64(300), read.boot)
	require.Len(t, read.records, 4)
	for key, rec := range written.records {
		got := read.records[key]
		require.Equal(t, rec.Stamp, got.Stamp)
		require.Equal(t, rec.Deleted, got.Deleted)
		require.Equal(t, rec.Ballots, got.Ballots)
		require.Equal(t, string(rec.Value), string(got.Value))
	}
}

// Wherever the log is cut, exactly the entries before are read.
func TestLogEndsWhereItIsCut(t *testing.T) {
	data := sampleLog().buf
	entries := entriesOf(t, data)
	require.Len(t, entries, 8)
	for at := range data {
		good := 0
		for _, e := range entries {
			if e.end <= at {
				good = e.end
			}
		}
		require.Equal(t, good, newLog(nil).replayAll(data[:at]), "cut at %d", at)
		require.NoError(t, checkRest(data[good:at]))
	}
}

// entryAt is where an entry of a log begins, where its name does, and where both
// end.
type entryAt struct{ begin, name, end int }

func entriesOf(t *testing.T, data []byte) (all []entryAt) {
	for at := 0; at < len(data); {
		body, rest, ok := nextEntry(data[at:])
		require.True(t, ok)
		e := entryAt{at, at + entryHead + len(body), len(data) - len(rest)}
		all = append(all, e)
		at = e.end
	}
	return all
}

// Whichever bit of the log is turned, everything else is read, and of the entry
// it is in the key is known to be lost, if no later entry has it.
func TestLogKnowsWhatIsDamaged(t *testing.T) {
	sample := sampleLog()
	data := sample.buf
	for _, e := range entriesOf(t, data) {
		for at := e.begin; at < e.end; at++ {
			for bit := range 8 {
				bad := append([]byte(nil), data...)
				bad[at] ^= 1 << bit
				l := newLog(nil)
				require.Equal(t, len(data), l.replayAll(bad), "turned at %d", at)
				require.Equal(t, uint64(300), l.boot)
				require.Equal(t, sample.at, l.at)
				for key, where := range l.at {
					entry := bad[where.from:where.to]
					damaged := crc32.Checksum(entry[4:], castagnoli) != binary.LittleEndian.Uint32(entry)
					require.Equal(t, where.from == e.begin && at < e.name, damaged, "key %q, turned at %d", key, at)
				}
			}
		}
	}
}

// An entry that is damaged together with its name is not taken for the torn end of
// the log, unless it is the end.
func TestLogDamagedBeyondRepair(t *testing.T) {
	data := sampleLog().buf
	entries := entriesOf(t, data)
	for i, e := range entries {
		bad := append([]byte(nil), data...)
		bad[e.begin+5] ^= 1
		bad[e.end-1] ^= 1
		good := newLog(nil).replayAll(bad)
		require.Equal(t, e.begin, good)
		if i == len(entries)-1 {
			require.NoError(t, checkRest(bad[good:]))
		} else {
			require.ErrorContains(t, checkRest(bad[good:]), "begin with an empty disk")
		}
	}
}

// A removal is an entry like any other: it shows at once, survives when it is
// whole, and is undone when it was torn off.
func TestLogRemoves(t *testing.T) {
	l := newLog(nil)
	scanned := func(l *simLog) (keys []string) {
		require.NoError(t, l.Scan(0, func(key string, _ replica.Stamp, _ error) bool {
			keys = append(keys, key)
			return true
		}))
		return keys
	}
	l.put(&replica.Write{Key: "a", Record: replica.Record{Stamp: replica.Stamp{Counter: 1}}})
	l.put(&replica.Write{Key: "b", Record: replica.Record{Stamp: replica.Stamp{Counter: 2}}})
	require.Len(t, scanned(l), 2)
	before := len(l.buf)
	l.put(&replica.Write{Key: "a"})
	l.put(&replica.Write{Key: "a"}) // again
	_, ok, _ := l.Get("a")
	require.False(t, ok)
	require.Equal(t, []string{"b"}, scanned(l))

	for size, want := range map[int]int{len(l.buf): 1, before: 2, before + 3: 2} {
		again := newLog(nil)
		again.replayAll(l.buf[:size])
		require.Len(t, again.records, want)
		require.Len(t, scanned(again), want)
	}
}

func FuzzLog(f *testing.F) {
	data := sampleLog().buf
	f.Add(data)
	f.Add(data[:len(data)-1])
	f.Add([]byte{0, 0, 0, 0, 1, 0, 0, 0, entryWrite})
	f.Fuzz(func(t *testing.T, data []byte) {
		l := newLog(nil)
		good := l.replayAll(data)
		again := newLog(nil)
		require.Equal(t, good, again.replayAll(data[:good]), "what was read must be whole")
		require.Equal(t, l.boot, again.boot)
	})
}
