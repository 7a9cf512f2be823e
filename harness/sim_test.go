package harness_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/harness/sim"
)

// gossip is a simulated store of the weakest kind: a node answers at once and
// tells the others afterwards.
type gossip struct{}

type gossipNode struct {
	h    sim.Host
	data map[string]history.Value
}

type put struct {
	key   string
	value history.Value
}

func (gossip) Name() string { return "gossip" }

func (gossip) Boot(h sim.Host) (sim.Node, error) {
	return &gossipNode{h, map[string]history.Value{}}, nil
}

func (n *gossipNode) Request(id uint64, req any) {
	switch q := req.(type) {
	case put:
		n.data[q.key] = max(n.data[q.key], q.value)
		for to := range n.h.Nodes() {
			if to != n.h.ID() {
				n.h.Send(to, q)
			}
		}
		n.h.Reply(id, q.value)
	case string:
		v, ok := n.data[q]
		if !ok {
			v = history.Nil
		}
		n.h.Reply(id, v)
	}
}

func (n *gossipNode) Receive(_ int, msg any) {
	p := msg.(put)
	n.data[p.key] = max(n.data[p.key], p.value)
}

func (n *gossipNode) Wake()         {}
func (n *gossipNode) Synced(uint64) {}

type gossipClient struct {
	w    *sim.World
	node int
}

func (gossip) Open(_ context.Context, w harness.World, node int) (harness.Client, error) {
	return gossipClient{w.(*sim.World), node}, nil
}

func (c gossipClient) Invoke(ctx context.Context, key string, op *history.Op) error {
	if op.F == history.Write {
		_, err := c.w.Call(ctx, c.node, put{key, op.Arg})
		return err
	}
	v, err := c.w.Call(ctx, c.node, key)
	if err == nil {
		op.Out = v.(history.Value)
	}
	return err
}

func (gossipClient) Close() error { return nil }

func (gossip) Inspect(_ context.Context, w harness.World, node int, keys []string) ([]harness.Replica, error) {
	n, ok := w.(*sim.World).Node(node).(*gossipNode)
	if !ok {
		return nil, errors.New("the node is down")
	}
	replicas := make([]harness.Replica, len(keys))
	for i, k := range keys {
		replicas[i].Value, replicas[i].Present = n.data[k]
	}
	return replicas, nil
}

// simTest is a test with two overlapping faults.
func simTest(seed uint64) harness.Test {
	test := newTest(gossip{})
	test.Seed = seed
	test.Workload.Generator = gen.Rate(2000, mix())
	test.Before, test.During, test.Recovery, test.Settle = time.Second, 2*time.Second, time.Second, time.Second
	pause := &fault{
		kind:  "pause",
		apply: func(ctx context.Context, w harness.World) error { return w.Pause(ctx, 2, time.Minute) },
		heal:  func(ctx context.Context, w harness.World) error { return w.Resume(ctx, 2) },
	}
	test.Faults = []harness.Episode{
		{At: 200 * ms, For: time.Second, Fault: kill(0)},
		{At: 700 * ms, For: time.Second, Fault: pause},
	}
	return test
}

func runSim(t *testing.T, ctx context.Context, test harness.Test, o harness.Options) (*harness.Result, error) {
	t.Helper()
	w, err := sim.New(sim.Config{System: gossip{}, Nodes: 3, Seed: test.Seed})
	require.NoError(t, err)
	r, err := harness.Run(ctx, test, w, o)
	require.NoError(t, w.Close(context.Background()))
	return r, err
}

// A simulated run is a function of the test and the seed, to the last byte of
// its file.
func TestSimulatedRunsAreDeterministic(t *testing.T) {
	seen := map[[32]byte]bool{}
	for seed := range uint64(10) {
		test := simTest(seed)
		test.Workload.Generator = gen.Rate(300, mix())
		var logs [2]bytes.Buffer
		var hashes [2][32]byte
		for i := range logs {
			r, err := runSim(t, t.Context(), test, harness.Options{Log: &logs[i], Progress: func(harness.Snapshot) {}})
			require.NoError(t, err)
			requireSane(t, r.History)
			hashes[i] = r.History.Hash()
		}
		require.Equal(t, hashes[0], hashes[1], "seed %d", seed)
		require.True(t, bytes.Equal(logs[0].Bytes(), logs[1].Bytes()), "seed %d", seed)
		require.False(t, seen[hashes[0]], "seed %d gave the history of another one", seed)
		seen[hashes[0]] = true
	}
}

