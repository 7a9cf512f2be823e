package workloads_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen/gentest"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/workloads"
)

func TestBank(t *testing.T) {
	for _, apart := range []bool{false, true} {
		b := newBench(t, workloads.Bank(workloads.BankOptions{Accounts: 3, Initial: 10, Apart: apart}))
		require.Equal(t, history.List{10, 10, 10}, b.all(0, "b0"), "before the first transfer")
		require.False(t, b.inspect(0, "b0")[0].Present)
		_, err := b.do(1, history.Transfer, "b0", history.Accounts(0, 2), 4)
		require.NoError(t, err)
		_, err = b.do(2, history.Transfer, "b0", history.Accounts(2, 1), 14)
		require.NoError(t, err)
		require.Equal(t, history.List{6, 24, 0}, b.all(0, "b0"))
		_, err = b.do(2, history.Transfer, "b0", history.Accounts(2, 1), 1)
		require.True(t, harness.IsDefinite(err))
		require.ErrorContains(t, err, "account 2 has 0, which is less than 1")
		require.Equal(t, history.List{6, 24, 0}, b.all(0, "b0"))
		require.Equal(t, history.List{6, 24, 0}, b.inspect(0, "b0")[0].Values)
		if apart {
			require.Equal(t, "24", b.store.values["b0/1"])
		} else {
			require.Equal(t, "[6,24,0]", b.store.values["b0"])
		}
	}
}

// When the first account was changed, no error of the second is definite.
func TestHalfOfATransferIsOfUnknownOutcome(t *testing.T) {
	for _, request := range []string{"get", "put"} {
		b := newBench(t, workloads.Bank(workloads.BankOptions{Accounts: 2, Initial: 10, Apart: true}))
		b.store.before = func(op, key string) error {
			if op == request && key == "b0/1" {
				return harness.Definite(errors.New("refused"))
			}
			return nil
		}
		_, err := b.do(0, history.Transfer, "b0", history.Accounts(0, 1), 3)
		require.ErrorContains(t, err, "half of the transfer was made")
		require.False(t, harness.IsDefinite(err))
	}
}

func TestBankTransfersBetweenTwoOfItsAccounts(t *testing.T) {
	o := workloads.BankOptions{Accounts: 3, MaxAmount: 4}
	events, err := gentest.Play(workloads.Bank(o).Generator, gentest.Config{Workers: 3})
	require.NoError(t, err)
	pairs, amounts := map[history.Value]int{}, map[history.Value]int{}
	for _, e := range events {
		if e.F != history.Transfer {
			require.Equal(t, history.ReadAll, e.F)
			continue
		}
		from, to := (&history.Op{Arg: e.Arg}).Accounts()
		require.NotEqual(t, from, to)
		require.Less(t, max(from, to), 3)
		pairs[e.Arg]++
		amounts[e.Arg2]++
	}
	require.Len(t, pairs, 6)
	require.Len(t, amounts, 4)
	require.NotContains(t, amounts, history.Value(0))
	f := fractions(events)
	require.InDelta(t, 0.5, f[history.Transfer], 0.03)
}
