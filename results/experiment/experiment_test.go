package experiment_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/results/experiment"
)

func spec(profile, faults string, seed uint64) experiment.Spec {
	s := experiment.Default(experiment.Sim)
	s.Profile, s.Nemesis, s.Seed = profile, faults, seed
	s.SetDuration(4 * time.Second)
	return s
}

// R and W follow from the replicas of a key, not from the nodes, and what theory
// expects knows both numbers.
func TestFewerReplicasThanNodes(t *testing.T) {
	s := spec("abd", "", 1)
	s.Nodes, s.N = 5, 3
	require.NoError(t, s.Validate())
	got, err := s.Setting()
	require.NoError(t, err)
	require.Equal(t, claims.Setting{Nodes: 5, N: 3, R: 2, W: 2, Logical: true, WriteBack: true, Fsync: true, AntiEntropy: true, Scrub: true}, got)
	s.N, s.R = 4, 1
	got, err = s.Setting()
	require.NoError(t, err)
	require.Equal(t, []int{4, 1, 3}, []int{got.N, got.R, got.W})

	s = spec("abd", "", 1)
	s.Nodes, s.N, s.Claims = 5, 3, claims.All()
	out, err := experiment.Execute(t.Context(), s, experiment.Options{})
	require.NoError(t, err)
	require.Equal(t, checkers.Held, out.Verdict, "%+v", out.Results)
}

// A run leaves everything that it is judged by, and replaying what it left
// gives the same history.
func TestRunDirectoryReplays(t *testing.T) {
	dir, err := results.Create(t.TempDir(), "run")
	require.NoError(t, err)
	s := spec("majority-lww", "clock,kill", 3)
	out, err := experiment.Execute(t.Context(), s, experiment.Options{Dir: dir})
	require.NoError(t, err)
	require.Equal(t, checkers.Broken, out.Verdict)

	run, err := results.Load(dir.Path())
	require.NoError(t, err)
	require.Equal(t, out.Hash, run.Verdicts.HistoryHash)
	require.Equal(t, out.Run.History.Hash(), run.History.Hash(), "the file is what was judged")
	require.Len(t, run.Logs, 3)
	require.NotEmpty(t, run.KeyPages, "Porcupine's picture of the offending key")
	require.NotNil(t, run.Replicas)
	require.FileExists(t, dir.PagePath())

	again, err := experiment.FromRecord(run.Test)
	require.NoError(t, err)
	replayed, err := experiment.Execute(t.Context(), again, experiment.Options{})
	require.NoError(t, err)
	require.Equal(t, out.Hash, replayed.Hash)
	require.Equal(t, out.Results, replayed.Results)
}

// A run can end at the first violation. It is a run like any other: it replays,
// and what the whole run would have shown is broken in it too.
func TestStopOnViolation(t *testing.T) {
	s := spec("majority-lww", "clock", 3)
	s.SetDuration(10 * time.Second)
	whole, err := experiment.Execute(t.Context(), s, experiment.Options{})
	require.NoError(t, err)
	require.False(t, whole.Run.Stopped)

	s.StopOnViolation = true
	dir, err := results.Create(t.TempDir(), "run")
	require.NoError(t, err)
	out, err := experiment.Execute(t.Context(), s, experiment.Options{Dir: dir})
	require.NoError(t, err)
	require.True(t, out.Run.Stopped)
	require.Equal(t, checkers.Broken, out.Result(checkers.Linearizable).Verdict)
	n := len(out.Run.History.Ops)
	require.Less(t, 2*n, len(whole.Run.History.Ops))
	for i, o := range out.Run.History.Ops[:n-s.Clients] {
		require.Equal(t, o, whole.Run.History.Ops[i], "up to the stop it is the same run")
	}
	require.Contains(t, out.Story(), "The load ended at the first violation")

	run, err := results.Load(dir.Path())
	require.NoError(t, err)
	require.Contains(t, run.Test.ReplayCommand(), " --stop-on-violation")
	again, err := experiment.FromRecord(run.Test)
	require.NoError(t, err)
	replayed, err := experiment.Execute(t.Context(), again, experiment.Options{})
	require.NoError(t, err)
	require.Equal(t, out.Hash, replayed.Hash)
}

