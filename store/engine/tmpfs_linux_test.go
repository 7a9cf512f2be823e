package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What TestDiskFailsAndComesBack shows with injected errors, on a real file
// system that is really full. It has to be mounted, which not everybody may.
func TestRealDiskFull(t *testing.T) {
	const size = 64 << 20
	disk := t.TempDir()
	err := syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skip("mounting a small tmpfs is not allowed here: run as root to see a real disk fill up")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })

	e, err := Open(filepath.Join(disk, "data"), Options{Fsync: true})
	require.NoError(t, err)
	value := string(make([]byte, 64<<10))
	require.NoError(t, e.Apply(1, write("kept", 1, value)))
	require.NoError(t, await(e, 1))
	ballast := filepath.Join(disk, "ballast")
	f, err := os.Create(ballast)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 1<<16))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())

	seq := uint64(1)
	for err = nil; err == nil; err = await(e, seq) {
		seq++
		require.Less(t, seq, uint64(size/len(value)), "the disk does not fill up")
		_ = e.Apply(seq, write("k", int64(seq), value)) // Progress tells
	}
	require.True(t, IsFull(err), "%v", err)
	durable, _ := e.Progress()
	got, ok, err := e.Get("kept")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, record(1, value), got)
	time.Sleep(3 * firstPause) // it tries, and finds no room
	require.False(t, e.Resume())

	require.NoError(t, os.Remove(ballast))
	awaitResume(e)
	got, ok, err = e.Get("k")
	require.NoError(t, err)
	if durable > 1 {
		require.True(t, ok)
		require.GreaterOrEqual(t, got.Stamp.Counter, int64(durable))
	}
	seq++
	require.NoError(t, e.Apply(seq, write("k", int64(seq), value)))
	require.NoError(t, await(e, seq))
	require.NoError(t, e.Close())
}
