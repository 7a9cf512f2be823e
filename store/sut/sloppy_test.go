package sut_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/store/sut"
)

// A sloppy quorum loses no acknowledged write, and its replicas come to agree;
// but a completed write is missed by reads at the other side of a partition.
func TestSloppyMajority(t *testing.T) {
	p, err := sut.ProfileByName("sloppy-majority")
	require.NoError(t, err)
	stale := 0
	for seed := range uint64(10) {
		res := runSystem(t, sut.New(p), p.Nodes(), keys, "partition,kill,pause", seed)
		got := checkers.CheckConverges(input(res), checkers.Budget{})
		require.Equal(t, checkers.Held, got.Verdict, "seed %d: %s", seed, got.Reason)
		got = checkers.NoLostWritesWith(checkers.DurabilityOptions{})(input(res), checkers.Budget{})
		require.Equal(t, checkers.Held, got.Verdict, "seed %d: %s", seed, got.Reason)
		fresh := checkers.FreshReadsWith(checkers.Options{})(input(res), checkers.Budget{})
		if fresh.Verdict == checkers.Broken {
			stale++
		}
	}
	require.NotZero(t, stale, "no seed showed that R+W > N is not enough")
}
