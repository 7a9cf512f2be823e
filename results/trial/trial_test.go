package trial_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/trial"
	"github.com/assay-chaos/assay/store/sut"
	"github.com/assay-chaos/assay/workloads"
)

func test(t *testing.T, profile, faults string) (harness.Test, trial.Options) {
	p, err := sut.ProfileByName(profile)
	require.NoError(t, err)
	specs, err := nemesis.Parse(faults)
	require.NoError(t, err)
	system := sut.New(p)
	episodes, err := nemesis.Schedule(1, specs, 3, 3*time.Second)
	require.NoError(t, err)
	return harness.Test{
			Name: "trial", Seed: 1, System: system, Faults: episodes, Clients: 6, OpTimeout: time.Second,
			Workload: workloads.Register(workloads.RegisterOptions{Keys: 4, Rate: 300}),
			Before:   time.Second, During: 3 * time.Second, Recovery: time.Second, Settle: time.Second,
		}, trial.Options{
			Start: func(context.Context) (harness.World, error) {
				return sim.New(sim.Config{System: system, Nodes: 3, Seed: 1})
			},
			Claims: []checkers.Claim{checkers.Linearizable, checkers.NoLostWrites},
		}
}

func TestRunJudgesAndKeeps(t *testing.T) {
	for profile, want := range map[string]checkers.Verdict{"abd": checkers.Held, "majority-lww": checkers.Broken} {
		tst, o := test(t, profile, "clock")
		dir, err := results.Create(t.TempDir(), "run")
		require.NoError(t, err)
		o.Dir = dir
		out, err := trial.Run(t.Context(), tst, o)
		require.NoError(t, err)
		require.Equal(t, want, out.Verdict)
		require.Equal(t, checkers.Tested, out.Results[0].Claim)
		require.Equal(t, want, out.Result(checkers.Linearizable).Verdict)
		require.Equal(t, checkers.Unknown, out.Result(checkers.Converges).Verdict, "not asked for")

		run, err := results.Load(dir.Path())
		require.NoError(t, err)
		require.Equal(t, "sim", run.Test.World)
		require.Equal(t, 3, run.Test.Nodes)
		require.Equal(t, 4, run.Test.Keys)
		require.Equal(t, out.Hash, run.Verdicts.HistoryHash)
		require.Equal(t, out.Results, run.Verdicts.Results)
		require.Equal(t, want == checkers.Broken, len(run.KeyPages) == 1)
		require.Equal(t, results.Story(run), out.Story())
		episodes, err := nemesis.Decode(run.Test.Schedule)
		require.NoError(t, err)
		require.Len(t, episodes, len(tst.Faults))
	}
}

// A world that does not start fails the run, and the directory says why.
func TestWorldThatDoesNotStart(t *testing.T) {
	tst, o := test(t, "abd", "")
	dir, err := results.Create(t.TempDir(), "run")
	require.NoError(t, err)
	o.Dir = dir
	o.Start = func(context.Context) (harness.World, error) { return nil, errors.New("no engine in sight") }
	out, err := trial.Run(t.Context(), tst, o)
	require.Nil(t, out)
	require.ErrorContains(t, err, "no engine in sight")
	run, err := results.Load(dir.Path())
	require.NoError(t, err)
	require.Contains(t, run.Verdicts.Error, "no engine in sight")
	require.Equal(t, checkers.Unknown, run.Verdicts.Verdict)

	o.Start = nil
	_, err = trial.Run(t.Context(), tst, o)
	require.ErrorContains(t, err, "Start")
}

// unable is a world that cannot set clocks.
type unable struct{ harness.World }

func (unable) Supports(c harness.Capability) error {
	if c == harness.CanClock {
		return errors.New("the kernel forbids it")
	}
	return nil
}

// What the world cannot do is an error before the first operation, not a run in
// which nothing was tested.
func TestWorldThatCannot(t *testing.T) {
	tst, o := test(t, "abd", "clock")
	start := o.Start
	o.Start = func(ctx context.Context) (harness.World, error) {
		w, err := start(ctx)
		return unable{w}, err
	}
	out, err := trial.Run(t.Context(), tst, o)
	require.Nil(t, out)
	require.ErrorContains(t, err, "cannot clock: the kernel forbids it")
}
