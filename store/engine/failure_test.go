package engine

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/replica"
)

// badDisk is a file system in memory that a test breaks and mends.
type badDisk struct {
	vfs.FS
	mem  *vfs.MemFS
	err  atomic.Pointer[error]
	hits func(op errorfs.Op) bool
}

func newBadDisk(hits func(op errorfs.Op) bool) *badDisk {
	d := &badDisk{mem: vfs.NewCrashableMem(), hits: hits}
	d.FS = errorfs.Wrap(d.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if err := d.err.Load(); err != nil && d.hits(op) {
			return fmt.Errorf("injected: %w", *err)
		}
		return nil
	}))
	return d
}

func (d *badDisk) fail(err error) { d.err.Store(&err) }
func (d *badDisk) mend()          { d.err.Store(nil) }

func syncs(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
}
func writes(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpFilePreallocate
}
func changes(op errorfs.Op) bool { return syncs(op) || writes(op) }

// awaitResume returns when the engine takes writes again.
func awaitResume(e *Engine) {
	for !e.Resume() {
		<-e.Durable()
	}
}

// Whatever part of the disk fails, and with whatever error: what was not
// durable is reported as failed, and nothing is taken. What was durable can be
// read all the time. When the disk works again the engine goes on.
func TestDiskFailsAndComesBack(t *testing.T) {
	for name, hits := range map[string]func(errorfs.Op) bool{"syncs": syncs, "writes": writes, "changes": changes} {
		for _, disk := range []error{syscall.EIO, syscall.ENOSPC} {
			t.Run(fmt.Sprintf("%s fail with %v", name, disk), func(t *testing.T) {
				d := newBadDisk(hits)
				e, err := Open("data", Options{Fsync: true, FS: d})
				require.NoError(t, err)
				seq := uint64(1)
				require.NoError(t, e.Apply(seq, write("kept", 1, "v")))
				require.NoError(t, await(e, seq))
				for range 3 {
					durable := seq
					d.fail(disk)
					seq++
					_ = e.Apply(seq, write("k", int64(seq), "x"))
					require.ErrorIs(t, await(e, seq), disk)
					require.Equal(t, disk == syscall.ENOSPC, IsFull(await(e, seq)))
					seq++
					require.ErrorIs(t, e.Apply(seq, write("k", int64(seq), "y")), disk)
					require.False(t, e.Resume())
					told, err := e.Progress()
					require.ErrorIs(t, err, disk)
					require.Equal(t, durable, told)
					got, ok, err := e.Get("kept")
					require.NoError(t, err)
					require.True(t, ok)
					require.Equal(t, record(1, "v"), got)

					d.mend()
					awaitResume(e)
					seq++
					require.NoError(t, e.Apply(seq, write("k", int64(seq), "z")))
					require.NoError(t, await(e, seq))
					got, ok, err = e.Get("k")
					require.NoError(t, err)
					require.True(t, ok)
					require.Equal(t, record(int64(seq), "z"), got)
					scanned := make(map[string]int64)
					require.NoError(t, e.Scan(0, func(key string, s replica.Stamp, err error) bool {
						require.NoError(t, err)
						scanned[key] = s.Counter
						return true
					}))
					require.Equal(t, map[string]int64{"kept": 1, "k": int64(seq)}, scanned)
					require.NotZero(t, e.Size())
				}
				crashed := d.mem.CrashClone(vfs.CrashCloneCfg{})
				require.NoError(t, e.Close())
				again, err := Open("data", Options{FS: crashed})
				require.NoError(t, err)
				defer again.Close()
				for key, want := range map[string]int64{"kept": 1, "k": int64(seq)} {
					got, ok, err := again.Get(key)
					require.NoError(t, err)
					require.True(t, ok)
					require.Equal(t, want, got.Stamp.Counter)
				}
			})
		}
	}
}

// Flushes, compactions and the manifest belong to goroutines of Pebble, which
// ends the process when they fail. Here the process stays, and so does every
// durable record.
func TestBackgroundFailure(t *testing.T) {
	for name, part := range map[string]string{"tables": ".sst", "the manifest": "MANIFEST"} {
		t.Run(name, func(t *testing.T) {
			d := newBadDisk(func(op errorfs.Op) bool { return changes(op) && strings.Contains(op.Path, part) })
			e, err := Open("data", Options{Fsync: true, FS: d, MemTableSize: 64 << 10})
			require.NoError(t, err)
			value := string(make([]byte, 1000))
			seq, durable := uint64(0), uint64(0)
			for round := range 3 {
				d.fail(syscall.ENOSPC)
				for {
					seq++
					require.Less(t, seq, uint64(10_000), "round %d: nobody noticed", round)
					_ = e.Apply(seq, write(fmt.Sprint(seq), int64(seq), value))
					if err := await(e, seq); err != nil {
						require.ErrorIs(t, err, syscall.ENOSPC)
						break
					}
				}
				told, _ := e.Progress()
				require.LessOrEqual(t, told, seq)
				for s := durable + 1; s <= told; s++ {
					_, ok, err := e.Get(fmt.Sprint(s))
					require.NoError(t, err)
					require.True(t, ok)
				}
				d.mend()
				awaitResume(e)
				for s := durable + 1; s <= told; s++ {
					_, ok, err := e.Get(fmt.Sprint(s))
					require.NoError(t, err)
					require.True(t, ok, "write %d was durable, and is gone", s)
				}
				durable = seq
			}
			require.NoError(t, e.Close())
		})
	}
}

// A disk that never comes back does not keep the engine from closing.
func TestCloseOnBadDisk(t *testing.T) {
	d := newBadDisk(changes)
	e, err := Open("data", Options{Fsync: true, FS: d})
	require.NoError(t, err)
	d.fail(syscall.EIO)
	_ = e.Apply(1, write("a", 1, "x"))
	require.ErrorIs(t, await(e, 1), syscall.EIO)
	require.ErrorIs(t, e.Close(), syscall.EIO)
	d.mend()
	e, err = Open("data", Options{Fsync: true, FS: d})
	require.NoError(t, err, "the lock is free")
	require.NoError(t, e.Close())
}

// Records that were found in the log at the start are made durable before they
// are shown: the process that wrote them may have been killed before it synced.
func TestWhatIsFoundIsDurable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	e, err := Open("data", Options{FS: fs}) // never syncs
	require.NoError(t, err)
	require.NoError(t, e.Apply(1, write("a", 1, "x")))
	killed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})

	e2, err := Open("data", Options{Fsync: true, FS: killed})
	require.NoError(t, err)
	_, found, err := e2.Get("a")
	require.NoError(t, err)
	e3, err := Open("data", Options{Fsync: true, FS: killed.CrashClone(vfs.CrashCloneCfg{})})
	require.NoError(t, err)
	_, still, err := e3.Get("a")
	require.NoError(t, err)
	require.Equal(t, found, still)
	for _, e := range []*Engine{e, e2, e3} {
		require.NoError(t, e.Close())
	}
}

// Two nodes cannot have one directory.
func TestDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	e, err := Open(dir, Options{})
	require.NoError(t, err)
	_, err = Open(dir, Options{})
	require.ErrorContains(t, err, "is another node running on it?")
	require.NoError(t, e.Close())
	e, err = Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, e.Close())
}

// The core marks the place of a damaged record that was nobody's.
func TestZeroRecordIsNone(t *testing.T) {
	e, err := Open("data", Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, e.Apply(1, []replica.Write{{Key: "a"}}))
	_, ok, err := e.Get("a")
	require.NoError(t, err)
	require.False(t, ok)
}
