package harness_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

const ms = time.Millisecond

// mix reads and writes two keys.
func mix() gen.Generator {
	one := func(f history.F) gen.Generator {
		return gen.Func(func(c gen.Context) gen.Op {
			r := c.Rand(0)
			return gen.Op{F: f, Key: int32(r.IntN(2))}
		})
	}
	return gen.Mix(gen.Weight(1, one(history.Read)), gen.Weight(1, gen.Unique(one(history.Write))))
}

func newTest(s harness.System) harness.Test {
	return harness.Test{
		Name:      "test",
		System:    s,
		Workload:  harness.Workload{Name: "mix", Keys: []string{"x", "y"}, Generator: gen.Rate(5000, mix())},
		Clients:   6,
		OpTimeout: 200 * ms,
		Before:    100 * ms,
		Settle:    20 * ms,
	}
}

func count(h *history.History, f history.F, o history.Outcome) int {
	n := 0
	for i := range h.Ops {
		if h.Ops[i].F == f && h.Ops[i].Outcome == o {
			n++
		}
	}
	return n
}

// requireSane checks what is true of every history.
func requireSane(t *testing.T, h *history.History) {
	t.Helper()
	end := map[int32]int64{}
	retired := map[int32]bool{}
	for i, o := range h.Ops {
		require.False(t, retired[o.Process], "operation %d: process %d was retired", i, o.Process)
		require.GreaterOrEqual(t, o.Call, end[o.Process], "operation %d: process %d does two things at once", i, o.Process)
		require.GreaterOrEqual(t, o.Return, o.Call)
		end[o.Process] = o.Return
		retired[o.Process] = o.Outcome == history.Info
	}
}

func TestRunAllPhases(t *testing.T) {
	s := &memSystem{}
	test := newTest(s)
	test.During, test.Recovery = 200*ms, 100*ms
	k := kill(1)
	test.Faults = []harness.Episode{{At: 20 * ms, For: 150 * ms, Fault: k}}
	var log bytes.Buffer
	var phases []string
	r, err := harness.Run(t.Context(), test, newMemWorld(t, 3), harness.Options{
		Log: &log,
		Progress: func(s harness.Snapshot) {
			require.Equal(t, 400*ms, s.Total)
			phases = append(phases, s.Phase)
		},
	})
	require.NoError(t, err)
	require.Empty(t, r.Warnings)
	h := r.History
	requireSane(t, h)
	require.Equal(t, []string{"x", "y"}, h.Keys)
	require.Positive(t, count(h, history.Read, history.OK))
	require.Positive(t, count(h, history.Write, history.OK))
	require.Positive(t, count(h, history.Read, history.Fail)+count(h, history.Write, history.Fail), "node 1 refused while it was down")
	require.Zero(t, count(h, history.Write, history.Info))
	for _, o := range h.Ops {
		require.Equal(t, int16(o.Process%3), o.Node)
		if o.Outcome == history.Fail {
			require.Equal(t, int16(1), o.Node)
			require.Contains(t, h.Error(&o), "connection refused")
		}
	}

	require.Len(t, h.Phases, 3)
	require.Equal(t, history.PhaseFaults, h.Phases[1].Name)
	require.GreaterOrEqual(t, h.Phases[1].End-h.Phases[1].Start, int64(200*ms))
	require.Equal(t, []string{"before", "faults", "recovery", "settle"}, slices.Compact(phases))

	require.Len(t, h.Faults, 1)
	f := h.Faults[0]
	require.Equal(t, "kill", f.Kind)
	require.Equal(t, "node 0", f.Detail)
	require.True(t, f.Effect.OK)
	require.True(t, f.Recovery.OK)
	require.Equal(t, "it is gone", f.Recovery.Evidence)
	require.GreaterOrEqual(t, f.Start, h.Phases[1].Start+int64(20*ms))
	require.GreaterOrEqual(t, f.End, h.Phases[1].Start+int64(170*ms))
	require.LessOrEqual(t, f.End, h.Phases[2].Start)
	require.Greater(t, k.lease, 10*time.Second, "the lease has a margin")
	require.Less(t, k.lease, 11*time.Second)

	require.GreaterOrEqual(t, r.Settled, time.Duration(0))
	require.Len(t, r.Replicas, 3)
	require.Equal(t, s.opened.Load(), s.closed.Load())

	logged, err := history.Decode(&log)
	require.NoError(t, err)
	require.NoError(t, logged.Cut)
	require.Equal(t, h.Hash(), logged.Hash())
}

