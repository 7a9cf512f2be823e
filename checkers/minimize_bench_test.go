package checkers

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// BenchmarkMinimize reduces the violation of a history of 100,000 operations
// after it was judged: the figure is 10 s at most. "unnamed" has to find the
// place first, as for a checker that names no operations. repeated is of 100
// keys with five values each, which only a search decides.
func BenchmarkMinimize(b *testing.B) {
	const n = 100_000
	spoiled := func(l load) *history.History {
		h := l.history()
		spoilLate(b, h)
		return h
	}
	for _, c := range []struct {
		name    string
		h       *history.History
		check   Checker
		unnamed bool
	}{
		{"register", spoiled(load{seed: 1, ops: n, clients: 50, info: 0.01}), LinearizableWith(Options{}), false},
		{"register/unnamed", spoiled(load{seed: 1, ops: n, clients: 50, info: 0.01}), LinearizableWith(Options{}), true},
		{"fresh-reads", spoiled(load{seed: 1, ops: n, clients: 50, info: 0.01}), FreshReadsWith(Options{}), false},
		{"cas", spoiled(load{seed: 2, ops: n, clients: 10, cas: 1. / 3, info: 0.01}), LinearizableWith(Options{}), false},
		{"cas/unnamed", spoiled(load{seed: 2, ops: n, clients: 10, cas: 1. / 3, info: 0.01}), LinearizableWith(Options{}), true},
		{"repeated", repeatedValues(b, 100, n/100), LinearizableWith(Options{}), false},
		{"repeated/unnamed", repeatedValues(b, 100, n/100), LinearizableWith(Options{}), true},
		{"mutex", lockedTwice(n), LinearizableWith(Options{Model: ModelMutex}), false},
	} {
		b.Run(c.name, func(b *testing.B) {
			in := Input{History: c.h}
			r := Result{Claim: Linearizable, Verdict: Broken, Key: -1}
			if !c.unnamed {
				r = c.check(in, Budget{})
				require.Equal(b, Broken, r.Verdict, r.Reason)
			}
			var m Minimal
			for b.Loop() {
				var err error
				m, err = Minimize(in, c.check, r, MinimizeOptions{Time: time.Minute})
				require.NoError(b, err)
				require.True(b, m.Complete)
			}
			b.ReportMetric(float64(len(m.Ops)), "operations")
			b.ReportMetric(float64(m.Checks), "checks")
		})
	}
}

// repeated is a history of many registers with five values, one of them spoiled
// near its end.
func repeatedValues(t testing.TB, keys, each int) *history.History {
	h := &history.History{}
	for k := range keys {
		part := load{seed: uint64(k), ops: each, clients: 4}.history()
		for i := range part.Ops {
			o := &part.Ops[i]
			o.Key, o.Process = int32(k), o.Process+int32(k*1000)
			for _, v := range []*history.Value{&o.Arg, &o.Out} {
				if *v != history.Nil {
					*v %= 5
				}
			}
		}
		if k == keys/2 {
			spoilRepeated(t, part)
		}
		h.Ops, h.Keys = append(h.Ops, part.Ops...), append(h.Keys, "")
	}
	slices.SortStableFunc(h.Ops, func(a, b history.Op) int { return compare(a.Call, b.Call) })
	return h
}

// spoilRepeated changes what one late read saw, so that no order explains it.
func spoilRepeated(t testing.TB, h *history.History) {
	for i := len(h.Ops) * 95 / 100; i < len(h.Ops); i++ {
		o := &h.Ops[i]
		if o.F != history.Read || o.Outcome != history.OK {
			continue
		}
		was := o.Out
		o.Out = (was + 2) % 5
		if CheckModel(h, ModelRegister, Options{}, Budget{}).Verdict == Broken {
			return
		}
		o.Out = was
	}
	require.Fail(t, "no read can be made wrong")
}

// lockedTwice is a mutex that two processes hold at one time, near the end.
func lockedTwice(n int) *history.History {
	h := &history.History{Keys: []string{""}}
	rng := rand.New(rand.NewPCG(1, 1))
	now, holder := int64(0), int32(0)
	for i := range n {
		f := history.Acquire
		if i%2 == 1 && i != n-101 {
			f = history.Release
		} else {
			holder = int32(rng.IntN(5))
		}
		h.Ops = append(h.Ops, history.Op{F: f, Process: holder, Call: now, Return: now + 5, Outcome: history.OK,
			Arg: history.Nil, Arg2: history.Nil, Out: history.Nil})
		now += 10
	}
	return h
}
