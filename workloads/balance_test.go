package workloads_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/gen/gentest"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/workloads"
)

// A glance shows what was fetched last; opening the details asks the ledger.
func TestBalance(t *testing.T) {
	b := newBench(t, workloads.Balance(workloads.BalanceOptions{}))
	set := func(v history.Value) {
		_, err := b.do(0, history.Write, "a0", v)
		require.NoError(t, err)
	}
	read := func(node int, how history.Value) history.Value {
		v, err := b.do(node, history.Read, "a0", how)
		require.NoError(t, err)
		return v
	}
	const details = 0
	require.Equal(t, history.Nil, read(1, workloads.Glance), "there is no balance yet")
	set(5)
	require.Equal(t, history.Nil, read(1, workloads.Glance))
	require.Equal(t, history.Value(5), read(2, workloads.Glance), "a cache that has nothing fetches")
	require.Equal(t, history.Value(5), read(1, details))
	set(6)
	require.Equal(t, history.Value(5), read(1, workloads.Glance), "nobody told the cache")
	require.Equal(t, history.Value(5), b.inspect(1, "a0")[0].Value, "the cache is what is looked at")
	require.False(t, b.inspect(0, "a0")[0].Present, "who only wrote has fetched nothing")
	require.Equal(t, history.Value(6), read(1, details))
	require.Equal(t, history.Value(6), read(1, workloads.Glance))
	require.Equal(t, history.Value(5), read(2, workloads.Glance), "each node has a cache of its own")
	other := workloads.Balance(workloads.BalanceOptions{}).Over(b.store)
	held, err := other.Inspect(t.Context(), b.world, 1, []string{"a0"})
	require.NoError(t, err)
	require.False(t, held[0].Present, "and each run its own")
}

func TestBalanceGlances(t *testing.T) {
	glances := func(o workloads.BalanceOptions) float64 {
		events, err := gentest.Play(workloads.Balance(o).Generator, gentest.Config{Workers: 3})
		require.NoError(t, err)
		n, reads := 0, 0
		for _, e := range events {
			if e.F == history.Read {
				reads++
				n += int(e.Arg)
			}
		}
		return float64(n) / float64(reads)
	}
	require.InDelta(t, 0.5, glances(workloads.BalanceOptions{}), 0.03)
	require.InDelta(t, 0.9, glances(workloads.BalanceOptions{GlanceFraction: 0.9}), 0.03)
	require.Zero(t, glances(workloads.BalanceOptions{GlanceFraction: -1}))
}
