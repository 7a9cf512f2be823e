package workloads_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/gen/gentest"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/workloads"
)

func playCAS(t *testing.T, o workloads.CASRegisterOptions, c gentest.Config) []gentest.Event {
	t.Helper()
	w := workloads.CASRegister(o)
	require.Equal(t, "cas-register", w.Name)
	events, err := gentest.Play(w.Generator, c)
	require.NoError(t, err)
	return events
}

func TestCASRegisterFractions(t *testing.T) {
	f := fractions(playCAS(t, workloads.CASRegisterOptions{}, gentest.Config{Workers: 5}))
	require.InDelta(t, 0.5, f[history.Read], 0.02)
	require.InDelta(t, 0.3, f[history.CAS], 0.02)
	require.InDelta(t, 0.2, f[history.Write], 0.02)
	o := workloads.CASRegisterOptions{CASFraction: 7}
	o.ReadFraction = 0.2
	f = fractions(playCAS(t, o, gentest.Config{Workers: 5}))
	require.InDelta(t, 0.8, f[history.CAS], 0.02, "all but the reads, and a few writes to begin with")
	f = fractions(playCAS(t, workloads.CASRegisterOptions{CASFraction: -1}, gentest.Config{Workers: 5}))
	require.Zero(t, f[history.CAS])
}

// New values are unique, and a compare-and-set expects a value that a completed
// operation on the same key has shown.
func TestCASRegisterExpectsWhatWasSeen(t *testing.T) {
	o := workloads.CASRegisterOptions{}
	o.Keys, o.Window, o.OpsPerKey = 30, 4, 100
	next, sets := history.Value(1), 0
	seen := map[int32]map[history.Value]bool{} // a played read shows 0
	for _, e := range playCAS(t, o, gentest.Config{Workers: 3, Max: 5000}) {
		if seen[e.Key] == nil {
			seen[e.Key] = map[history.Value]bool{0: true}
		}
		switch e.F {
		case history.Write:
			require.Equal(t, next, e.Arg)
			seen[e.Key][next] = true
			next++
		case history.CAS:
			require.Equal(t, next, e.Arg2)
			require.True(t, seen[e.Key][e.Arg], "%d was never a value of key %d", e.Arg, e.Key)
			seen[e.Key][next] = true
			next++
			sets++
		}
	}
	require.Greater(t, sets, 1000)
}

// A failed compare-and-set shows a value, and failures without one show none.
func TestCASRegisterLearns(t *testing.T) {
	o := workloads.CASRegisterOptions{CASFraction: 1}
	o.Keys, o.ReadFraction = 1, -1
	g := workloads.CASRegister(o).Generator
	c := gen.Context{Idle: gen.FullSet(1), Workers: 1}
	offered := func() gen.Op {
		op, st, _ := g.Next(c)
		require.Equal(t, gen.Ready, st)
		return op
	}
	tell := func(f history.F, arg, arg2, out history.Value, outcome history.Outcome) {
		g = g.Update(c, gen.Completion{Op: &history.Op{F: f, Arg: arg, Arg2: arg2, Out: out, Outcome: outcome}})
	}
	require.Equal(t, history.Write, offered().F)
	tell(history.Write, 5, 0, history.Nil, history.Info)
	require.Equal(t, history.Write, offered().F)
	tell(history.Write, 6, 0, history.Nil, history.OK)
	require.Equal(t, history.Value(6), offered().Arg)
	tell(history.CAS, 6, 7, 9, history.Fail)
	require.Equal(t, history.Value(9), offered().Arg)
	tell(history.CAS, 6, 7, history.Nil, history.Fail)
	require.Equal(t, history.Write, offered().F, "it is absent, or nobody knows")
	tell(history.CAS, 6, 8, history.Nil, history.OK)
	require.Equal(t, history.Value(8), offered().Arg)
	tell(history.Read, 0, 0, 4, history.OK)
	require.Equal(t, history.Value(4), offered().Arg)
}

func TestCASRegisterIsPure(t *testing.T) {
	o := workloads.CASRegisterOptions{}
	o.Rate, o.Window = 1000, 2
	c := gen.Context{Idle: gen.FullSet(4), Workers: 4, Seed: 1}
	g := workloads.CASRegister(o).Generator
	for i := range 200 {
		first, _, next := g.Next(c)
		done := gen.Completion{Op: &history.Op{F: history.Write, Key: first.Key, Arg: history.Value(i), Outcome: history.OK}}
		next.Update(c, done).Next(c)
		second, _, _ := g.Next(c)
		require.Equal(t, first, second)
		g = next.Update(c, done)
		c.Seed++
		c.Time += int64(time.Millisecond)
	}
}
