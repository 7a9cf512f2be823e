package checkers

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// hard is a history that Porcupine does not finish: 20 busy clients.
func hard(t testing.TB, n int) (*model, []step) {
	h := load{seed: 5, ops: n, clients: 20, info: 0.05}.history()
	m := registerModel(ModelRegister, false)
	steps, err := prepare(h, whole(h), m, Options{})
	require.NoError(t, err)
	return m, steps
}

func TestSearchKeepsItsMemoryBudget(t *testing.T) {
	m, steps := hard(t, 5_000)
	for _, limit := range []uint64{16 << 20, 64 << 20} {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		out := decide(m, steps, Options{}, time.Time{}, limit)
		runtime.ReadMemStats(&after)
		require.Equal(t, Unknown, out.verdict)
		require.True(t, out.noMemory)
		require.Contains(t, out.why, "memory budget")
		// Everything the search ever allocated, the collected included,
		// against what was counted.
		got := float64(after.TotalAlloc - before.TotalAlloc)
		require.Less(t, got, 1.6*float64(limit))
		require.Greater(t, got, 0.5*float64(limit), "the budget is not used up: the count is too high")
	}
}

func TestMemoryBudgetRunsOutAtTheSamePlace(t *testing.T) {
	m, steps := hard(t, 2_000)
	used := func() uint64 {
		s := newSearch(len(steps), 8<<20)
		g := s.guard(m, m.initial(Options{}))
		runGuarded(g, steps)
		require.True(t, s.exhausted.Load())
		return s.used
	}
	first := used()
	for range 3 {
		require.Equal(t, first, used())
	}
}

func TestSearchKeepsItsTimeBudget(t *testing.T) {
	m, steps := hard(t, 5_000)
	start := time.Now()
	out := decide(m, steps, Options{}, start.Add(100*time.Millisecond), 4<<30)
	require.Equal(t, Unknown, out.verdict)
	require.Equal(t, "the time budget ran out", out.why)
	require.Less(t, time.Since(start), 5*time.Second)
	require.Equal(t, Unknown, decide(m, steps, Options{}, time.Now().Add(-time.Second), 0).verdict)
}

// The budget of a whole check is kept, whatever part of it takes the time.
func TestCheckKeepsItsBudget(t *testing.T) {
	h := repeated(load{seed: 9, ops: 20_000, clients: 20, info: 0.01}.history(), 7)
	const limit = 2 * time.Second
	start := time.Now()
	r := CheckModel(h, ModelRegister, Options{}, Budget{Time: limit, Memory: 1 << 30})
	took := time.Since(start)
	require.Equal(t, Unknown, r.Verdict, r.Reason)
	require.Less(t, took, limit*3/2)
	require.Regexp(t, "budget", r.Reason)
}

func TestHistoryThatDoesNotFitIsUnknown(t *testing.T) {
	m, steps := hard(t, 2_000)
	out := decide(m, steps, Options{}, time.Time{}, 1000)
	require.Equal(t, Unknown, out.verdict)
	require.Equal(t, "1959 operations do not fit the memory budget of 1000 bytes", out.why)
}

func TestBudgetOnManyKeys(t *testing.T) {
	// A value that is written twice keeps the zones away from each key. The
	// first is then too hard for its share of the memory and for all of it.
	h := load{seed: 6, ops: 2_000, clients: 20}.history()
	h.Keys = []string{"hard", "easy", "wrong"}
	late := h.Ops[len(h.Ops)-1].Call + 1e9
	add := func(f history.F, key int32, arg, out history.Value) {
		late += 10
		h.Ops = append(h.Ops, history.Op{F: f, Key: key, Call: late, Return: late + 5, Arg: arg, Out: out, Outcome: history.OK})
	}
	for key := range int32(2) {
		add(history.Write, key, 1, history.Nil)
		add(history.Write, key, 1, history.Nil)
	}
	budget := Budget{Memory: 16 << 20}
	r := CheckModel(h, ModelRegister, Options{}, budget)
	require.Equal(t, Unknown, r.Verdict, r.Reason)
	require.Equal(t, int32(0), r.Key)
	require.Equal(t, 2, r.Checked)
	require.Contains(t, r.Reason, "the search outgrew the memory budget of 16 MiB; 1 of 2 keys were decided, and hold")
	require.Equal(t, r, CheckModel(h, ModelRegister, Options{}, budget))

	add(history.Write, 2, 1, history.Nil)
	add(history.Write, 2, 1, history.Nil)
	add(history.Read, 2, history.Nil, 2)
	r = CheckModel(h, ModelRegister, Options{}, budget)
	require.Equal(t, Broken, r.Verdict, "broken is worse than unknown")
	require.Equal(t, int32(2), r.Key)
}

func TestFirstIllegal(t *testing.T) {
	for _, c := range []struct {
		model, history string
		want           int
	}{
		{ModelCASRegister, "w1@1-2 c1>2@3-4 c1>3@5-6 r3@7-8", 2},
		{ModelCASRegister, "w1@1-2 c1>2@3? r2@5-6 c2>3@7-8 r2@9-10", 4},
		{ModelRegister, "w1@1-2 w1@3-4 d@5-6 r1@7-8 r1@9-10", 3},
		{ModelRegister, "w1@1-2 w1@3-4 d@5-20 r1@7-8 rnil@9-10 r1@11-12", 5},
		{ModelMutex, "a@1-2 l@3-4 a@5-6 a@7-8 l@9-10", 3},
	} {
		h := parse(t, c.history)
		m, err := modelFor(h, Options{Model: c.model})
		require.NoError(t, err)
		steps, err := prepare(h, whole(h), m, Options{})
		require.NoError(t, err)
		s, ok := firstIllegal(m, steps, []any{m.initial(Options{})}, time.Time{}, 0)
		require.True(t, ok)
		require.Equal(t, c.want, s.op, c.history)
	}
}

func TestFirstIllegalIsFirst(t *testing.T) {
	r := small{Rand: rand.New(rand.NewPCG(9, 1)), maxOps: 9, cas: true, repeat: true}
	found := 0
	for range 5_000 {
		ops := r.history()
		h := &history.History{Ops: ops}
		m := registerModel(ModelCASRegister, true)
		steps, err := prepare(h, whole(h), m, Options{})
		require.NoError(t, err)
		if decide(m, steps, Options{}, time.Time{}, 0).verdict != Broken {
			continue
		}
		found++
		s, ok := firstIllegal(m, steps, []any{m.initial(Options{})}, time.Time{}, 0)
		require.True(t, ok)
		// What had completed before s can be explained, with s it cannot.
		before, with := cutAt(ops, func(o *history.Op) bool { return o.Return < s.end }), cutAt(ops, func(o *history.Op) bool { return o.Return <= s.end })
		require.True(t, oracle(before, Options{}), "%s before operation %d", notation(ops), s.op)
		require.False(t, oracle(with, Options{}), "%s with operation %d", notation(ops), s.op)
	}
	require.Greater(t, found, 500)
}

// cutAt makes every operation that had not completed one of unknown outcome.
func cutAt(ops []history.Op, completed func(o *history.Op) bool) []history.Op {
	var cut []history.Op
	for _, o := range ops {
		if o.Outcome != history.Info && !completed(&o) {
			if o.Outcome == history.Fail {
				continue
			}
			o.Outcome, o.Return = history.Info, history.Never
		}
		cut = append(cut, o)
	}
	return cut
}
