package engine

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/replica"
)

func record(n int64, value string) replica.Record {
	return replica.Record{
		Stamp: replica.Stamp{Counter: n, Node: 2, Boot: 3, Seq: uint64(n)},
		Value: []byte(value),
	}
}

func write(key string, n int64, value string) []replica.Write {
	return []replica.Write{{Key: key, Record: record(n, value)}}
}

// await returns when everything up to seq is durable, or the engine failed.
func await(e *Engine, seq uint64) error {
	for {
		if d, err := e.Progress(); err != nil || d >= seq {
			return err
		}
		<-e.Durable()
	}
}

func TestReopenFindsRecords(t *testing.T) {
	for _, fsync := range []bool{true, false} {
		t.Run(fmt.Sprintf("fsync=%v", fsync), func(t *testing.T) {
			dir := t.TempDir()
			e, err := Open(dir, Options{Fsync: fsync})
			require.NoError(t, err)
			tomb := replica.Record{Stamp: replica.Stamp{Counter: -5}, Deleted: true}
			promised := replica.Record{Ballots: &replica.Ballots{Promise: record(9, "").Stamp}}
			agreed := record(4, "value")
			agreed.Ballots = &replica.Ballots{Promise: record(9, "").Stamp, Accepted: record(8, "").Stamp, Before: []replica.Stamp{record(3, "").Stamp, record(2, "").Stamp}}
			d := replica.Dot{Node: 1, Boot: 3, Seq: 9}
			causal := (&replica.Siblings{
				Context: replica.Context{{First: d, Last: replica.Dot{Node: 1, Boot: 4, Seq: 1}}},
				Values:  []replica.Sibling{{Dot: d, Value: []byte("value")}},
				Born:    d,
			}).Record()
			require.NoError(t, e.Apply(1, []replica.Write{
				{Key: "a", Record: record(1, "old")},
				{Key: "a", Record: record(2, "new")},
				{Key: "\x00/\xff", Record: tomb},
				{Key: "promised", Record: promised},
				{Key: "agreed", Record: agreed},
				{Key: "causal", Record: causal},
			}))
			got, ok, err := e.Get("a")
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, record(2, "new"), got, "visible before it is durable")
			require.NoError(t, e.Close())
			require.NoError(t, e.Close(), "a second Close does nothing")

			e, err = Open(dir, Options{Fsync: fsync})
			require.NoError(t, err)
			defer e.Close()
			got, ok, err = e.Get("a")
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, record(2, "new"), got)
			got, ok, err = e.Get("\x00/\xff")
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, tomb, got)
			got, ok, err = e.Get("promised")
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, promised, got)
			got, ok, err = e.Get("agreed")
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, agreed, got)
			got, ok, err = e.Get("causal")
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, causal, got)
			require.NoError(t, e.Scan(0, func(key string, s replica.Stamp, err error) bool {
				require.NoError(t, err)
				if key == "causal" {
					require.Equal(t, causal.Stamp, s)
				}
				return true
			}))
			_, ok, err = e.Get("b")
			require.NoError(t, err)
			require.False(t, ok)
		})
	}
}