// What is linearizable is never stopped.
func TestStopOnViolationOfWhatHolds(t *testing.T) {
	for _, profile := range []string{"abd", "caspaxos"} {
		for seed := range uint64(5) {
			s := spec(profile, "all", seed)
			s.StopOnViolation = true
			out, err := experiment.Execute(t.Context(), s, experiment.Options{})
			require.NoError(t, err)
			require.False(t, out.Run.Stopped, "%s, seed %d", profile, seed)
			require.Equal(t, checkers.Held, out.Verdict, "%+v", out.Results)
		}
	}
	s := spec("abd", "", 1)
	s.StopOnViolation, s.Claims = true, []checkers.Claim{checkers.NoLostWrites}
	require.ErrorContains(t, s.Validate(), "has to be among the claims")
}

// The determinism that everything rests on, over whole runs with all faults:
// 100 seeds, each run twice.
func TestSameSeedSameHistory(t *testing.T) {
	hashes := map[string]uint64{}
	profiles := []string{"one-one", "read-one-write-all", "majority-lww", "abd", "abd-nofsync"}
	for seed := range uint64(100) {
		s := spec(profiles[seed%5], "all", seed)
		s.SetDuration(time.Second)
		s.OpTimeout = 200 * time.Millisecond
		a, err := experiment.Execute(t.Context(), s, experiment.Options{})
		require.NoError(t, err)
		var again experiment.Options
		if seed%5 == 0 { // looking at the replicas while it goes on changes nothing
			again.Dir, err = results.Create(t.TempDir(), "run")
			require.NoError(t, err)
		}
		b, err := experiment.Execute(t.Context(), s, again)
		require.NoError(t, err)
		require.Equal(t, again.Dir != nil, len(b.Run.Samples) > 100, "%d samples", len(b.Run.Samples))
		require.Equal(t, a.Hash, b.Hash, "seed %d", seed)
		require.Equal(t, a.Results, b.Results, "seed %d", seed)
		other, taken := hashes[a.Hash]
		require.False(t, taken, "seeds %d and %d give one history", seed, other)
		hashes[a.Hash] = seed
	}
}

// ABD under everything, many seeds: the campaign that a change to the store
// has to pass.
func TestABDHoldsInTheSimulator(t *testing.T) {
	for _, nodes := range []int{3, 5} {
		for seed := range uint64(40) {
			s := spec("abd", "all", seed)
			s.Nodes = nodes
			out, err := experiment.Execute(t.Context(), s, experiment.Options{})
			require.NoError(t, err)
			for _, r := range out.Results {
				require.Equal(t, checkers.Held, r.Verdict, "%d nodes, seed %d: %s: %s", nodes, seed, r.Claim, r.Reason)
			}
		}
	}
}

// Siblings too: nothing is lost and nothing is missed, whatever the clocks do, and
// the replicas agree. Only a register they are not.
func TestCausalSiblingsHoldInTheSimulator(t *testing.T) {
	for _, nodes := range []int{3, 5} {
		for seed := range uint64(20) {
			s := spec("causal-siblings", "all", seed)
			s.Nodes = nodes
			out, err := experiment.Execute(t.Context(), s, experiment.Options{})
			require.NoError(t, err)
			for _, r := range out.Results {
				require.Equal(t, checkers.Held, r.Verdict, "%d nodes, seed %d: %s: %s", nodes, seed, r.Claim, r.Reason)
			}
		}
	}
	dir, err := results.Create(t.TempDir(), "run")
	require.NoError(t, err)
	s := spec("causal-siblings", "", 1)
	s.Claims = []checkers.Claim{checkers.Linearizable}
	out, err := experiment.Execute(t.Context(), s, experiment.Options{Dir: dir})
	require.NoError(t, err)
	require.Equal(t, checkers.Broken, out.Verdict)
	require.FileExists(t, dir.PagePath())
	s.Workload = experiment.Register
	require.ErrorContains(t, s.Validate(), "several values")
	s.Profile, s.Workload = "abd", experiment.Siblings
	require.ErrorContains(t, s.Validate(), "causal-siblings")
}

