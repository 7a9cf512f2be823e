package docker

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
)

func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{}
		var healed atomic.Int32
		set := func(d time.Duration) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.killed.set(n, d, func() { healed.Add(1) })
		}
		set(time.Second)
		time.Sleep(999 * time.Millisecond)
		require.EqualValues(t, 0, healed.Load())
		set(time.Second) // renewed
		time.Sleep(999 * time.Millisecond)
		require.EqualValues(t, 0, healed.Load())
		time.Sleep(2 * time.Millisecond)
		require.EqualValues(t, 1, healed.Load())

		set(time.Second)
		n.mu.Lock()
		n.killed.end()
		n.mu.Unlock()
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, healed.Load(), "a lease that ended heals nothing")
	})
}

// TestLeaseEndsWhileItsHealingWaits lets the deadline pass while the node is
// being changed: the change has the last word. A mutex does not tell synctest
// that it blocks, so this takes real time.
func TestLeaseEndsWhileItsHealingWaits(t *testing.T) {
	n := &node{}
	healed := make(chan bool, 1)
	n.mu.Lock()
	n.killed.set(n, time.Millisecond, func() { healed <- true })
	time.Sleep(20 * time.Millisecond)
	n.killed.end()
	n.mu.Unlock()
	select {
	case <-healed:
		t.Fatal("a lease that ended healed all the same")
	case <-time.After(20 * time.Millisecond):
	}
}

func TestClockKeepsItsDrift(t *testing.T) {
	c := clock{set: harness.Clock{Offset: time.Second, Drift: -0.1}, since: int64(10 * time.Second)}
	require.Equal(t, harness.Clock{Offset: time.Second, Drift: -0.1}, c.at(int64(10*time.Second)))
	require.Equal(t, harness.Clock{Offset: 500 * time.Millisecond, Drift: -0.1}, c.at(int64(15*time.Second)))
}
