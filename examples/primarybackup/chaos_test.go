//go:build chaos

package primarybackup

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/trial"
	"github.com/assay-chaos/assay/workloads"
)

var (
	seed   = flag.Uint64("seed", 1, "decides the faults and the operations")
	faults = flag.String("nemesis", "partition,kill", "faults to inject")
	out    = flag.String("out", "", "where to keep the run, with a page to open in a browser")
)

// The store promises too much: this test is there to show that it is found.
func TestFailoverIsNotLinearizable(t *testing.T) {
	const nodes, during = 3, 10 * time.Second
	specs, err := nemesis.Parse(*faults)
	require.NoError(t, err)
	episodes, err := nemesis.Schedule(*seed, specs, nodes, during)
	require.NoError(t, err)

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
	opts := trial.Options{
		Start: func(ctx context.Context) (harness.World, error) {
			return docker.Start(ctx, docker.Config{System: System{}, Nodes: nodes, Name: "primarybackup", Logf: t.Logf})
		},
		Claims:   []checkers.Claim{checkers.Linearizable, checkers.NoLostWrites, checkers.Converges, checkers.Recovers},
		Describe: results.Test{Nemesis: *faults},
	}
	if *out != "" {
		opts.Dir, err = results.Create(*out, test.Name)
		require.NoError(t, err)
	}
	run, err := trial.Run(t.Context(), test, opts)
	require.NoError(t, err)
	t.Logf("\n%s", run.Story())
	broken := run.Result(checkers.Linearizable)
	require.Equal(t, checkers.Broken, broken.Verdict, broken.Reason)
}
