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

func play(t *testing.T, o workloads.RegisterOptions, c gentest.Config) []gentest.Event {
	t.Helper()
	w := workloads.Register(o)
	events, err := gentest.Play(w.Generator, c)
	require.NoError(t, err)
	for _, e := range events {
		require.Less(t, int(e.Key), len(w.Keys))
	}
	return events
}

func fractions(events []gentest.Event) map[history.F]float64 {
	f := map[history.F]float64{}
	for _, e := range events {
		f[e.F] += 1 / float64(len(events))
	}
	return f
}

func TestRegisterFractions(t *testing.T) {
	tests := []struct {
		name                string
		o                   workloads.RegisterOptions
		read, write, remove float64
	}{
		{"defaults", workloads.RegisterOptions{}, 0.5, 0.5, 0},
		{"mostly reads", workloads.RegisterOptions{ReadFraction: 0.9}, 0.9, 0.1, 0},
		{"only reads", workloads.RegisterOptions{ReadFraction: 7}, 1, 0, 0},
		{"no reads", workloads.RegisterOptions{ReadFraction: -1}, 0, 1, 0},
		{"deletes", workloads.RegisterOptions{DeleteFraction: 0.1}, 0.5, 0.4, 0.1},
		{"too many deletes", workloads.RegisterOptions{DeleteFraction: 3}, 0.5, 0, 0.5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := fractions(play(t, tt.o, gentest.Config{Workers: 5}))
			require.InDelta(t, tt.read, f[history.Read], 0.02)
			require.InDelta(t, tt.write, f[history.Write], 0.02)
			require.InDelta(t, tt.remove, f[history.Delete], 0.02)
		})
	}
}

func TestRegisterValuesAreUnique(t *testing.T) {
	next := history.Value(1)
	for _, e := range play(t, workloads.RegisterOptions{}, gentest.Config{Workers: 3}) {
		if e.F == history.Write {
			require.Equal(t, next, e.Arg)
			next++
		}
	}
	require.Greater(t, next, history.Value(4000))
}

func TestRegisterUsesAllKeysEvenly(t *testing.T) {
	w := workloads.Register(workloads.RegisterOptions{Keys: 5})
	require.Equal(t, []string{"r0", "r1", "r2", "r3", "r4"}, w.Keys)
	hits := map[int32]int{}
	for _, e := range play(t, workloads.RegisterOptions{Keys: 5}, gentest.Config{}) {
		hits[e.Key]++
	}
	require.Len(t, hits, 5)
	for k, n := range hits {
		require.InDelta(t, 2000, n, 200, "key %d", k)
	}
}

func TestRegisterWindow(t *testing.T) {
	o := workloads.RegisterOptions{Keys: 50, Window: 4, OpsPerKey: 100}
	events := play(t, o, gentest.Config{Max: 5000})
	hits := map[int32]int{}
	for i, e := range events {
		first := i / 100
		place := (int(e.Key) - first + 50) % 50
		require.Less(t, place, 4, "operation %d on key %d", i, e.Key)
		hits[e.Key]++
	}
	require.Len(t, hits, 50)
	for k, n := range hits {
		require.InDelta(t, 100, n, 60, "key %d", k)
	}
}

func TestRegisterRate(t *testing.T) {
	events := play(t, workloads.RegisterOptions{Rate: 500}, gentest.Config{Workers: 10, Max: 5000, Outcome: func(gen.Op) (time.Duration, history.Outcome) {
		return 5 * time.Millisecond, history.OK
	}})
	require.InDelta(t, 10, events[len(events)-1].Call.Seconds(), 1)
}

func TestRegisterIsPure(t *testing.T) {
	w := workloads.Register(workloads.RegisterOptions{Rate: 1000, Window: 2})
	c := gen.Context{Idle: gen.FullSet(4), Workers: 4, Seed: 1}
	g := w.Generator
	for range 100 {
		first, _, next := g.Next(c)
		next.Next(c)
		second, _, _ := g.Next(c)
		require.Equal(t, first, second)
		g = next
		c.Seed++
	}
	_, st, _ := g.Next(gen.Context{Idle: gen.NewSet(4), Workers: 4})
	require.Equal(t, gen.Pending, st)
}

func BenchmarkRegister(b *testing.B) {
	g := workloads.Register(workloads.RegisterOptions{Keys: 1000, Rate: 1e6, Window: 10}).Generator
	c := gen.Context{Idle: gen.FullSet(10), Workers: 10}
	b.ReportAllocs()
	for i := range b.N {
		c.Seed = gen.Derive(1, uint64(i))
		op, st, next := g.Next(c)
		if st != gen.Ready {
			b.Fatal(st)
		}
		c.Time = max(c.Time, op.Time)
		g = next
	}
}
