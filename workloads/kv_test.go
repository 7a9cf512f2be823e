package workloads_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/workloads"
)

// memory is a store with one copy, and a clock for each node. before is called
// with each request, and fails it by an error.
type memory struct {
	values map[string]string
	clocks [3]time.Time
	before func(op, key string) error
}

func newMemory() *memory {
	m := &memory{values: map[string]string{}}
	for i := range m.clocks {
		m.clocks[i] = time.Unix(1000, 0)
	}
	return m
}

func (m *memory) Name() string { return "memory" }

func (m *memory) Open(_ context.Context, _ harness.World, node int) (harness.Client, error) {
	return &memoryClient{m, node}, nil
}

func (m *memory) Inspect(_ context.Context, _ harness.World, _ int, keys []string) ([]harness.Replica, error) {
	out := make([]harness.Replica, len(keys))
	for i, k := range keys {
		if text, ok := m.values[k]; ok {
			v, list, err := workloads.Decode(text)
			if err != nil {
				return nil, err
			}
			out[i] = harness.Replica{Present: true, Value: v, Values: list}
		}
	}
	return out, nil
}

func (m *memory) ask(op, key string) error {
	if m.before == nil {
		return nil
	}
	return m.before(op, key)
}

type memoryClient struct {
	*memory
	node int
}

func (c *memoryClient) Invoke(context.Context, string, *history.Op) error { return nil }
func (c *memoryClient) Close() error                                      { return nil }

func (c *memoryClient) Get(_ context.Context, key string) (string, error) {
	return c.values[key], c.ask("get", key)
}

func (c *memoryClient) Put(_ context.Context, key, value string) error {
	if err := c.ask("put", key); err != nil {
		return err
	}
	c.values[key] = value
	return nil
}

func (c *memoryClient) CAS(_ context.Context, key, old, value string) (bool, error) {
	if err := c.ask("cas", key); err != nil {
		return false, err
	}
	if c.values[key] != old {
		return false, nil
	}
	c.values[key] = value
	return true, nil
}

func (c *memoryClient) Now(context.Context) (time.Time, error) {
	return c.clocks[c.node], c.ask("now", "")
}

// sleeper is a world in which time passes when somebody sleeps.
type sleeper struct {
	harness.World
	store *memory
	slept int
	limit int
}

func (s *sleeper) Sleep(_ context.Context, d time.Duration) error {
	if s.slept++; s.slept > s.limit {
		return context.DeadlineExceeded
	}
	for i := range s.store.clocks {
		s.store.clocks[i] = s.store.clocks[i].Add(d)
	}
	return nil
}

// bench is a workload over a memory.
type bench struct {
	t      *testing.T
	store  *memory
	world  *sleeper
	system harness.System
}

func newBench(t *testing.T, l workloads.Layered) *bench {
	m := newMemory()
	return &bench{t: t, store: m, world: &sleeper{store: m, limit: 1000}, system: l.Over(m)}
}

func (b *bench) open(node int) harness.Lister {
	c, err := b.system.Open(b.t.Context(), b.world, node)
	require.NoError(b.t, err)
	return c.(harness.Lister)
}

func (b *bench) do(node int, f history.F, key string, args ...history.Value) (history.Value, error) {
	op := history.Op{F: f, Out: history.Nil, Process: int32(node)}
	for i, v := range args {
		*[]*history.Value{&op.Arg, &op.Arg2}[i] = v
	}
	err := b.open(node).Invoke(b.t.Context(), key, &op)
	return op.Out, err
}

func (b *bench) all(node int, key string) history.List {
	list, err := b.open(node).InvokeAll(b.t.Context(), key, &history.Op{F: history.ReadAll})
	require.NoError(b.t, err)
	return list
}

func (b *bench) inspect(node int, keys ...string) []harness.Replica {
	held, err := b.system.Inspect(b.t.Context(), b.world, node, keys)
	require.NoError(b.t, err)
	require.Len(b.t, held, len(keys))
	return held
}

type noKV struct{ *memory }

func (noKV) Open(context.Context, harness.World, int) (harness.Client, error) {
	return struct{ harness.Client }{}, nil
}

func TestLayeredNeedsAKV(t *testing.T) {
	_, err := workloads.Set(workloads.CollectionOptions{}).Over(noKV{newMemory()}).Open(t.Context(), nil, 0)
	require.ErrorContains(t, err, "is no workloads.KV")
	plain := workloads.Layered{Workload: workloads.Register(workloads.RegisterOptions{})}
	m := newMemory()
	require.Same(t, m, plain.Over(m), "a workload without a layer leaves the store as it is")
}

