package simulated

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results/trial"
	"github.com/assay-chaos/assay/workloads"
)

const nodes = 3

// judge runs the store in one simulated cluster, and judges what it did.
func judge(t *testing.T, seed uint64, faults string) checkers.Result {
	t.Helper()
	const during = 3 * time.Second
	specs, err := nemesis.Parse(faults)
	require.NoError(t, err)
	episodes, err := nemesis.Schedule(seed, specs, nodes, during)
	require.NoError(t, err)

	run, err := trial.Run(t.Context(), harness.Test{
		Name:      t.Name(),
		Seed:      seed,
		System:    Store{},
		Workload:  workloads.Register(workloads.RegisterOptions{Keys: 3, Rate: 500}),
		Faults:    episodes,
		Clients:   2 * nodes,
		OpTimeout: time.Second,
		Before:    time.Second, During: during, Recovery: time.Second,
	}, trial.Options{
		Start: func(context.Context) (harness.World, error) {
			return sim.New(sim.Config{System: Store{}, Nodes: nodes, Seed: seed})
		},
		Claims: []checkers.Claim{checkers.Linearizable},
	})
	require.NoError(t, err)
	tested := run.Result(checkers.Tested)
	require.Equal(t, checkers.Held, tested.Verdict, "the run tested nothing: %s", tested.Reason)
	return run.Result(checkers.Linearizable)
}

// While nothing fails there is one primary, and all is well.
func TestHoldsWithoutFaults(t *testing.T) {
	for seed := range uint64(20) {
		r := judge(t, seed, "none")
		require.Equal(t, checkers.Held, r.Verdict, "seed %d: %s", seed, r.Reason)
	}
}

// A partition makes two primaries.
func TestPartitionMakesTwoPrimaries(t *testing.T) {
	const seeds = 20
	for seed := range uint64(seeds) {
		r := judge(t, seed, "partition")
		if r.Verdict != checkers.Broken {
			continue
		}
		t.Logf("broken with seed %d: %s", seed, r.Reason)
		require.Equal(t, r, judge(t, seed, "partition"), "the same seed must give the same run")
		return
	}
	t.Errorf("none of %d seeds showed that the store is not linearizable", seeds)
}
