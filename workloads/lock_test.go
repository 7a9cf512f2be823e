package workloads_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/workloads"
)

func lockBench(t *testing.T, fenced bool) *bench {
	return newBench(t, workloads.Lock(workloads.LockOptions{Lease: time.Second, Fenced: fenced}))
}

func TestLock(t *testing.T) {
	for _, fenced := range []bool{false, true} {
		b := lockBench(t, fenced)
		require.Empty(t, b.all(0, "m0"))
		for i, e := range []history.Value{7, 3} {
			_, err := b.do(i, history.Add, "m0", e)
			require.NoError(t, err)
		}
		require.Equal(t, history.List{7, 3}, b.all(2, "m0"))
		require.Equal(t, history.List{7, 3}, b.inspect(0, "m0")[0].Values, "without the token")
		require.Equal(t, "[2,-1,0]", b.store.values["m0.lock"], "free, and taken twice")
		require.Equal(t, map[bool]string{false: "[7,3]", true: "[2,7,3]"}[fenced], b.store.values["m0"])
	}
}

// A lock that is held is waited for, until its lease is over.
func TestLockWaitsForTheLease(t *testing.T) {
	b := lockBench(t, false)
	end := b.store.clocks[0].Add(500 * time.Millisecond)
	b.store.values["m0.lock"] = "[4,9," + history.Value(end.UnixNano()).String() + "]"
	_, err := b.do(0, history.Add, "m0", 1)
	require.NoError(t, err)
	require.False(t, b.store.clocks[0].Before(end), "it did not wait")
	require.Equal(t, "[5,-1,0]", b.store.values["m0.lock"])

	b = lockBench(t, false)
	b.world.limit = 3
	b.store.values["m0.lock"] = "[4,9," + history.Value(end.UnixNano()).String() + "]"
	_, err = b.do(0, history.Add, "m0", 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, harness.IsDefinite(err), "nothing was written")
	require.Empty(t, b.all(0, "m0"))
}

// A node whose clock is ahead takes the lock from its holder.
func TestAClockThatIsAheadTakesTheLock(t *testing.T) {
	b := lockBench(t, false)
	end := b.store.clocks[0].Add(time.Second)
	b.store.values["m0.lock"] = "[4,9," + history.Value(end.UnixNano()).String() + "]"
	b.store.clocks[2] = b.store.clocks[2].Add(time.Minute)
	_, err := b.do(2, history.Add, "m0", 1)
	require.NoError(t, err)
	require.True(t, b.store.clocks[0].Before(end), "it waited")
}

// late lets another client add to the list when the first is about to write it: its
// lease was not what it thought.
func late(t *testing.T, fenced bool) (b *bench, err error) {
	b = lockBench(t, fenced)
	write := map[bool]string{false: "put", true: "cas"}[fenced]
	done := false
	b.store.before = func(op, key string) error {
		if op != write || key != "m0" || done {
			return nil
		}
		done = true
		b.store.clocks[1] = b.store.clocks[1].Add(time.Minute)
		_, err := b.do(1, history.Add, "m0", 2)
		require.NoError(t, err)
		return nil
	}
	_, err = b.do(0, history.Add, "m0", 1)
	return b, err
}

func TestALateWriteLosesWhatTheNextHolderAdded(t *testing.T) {
	b, err := late(t, false)
	require.NoError(t, err)
	require.Equal(t, history.List{1}, b.all(0, "m0"), "2 is lost")
}

func TestAFencedListRefusesALateWrite(t *testing.T) {
	b, err := late(t, true)
	require.ErrorContains(t, err, "the list was written under token 2, so token 1 is refused")
	require.True(t, harness.IsDefinite(err))
	require.Equal(t, history.List{2}, b.all(0, "m0"))
}

// Nobody begins to work with too little of the lease left.
func TestLockNeedsTimeToWork(t *testing.T) {
	b := lockBench(t, false)
	b.store.before = func(op, key string) error {
		if op == "get" && key == "m0" {
			b.store.clocks[0] = b.store.clocks[0].Add(300 * time.Millisecond)
		}
		return nil
	}
	_, err := b.do(0, history.Add, "m0", 1)
	require.ErrorContains(t, err, "too little of the lease was left")
	require.True(t, harness.IsDefinite(err))
	require.NotContains(t, b.store.values, "m0")
	require.Equal(t, "[1,-1,0]", b.store.values["m0.lock"], "it was given back")
}