func TestIndefiniteErrorRetiresTheProcess(t *testing.T) {
	s := &memSystem{}
	n := 0
	s.invoke = func(_ context.Context, _ int, _ string, op *history.Op) error {
		if n++; n%2 == 0 {
			return errors.New("timeout")
		}
		return nil
	}
	test := newTest(s)
	test.Clients = 1
	test.Workload.Generator = gen.Limit(6, gen.Repeat(gen.Op{F: history.Write}))
	r, err := harness.Run(t.Context(), test, newMemWorld(t, 1), harness.Options{})
	require.NoError(t, err)
	requireSane(t, r.History)
	var processes []int32
	for _, o := range r.History.Ops {
		processes = append(processes, o.Process)
	}
	require.Equal(t, []int32{0, 0, 1, 1, 2, 2}, processes)
	require.Equal(t, 3, count(r.History, history.Write, history.Info))
	require.EqualValues(t, 3, s.opened.Load(), "a client is not used again; the last is replaced only when it is needed")
	require.EqualValues(t, 3, s.closed.Load())
}

// A read that got no answer has not done anything. But its answer may still be
// on the connection.
func TestReadWithoutAnswerFails(t *testing.T) {
	s := &memSystem{invoke: func(context.Context, int, string, *history.Op) error { return errors.New("timeout") }}
	test := newTest(s)
	test.Clients = 1
	test.Workload.Generator = gen.Limit(3, gen.Repeat(gen.Op{F: history.Read}))
	r, err := harness.Run(t.Context(), test, newMemWorld(t, 1), harness.Options{})
	require.NoError(t, err)
	require.Equal(t, 3, count(r.History, history.Read, history.Fail))
	for _, o := range r.History.Ops {
		require.Zero(t, o.Process)
	}
	require.EqualValues(t, 3, s.opened.Load())
}

// The clients connect, then the node is gone: what cannot be sent fails, and
// there are few such failures.
func TestOpenFailsWithBackoff(t *testing.T) {
	s := &memSystem{}
	opens := 0
	s.open = func(node int) (harness.Client, error) {
		if opens++; opens > 1 {
			return nil, errors.New("no route to host")
		}
		return &memClient{s: s}, nil
	}
	s.invoke = func(context.Context, int, string, *history.Op) error { return errors.New("connection reset") }
	test := newTest(s)
	test.Clients = 1
	test.Before = 250 * ms
	test.Workload.Generator = gen.Repeat(gen.Op{F: history.Write})
	r, err := harness.Run(t.Context(), test, newMemWorld(t, 1), harness.Options{})
	require.NoError(t, err)
	ops := r.History.Ops
	require.Equal(t, history.Info, ops[0].Outcome)
	// After 10, 20, 40, 80, 100, … ms.
	require.LessOrEqual(t, len(ops), 7)
	require.GreaterOrEqual(t, len(ops), 3)
	for i, o := range ops[1:] {
		require.Equal(t, history.Fail, o.Outcome)
		require.Contains(t, r.History.Error(&o), "open a client to node 0: no route to host")
		if i > 0 {
			require.GreaterOrEqual(t, o.Call-ops[i].Return, int64(10*ms)<<(i-1))
		}
	}
}

func TestARefusedCASIsNotSlowedDown(t *testing.T) {
	s := &memSystem{invoke: func(_ context.Context, _ int, _ string, op *history.Op) error {
		op.Out = 5
		return harness.Definite(errors.New("it is 5"))
	}}
	test := newTest(s)
	test.Clients = 1
	test.Before = time.Second
	test.Workload.Generator = gen.Limit(200, gen.Repeat(gen.Op{F: history.CAS}))
	r, err := harness.Run(t.Context(), test, newMemWorld(t, 1), harness.Options{})
	require.NoError(t, err)
	require.Equal(t, 200, count(r.History, history.CAS, history.Fail))
	require.Equal(t, history.Value(5), r.History.Ops[0].Out)
}

