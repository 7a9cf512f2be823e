package sut_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/store/sut"
)

// onFive is a profile with three replicas of a key on five nodes.
func onFive(t *testing.T, profile string) *sut.System {
	p, err := sut.ProfileByName(profile)
	require.NoError(t, err)
	return sut.New(p.For(3))
}

// keys are many registers, so that every node is a replica of some and not of
// others.
var keys = registers(20, 300)

// ABD is a linearizable register whoever coordinates it.
func TestThreeReplicasOfFive(t *testing.T) {
	for _, load := range []harness.Workload{calm, keys} {
		for seed := range uint64(10) {
			res := runSystem(t, onFive(t, "abd"), 5, load, everything, seed)
			require.Equal(t, checkers.Held, verdict(t, res), "seed %d", seed)
		}
	}
	found := false
	for seed := range uint64(20) {
		found = found || verdict(t, runSystem(t, onFive(t, "majority-lww"), 5, keys, "clock", seed)) == checkers.Broken
	}
	require.True(t, found, "no seed showed that clocks are not enough")
}

// Each key comes to lie on three nodes, the same at all of them, and these are
// what convergence is judged by.
func TestReplicasAgreeWithoutFaults(t *testing.T) {
	res := runSystem(t, onFive(t, "abd"), 5, keys, "", 1)
	at := make(map[int]int) // copies by node
	for key := range keys.Keys {
		copies := 0
		for node, row := range res.Replicas {
			if row[key].Elsewhere {
				require.Equal(t, harness.Replica{Elsewhere: true}, row[key])
				continue
			}
			require.True(t, row[key].Present, "node %d is a replica of key %s", node, keys.Keys[key])
			copies++
			at[node]++
		}
		require.Equal(t, 3, copies, keys.Keys[key])
	}
	require.Len(t, at, 5, "every node is a replica of some key")
	coordinated := 0 // by a node without a copy
	for i := range res.History.Ops {
		op := &res.History.Ops[i]
		if op.Outcome == history.OK && res.Replicas[op.Node][op.Key].Elsewhere {
			coordinated++
		}
	}
	require.Greater(t, coordinated, 300)

	got := checkers.CheckConverges(input(res), checkers.Budget{})
	require.Equal(t, checkers.Held, got.Verdict, got.Reason)
	require.Contains(t, got.Reason, "3 replicas on 20 keys agree")
	got = checkers.NoLostWritesWith(checkers.DurabilityOptions{})(input(res), checkers.Budget{})
	require.Equal(t, checkers.Held, got.Verdict, got.Reason)
}

func input(res *harness.Result) checkers.Input {
	return checkers.Input{History: res.History, Replicas: res.Replicas, Settled: res.Settled}
}

// forgetful is a store whose node 1 has lost a key.
type forgetful struct {
	*sut.System
	key string
}

func (f forgetful) Inspect(ctx context.Context, w harness.World, node int, keys []string) ([]harness.Replica, error) {
	row, err := f.System.Inspect(ctx, w, node, keys)
	if err != nil || node != 1 {
		return row, err
	}
	for i, k := range keys {
		if k == f.key {
			row[i] = harness.Replica{Elsewhere: row[i].Elsewhere}
		}
	}
	return row, nil
}

// A replica without a key is found out; a node that is no replica of it may lack
// it.
func TestMissingReplicaIsFound(t *testing.T) {
	for key, want := range map[string]checkers.Verdict{
		"a": checkers.Held,   // on nodes 0, 2 and 4
		"e": checkers.Broken, // on nodes 1, 3 and 4
	} {
		res := runSystem(t, forgetful{onFive(t, "abd"), key}, 5, keys, "", 1)
		got := checkers.CheckConverges(input(res), checkers.Budget{})
		require.Equal(t, want, got.Verdict, "key %s: %s", key, got.Reason)
		if want == checkers.Broken {
			require.Contains(t, got.Reason, "node 1 holds nothing")
			require.Negative(t, res.Settled, "the replicas were waited for")
		}
	}
}
