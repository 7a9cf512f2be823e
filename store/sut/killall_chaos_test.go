//go:build chaos

package sut

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/nemesis"
)

// All nodes are killed at once under load. What was acknowledged is there when
// they are back.
func TestKillAllInContainers(t *testing.T) {
	const writers = 12
	ctx := context.Background()
	s, w := startDocker(t, "abd")
	stop, halt := context.WithCancel(ctx)
	var tried, acknowledged [writers]history.Value
	var group sync.WaitGroup
	for i := range writers {
		c, err := s.Open(ctx, w, i%3)
		require.NoError(t, err)
		defer c.Close()
		group.Go(func() {
			for stop.Err() == nil {
				tried[i]++
				try, done := context.WithTimeout(stop, opTimeout)
				err := c.Invoke(try, fmt.Sprintf("writer-%d", i), &history.Op{F: history.Write, Arg: tried[i]})
				done()
				if err == nil {
					acknowledged[i] = tried[i]
				}
			}
		})
	}
	require.NoError(t, w.Sleep(ctx, time.Second))
	kill := &nemesis.Kill{Targets: []int{0, 1, 2}}
	require.NoError(t, kill.Apply(ctx, w, lease))
	_, err := kill.ProveApplied(ctx, w)
	require.NoError(t, err)
	halt()
	group.Wait()
	require.NoError(t, kill.Heal(ctx, w))
	_, err = kill.ProveHealed(ctx, w)
	require.NoError(t, err)
	total := history.Value(0)
	for n := range 3 {
		for s.Ready(ctx, w.Addr(n)) != nil {
			require.NoError(t, w.Sleep(ctx, 5*time.Millisecond))
		}
	}
	c, err := s.Open(ctx, w, 0)
	require.NoError(t, err)
	defer c.Close()
	for i := range writers {
		read := history.Op{F: history.Read}
		began := time.Now()
		for err = c.Invoke(ctx, fmt.Sprintf("writer-%d", i), &read); err != nil; err = c.Invoke(ctx, fmt.Sprintf("writer-%d", i), &read) {
			require.Less(t, time.Since(began), 10*time.Second, "%v", err) // the nodes look for each other
		}
		require.GreaterOrEqual(t, read.Out, acknowledged[i], "writer %d: an acknowledged write is lost", i)
		require.LessOrEqual(t, read.Out, tried[i])
		total += acknowledged[i]
	}
	require.Greater(t, total, history.Value(writers), "too few writes to show anything")
	t.Logf("%d writes were acknowledged", total)
}
