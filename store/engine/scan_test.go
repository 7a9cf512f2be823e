package engine

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/replica"
)

func TestScanIsInOrderOfHashes(t *testing.T) {
	e, err := Open("data", Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer e.Close()
	_, err = e.NextBoot() // what is not a record is not scanned
	require.NoError(t, err)
	var keys []string
	for i := range int64(500) {
		key := fmt.Sprintf("key\xff%d", i)
		keys = append(keys, key)
		require.NoError(t, e.Apply(uint64(i+1), write(key, i+1, "v")))
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Compare(replica.KeyHash(a), replica.KeyHash(b)) })
	for _, first := range []int{0, 1, 250, 499} {
		var got []string
		var stamps []replica.Stamp
		require.NoError(t, e.Scan(replica.KeyHash(keys[first]), func(key string, s replica.Stamp, err error) bool {
			require.NoError(t, err)
			got, stamps = append(got, key), append(stamps, s)
			return true
		}))
		for i, key := range got {
			rec, ok, err := e.Get(key)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, rec.Stamp, stamps[i])
		}
		require.Equal(t, keys[first:], got)
	}
	n := 0
	require.NoError(t, e.Scan(0, func(string, replica.Stamp, error) bool { n++; return n < 7 }))
	require.Equal(t, 7, n)
	require.NoError(t, e.Scan(1<<64-1, func(string, replica.Stamp, error) bool { t.Error("no key is there"); return true }))
}

// A damaged record does not stop the scan, and is told from the others.
func TestScanTellsDamagedRecords(t *testing.T) {
	e, err := Open("data", Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer e.Close()
	for i := range int64(10) {
		require.NoError(t, e.Apply(uint64(i+1), write(fmt.Sprint(i), i+1, "v")))
	}
	require.NoError(t, e.db.Set(recordKey(nil, "4"), []byte("rubbish"), pebble.NoSync))
	good, bad := 0, 0
	require.NoError(t, e.Scan(0, func(key string, s replica.Stamp, err error) bool {
		if key == "4" {
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, `key "4"`)
			require.Zero(t, s)
			bad++
			return true
		}
		require.NoError(t, err)
		good++
		return true
	}))
	require.Equal(t, []int{9, 1}, []int{good, bad})
}

// Behind a block of a table that is damaged the scan goes on, and says that there
// was one. Who reads one of the records that lie in it is told that it is damaged.
func TestScanGoesOnBehindADamagedBlock(t *testing.T) {
	const keys = 2000
	dir, random := t.TempDir(), rand.New(rand.NewPCG(1, 1))
	e, err := Open(dir, Options{})
	require.NoError(t, err)
	values := make(map[string][]byte)
	var batch []replica.Write
	for i := range keys {
		value := make([]byte, 100) // not to be compressed
		for j := range value {
			value[j] = byte(random.Uint32())
		}
		key := fmt.Sprint(i)
		values[key] = value
		batch = append(batch, replica.Write{Key: key, Record: replica.Record{Stamp: replica.Stamp{Counter: int64(i + 1)}, Value: value}})
	}
	require.NoError(t, e.Apply(keys, batch))
	require.NoError(t, e.db.Flush())
	require.NoError(t, e.Close())

	hit := []string{keyBehind(values, 0x40<<56), keyBehind(values, 0xb0<<56)} // in two blocks
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	require.NoError(t, err)
	spoiled := 0
	for _, name := range tables {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, key := range hit {
			if i := bytes.Index(data, values[key]); i >= 0 {
				data[i] ^= 1
				spoiled++
			}
		}
		require.NoError(t, os.WriteFile(name, data, 0o600))
	}
	require.Equal(t, len(hit), spoiled)
	e, err = Open(dir, Options{})
	require.NoError(t, err)
	defer e.Close()
	seen := make(map[string]bool)
	err = e.Scan(0, func(key string, s replica.Stamp, err error) bool {
		require.NoError(t, err)
		require.False(t, seen[key], "twice")
		seen[key] = true
		return true
	})
	require.ErrorIs(t, err, replica.ErrGap)
	require.Greater(t, len(seen), keys*8/10)
	require.Less(t, len(seen), keys-1)
	for key := range values {
		_, found, err := e.Get(key)
		if seen[key] {
			require.NoError(t, err)
			require.True(t, found)
		} else {
			require.ErrorIs(t, err, ErrCorrupt, "what the scan leaves out cannot be read")
		}
	}
	for _, key := range hit {
		require.False(t, seen[key])
	}
	require.Positive(t, e.DamagedFiles())

	again := 0
	err = e.Scan(0, func(string, replica.Stamp, error) bool { again++; return true })
	require.ErrorIs(t, err, replica.ErrGap)
	require.Len(t, seen, again)
	require.Len(t, e.rotten.gaps, len(hit), "where they are is known now")

	// A part without damage is read as ever, and so is the end.
	n := 0
	require.NoError(t, e.Scan(0xd0<<56, func(string, replica.Stamp, error) bool { n++; return true }))
	require.Positive(t, n)
}

