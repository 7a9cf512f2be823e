package experiment_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/results/experiment"
)

// Each claim can be judged in a run, and none that holds in theory is broken.
func TestWeakerClaims(t *testing.T) {
	s := spec("majority-query-tag", "partition", 2)
	s.Claims = claims.Known()
	out, err := experiment.Execute(t.Context(), s, experiment.Options{})
	require.NoError(t, err)
	set, err := s.Setting()
	require.NoError(t, err)
	faults, err := s.Faults()
	require.NoError(t, err)
	for _, c := range s.Claims {
		r := out.Result(c)
		switch c {
		case checkers.NoResurrections, checkers.NoDuplicates:
			require.Equal(t, checkers.Unknown, r.Verdict, "there are no deletes, and no compare-and-sets")
		default:
			require.NotEqual(t, checkers.Unknown, r.Verdict, "%s: %s", c, r.Reason)
			if claims.Expect(set, c, faults).Holds {
				require.Equal(t, checkers.Held, r.Verdict, "%s: %s", c, r.Reason)
			}
		}
	}
	stale := out.Result(checkers.BoundedStaleness)
	require.NotEmpty(t, stale.Figures)
	for _, v := range stale.Visibility {
		require.Equal(t, 1.0, v.Predicted, "quorums that overlap always see it")
		require.Equal(t, v.Of, v.Seen)
	}
}

// A cache-like store agrees on what is read and on nothing else.
func TestConvergesWhenRead(t *testing.T) {
	s := spec("read-repair-only", "partition", 1)
	s.Claims = []checkers.Claim{checkers.Converges, checkers.ConvergesWhenRead}
	broken := 0
	for seed := range uint64(4) {
		s.Seed = seed
		out, err := experiment.Execute(t.Context(), s, experiment.Options{})
		require.NoError(t, err)
		require.Equal(t, checkers.Held, out.Result(checkers.ConvergesWhenRead).Verdict, out.Result(checkers.ConvergesWhenRead).Reason)
		if out.Result(checkers.Converges).Verdict == checkers.Broken {
			broken++
			require.Contains(t, out.Result(checkers.ConvergesWhenRead).Reason, "after they had been read")
		}
	}
	require.Positive(t, broken, "without being read they differ")
}