// CASPaxos too, with compare-and-sets.
func TestCASPaxosHoldsInTheSimulator(t *testing.T) {
	for _, nodes := range []int{3, 5} {
		for seed := range uint64(20) {
			s := spec("caspaxos", "all", seed)
			s.Nodes = nodes
			out, err := experiment.Execute(t.Context(), s, experiment.Options{})
			require.NoError(t, err)
			for _, r := range out.Results {
				require.Equal(t, checkers.Held, r.Verdict, "%d nodes, seed %d: %s: %s", nodes, seed, r.Claim, r.Reason)
			}
		}
	}
	s := spec("abd", "", 1)
	s.Workload = experiment.CASRegister
	require.ErrorContains(t, s.Validate(), "which profile abd cannot: take profile caspaxos")
}

// What is promised holds while members come and go. Every change was proved, or the
// run would be unknown, and a run is the same each time.
func TestMembersChangeInTheSimulator(t *testing.T) {
	changes := map[string]int{}
	for i, c := range []struct{ profile, faults string }{
		{"abd", "replace,partition"}, {"abd", "leave,kill"}, {"caspaxos", "join,partition"},
		{"caspaxos", "replace,kill,pause"}, {"abd", "join,leave,replace,partition"}, {"majority-lww-writeback", "replace,pause"},
	} {
		for seed := range uint64(8) {
			s := spec(c.profile, c.faults, 10*uint64(i)+seed)
			s.MakeRoom()
			out, err := experiment.Execute(t.Context(), s, experiment.Options{})
			require.NoError(t, err)
			for _, r := range out.Results {
				require.Equal(t, checkers.Held, r.Verdict, "%s under %s, seed %d: %s: %s", c.profile, c.faults, s.Seed, r.Claim, r.Reason)
			}
			for _, f := range out.Run.History.Faults {
				changes[f.Kind]++
			}
			if seed == 0 {
				again, err := experiment.Execute(t.Context(), s, experiment.Options{})
				require.NoError(t, err)
				require.Equal(t, out.Hash, again.Hash)
			}
		}
	}
	for _, kind := range []string{"join", "leave", "replace"} {
		require.GreaterOrEqual(t, changes[kind], 16, kind)
	}
}

// With one copy of each write a lost disk loses some.
func TestLostDiskLosesWhatOnlyItHad(t *testing.T) {
	for seed := range uint64(60) {
		s := spec("one-one", "replace:lost,partition", seed)
		s.Claims = []checkers.Claim{checkers.NoLostWrites}
		out, err := experiment.Execute(t.Context(), s, experiment.Options{})
		require.NoError(t, err)
		if out.Verdict == checkers.Broken {
			t.Logf("broken with seed %d", seed)
			return
		}
	}
	t.Error("no seed showed that a write was lost")
}

// For a node to leave there must be one more than replicas of a key.
func TestRoomToLeave(t *testing.T) {
	s := spec("abd", "leave", 1)
	require.ErrorContains(t, s.Validate(), "none of them can leave; take 4 nodes, or fewer replicas")
	s.MakeRoom()
	require.NoError(t, s.Validate())
	require.Equal(t, []int{4, 3}, []int{s.Nodes, s.N})
	dir, err := results.Create(t.TempDir(), "run")
	require.NoError(t, err)
	out, err := experiment.Execute(t.Context(), s, experiment.Options{Dir: dir})
	require.NoError(t, err)
	require.Equal(t, checkers.Held, out.Verdict)
	require.Len(t, out.Run.Members, 3)
	run, err := results.Load(dir.Path())
	require.NoError(t, err)
	again, err := experiment.FromRecord(run.Test)
	require.NoError(t, err)
	replayed, err := experiment.Execute(t.Context(), again, experiment.Options{})
	require.NoError(t, err)
	require.Equal(t, out.Hash, replayed.Hash)
}

// Too little is never green.
func TestTooLittleIsUnknown(t *testing.T) {
	s := spec("abd", "partition", 1)
	s.Rate = 2
	out, err := experiment.Execute(t.Context(), s, experiment.Options{})
	require.NoError(t, err)
	require.Equal(t, checkers.Unknown, out.Verdict)
	require.Equal(t, checkers.Tested, out.Results[0].Claim)
	for _, r := range out.Results {
		require.Equal(t, checkers.Unknown, r.Verdict, r.Claim)
	}
}

