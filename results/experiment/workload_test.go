package experiment_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/results/experiment"
	"github.com/assay-chaos/assay/results/trial"
)

// of is a run of a workload on the profile that it is usually run with.
func of(t *testing.T, workload, faults string, seed uint64) experiment.Spec {
	t.Helper()
	w, err := experiment.WorkloadByName(workload)
	require.NoError(t, err)
	s := spec(w.Profile, faults, seed)
	s.Workload = workload
	return s
}

func execute1(t *testing.T, s experiment.Spec) *trial.Outcome {
	t.Helper()
	out, err := experiment.Execute(t.Context(), s, experiment.Options{})
	require.NoError(t, err)
	require.Equal(t, checkers.Held, out.Result(checkers.Tested).Verdict, out.Result(checkers.Tested).Reason)
	return out
}

// What a workload's usual profile promises holds, under everything.
func TestWorkloadsHold(t *testing.T) {
	for _, workload := range []string{experiment.Set, experiment.Counter, experiment.Append, experiment.Bank, experiment.Feed, experiment.LockFenced} {
		t.Run(workload, func(t *testing.T) {
			for _, nodes := range []int{3, 5} {
				for seed := range uint64(5) {
					s := of(t, workload, "all", seed)
					if workload == experiment.LockFenced {
						// It is slow, and each node has to be asked often enough.
						s = locked(t, workload, "all", seed)
						s.Clients, s.Keys = 3*nodes, 3*nodes
					}
					s.Nodes = nodes
					for _, r := range execute1(t, s).Results {
						require.Equal(t, checkers.Held, r.Verdict, "%d nodes, seed %d: %s: %s", nodes, seed, r.Claim, r.Reason)
					}
				}
			}
		})
	}
}

// How often each claim was broken in a few runs.
func brokenIn(t *testing.T, runs int, make func(seed uint64) experiment.Spec) map[checkers.Claim]int {
	t.Helper()
	n := map[checkers.Claim]int{}
	for seed := range uint64(runs) {
		for _, r := range execute1(t, make(seed)).Results {
			if r.Verdict == checkers.Broken {
				n[r.Claim]++
			}
		}
	}
	return n
}

// A setting without compare-and-set loses updates, with no fault at all, so the
// test above could have failed.
func TestWorkloadsBreakWithoutCAS(t *testing.T) {
	for workload, want := range map[string]map[checkers.Claim]int{
		experiment.Set:     {checkers.Linearizable: 3, checkers.NoLostElements: 3},
		experiment.Append:  {checkers.Linearizable: 3, checkers.NoLostElements: 3},
		experiment.Counter: {checkers.Linearizable: 3, checkers.Counted: 3},
		experiment.Bank:    {checkers.Linearizable: 3, checkers.Conserved: 3},
	} {
		require.Equal(t, want, brokenIn(t, 3, func(seed uint64) experiment.Spec {
			s := of(t, workload, "", seed)
			s.Profile = "abd"
			return s
		}), workload)
	}
}

// The cache fails what eventual consistency promises, and passes what caches do:
// with the best of ledgers, and with no fault.
func TestBalanceIsACache(t *testing.T) {
	for _, faults := range []string{"", "all"} {
		for seed := range uint64(5) {
			out := execute1(t, of(t, experiment.Balance, faults, seed))
			require.Equal(t, checkers.Broken, out.Result(checkers.Converges).Verdict)
			r := out.Result(checkers.ConvergesWhenRead)
			require.Equal(t, checkers.Held, r.Verdict, r.Reason)
		}
	}
	// The feed is the other way round: nobody has to read.
	s := of(t, experiment.Feed, "all", 1)
	require.Equal(t, checkers.Held, execute1(t, s).Result(checkers.Converges).Verdict)
	// And the details of a ledger that tells different things stay different.
	require.NotZero(t, brokenIn(t, 5, func(seed uint64) experiment.Spec {
		s := of(t, experiment.Balance, "kill,partition", seed)
		s.Profile = "read-repair-only"
		return s
	})[checkers.ConvergesWhenRead])
}

// A feed needs anti-entropy to converge, and durable posts to lose none.
func TestFeedBreaks(t *testing.T) {
	for profile, c := range map[string]struct {
		faults string
		claim  checkers.Claim
	}{
		"read-repair-only": {"partition", checkers.Converges},
		"abd-nofsync":      {"kill", checkers.NoLostWrites},
	} {
		require.NotZero(t, brokenIn(t, 10, func(seed uint64) experiment.Spec {
			s := of(t, experiment.Feed, c.faults, seed)
			s.Profile = profile
			return s
		})[c.claim], profile)
	}
}

// A feed tells how soon posts are seen.
func TestFeedTellsHowSoonPostsAreSeen(t *testing.T) {
	r := execute1(t, of(t, experiment.Feed, "", 1)).Result(checkers.NoLostWrites)
	require.NotEmpty(t, r.Figures)
	require.NotEmpty(t, r.Visibility)
	last := r.Visibility[len(r.Visibility)-1]
	require.Equal(t, last.Of, last.Seen, "in the end all followers see it: %+v", last)
	late := false
	for _, v := range r.Visibility {
		late = late || v.Seen < v.Of
	}
	require.True(t, late, "and not at once: %+v", r.Visibility)
}

// locked is a run long enough for leases to end during a pause.
func locked(t *testing.T, workload, faults string, seed uint64) experiment.Spec {
	s := of(t, workload, faults, seed)
	s.SetDuration(10 * time.Second)
	return s
}