func TestNodesThatNeverOpen(t *testing.T) {
	s := &memSystem{}
	s.open = func(node int) (harness.Client, error) {
		if node == 0 {
			s.opened.Add(1)
			return &memClient{s: s}, nil
		}
		return nil, errors.New("connection refused")
	}
	r, err := harness.Run(t.Context(), newTest(s), newMemWorld(t, 2), harness.Options{OpenTimeout: 20 * ms})
	require.Nil(t, r)
	require.ErrorContains(t, err, `test "test" in world "memory"`)
	require.ErrorContains(t, err, "open a client to node 1: connection refused")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.EqualValues(t, 1, s.opened.Load())
	require.EqualValues(t, 1, s.closed.Load())
}

func TestClientThatNeverReturns(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	s := &memSystem{}
	s.invoke = func(_ context.Context, node int, _ string, _ *history.Op) error {
		if node == 0 {
			<-hang
		}
		return nil
	}
	test := newTest(s)
	test.Clients, test.OpTimeout = 2, 20*ms
	test.Workload.Generator = gen.Rate(1000, gen.Repeat(gen.Op{F: history.Write}))
	r, err := harness.Run(t.Context(), test, newMemWorld(t, 2), harness.Options{})
	require.NoError(t, err)
	require.Len(t, r.Warnings, 1)
	require.Contains(t, r.Warnings[0], "1 operations were still in flight")
	require.Equal(t, 1, count(r.History, history.Write, history.Info))
	require.Positive(t, count(r.History, history.Write, history.OK), "the other client is not held up")
	require.EqualValues(t, 1, s.closed.Load(), "a client in use must not be closed")
}

