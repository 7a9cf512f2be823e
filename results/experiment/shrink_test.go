package experiment_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/results/experiment"
)

// A run becomes far smaller, breaks the same claim, and nothing about the search
// depends on the machine.
func TestShrink(t *testing.T) {
	s := spec("majority-lww", "clock,kill", 3)
	s.SetDuration(10 * time.Second)
	whole, err := experiment.Execute(t.Context(), s, experiment.Options{})
	require.NoError(t, err)
	var told []experiment.Shrunk
	small, err := experiment.Shrink(t.Context(), s, checkers.Linearizable, experiment.ShrinkOptions{
		Time: time.Hour, Progress: func(p experiment.Shrunk) { told = append(told, p) }})
	require.NoError(t, err)
	require.True(t, small.Complete)
	require.Len(t, told, small.Runs)
	require.Less(t, small.Ops*20, len(whole.Run.History.Ops))
	require.Less(t, small.Spec.Duration()*10, s.Duration())
	require.Equal(t, 1, small.Faults)
	require.Equal(t, "clock", small.Spec.Nemesis, "kills had no part in it")
	require.Equal(t, s.Seed, small.Spec.Seed)
	require.Equal(t, s.Claims, small.Spec.Claims)

	out, err := experiment.Execute(t.Context(), small.Spec, experiment.Options{})
	require.NoError(t, err)
	require.Equal(t, checkers.Broken, out.Result(checkers.Linearizable).Verdict)
	require.Len(t, out.Run.History.Ops, small.Ops)
	fewer := small.Spec
	fewer.MaxOps = small.Ops - 1
	out, err = experiment.Execute(t.Context(), fewer, experiment.Options{})
	require.NoError(t, err)
	require.NotEqual(t, checkers.Broken, out.Result(checkers.Linearizable).Verdict, "one operation fewer does not do")

	again, err := experiment.Shrink(t.Context(), s, checkers.Linearizable, experiment.ShrinkOptions{Time: time.Hour})
	require.NoError(t, err)
	require.Equal(t, small, again)
}

func TestShrinkRefuses(t *testing.T) {
	_, err := experiment.Shrink(t.Context(), spec("abd", "kill", 1), checkers.Linearizable, experiment.ShrinkOptions{})
	require.ErrorContains(t, err, "linearizable is not broken by this run")
	s := spec("abd", "kill", 1)
	s.World = experiment.Docker
	_, err = experiment.Shrink(t.Context(), s, checkers.Linearizable, experiment.ShrinkOptions{})
	require.ErrorContains(t, err, "the world docker cannot")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = experiment.Shrink(ctx, spec("majority-lww", "clock", 3), checkers.Linearizable, experiment.ShrinkOptions{})
	require.Error(t, err)
}

// Whether the command says all decides how a run is run again.
func TestTold(t *testing.T) {
	s := spec("majority-lww", "clock", 3)
	require.True(t, s.Told())
	s.MaxOps, s.PlainDelays = 100, true
	require.True(t, s.Told())
	require.Contains(t, s.Command(), "--max-ops")
	require.Contains(t, s.Command(), "--plain-delays")
	s.Before /= 2
	require.False(t, s.Told())
}