// keyBehind is the first key from a hash on.
func keyBehind(values map[string][]byte, hash uint64) string {
	first := ""
	for key := range values {
		if h := replica.KeyHash(key); h >= hash && (first == "" || h < replica.KeyHash(first)) {
			first = key
		}
	}
	return first
}

// The zero record stands where a damaged one turned out to be nobody's.
func TestScanPassesOverTheZeroRecord(t *testing.T) {
	e, err := Open("data", Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, e.Apply(1, []replica.Write{{Key: "k"}}))
	_, ok, err := e.Get("k")
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, e.Scan(0, func(key string, _ replica.Stamp, _ error) bool { t.Error(key); return true }))
}

func TestOtherLayoutIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	e, err := Open("data", Options{FS: fs, Owner: "c/0"})
	require.NoError(t, err)
	require.NoError(t, e.db.setMeta(layoutKey, []byte("3")))
	require.NoError(t, e.Close())
	_, err = Open("data", Options{FS: fs, Owner: "c/0"})
	require.ErrorContains(t, err, `data directory data has layout "3", and this program only reads layout 2`)

	// Layout 1 did not say so.
	fs = vfs.NewMem()
	e, err = Open("data", Options{FS: fs, Owner: "c/0"})
	require.NoError(t, err)
	require.NoError(t, e.db.Delete(layoutKey, pebble.Sync))
	require.NoError(t, e.Close())
	_, err = Open("data", Options{FS: fs, Owner: "c/0"})
	require.ErrorContains(t, err, `has layout ""`)
}

var restartKeys = flag.Int("keys", 1_000_000, "keys of BenchmarkRestart")

// BenchmarkRestart is a node's way back with many small keys: until it can
// serve, and until anti-entropy has counted its keys, which it does beside
// serving. For the figure in BENCH.md:
//
//	go test ./store/engine -run '^$' -bench Restart -benchtime 1x -args -keys 10000000
func BenchmarkRestart(b *testing.B) {
	dir := b.TempDir()
	e, err := Open(dir, Options{})
	require.NoError(b, err)
	var batch []replica.Write
	for i := range *restartKeys {
		batch = append(batch, replica.Write{Key: fmt.Sprintf("key/%012d", i), Record: record(int64(i+1), "12345678")})
		if len(batch) == 1000 || i == *restartKeys-1 {
			require.NoError(b, e.Apply(uint64(i+1), batch))
			batch = batch[:0]
		}
	}
	require.NoError(b, e.Close())

	var open, count time.Duration
	steps := 0
	b.ResetTimer()
	for b.Loop() {
		start := time.Now()
		e, err := Open(dir, Options{})
		require.NoError(b, err)
		boot, err := e.NextBoot()
		require.NoError(b, err)
		core, err := replica.New(replica.Config{
			Nodes: 3, Rules: replica.Rules{N: 3, R: 2, W: 2}, Timeout: time.Second, Retry: time.Second, AntiEntropy: time.Second,
		}, boot, e)
		require.NoError(b, err)
		open += time.Since(start)
		start = time.Now()
		for core.RepairStats().Counting {
			core.Tick(replica.Now{Mono: core.Deadline()})
			steps++
		}
		count += time.Since(start)
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		b.ReportMetric(float64(mem.HeapSys+mem.StackSys)/1e6, "heap-MB")
		require.NoError(b, e.Close())
	}
	b.ReportMetric(open.Seconds()/float64(b.N), "open-s")
	b.ReportMetric(count.Seconds()/float64(b.N), "count-s")
	b.ReportMetric(float64(steps)/float64(b.N), "steps")
}
