//go:build chaos

package primarybackup

import (
	"context"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/workloads"
)

var (
	seed   = flag.Uint64("seed", 1, "decides the faults and the operations")
	faults = flag.String("nemesis", "partition,kill", "faults to inject")
	page   = flag.String("page", "", "where to write the page of the run")
)

// The store promises too much: this test is there to show that it is found.
func TestFailoverIsNotLinearizable(t *testing.T) {
	const nodes, during = 3, 10 * time.Second
	specs, err := nemesis.Parse(*faults)
	require.NoError(t, err)
	episodes, err := nemesis.Schedule(*seed, specs, nodes, during)
	require.NoError(t, err)

	w, err := docker.Start(t.Context(), docker.Config{System: System{}, Nodes: nodes, Name: "primarybackup", Logf: t.Logf})
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close(context.Background())) }()
	for _, c := range nemesis.Needs(specs) {
		require.NoError(t, w.Supports(c))
	}

	test := harness.Test{
		Name:      t.Name(),
		Seed:      *seed,
		System:    System{},
		Workload:  workloads.Register(workloads.RegisterOptions{Keys: 50, Window: 5, OpsPerKey: 100, Rate: 300}),
		Faults:    episodes,
		Clients:   6,
		OpTimeout: time.Second,
		Before:    time.Second, During: during, Recovery: 3 * time.Second,
		Settle: 2 * time.Second,
	}
	run, err := harness.Run(t.Context(), test, w, harness.Options{})
	require.NoError(t, err)

	claims := []checkers.Claim{checkers.Linearizable, checkers.NoLostWrites, checkers.Converges, checkers.Recovers}
	in := checkers.Input{History: run.History, Replicas: run.Replicas, Settled: run.Settled}
	answers := checkers.Judge(in, claims, checkers.Budget{Time: time.Minute, Memory: 1 << 30}, checkers.JudgeOptions{})

	report := &results.Run{
		Test: results.Test{
			Name: test.Name, World: w.Name(), System: test.System.Name(), Workload: test.Workload.Name, Nemesis: *faults,
			Nodes: nodes, Clients: test.Clients, Keys: len(test.Workload.Keys), Seed: test.Seed,
		},
		History:  run.History,
		Verdicts: &results.Verdicts{Verdict: checkers.Overall(answers), Results: answers},
		Replicas: &results.Replicas{Settled: run.Settled, States: run.Replicas},
	}
	t.Logf("\n%s", results.Story(report))
	if *page != "" {
		f, err := os.Create(*page)
		require.NoError(t, err)
		require.NoError(t, results.Page(f, report))
		require.NoError(t, f.Close())
	}

	for _, a := range answers {
		if a.Claim == checkers.Linearizable {
			require.Equal(t, "broken", a.Verdict.String(), a.Reason)
		}
	}
}