func TestCollections(t *testing.T) {
	for _, blind := range []bool{false, true} {
		for _, l := range []workloads.Layered{
			workloads.Set(workloads.CollectionOptions{Blind: blind}), workloads.Append(workloads.CollectionOptions{Blind: blind}),
		} {
			b := newBench(t, l)
			require.Nil(t, b.all(0, "s0"), "absent")
			for _, e := range []history.Value{5, 3, 9} {
				_, err := b.do(1, history.Add, "s0", e)
				require.NoError(t, err)
			}
			require.Equal(t, history.List{5, 3, 9}, b.all(2, "s0"))
			require.Equal(t, "[5,3,9]", b.store.values["s0"])
			require.Equal(t, history.List{5, 3, 9}, b.inspect(0, "s0", "s1")[0].Values)
			require.False(t, b.inspect(0, "s1")[0].Present)
			_, err := b.do(0, history.Write, "s0", 1)
			require.True(t, harness.IsDefinite(err))
			require.ErrorContains(t, err, "has no write")
		}
	}
}

// A rival's addition comes between the read and the write.
func TestOnlyCASKeepsARivalsAddition(t *testing.T) {
	for _, blind := range []bool{false, true} {
		b := newBench(t, workloads.Append(workloads.CollectionOptions{Blind: blind}))
		once := false
		b.store.before = func(op, key string) error {
			if op != "get" && !once {
				once = true
				b.store.values[key] = "[1]"
			}
			return nil
		}
		_, err := b.do(0, history.Add, "l0", 2)
		require.NoError(t, err)
		want := history.List{1, 2}
		if blind {
			want = history.List{2}
		}
		require.Equal(t, want, b.all(0, "l0"))
	}
}

// What is known of an operation follows from what is known of its requests.
func TestErrorsOfRequests(t *testing.T) {
	lost := errors.New("no answer")
	failing := func(request string) func(op, key string) error {
		return func(op, _ string) error {
			if op == request {
				return lost
			}
			return nil
		}
	}
	for _, c := range []struct {
		name     string
		l        workloads.Layered
		f        history.F
		args     []history.Value
		request  string
		definite bool
	}{
		{"a read before", workloads.Set(workloads.CollectionOptions{}), history.Add, []history.Value{1}, "get", true},
		{"the change", workloads.Set(workloads.CollectionOptions{}), history.Add, []history.Value{1}, "cas", false},
		{"the put", workloads.Set(workloads.CollectionOptions{Blind: true}), history.Add, []history.Value{1}, "put", false},
		{"of a counter", workloads.Counter(workloads.CollectionOptions{}), history.Add, []history.Value{1}, "cas", false},
		{"of a bank", workloads.Bank(workloads.BankOptions{}), history.Transfer, []history.Value{history.Accounts(0, 1), 1}, "cas", false},
		{"of a post", workloads.Feed(workloads.FeedOptions{}), history.Add, []history.Value{1}, "put", false},
		{"of a ledger", workloads.Balance(workloads.BalanceOptions{}), history.Write, []history.Value{1}, "put", false},
		{"taking a lock", workloads.Lock(workloads.LockOptions{}), history.Add, []history.Value{1}, "cas", true},
		{"asking for the time", workloads.Lock(workloads.LockOptions{}), history.Add, []history.Value{1}, "now", true},
		{"writing under a lock", workloads.Lock(workloads.LockOptions{}), history.Add, []history.Value{1}, "put", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, c.l)
			b.store.before = failing(c.request)
			_, err := b.do(0, c.f, "k", c.args...)
			require.ErrorIs(t, err, lost)
			require.Equal(t, c.definite, harness.IsDefinite(err))
		})
	}
}

func TestCounter(t *testing.T) {
	b := newBench(t, workloads.Counter(workloads.CollectionOptions{}))
	v, err := b.do(0, history.Read, "n0")
	require.NoError(t, err)
	require.Zero(t, v)
	for range 3 {
		_, err := b.do(1, history.Add, "n0", 2)
		require.NoError(t, err)
	}
	v, err = b.do(2, history.Read, "n0")
	require.NoError(t, err)
	require.Equal(t, history.Value(6), v)
	require.Equal(t, history.Value(6), b.inspect(0, "n0")[0].Value)
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"7", "-3", "[1,2]", "[]", "[", "", "[1,", "1e3", "null", "[null]", "[1.5]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, list, err := workloads.Decode(s)
		if err != nil {
			return
		}
		// What can be read is what a client wrote, up to signs and zeros in front.
		want := v.String()
		if list != nil {
			words := make([]string, len(list))
			for i, v := range list {
				words[i] = v.String()
			}
			want = "[" + strings.Join(words, ",") + "]"
		}
		again, listAgain, err := workloads.Decode(want)
		require.NoError(t, err)
		require.Equal(t, v, again)
		require.Equal(t, list, listAgain)
	})
}
