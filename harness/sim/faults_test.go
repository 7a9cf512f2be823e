package sim

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
)

func status(t *testing.T, w *World, node int) harness.Status {
	t.Helper()
	s, err := w.Status(bg, node)
	require.NoError(t, err)
	return s
}

func TestKillAndStart(t *testing.T) {
	w := newWorld(t, still())
	require.Equal(t, harness.Status{Up: true, Incarnation: 1}, status(t, w, 1))
	require.NoError(t, w.Kill(bg, 1, time.Minute))
	require.Equal(t, harness.Status{Incarnation: 1}, status(t, w, 1))
	require.Nil(t, w.Node(1))
	require.NoError(t, w.Kill(bg, 1, time.Minute), "it is down already")

	w.send(0, 1, "to the dead")
	pass(t, w, 5*time.Millisecond)
	require.EqualValues(t, 1, w.Stats().Down)

	before := w.Now()
	require.NoError(t, w.Start(bg, 1))
	require.Equal(t, 10*time.Millisecond, time.Duration(w.Now()-before), "Start returns when the process runs")
	require.Equal(t, harness.Status{Up: true, Incarnation: 2}, status(t, w, 1))
	require.NotNil(t, w.Node(1))
	require.NoError(t, w.Start(bg, 1), "it is up already")

	pass(t, w, 2*time.Minute)
	require.EqualValues(t, 2, status(t, w, 1).Incarnation, "the lease ended with Start")
}

func TestKillLease(t *testing.T) {
	w := newWorld(t, still())
	require.NoError(t, w.Kill(bg, 0, 100*time.Millisecond))
	pass(t, w, 105*time.Millisecond)
	require.False(t, status(t, w, 0).Up)
	pass(t, w, 10*time.Millisecond)
	require.Equal(t, harness.Status{Up: true, Incarnation: 2}, status(t, w, 0))
}

func TestKillWhileStarting(t *testing.T) {
	w := newWorld(t, still())
	require.NoError(t, w.Kill(bg, 0, time.Minute))
	var err error
	w.Go(bg, func(ctx context.Context) { err = w.Start(ctx, 0) })
	pass(t, w, 5*time.Millisecond)
	require.NoError(t, w.Kill(bg, 0, time.Second))
	pass(t, w, 500*time.Millisecond)
	require.ErrorContains(t, err, "killed again")
	require.False(t, status(t, w, 0).Up)
	pass(t, w, 520*time.Millisecond)
	require.True(t, status(t, w, 0).Up)
}

// What the process had set up dies with it.
func TestKillEndsTimersAndSyncs(t *testing.T) {
	var woken, synced []int
	cfg := still()
	boots := 0
	cfg.System = toy{func(h Host) (Node, error) {
		boots++
		if boots <= 3 { // the first three are at the start of the cluster
			h.WakeAt(5 * time.Millisecond)
			h.Disk().Sync(7)
		}
		return &puppet{
			wake:   func() { woken = append(woken, h.ID()) },
			synced: func(uint64) { synced = append(synced, h.ID()) },
		}, nil
	}}
	cfg.Boot = exactly(time.Microsecond)
	w := newWorld(t, cfg)
	require.NoError(t, w.Kill(bg, 1, time.Microsecond))
	pass(t, w, 20*time.Millisecond)
	require.True(t, status(t, w, 1).Up)
	require.Equal(t, []int{0, 2}, woken)
	require.Equal(t, []int{0, 2}, synced)
}

func TestBootError(t *testing.T) {
	boots := 0
	cfg := Config{Nodes: 2, Seed: 5, System: toy{func(Host) (Node, error) {
		if boots++; boots == 3 {
			return nil, errors.New("log is corrupt")
		}
		return &puppet{}, nil
	}}}
	w := newWorld(t, cfg)
	require.NoError(t, w.Kill(bg, 1, time.Minute))
	err := w.Start(bg, 1)
	require.ErrorContains(t, err, "seed 5")
	require.ErrorContains(t, err, "node 1 (incarnation 2): boot: log is corrupt")
	_, err = w.Wait(bg, w.Now()+1, nil)
	require.ErrorContains(t, err, "log is corrupt", "the run has failed")

	cfg.System = toy{func(Host) (Node, error) { return nil, nil }}
	_, err = New(cfg)
	require.ErrorContains(t, err, "returned no node")
	cfg.System = toy{func(Host) (Node, error) { panic("no") }}
	_, err = New(cfg)
	require.ErrorContains(t, err, "node 0 (incarnation 1): panicked: no")
}