func TestTimeLimitOfAnOperation(t *testing.T) {
	s := &memSystem{invoke: func(ctx context.Context, _ int, _ string, _ *history.Op) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	test := newTest(s)
	test.OpTimeout = 20 * ms
	test.Workload.Generator = gen.Repeat(gen.Op{F: history.Write})
	r, err := harness.Run(t.Context(), test, newMemWorld(t, 3), harness.Options{})
	require.NoError(t, err)
	require.Empty(t, r.Warnings)
	for _, o := range r.History.Ops {
		require.Equal(t, history.Info, o.Outcome)
		require.Equal(t, context.DeadlineExceeded.Error(), r.History.Error(&o))
		require.GreaterOrEqual(t, o.Return-o.Call, int64(20*ms))
	}
}

func TestMistakesOfTheTestsOwnCode(t *testing.T) {
	user := func(f func(c gen.Context) (gen.Op, gen.State)) func(*memSystem, *harness.Test) {
		return func(_ *memSystem, test *harness.Test) { test.Workload.Generator = userGen(f) }
	}
	invoke := func(f func(op *history.Op) error) func(*memSystem, *harness.Test) {
		return func(s *memSystem, _ *harness.Test) {
			s.invoke = func(_ context.Context, _ int, _ string, op *history.Op) error { return f(op) }
		}
	}
	tests := []struct {
		name    string
		mistake func(*memSystem, *harness.Test)
		want    string
	}{
		{"worker out of range", user(func(c gen.Context) (gen.Op, gen.State) {
			return gen.Op{F: history.Read, Worker: 99, Time: c.Time}, gen.Ready
		}), "worker 99, but the workers are 0 to 5"},
		{"busy worker", user(func(c gen.Context) (gen.Op, gen.State) {
			return gen.Op{F: history.Write, Worker: 0, Time: c.Time}, gen.Ready
		}), "worker 0, who is not idle: take one of Context.Idle"},
		{"time goes back", user(func(c gen.Context) (gen.Op, gen.State) {
			return gen.Op{F: history.Read, Worker: c.Idle.First(), Time: c.Time - 1}, gen.Ready
		}), "Op.Time must be Context.Time or later"},
		{"no function", user(func(c gen.Context) (gen.Op, gen.State) {
			return gen.Op{Worker: c.Idle.First(), Time: c.Time}, gen.Ready
		}), "unknown function f0: set Op.F"},
		{"key out of range", user(func(c gen.Context) (gen.Op, gen.State) {
			return gen.Op{F: history.Read, Key: 2, Worker: c.Idle.First(), Time: c.Time}, gen.Ready
		}), "on key 2, but Workload.Keys has 2 keys"},
		{"pending for ever", user(func(gen.Context) (gen.Op, gen.State) {
			return gen.Op{}, gen.Pending
		}), "it would wait for ever"},
		{"generator panics", user(func(gen.Context) (gen.Op, gen.State) {
			panic("oh")
		}), `the generator of workload "mix" panicked: oh`},
		{"client panics", invoke(func(*history.Op) error { panic("oh") }),
			"Client.Invoke panicked: oh"},
		{"client ends its goroutine", invoke(func(*history.Op) error { runtime.Goexit(); return nil }),
			"Client.Invoke ended its goroutine (runtime.Goexit, which t.FailNow and require call): return an error instead"},
		{"client changes the call", invoke(func(op *history.Op) error { op.Call++; return nil }),
			"it changed more of the operation than Out"},
		{"open panics", func(s *memSystem, _ *harness.Test) {
			s.open = func(int) (harness.Client, error) { panic("oh") }
		}, "panicked: oh"},
		{"open gives nothing", func(s *memSystem, _ *harness.Test) {
			s.open = func(int) (harness.Client, error) { return nil, nil }
		}, "System.Open of node 0 gave neither a client nor an error"},
		{"inspect panics", func(s *memSystem, test *harness.Test) {
			s.inspect = func(int, []string) ([]harness.Replica, error) { panic("oh") }
		}, ""},
		{"no system", func(_ *memSystem, test *harness.Test) { test.System = nil }, "Test.System is nil"},
		{"one key twice", func(_ *memSystem, test *harness.Test) { test.Workload.Keys[1] = "x" },
			`Workload.Keys[1] is "x" again: name each key once`},
		{"no time", func(_ *memSystem, test *harness.Test) { test.Before = 0 }, "nothing would be tested"},
		{"late fault", func(_ *memSystem, test *harness.Test) {
			test.Faults = []harness.Episode{{At: time.Second, Fault: kill(0)}}
		}, "Test.Faults[0] starts at 1s of a fault phase of 0s\nTest.Faults[0] lasts 0s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &memSystem{}
			test := newTest(s)
			tt.mistake(s, &test)
			_, err := harness.Run(t.Context(), test, newMemWorld(t, 2), harness.Options{OpenTimeout: 100 * ms})
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// userGen is a generator as a user might write it.
type userGen func(c gen.Context) (gen.Op, gen.State)

func (g userGen) Next(c gen.Context) (gen.Op, gen.State, gen.Generator) {
	op, st := g(c)
	return op, st, g
}

func (g userGen) Update(gen.Context, gen.Completion) gen.Generator { return g }

func TestSettle(t *testing.T) {
	row := func(v history.Value) []harness.Replica {
		return []harness.Replica{{Present: true, Value: v, Stamp: "s"}, {}}
	}
	t.Run("never", func(t *testing.T) {
		s := &memSystem{inspect: func(node int, _ []string) ([]harness.Replica, error) { return row(history.Value(node)), nil }}
		r, err := harness.Run(t.Context(), newTest(s), newMemWorld(t, 2), harness.Options{})
		require.NoError(t, err)
		require.Negative(t, r.Settled)
		require.Equal(t, [][]harness.Replica{row(0), row(1)}, r.Replicas)
	})
	t.Run("in time", func(t *testing.T) {
		reads := 0
		s := &memSystem{inspect: func(node int, _ []string) ([]harness.Replica, error) {
			if reads++; reads > 6 {
				node = 0
			}
			return row(history.Value(node)), nil
		}}
		test := newTest(s)
		test.Settle = 10 * time.Second
		r, err := harness.Run(t.Context(), test, newMemWorld(t, 2), harness.Options{})
		require.NoError(t, err)
		require.Positive(t, r.Settled)
		require.Equal(t, 8, reads)
		require.Equal(t, [][]harness.Replica{row(0), row(0)}, r.Replicas)
	})
	// Each key has two replicas on three nodes. The third one's value is of no
	// interest, and a replica that lacks a key is not one that need not have it.
	t.Run("agree among those that hold the key", func(t *testing.T) {
		missing := false
		s := &memSystem{inspect: func(node int, _ []string) ([]harness.Replica, error) {
			row := []harness.Replica{{Present: true, Value: 1}, {Present: true, Value: 2}}
			switch node {
			case 0:
				row[0] = harness.Replica{Elsewhere: true, Present: true, Value: 9}
			case 1:
				row[1] = harness.Replica{Elsewhere: true}
			case 2:
				row[1].Present = !missing
			}
			return row, nil
		}}
		r, err := harness.Run(t.Context(), newTest(s), newMemWorld(t, 3), harness.Options{})
		require.NoError(t, err)
		require.GreaterOrEqual(t, r.Settled, time.Duration(0))
		missing = true
		r, err = harness.Run(t.Context(), newTest(s), newMemWorld(t, 3), harness.Options{})
		require.NoError(t, err)
		require.Negative(t, r.Settled)
	})
	t.Run("one cannot be read", func(t *testing.T) {
		s := &memSystem{inspect: func(node int, _ []string) ([]harness.Replica, error) {
			if node == 1 {
				return nil, errors.New("disk on fire")
			}
			return row(1), nil
		}}
		r, err := harness.Run(t.Context(), newTest(s), newMemWorld(t, 2), harness.Options{})
		require.NoError(t, err)
		require.Negative(t, r.Settled)
		require.Equal(t, [][]harness.Replica{row(1), nil}, r.Replicas)
		require.Contains(t, r.Warnings[0], "inspect node 1: disk on fire")
	})
	t.Run("not possible", func(t *testing.T) {
		s := &memSystem{inspect: func(int, []string) ([]harness.Replica, error) { return nil, errors.ErrUnsupported }}
		r, err := harness.Run(t.Context(), newTest(s), newMemWorld(t, 2), harness.Options{})
		require.NoError(t, err)
		require.Negative(t, r.Settled)
		require.Nil(t, r.Replicas)
		require.Contains(t, r.Warnings[0], "the replicas were not read")
	})
}

func TestInterruptedRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var applied, healed atomic.Int32
	f := &fault{
		kind:  "kill",
		apply: func(context.Context, harness.World) error { applied.Add(1); cancel(); return nil },
		heal: func(ctx context.Context, _ harness.World) error {
			healed.Add(1)
			return ctx.Err() // healing must not be cut short
		},
	}
	test := newTest(&memSystem{})
	test.During = time.Hour
	test.Faults = []harness.Episode{{At: 0, For: time.Hour, Fault: f}, {At: time.Minute, For: time.Hour, Fault: f}}
	r, err := harness.Run(ctx, test, newMemWorld(t, 2), harness.Options{})
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 1, applied.Load())
	require.EqualValues(t, 1, healed.Load())
	require.Len(t, r.History.Faults, 1)
	require.True(t, r.History.Faults[0].Recovery.OK)
	require.NotEmpty(t, r.History.Ops)
	requireSane(t, r.History)
}

func TestWorldThatGoesAway(t *testing.T) {
	w := newMemWorld(t, 2)
	test := newTest(&memSystem{})
	test.Before = time.Hour
	test.Workload.Generator = userGen(func(c gen.Context) (gen.Op, gen.State) {
		if c.Time > int64(20*ms) {
			w.Stop()
		}
		return gen.Op{F: history.Read, Worker: c.Idle.First(), Time: c.Time}, gen.Ready
	})
	r, err := harness.Run(t.Context(), test, w, harness.Options{})
	require.ErrorIs(t, err, harness.ErrClosed)
	require.NotEmpty(t, r.History.Ops)
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestLogThatCannotBeWritten(t *testing.T) {
	test := newTest(&memSystem{})
	test.Before = time.Hour
	_, err := harness.Run(t.Context(), test, newMemWorld(t, 2), harness.Options{Log: brokenWriter{}})
	require.ErrorContains(t, err, "no space left on device")
}
