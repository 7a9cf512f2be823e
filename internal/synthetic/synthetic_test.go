package synthetic_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/internal/synthetic"
)

func TestLoadIsWhatItSays(t *testing.T) {
	for _, l := range []synthetic.Load{
		{Seed: 1, Ops: 5_000, Clients: 10, Info: 0.02},
		{Seed: 2, Ops: 5_000, Clients: 10, Keys: 7, PerKey: 100},
		{Seed: 3, Ops: 5_000, Clients: 3, Shuffled: true},
		{Seed: 4, Ops: 5_000, Clients: 10, Stale: 4_000},
	} {
		var file bytes.Buffer
		require.NoError(t, l.Write(&file))
		h, err := history.Decode(&file)
		require.NoError(t, err)
		require.NoError(t, h.Cut)
		require.NoError(t, h.Validate())
		require.Len(t, h.Ops, l.Ops)
		require.Len(t, h.Keys, max(1, l.Keys))
		r := checkers.CheckModel(h, checkers.ModelRegister, checkers.Options{}, checkers.Budget{})
		if l.Stale == 0 {
			require.Equal(t, checkers.Held, r.Verdict, r.Reason)
		} else {
			require.Equal(t, checkers.Broken, r.Verdict)
			require.Contains(t, r.Reason, "was in force when process ")
		}
	}
}