func TestPauseHoldsEverythingBack(t *testing.T) {
	type event struct {
		at   time.Duration
		what string
	}
	var got []event
	cfg := still()
	cfg.System = toy{func(h Host) (Node, error) {
		note := func(what string) { got = append(got, event{h.Now(), what}) }
		if h.ID() == 1 {
			h.Disk().Sync(1)                  // complete at 1 ms
			h.WakeAt(1500 * time.Microsecond) // due between two messages
		}
		return &puppet{
			receive: func(_ int, msg any) { note(msg.(string)) },
			request: func(id uint64, req any) { note(req.(string)); h.Reply(id, "done") },
			wake:    func() { note("wake") },
			synced:  func(uint64) { note("synced") },
		}, nil
	}}
	w := newWorld(t, cfg)
	require.NoError(t, w.Pause(bg, 1, time.Minute))
	require.True(t, status(t, w, 1).Paused)
	work := status(t, w, 1).Work
	w.send(0, 1, "first")
	var resp any
	var err error
	w.Go(bg, func(ctx context.Context) { resp, err = w.Call(ctx, 1, "request") })
	pass(t, w, time.Millisecond)
	w.send(2, 1, "last")
	pass(t, w, 20*time.Millisecond)
	require.Empty(t, got)
	require.Equal(t, work, status(t, w, 1).Work, "a paused process does nothing")
	require.Nil(t, resp)

	require.NoError(t, w.Resume(bg, 1))
	pass(t, w, 20*time.Millisecond)
	at := 21 * time.Millisecond
	require.Equal(t, []event{{at, "synced"}, {at, "first"}, {at, "request"}, {at, "wake"}, {at, "last"}}, got)
	require.NoError(t, err)
	require.Equal(t, "done", resp)
	require.Greater(t, status(t, w, 1).Work, work)
	require.NoError(t, w.Resume(bg, 1), "it runs already")
}

func TestPauseLeaseAndKill(t *testing.T) {
	w := newWorld(t, still())
	require.NoError(t, w.Pause(bg, 0, 10*time.Millisecond))
	require.NoError(t, w.Pause(bg, 0, 30*time.Millisecond))
	pass(t, w, 20*time.Millisecond)
	require.True(t, status(t, w, 0).Paused, "the second lease counts")
	pass(t, w, 15*time.Millisecond)
	require.False(t, status(t, w, 0).Paused)

	require.NoError(t, w.Pause(bg, 0, time.Minute))
	var err error
	w.Go(bg, func(ctx context.Context) { _, err = w.Call(ctx, 0, "x") })
	w.send(1, 0, "x")
	pass(t, w, 5*time.Millisecond)
	require.NoError(t, w.Kill(bg, 0, time.Minute))
	require.Equal(t, harness.Status{Incarnation: 1, Work: status(t, w, 0).Work}, status(t, w, 0))
	pass(t, w, 5*time.Millisecond)
	require.ErrorIs(t, err, ErrReset)
	require.False(t, harness.IsDefinite(err))
	require.ErrorContains(t, w.Pause(bg, 0, time.Second), "node 0 is down")
	require.NoError(t, w.Start(bg, 0))
	require.False(t, status(t, w, 0).Paused, "a new process is not paused")
}

func TestClock(t *testing.T) {
	w := newWorld(t, still())
	offset := func() time.Duration {
		o, within, err := w.ClockOffset(bg, 0)
		require.NoError(t, err)
		require.Zero(t, within)
		require.Equal(t, w.machines[0].Wall(), Epoch.UnixNano()+w.Now()+int64(o))
		return o
	}
	require.Zero(t, offset())
	require.NoError(t, w.SetClock(bg, 0, harness.Clock{Offset: -3 * time.Second, Drift: 0.01}, time.Minute))
	require.Equal(t, -3*time.Second, offset())
	mono := w.machines[0].Now()
	pass(t, w, 10*time.Second)
	require.Equal(t, -2900*time.Millisecond, offset())
	require.Equal(t, 10*time.Second, w.machines[0].Now()-mono, "the monotonic clock does not drift")

	require.NoError(t, w.Kill(bg, 0, time.Minute))
	_, _, err := w.ClockOffset(bg, 0)
	require.ErrorContains(t, err, "node 0 is down")
	require.NoError(t, w.Start(bg, 0))
	require.Less(t, offset(), -2*time.Second, "a restarted node keeps the clock")

	require.NoError(t, w.SetClock(bg, 0, harness.Clock{}, time.Minute))
	require.Zero(t, offset())
	require.NoError(t, w.SetClock(bg, 0, harness.Clock{Offset: time.Hour}, time.Second))
	pass(t, w, 2*time.Second)
	require.Zero(t, offset(), "the lease is over")
	require.ErrorContains(t, w.SetClock(bg, 0, harness.Clock{Drift: -2}, time.Second), "drift")
}

// A timer that is put off, moved forward or cancelled fires when it should.
func TestWakeAt(t *testing.T) {
	var at []time.Duration
	var host Host
	cfg := still()
	cfg.Nodes = 1
	cfg.System = toy{func(h Host) (Node, error) {
		host = h
		return &puppet{wake: func() { at = append(at, h.Now()) }}, nil
	}}
	w := newWorld(t, cfg)
	ms := time.Millisecond
	host.WakeAt(5 * ms)
	host.WakeAt(8 * ms) // put off
	pass(t, w, 10*ms)
	host.WakeAt(20 * ms)
	host.WakeAt(12 * ms) // moved forward
	pass(t, w, 5*ms)
	host.WakeAt(17 * ms)
	host.WakeAt(-1) // cancelled
	pass(t, w, 10*ms)
	host.WakeAt(1 * ms) // in the past: at once
	pass(t, w, ms)
	require.Equal(t, []time.Duration{8 * ms, 12 * ms, 25 * ms}, at)
}