// The zero record takes a key out: neither Get nor Scan shows it, at once and
// after a crash, and it can be written again.
func TestZeroRecordRemoves(t *testing.T) {
	fs := vfs.NewCrashableMem()
	e, err := Open("data", Options{Fsync: true, FS: fs})
	require.NoError(t, err)
	defer e.Close()
	scanned := func(e *Engine) (keys []string) {
		require.NoError(t, e.Scan(0, func(key string, _ replica.Stamp, err error) bool {
			require.NoError(t, err)
			keys = append(keys, key)
			return true
		}))
		return keys
	}
	gone := func(e *Engine, key string) {
		rec, ok, err := e.Get(key)
		require.NoError(t, err)
		require.False(t, ok)
		require.True(t, rec.IsZero())
	}
	require.NoError(t, e.Apply(1, write("kept", 1, "v")))
	require.NoError(t, e.Apply(2, write("removed", 2, "v")))
	require.NoError(t, await(e, 2))
	require.Len(t, scanned(e), 2)
	require.NoError(t, e.Apply(3, []replica.Write{
		{Key: "removed"}, {Key: "never there"},
		{Key: "at once", Record: record(3, "v")}, {Key: "at once"},
	}))
	for _, key := range []string{"removed", "never there", "at once"} {
		gone(e, key)
	}
	require.Equal(t, []string{"kept"}, scanned(e))
	require.NoError(t, await(e, 3))

	e2, err := Open("data", Options{Fsync: true, FS: fs.CrashClone(vfs.CrashCloneCfg{})})
	require.NoError(t, err)
	defer e2.Close()
	gone(e2, "removed")
	require.Equal(t, []string{"kept"}, scanned(e2))
	iter, err := e2.db.NewIter(&pebble.IterOptions{LowerBound: hashKey(nil, 0), UpperBound: scanEnd})
	require.NoError(t, err)
	left := 0
	for ok := iter.First(); ok; ok = iter.Next() {
		left++
	}
	require.NoError(t, iter.Close())
	require.Equal(t, 1, left, "nothing is kept in its place")
	require.NoError(t, e2.Apply(1, write("removed", 1, "older")))
	rec, ok, err := e2.Get("removed")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, record(1, "older"), rec)
}

// What Progress calls durable survives a crash that takes everything else, and
// a crash that takes any part of it.
func TestDurableSurvivesCrash(t *testing.T) {
	for _, unsynced := range []int{0, 50} {
		for seed := range int64(10) {
			t.Run(fmt.Sprintf("unsynced=%d%%/seed=%d", unsynced, seed), func(t *testing.T) {
				fs := vfs.NewCrashableMem()
				rng := rand.New(rand.NewPCG(uint64(seed), 1))
				// A small memtable makes Pebble rotate its log in the course.
				e, err := Open("data", Options{Fsync: true, FS: fs, MemTableSize: 64 << 10})
				require.NoError(t, err)
				defer e.Close()
				boot, err := e.NextBoot()
				require.NoError(t, err)

				value := string(make([]byte, 1000))
				const writes = 400
				crashAt := uint64(rng.IntN(writes) + 1)
				for seq := uint64(1); seq <= crashAt; seq++ {
					require.NoError(t, e.Apply(seq, write(fmt.Sprint(seq), int64(seq), value)))
					if rng.IntN(20) == 0 {
						require.NoError(t, await(e, seq))
					}
				}
				durable, err := e.Progress()
				require.NoError(t, err)
				crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rng})

				e2, err := Open("data", Options{Fsync: true, FS: crashed})
				require.NoError(t, err)
				defer e2.Close()
				for seq := uint64(1); seq <= durable; seq++ {
					got, ok, err := e2.Get(fmt.Sprint(seq))
					require.NoError(t, err)
					require.True(t, ok, "write %d of %d durable ones is lost", seq, durable)
					require.Equal(t, record(int64(seq), value), got)
				}
				boot2, err := e2.NextBoot()
				require.NoError(t, err)
				require.Greater(t, boot2, boot)
			})
		}
	}
}

// The opposite: what was not synced is really at risk, so that the test above
// can fail, and fsync off is what its documentation says.
func TestWithoutFsyncCrashLosesWrites(t *testing.T) {
	fs := vfs.NewCrashableMem()
	e, err := Open("data", Options{FS: fs})
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, e.Apply(1, write("a", 1, "x")))
	durable, err := e.Progress()
	require.NoError(t, err)
	require.EqualValues(t, 1, durable)

	e2, err := Open("data", Options{FS: fs.CrashClone(vfs.CrashCloneCfg{})})
	require.NoError(t, err)
	defer e2.Close()
	_, ok, err := e2.Get("a")
	require.NoError(t, err)
	require.False(t, ok)
}

