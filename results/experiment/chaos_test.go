//go:build chaos

package experiment_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/experiment"
	"github.com/assay-chaos/assay/results/trial"
)

// The reference store in containers, under real faults. An engine is needed:
// without one these tests fail, and say how to get one.

// TestABDHoldsInContainers: what is promised holds under everything at once.
func TestABDHoldsInContainers(t *testing.T) {
	out := execute(t, "abd", "partition,kill,pause,clock", 15*time.Second)
	require.Equal(t, checkers.Held, out.Verdict)
	kinds := map[string]bool{}
	for _, f := range out.Run.History.Faults {
		kinds[f.Kind] = true
	}
	require.Len(t, kinds, 4, "every kind of fault was injected")
}

// TestLastWriterWinsIsBrokenByClocksInContainers: what is not promised breaks,
// so the test above could have failed.
func TestLastWriterWinsIsBrokenByClocksInContainers(t *testing.T) {
	out := execute(t, "majority-lww", "clock:jump", 10*time.Second)
	require.Equal(t, checkers.Broken, out.Verdict)
	for _, r := range out.Results {
		switch r.Claim {
		case checkers.Tested, checkers.Recovers:
			require.Equal(t, checkers.Held, r.Verdict, r.Reason)
		default:
			require.Equal(t, checkers.Broken, r.Verdict, "%s: %s", r.Claim, r.Reason)
		}
	}
}

// TestReplacedWithAnEmptyDiskInContainers: under load and a partition a node dies with
// its disk, and another takes its place. Nothing that was acknowledged is lost.
func TestReplacedWithAnEmptyDiskInContainers(t *testing.T) {
	out := execute(t, "abd", "replace:lost,partition", 12*time.Second)
	require.Equal(t, checkers.Held, out.Verdict)
	kinds := map[string]bool{}
	for _, f := range out.Run.History.Faults {
		kinds[f.Kind] = true
	}
	require.True(t, kinds["replace"] && kinds["partition"])
	require.Len(t, out.Run.Members, 3)
	require.Greater(t, out.Run.Members[2], 2, "a new node is among them")
	require.Equal(t, checkers.Held, out.Result(checkers.NoLostWrites).Verdict)
	require.Equal(t, checkers.Held, out.Result(checkers.Linearizable).Verdict)
}

// TestBankInContainers: a workload with a layer of its own runs there too, and its
// money is all there.
func TestBankInContainers(t *testing.T) {
	s := experiment.Default(experiment.Docker)
	s.Profile, s.Workload, s.Nemesis, s.Seed = "caspaxos", experiment.Bank, "partition,kill", 1
	s.SetDuration(12 * time.Second)
	out := executeSpec(t, s)
	require.Equal(t, checkers.Held, out.Verdict)
	require.Greater(t, out.Result(checkers.Conserved).Checked, 100)
}

// TestLockInContainers: the clocks that leases are taken by are those of the nodes.
func TestLockInContainers(t *testing.T) {
	s := experiment.Default(experiment.Docker)
	s.Profile, s.Workload, s.Nemesis, s.Seed = "caspaxos", experiment.LockFenced, "", 1
	s.SetDuration(8 * time.Second)
	require.Equal(t, checkers.Held, executeSpec(t, s).Verdict)
}

func execute(t *testing.T, profile, faults string, length time.Duration) *trial.Outcome {
	t.Helper()
	s := experiment.Default(experiment.Docker)
	s.Profile, s.Nemesis, s.Seed = profile, faults, 1
	s.SetDuration(length)
	return executeSpec(t, s)
}

func executeSpec(t *testing.T, s experiment.Spec) *trial.Outcome {
	t.Helper()
	require.NoError(t, s.Validate())
	dir, err := results.Create(t.TempDir(), s.Name())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := experiment.Execute(ctx, s, experiment.Options{Dir: dir, Logf: t.Logf})
	require.NoError(t, err)
	t.Log("\n" + out.Story())
	return out
}
