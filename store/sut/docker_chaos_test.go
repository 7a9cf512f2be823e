//go:build chaos

package sut

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/harness/history"
)

// lease is longer than the test keeps any fault.
const lease = time.Minute

// opTimeout is longer than the store takes to answer that it cannot.
const opTimeout = 5 * time.Second

func startDocker(t *testing.T, profile string) (*System, *docker.World) {
	p, err := ProfileByName(profile)
	require.NoError(t, err)
	s := New(p)
	w, err := docker.Start(context.Background(), docker.Config{System: s, Nodes: 3, Name: "sut", Logf: t.Logf})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close(context.Background())) })
	return s, w
}

// invoke performs one operation at a node, with a client of its own.
func invoke(t *testing.T, s *System, w *docker.World, node int, op history.Op) (history.Value, error) {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	c, err := s.Open(ctx, w, node)
	require.NoError(t, err)
	defer c.Close()
	err = c.Invoke(ctx, "k", &op)
	return op.Out, err
}

func put(t *testing.T, s *System, w *docker.World, node int, v history.Value) error {
	_, err := invoke(t, s, w, node, history.Op{F: history.Write, Arg: v})
	return err
}

func read(t *testing.T, s *System, w *docker.World, node int) (history.Value, error) {
	return invoke(t, s, w, node, history.Op{F: history.Read})
}

// A real cluster does what the setting promises while one node is cut off, and
// while it is killed; it is whole again soon after.
func TestStoreInContainers(t *testing.T) {
	ctx := context.Background()
	s, w := startDocker(t, "abd")
	require.NoError(t, put(t, s, w, 0, 1))
	for i := range 3 {
		got, err := read(t, s, w, i)
		require.NoError(t, err)
		require.Equal(t, history.Value(1), got)
	}

	alone := []harness.Link{{From: 2, To: 0}, {From: 0, To: 2}, {From: 2, To: 1}, {From: 1, To: 2}}
	require.NoError(t, w.Cut(ctx, "alone", alone, lease))
	require.NoError(t, put(t, s, w, 0, 2))
	_, err := read(t, s, w, 2)
	require.Error(t, err, "the minority cannot read")
	require.True(t, harness.IsDefinite(err))
	err = put(t, s, w, 2, 3)
	require.ErrorContains(t, err, "unavailable")
	require.True(t, harness.IsDefinite(err), "it could not even choose a version")
	// Long enough for the connections to be given up.
	require.NoError(t, w.Sleep(ctx, 3*time.Second))
	require.NoError(t, w.Restore(ctx, "alone"))
	healed := time.Now()
	for err = put(t, s, w, 2, 4); err != nil; err = put(t, s, w, 2, 4) {
		require.Less(t, time.Since(healed), 3*time.Second, "%v", err)
	}
	t.Logf("served again %v after healing", time.Since(healed).Round(time.Millisecond))

	require.NoError(t, w.Kill(ctx, 1, lease))
	require.Error(t, put(t, s, w, 1, 5))
	require.NoError(t, put(t, s, w, 0, 6))
	require.NoError(t, w.Start(ctx, 1))
	for s.Ready(ctx, w.Addr(1)) != nil {
		require.NoError(t, w.Sleep(ctx, 5*time.Millisecond))
	}
	got, err := read(t, s, w, 1)
	require.NoError(t, err)
	require.Equal(t, history.Value(6), got)
	held, err := s.Inspect(ctx, w, 1, []string{"k", "other"})
	require.NoError(t, err)
	require.True(t, held[0].Present)
	require.Equal(t, history.Value(6), held[0].Value, "the read has written it back")
	require.False(t, held[1].Present)
}

// A node that was down gets what it has missed by itself, soon after it is back.
func TestMissedWritesArriveInContainers(t *testing.T) {
	ctx := context.Background()
	s, w := startDocker(t, "one-one")
	require.NoError(t, put(t, s, w, 0, 1))
	require.NoError(t, w.Kill(ctx, 2, lease))
	require.NoError(t, put(t, s, w, 0, 2))
	// Its coordinator has given up sending it by then.
	require.NoError(t, w.Sleep(ctx, 2*s.Profile().Timeout))
	require.NoError(t, w.Start(ctx, 2))
	for s.Ready(ctx, w.Addr(2)) != nil {
		require.NoError(t, w.Sleep(ctx, 5*time.Millisecond))
	}
	back := time.Now()
	for {
		held, err := s.Inspect(ctx, w, 2, []string{"k"})
		require.NoError(t, err)
		if held[0].Present && held[0].Value == 2 {
			break
		}
		require.Less(t, time.Since(back), 5*time.Second, "it holds %v", held[0])
		require.NoError(t, w.Sleep(ctx, 5*time.Millisecond))
	}
	t.Logf("whole again %v after it was back", time.Since(back).Round(time.Millisecond))
}

// A node whose clock is ahead wins over later writes: the store really stamps
// with the clock that the world skews.
func TestSkewedClockLosesWrites(t *testing.T) {
	ctx := context.Background()
	s, w := startDocker(t, "majority-lww")
	require.NoError(t, w.Supports(harness.CanClock), "a run without it would be green for nothing")
	require.NoError(t, w.SetClock(ctx, 0, harness.Clock{Offset: time.Minute}, lease))
	offset, within, err := w.ClockOffset(ctx, 0)
	require.NoError(t, err)
	require.InDelta(t, time.Minute, offset, float64(within+50*time.Millisecond))
	require.NoError(t, put(t, s, w, 0, 1))
	require.NoError(t, put(t, s, w, 1, 2), "acknowledged")
	got, err := read(t, s, w, 1)
	require.NoError(t, err)
	require.Equal(t, history.Value(1), got, "and lost")
}