func TestSimulatedRun(t *testing.T) {
	r, err := runSim(t, t.Context(), simTest(1), harness.Options{})
	require.NoError(t, err)
	require.Empty(t, r.Warnings)
	h := r.History
	begin := h.Phases[1].Start
	require.EqualValues(t, time.Second, begin)
	require.Len(t, h.Faults, 2)
	for i, at := range []time.Duration{200 * ms, 700 * ms} {
		f := h.Faults[i]
		require.Equal(t, begin+int64(at), f.Start)
		require.GreaterOrEqual(t, f.End, f.Start+int64(time.Second))
		require.Less(t, f.End, f.Start+int64(1100*ms), "a restart takes 50 ms")
		require.True(t, f.Effect.OK && f.Recovery.OK)
	}
	// Node 0 refuses while it is down, node 2 answers late or not at all.
	for _, o := range h.Ops {
		down := o.Node == 0 && o.Call > h.Faults[0].Start+int64(ms) && o.Call < h.Faults[0].Start+int64(990*ms)
		paused := o.Node == 2 && o.Call > h.Faults[1].Start+int64(ms) && o.Call < h.Faults[1].Start+int64(790*ms)
		switch {
		case down:
			require.Equal(t, history.Fail, o.Outcome)
		case paused && o.F == history.Write:
			require.Equal(t, history.Info, o.Outcome)
		case paused:
			require.Equal(t, history.Fail, o.Outcome)
		}
	}
	require.Positive(t, count(h, history.Write, history.Info))
	require.Greater(t, count(h, history.Write, history.OK), 2000)
	require.Len(t, r.Replicas, 3)
}

// Simulated time does not pass while the run is being interrupted from
// outside, and the faults are healed all the same.
func TestInterruptedSimulatedRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	test := simTest(1)
	test.During = time.Hour
	test.Faults[0].Fault.(*fault).proveApplied = func(context.Context, harness.World) (string, error) {
		cancel()
		return "down", nil
	}
	test.Faults[0].For = time.Hour
	r, err := runSim(t, ctx, test, harness.Options{})
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, r.History.Faults, 1)
	require.True(t, r.History.Faults[0].Recovery.OK)
	require.Less(t, time.Duration(r.History.End()), 3*time.Second)
}

func TestSimulatedClientsThatTakeNoTime(t *testing.T) {
	test := newTest(instant{})
	test.Workload.Generator = gen.Repeat(gen.Op{F: history.Read})
	_, err := runSim(t, t.Context(), test, harness.Options{})
	require.ErrorContains(t, err, "without any time passing")
}

// instant is a system that answers in no time.
type instant struct{ gossip }

func (instant) Open(context.Context, harness.World, int) (harness.Client, error) {
	return &memClient{s: &memSystem{invoke: func(context.Context, int, string, *history.Op) error { return nil }}}, nil
}

// An observer can end the load: what is in force is healed, what is in flight is
// recorded, the replicas settle, and the same seed stops at the same place.
func TestObserverEndsTheLoad(t *testing.T) {
	run := func(stopAt int) (*harness.Result, []history.Event) {
		var seen []history.Event
		r, err := runSim(t, t.Context(), simTest(5), harness.Options{Observe: func(e *history.Event) bool {
			seen = append(seen, *e)
			return len(seen) == stopAt
		}})
		require.NoError(t, err)
		return r, seen
	}
	whole, all := run(-1)
	require.False(t, whole.Stopped)
	require.Len(t, all, 2*len(whole.History.Ops), "each operation twice")
	for _, e := range all {
		if e.Done {
			op := whole.History.Ops[e.ID]
			op.Err = 0
			require.Equal(t, op, e.Op, "the observer sees what is recorded")
		}
	}

	// In the middle of the fault phase.
	stopAt := 0
	for i, e := range all {
		if e.Op.Call < whole.History.Phases[1].Start+int64(time.Second) {
			stopAt = i
		}
	}
	r, seen := run(stopAt)
	require.True(t, r.Stopped)
	require.Equal(t, all[:stopAt], seen[:stopAt])
	for _, e := range seen[stopAt:] {
		require.True(t, e.Done, "nothing is invoked after the stop")
	}
	require.Len(t, r.History.Phases, 2, "no recovery phase")
	require.NotEmpty(t, r.History.Faults)
	for _, f := range r.History.Faults {
		require.True(t, f.Recovery.OK, "%s is healed", f.Kind)
	}
	require.Len(t, r.Replicas, 3)
	again, _ := run(stopAt)
	require.Equal(t, r.History.Hash(), again.History.Hash())
}
