package sut

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/replica"
)

// sampleLog is a log of a boot, a write, a tombstone, an empty value, a record
// with ballots, one with siblings, and a record that is taken out.
func sampleLog() *simLog {
	l := &simLog{records: make(map[string]replica.Record)}
	l.putBoot(300)
	first, last := replica.Dot{Node: 1, Boot: 2, Seq: 3}, replica.Dot{Node: 1, Boot: 3, Seq: 1}
	siblings := replica.Siblings{
		Context: replica.Context{{First: first, Last: last}},
		Values:  []replica.Sibling{{Dot: first, Value: []byte("v")}, {Dot: last, Value: []byte{}}},
		Born:    first,
	}
	for _, w := range []replica.Write{
		{Key: "a", Record: replica.Record{Stamp: replica.Stamp{Counter: -1, Node: 2, Boot: 300, Seq: 1}, Value: []byte("old")}},
		{Key: "b", Record: replica.Record{Stamp: replica.Stamp{Counter: 1 << 60, Node: 1, Boot: 1, Seq: 2}, Deleted: true}},
		{Key: "", Record: replica.Record{Stamp: replica.Stamp{Counter: 1}, Value: []byte{}}},
		{Key: "a", Record: replica.Record{Stamp: replica.Stamp{Counter: 7, Node: 2, Boot: 300, Seq: 2}, Value: []byte("new")}},
		{Key: "c", Record: replica.Record{Stamp: replica.Stamp{Counter: 8}, Value: []byte("v"), Ballots: &replica.Ballots{
			Promise: replica.Stamp{Counter: 11, Node: 1, Boot: 2, Seq: 3}, Accepted: replica.Stamp{Counter: 10, Node: 2}, Before: []replica.Stamp{{Counter: 7, Seq: 9}, {Counter: 2}}}}},
		{Key: "e", Record: siblings.Record()},
		{Key: "d", Record: replica.Record{Stamp: replica.Stamp{Counter: 9}, Value: []byte("stray")}},
		{Key: "d"},
	} {
		l.put(&w)
	}
	return l
}

func TestLogReadsWhatWasWritten(t *testing.T) {
	written := sampleLog()
	read := &simLog{records: make(map[string]replica.Record)}
	require.Equal(t, len(written.buf), read.replayAll(written.buf))
	require.Equal(t, uint64(300), read.boot)
	require.Len(t, read.records, 5)
	for key, rec := range written.records {
		got := read.records[key]
		require.Equal(t, rec.Stamp, got.Stamp)
		require.Equal(t, rec.Deleted, got.Deleted)
		require.Equal(t, rec.Ballots, got.Ballots)
		require.Equal(t, rec.Siblings, got.Siblings)
		require.Equal(t, string(rec.Value), string(got.Value))
	}
}

// Wherever the log is cut or a byte is wrong, exactly the entries before are
// read.
func TestLogEndsAtTheFirstBadEntry(t *testing.T) {
	data := sampleLog().buf
	var ends []int
	for rest := data; len(rest) > 0; {
		_, next, ok := nextEntry(rest)
		require.True(t, ok)
		rest = next
		ends = append(ends, len(data)-len(rest))
	}
	require.Len(t, ends, 9)
	goodBefore := func(at int) int {
		good := 0
		for _, end := range ends {
			if end <= at {
				good = end
			}
		}
		return good
	}
	for at := range data {
		l := &simLog{records: make(map[string]replica.Record)}
		require.Equal(t, goodBefore(at), l.replayAll(data[:at]), "cut at %d", at)

		bad := append([]byte(nil), data...)
		bad[at] ^= 0x10
		l = &simLog{records: make(map[string]replica.Record)}
		require.Equal(t, goodBefore(at), l.replayAll(bad), "flipped at %d", at)
	}
}

// A removal is an entry like any other: it shows at once, survives when it is
// whole, and is undone when it was torn off.
func TestLogRemoves(t *testing.T) {
	l := &simLog{records: make(map[string]replica.Record)}
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
		again := &simLog{records: make(map[string]replica.Record)}
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
		l := &simLog{records: make(map[string]replica.Record)}
		good := l.replayAll(data)
		again := &simLog{records: make(map[string]replica.Record)}
		require.Equal(t, good, again.replayAll(data[:good]), "what was read must be whole")
		require.Equal(t, l.boot, again.boot)
	})
}