// An interrupted run keeps what it recorded, and says that it failed.
func TestInterruptedRunKeepsItsHistory(t *testing.T) {
	dir, err := results.Create(t.TempDir(), "run")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := spec("abd", "all", 1)
	s.SetDuration(time.Hour)
	start := time.Now()
	s.Rate = 100
	go func() {
		// Something must be there to be kept.
		for {
			if info, err := os.Stat(dir.HistoryPath()); err == nil && info.Size() > 100_000 || time.Since(start) > time.Minute {
				cancel()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	out, err := experiment.Execute(ctx, s, experiment.Options{Dir: dir})
	require.ErrorIs(t, err, context.Canceled)
	require.NotNil(t, out)
	require.NotEqual(t, checkers.Held, out.Verdict)
	run, err := results.Load(dir.Path())
	require.NoError(t, err)
	require.Greater(t, len(run.History.Ops), 1000)
	require.Contains(t, run.Verdicts.Error, "context canceled")
}

// A harness that was killed leaves a history that is good up to the cut.
func TestCutOffHistoryIsUnknown(t *testing.T) {
	dir, err := results.Create(t.TempDir(), "run")
	require.NoError(t, err)
	_, err = experiment.Execute(t.Context(), spec("abd", "", 1), experiment.Options{Dir: dir})
	require.NoError(t, err)
	data, err := os.ReadFile(dir.HistoryPath())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir.HistoryPath(), data[:len(data)/2], 0o644))
	h, err := history.ReadFile(dir.HistoryPath())
	require.NoError(t, err)
	require.Error(t, h.Cut)
	require.NotEmpty(t, h.Ops)
	rs := checkers.Judge(checkers.Input{History: h}, []checkers.Claim{checkers.Linearizable}, checkers.Budget{}, checkers.JudgeOptions{})
	require.Equal(t, checkers.Unknown, checkers.Overall(rs))
}

func TestValidateNamesTheField(t *testing.T) {
	for want, change := range map[string]func(*experiment.Spec){
		"unknown world":     func(s *experiment.Spec) { s.World = "moon" },
		"unknown profile":   func(s *experiment.Spec) { s.Profile = "best" },
		"unknown nemesis":   func(s *experiment.Spec) { s.Nemesis = "meteor" },
		"0 nodes":           func(s *experiment.Spec) { s.Nodes = 0 },
		"65 nodes":          func(s *experiment.Spec) { s.Nodes = 65 },
		"0 clients":         func(s *experiment.Spec) { s.Clients = 0 },
		"0 keys":            func(s *experiment.Spec) { s.Keys = 0 },
		"a rate of -1":      func(s *experiment.Spec) { s.Rate = -1 },
		"no room":           func(s *experiment.Spec) { s.SetDuration(0) },
		"R is 4":            func(s *experiment.Spec) { s.R = 4 },
		"W is 4":            func(s *experiment.Spec) { s.W = 4 },
		"4 replicas":        func(s *experiment.Spec) { s.N = 4 },
		"-1 replicas":       func(s *experiment.Spec) { s.N = -1 },
		"W is 3":            func(s *experiment.Spec) { s.N, s.W = 2, 3 },
		"operation timeout": func(s *experiment.Spec) { s.OpTimeout = 0 },
	} {
		s := spec("abd", "", 1)
		change(&s)
		require.ErrorContains(t, s.Validate(), want)
		_, err := experiment.Execute(t.Context(), s, experiment.Options{})
		require.ErrorContains(t, err, want)
	}
}

func TestUnwritableDirectoryFailsTheRun(t *testing.T) {
	dir, err := results.Create(t.TempDir(), "run")
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir.Path(), "verdicts.json"), 0o755))
	out, err := experiment.Execute(t.Context(), spec("abd", "", 1), experiment.Options{Dir: dir})
	require.Error(t, err)
	require.Equal(t, results.ExitFailed, results.ExitStatus(out.Verdict, err))
}