func TestBootNumberGrows(t *testing.T) {
	fs := vfs.NewCrashableMem()
	var last uint64
	for range 5 {
		e, err := Open("data", Options{FS: fs}) // fsync off: boot is durable all the same
		require.NoError(t, err)
		boot, err := e.NextBoot()
		require.NoError(t, err)
		require.Greater(t, boot, last)
		last = boot
		crashed := fs.CrashClone(vfs.CrashCloneCfg{})
		require.NoError(t, e.Close())
		fs = crashed.CrashClone(vfs.CrashCloneCfg{})
	}
}

func TestOwnerIsChecked(t *testing.T) {
	dir := t.TempDir()
	e, err := Open(dir, Options{Owner: "c/0"})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	_, err = Open(dir, Options{Owner: "c/1"})
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, `belongs to "c/0", and this is "c/1"`)
	e, err = Open(dir, Options{Owner: "c/0"})
	require.NoError(t, err, "a refused owner leaves the directory as it was")
	require.NoError(t, e.Close())
}

func TestCorruptionIsDetected(t *testing.T) {
	e, err := Open("data", Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, e.Apply(1, write("k1", 1, "hello")))
	raw := func(key string) []byte {
		v, closer, err := e.db.DB.Get(recordKey(nil, key))
		require.NoError(t, err)
		defer closer.Close()
		return append([]byte{}, v...)
	}
	good := raw("k1")
	check := func(key string, value []byte) {
		t.Helper()
		require.NoError(t, e.db.DB.Set(recordKey(nil, key), value, pebble.NoSync))
		_, _, err := e.Get(key)
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, fmt.Sprintf("key %q", key))
	}
	for i := range good {
		for bit := range 8 {
			bad := append([]byte{}, good...)
			bad[i] ^= 1 << bit
			check("k1", bad)
		}
		check("k1", good[:i])
	}
	check("k2", good) // a whole record in another's place

	_, err = e.NextBoot()
	require.NoError(t, err)
	require.NoError(t, e.db.DB.Set(bootKey, []byte("rubbish"), pebble.NoSync))
	_, err = e.NextBoot()
	require.ErrorIs(t, err, ErrCorrupt, "a guessed boot number could repeat stamps")
}

func TestReadersDuringWrites(t *testing.T) {
	e, err := Open("data", Options{Fsync: true, FS: vfs.NewMem()})
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, e.Apply(1, write("a", 1, "1")))
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			last := int64(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, ok, err := e.Get("a")
				if err != nil || !ok || r.Stamp.Counter < last {
					t.Errorf("read %v %v %v after version %d", r, ok, err, last)
					return
				}
				last = r.Stamp.Counter
			}
		})
	}
	for i := int64(2); i <= 2000; i++ {
		require.NoError(t, e.Apply(uint64(i), write("a", i, fmt.Sprint(i))))
	}
	close(stop)
	readers.Wait()
	require.NoError(t, await(e, 2000))
}

func BenchmarkGet(b *testing.B) {
	e, err := Open(b.TempDir(), Options{})
	require.NoError(b, err)
	defer e.Close()
	require.NoError(b, e.Apply(1, write("key", 1, "value")))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := e.Get("key"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGroupCommit writes with 64 writes waiting at any time, and compares
// with one fsync per write on the same disk in the same run (ratio).
func BenchmarkGroupCommit(b *testing.B) {
	open := func() *Engine {
		e, err := Open(b.TempDir(), Options{Fsync: true})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, e.Close()) })
		return e
	}
	const waiting, alone = 64, 200
	e := open()
	start := time.Now()
	for seq := uint64(1); seq <= alone; seq++ {
		require.NoError(b, e.Apply(seq, write("key", int64(seq), "value")))
		require.NoError(b, await(e, seq))
	}
	perWrite := time.Since(start) / alone

	e = open()
	seq := uint64(0)
	for b.Loop() {
		seq++
		require.NoError(b, e.Apply(seq, write("key", int64(seq), "value")))
		if seq > waiting {
			require.NoError(b, await(e, seq-waiting))
		}
	}
	require.NoError(b, await(e, seq))
	b.ReportMetric(float64(perWrite)/1000, "alone-µs/write")
	b.ReportMetric(float64(perWrite)*float64(b.N)/float64(b.Elapsed()), "ratio")
}
