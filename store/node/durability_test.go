package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/httpapi"
)

// A power failure of all nodes at once takes everything that was not synced,
// and no acknowledged write.
func TestPowerFailureOfAll(t *testing.T) {
	c := startCluster(t, 3, true, nil)
	ctx := within(t, 30*time.Second)
	const writers = 12
	var tried, acknowledged [writers]int
	stop, halt := context.WithCancel(ctx)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			cl := client.New(c.nodes[w%3].cfg.ListenClient)
			defer cl.Close()
			for stop.Err() == nil {
				tried[w]++
				if _, err := cl.Put(stop, key(w), fmt.Append(nil, tried[w])); err == nil {
					acknowledged[w] = tried[w]
				}
			}
		})
	}
	time.Sleep(300 * time.Millisecond) // the load
	for i := range c.nodes {
		c.crash(i)
	}
	halt()
	group.Wait()
	for i := range c.nodes {
		c.start(i)
	}
	total := 0
	for w := range writers {
		var got client.Record
		require.Eventually(t, func() (ok bool) {
			var err error
			got, err = c.nodes[0].client.Get(ctx, key(w))
			return err == nil
		}, 10*time.Second, time.Millisecond, "the nodes find each other again")
		n := 0
		if got.Found {
			_, err := fmt.Sscan(string(got.Value), &n)
			require.NoError(t, err)
		}
		require.GreaterOrEqual(t, n, acknowledged[w], "writer %d: an acknowledged write is lost", w)
		require.LessOrEqual(t, n, tried[w])
		total += acknowledged[w]
	}
	require.Greater(t, total, writers, "too few writes to show anything")
}

// A node whose disk is full refuses writes at once, definitely and with a
// reason, and serves reads. When there is space it goes on, in the same
// incarnation.
func TestDiskFull(t *testing.T) {
	for _, disk := range []struct {
		err    error
		status int
		code   httpapi.Code
		words  string
	}{
		{syscall.ENOSPC, http.StatusInsufficientStorage, httpapi.CodeFull, "disk is full"},
		{syscall.EIO, http.StatusInternalServerError, httpapi.CodeStorage, "disk failed"},
	} {
		t.Run(disk.err.Error(), func(t *testing.T) {
			c := startCluster(t, 3, true, nil)
			ctx := within(t, 30*time.Second)
			m := c.nodes[0]
			_, err := m.client.Put(ctx, "a", []byte("1"))
			require.NoError(t, err)
			before, err := m.client.Health(ctx)
			require.NoError(t, err)

			m.breakDisk(disk.err)
			// Others go on, and this node's disk notices.
			_, err = c.nodes[1].client.Put(ctx, "b", []byte("2"))
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				h, err := m.client.Health(ctx)
				return err == nil && !h.Ready
			}, 10*time.Second, time.Millisecond)
			_, err = m.client.Put(ctx, "a", []byte("3"))
			var e *client.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, disk.status, e.Status)
			require.Equal(t, disk.code, e.Code)
			require.ErrorContains(t, err, disk.words)
			require.True(t, client.Definite(err))
			_, err = m.client.Delete(ctx, "a")
			require.ErrorAs(t, err, &e)
			require.Equal(t, disk.code, e.Code)
			got, err := m.client.Get(ctx, "a")
			require.NoError(t, err)
			require.Equal(t, "1", string(got.Value))
			local, err := m.client.Local(ctx, "a")
			require.NoError(t, err)
			require.Equal(t, "1", string(local[0].Value))

			m.breakDisk(nil)
			require.Eventually(t, func() bool {
				h, err := m.client.Health(ctx)
				return err == nil && h.Ready
			}, 10*time.Second, time.Millisecond)
			after, err := m.client.Health(ctx)
			require.NoError(t, err)
			require.Equal(t, before.Boot, after.Boot)
			require.EqualValues(t, 1, after.DiskFailures)
			_, err = m.client.Put(ctx, "a", []byte("4"))
			require.NoError(t, err)
			_, err = m.client.Get(ctx, "b")
			require.NoError(t, err)
			c.crash(0)
			c.start(0)
			require.Eventually(t, func() bool {
				got, err = m.client.Get(ctx, "a")
				return err == nil
			}, 10*time.Second, time.Millisecond)
			require.Equal(t, "4", string(got.Value))
		})
	}
}

// Bits flip in a node's files. It notices, does not serve what it finds, and
// has the record again from the others.
func TestDamagedFile(t *testing.T) {
	c := startCluster(t, 3, false, nil)
	ctx := within(t, 30*time.Second)
	value := make([]byte, 8000) // a block of its own; random, so that it is not compressed
	_, err := rand.Read(value)
	require.NoError(t, err)
	stamp, err := c.nodes[0].client.Put(ctx, "a", value)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		local, err := c.nodes[1].client.Local(ctx, "a")
		return err == nil && local[0].Found
	}, 10*time.Second, time.Millisecond)
	// The second start takes the record from the log to a table.
	for range 2 {
		require.NoError(t, c.stop(1))
		c.start(1)
	}
	require.NoError(t, c.stop(1))
	require.NotZero(t, flip(t, c.nodes[1].cfg.Dir, value[500:600]))
	c.start(1)
	m := c.nodes[1]

	_, err = m.client.Local(ctx, "a")
	var e *client.Error
	require.ErrorAs(t, err, &e, "it does not serve what it finds")
	require.Equal(t, httpapi.CodeStorage, e.Code)
	require.Eventually(t, func() bool {
		got, err := m.client.Get(ctx, "a")
		return err == nil && bytes.Equal(value, got.Value)
	}, 10*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		h, err := m.client.Health(ctx)
		return err == nil && h.Damaged == 1 && h.Repaired == 1 && h.DamagedFiles > 0 && h.Warning != ""
	}, 10*time.Second, 10*time.Millisecond)
	local, err := m.client.Local(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, client.Record{Found: true, Value: value, Stamp: stamp}, local[0])

	require.NoError(t, c.stop(1))
	c.start(1)
	local, err = m.client.Local(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, value, local[0].Value)
}

// flip spoils what it finds of some bytes in the tables of a directory.
func flip(t *testing.T, dir string, what []byte) (found int) {
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	require.NoError(t, err)
	for _, name := range tables {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		if i := bytes.Index(data, what); i >= 0 {
			data[i] ^= 1
			require.NoError(t, os.WriteFile(name, data, 0o600))
			found++
		}
	}
	return found
}

// breakDisk makes everything fail that changes the disk, until it is called
// with nil.
func (m *member) breakDisk(err error) {
	if err != nil {
		err = errors.Join(errDisk, err)
	}
	m.diskError.Store(&err)
}