func TestLog(t *testing.T) {
	cfg := still()
	cfg.System = toy{func(h Host) (Node, error) {
		return &puppet{request: func(id uint64, req any) { h.Logf("request %v", req); h.Reply(id, nil) }}, nil
	}}
	w := newWorld(t, cfg)
	_, err := w.Call(bg, 2, "x")
	require.NoError(t, err)
	log, err := w.Log(bg, 2)
	require.NoError(t, err)
	require.Equal(t, "0.001000000 request x\n", string(log))

	var l nodeLog
	for range 100_000 {
		l.add(0, "%s", []any{"a line of a log that is too long to be kept"})
	}
	require.LessOrEqual(t, len(l.buf), logLimit)
	lines := strings.Split(string(l.bytes()), "\n")
	require.Contains(t, lines[0], "earlier bytes dropped")
	require.Equal(t, "0.000000000 a line of a log that is too long to be kept", lines[1])
}

func TestNoSuchNode(t *testing.T) {
	w := newWorld(t, Config{})
	for _, node := range []int{-1, 3} {
		_, err := w.Status(bg, node)
		require.ErrorContains(t, err, "the nodes are 0 to 2")
		require.Error(t, w.Kill(bg, node, time.Second))
		require.Error(t, w.Start(bg, node))
		require.Error(t, w.Pause(bg, node, time.Second))
		require.Error(t, w.Resume(bg, node))
		require.Error(t, w.SetClock(bg, node, harness.Clock{}, time.Second))
		_, err = w.Log(bg, node)
		require.Error(t, err)
		_, err = w.Call(bg, node, "x")
		require.True(t, harness.IsDefinite(err))
		require.Nil(t, w.Node(node))
		require.Nil(t, w.Disk(node))
	}
	require.NoError(t, w.Supports(harness.CanCut))
	require.Error(t, w.Supports("teleport"))
}

// A wiped node has no process and an empty disk, and its old syncs are nobody's; it
// is a spare like those that were there from the beginning.
func TestWipeAndSpares(t *testing.T) {
	cfg := still()
	cfg.Spares = 2
	var found []string
	cfg.System = toy{func(h Host) (Node, error) {
		require.Equal(t, 3, h.Nodes())
		found = h.Disk().Files()
		h.Disk().Append("log", []byte("x"))
		h.Disk().Sync(1)
		return &puppet{synced: func(uint64) {}}, nil
	}}
	w := newWorld(t, cfg)
	require.Equal(t, []int{3, 2}, []int{w.Nodes(), w.Spares()})
	require.Equal(t, harness.Status{}, status(t, w, 4))
	w.send(0, 4, "to nobody")
	pass(t, w, time.Second)
	require.EqualValues(t, 1, w.Stats().Down)

	require.NoError(t, w.Start(bg, 4))
	require.Empty(t, found)
	require.True(t, status(t, w, 4).Up)
	require.NoError(t, w.Kill(bg, 1, time.Minute))
	require.NoError(t, w.Start(bg, 1))
	require.Equal(t, []string{"log"}, found)

	require.NoError(t, w.Wipe(bg, 1))
	require.NoError(t, w.Wipe(bg, 1), "again")
	require.False(t, status(t, w, 1).Up)
	require.NoError(t, w.Kill(bg, 2, time.Second))
	require.NoError(t, w.Wipe(bg, 2))
	pass(t, w, 2*time.Minute)
	require.False(t, status(t, w, 1).Up)
	require.False(t, status(t, w, 2).Up, "its lease went with it")
	require.NoError(t, w.Start(bg, 1))
	require.Empty(t, found)
	require.Error(t, w.Wipe(bg, 5))
	require.Error(t, w.Supports(harness.CanReconfigure), "the toy cannot")
}

// Spares change nothing for the others.
func TestSparesDoNotShiftChance(t *testing.T) {
	delays := func(spares int) (at []int64) {
		cfg := Config{System: toy{func(Host) (Node, error) { return &puppet{}, nil }}, Nodes: 3, Spares: spares, Seed: 7}
		cfg.Trace = func(e Event) {
			if e.Kind == EventDeliver {
				at = append(at, e.At)
			}
		}
		w := newWorld(t, cfg)
		for range 20 {
			w.send(2, 0, "a")
			w.send(1, 2, "b")
		}
		pass(t, w, time.Second)
		return at
	}
	require.Len(t, delays(0), 40)
	require.Equal(t, delays(0), delays(5))
}