// A lease is broken by what time can do, and a fencing token is not. Without faults
// the lease holds.
func TestLeasesBreak(t *testing.T) {
	const runs = 12
	lease := func(workload, faults string) int {
		return brokenIn(t, runs, func(seed uint64) experiment.Spec { return locked(t, workload, faults, seed) })[checkers.Linearizable]
	}
	require.Zero(t, lease(experiment.Lock, ""))
	for _, faults := range []string{"pause", "clock"} {
		require.NotZero(t, lease(experiment.Lock, faults), faults)
		require.Zero(t, lease(experiment.LockFenced, faults), faults)
	}
}

// The bank under a partition: the side without a majority refuses, within the time
// limit, and the other serves. Neither shows money that is not there.
func TestMinoritySideOfTheBankRefuses(t *testing.T) {
	s := of(t, experiment.Bank, "", 1)
	s.Nodes = 5
	s.Clients = 10
	s.Schedule = []harness.Episode{{For: s.During, Fault: nemesis.NewPartition("bank", "majority", []int{4, 3, 2, 1, 0})}}
	out, err := experiment.Execute(t.Context(), s, experiment.Options{})
	require.NoError(t, err)
	for _, c := range []checkers.Claim{checkers.Linearizable, checkers.Conserved, checkers.Recovers} {
		require.Equal(t, checkers.Held, out.Result(c).Verdict, out.Result(c).Reason)
	}
	h := out.Run.History
	require.Len(t, h.Faults, 1)
	from, to := h.Faults[0].Effect.At, h.Faults[0].Start+int64(s.During-s.OpTimeout)
	served := map[string]int{}
	for i := range h.Ops {
		o := &h.Ops[i]
		if o.Call < from || o.Call > to {
			continue
		}
		side := "minority"
		if o.Node < 3 {
			side = "majority"
		}
		served[fmt.Sprint(side, " ", o.F, " ", o.Outcome)]++
		if side == "minority" {
			require.NotEqual(t, history.OK, o.Outcome)
			require.LessOrEqual(t, o.Return-o.Call, int64(s.OpTimeout), "it refuses within the time limit")
		}
	}
	require.Greater(t, served["majority transfer ok"], 100, "%v", served)
	require.Greater(t, served["majority read-all ok"], 100, "%v", served)
	require.NotZero(t, served["minority transfer fail"]+served["minority transfer info"], "%v", served)
	require.NotZero(t, served["minority read-all fail"], "%v", served)
}

// Two runs of one seed are the same to the byte, whatever clients do.
func TestWorkloadsAreDeterministic(t *testing.T) {
	for _, w := range experiment.Workloads() {
		if w.Profile == "" {
			continue
		}
		for _, profile := range []string{w.Profile, "majority-lww"} {
			s := of(t, w.Name, "all", 5)
			s.Profile = profile
			s.SetDuration(2 * time.Second)
			s.OpTimeout = 300 * time.Millisecond
			if s.Validate() != nil {
				continue // it cannot do without compare-and-set
			}
			a, err := experiment.Execute(t.Context(), s, experiment.Options{})
			require.NoError(t, err)
			b, err := experiment.Execute(t.Context(), s, experiment.Options{})
			require.NoError(t, err)
			require.Equal(t, a.Hash, b.Hash, w.Name)
			require.Equal(t, a.Results, b.Results, w.Name)
			s.Seed++
			c, err := experiment.Execute(t.Context(), s, experiment.Options{})
			require.NoError(t, err)
			require.NotEqual(t, a.Hash, c.Hash, w.Name)
		}
	}
}

// What does not fit is refused, with what to take instead.
func TestUnfitWorkloads(t *testing.T) {
	s := of(t, experiment.Lock, "", 1)
	s.Profile = "abd"
	require.ErrorContains(t, s.Validate(), "take profile caspaxos")
	require.True(t, s.Unfit())
	s = of(t, experiment.Feed, "", 1)
	s.Nodes, s.N = 5, 3
	require.ErrorContains(t, s.Validate(), "take --n 5, or 3 nodes")
	s = of(t, experiment.Bank, "", 1)
	s.Nodes, s.N = 5, 3
	require.NoError(t, s.Validate(), "a bank under compare-and-set is one key")
	s.Profile = "abd"
	require.ErrorContains(t, s.Validate(), "take --n 5, or 3 nodes")
	s = of(t, experiment.Bank, "", 1)
	s.Workload = "casino"
	require.ErrorContains(t, s.Validate(), "lock-fenced")
	s = of(t, experiment.Bank, "", 1)
	s.Claims = []checkers.Claim{checkers.Counted}
	require.ErrorContains(t, s.Validate(), "cannot be judged of workload bank; these can: linearizable, recovers, conserved")
}

// Theory has something to say of every claim that a workload is judged by.
func TestEveryJudgedClaimIsExpected(t *testing.T) {
	for _, w := range experiment.Workloads() {
		for _, profile := range []string{"caspaxos", "abd", "one-one"} {
			s := spec(profile, "", 1)
			s.Workload = w.Name
			if s.Validate() != nil {
				continue
			}
			setting, err := s.Setting()
			require.NoError(t, err)
			require.NotEmpty(t, s.Judged())
			for _, c := range s.Judged() {
				require.NotContains(t, claims.Expect(setting, c, claims.Faults{}).Reason, "nothing is known", "%s on %s: %s", w.Name, profile, c)
			}
		}
	}
}
