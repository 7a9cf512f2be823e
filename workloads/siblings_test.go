package workloads_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/gen/gentest"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/workloads"
)

func TestSiblings(t *testing.T) {
	play := func(o workloads.SiblingsOptions) []gentest.Event {
		w := workloads.Siblings(o)
		require.Equal(t, "siblings", w.Name)
		events, err := gentest.Play(w.Generator, gentest.Config{Workers: 5})
		require.NoError(t, err)
		return events
	}
	o := workloads.SiblingsOptions{}
	events := play(o)
	f := fractions(events)
	require.InDelta(t, 0.5, f[history.ReadAll], 0.02)
	require.InDelta(t, 0.375, f[history.Write], 0.02)
	require.InDelta(t, 0.125, f[history.Add], 0.02)
	require.Zero(t, f[history.Read])
	next := history.Value(1)
	for _, e := range events {
		if e.F != history.ReadAll {
			require.Equal(t, next, e.Arg, "values are unique")
			next++
		}
	}
	o.DeleteFraction, o.BlindFraction = 0.1, -1
	f = fractions(play(o))
	require.InDelta(t, 0.1, f[history.Delete], 0.02)
	require.Zero(t, f[history.Add])
	o.BlindFraction = 1
	require.Zero(t, fractions(play(o))[history.Write])
	require.Equal(t, events, play(workloads.SiblingsOptions{}), "the same again")
}
