package workloads

import (
	"context"
	"fmt"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// BankOptions are the dials of [Bank]. The zero value is a fair start.
type BankOptions struct {
	// RegisterOptions are as for [Register]: a key is a bank, and what are
	// writes there are transfers here. There are no deletes.
	RegisterOptions
	// Accounts is how many accounts a bank has. 0 means 5.
	Accounts int
	// Initial is what is in each account at the beginning. 0 means 100.
	Initial int
	// MaxAmount is the most that one transfer moves. 0 means 5.
	MaxAmount int
	// Blind: a transfer reads the balances, and writes them back with a plain
	// put. Otherwise it is made by compare-and-set.
	Blind bool
}

// Balances gives the balances of a bank before the first transfer.
func (o BankOptions) Balances() history.List {
	o.setDefaults()
	all := make(history.List, o.Accounts)
	for i := range all {
		all[i] = history.Value(o.Initial)
	}
	return all
}

func (o *BankOptions) setDefaults() {
	def := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	def(&o.Accounts, 5)
	o.Accounts = max(o.Accounts, 2)
	def(&o.Initial, 100)
	def(&o.MaxAmount, 5)
}

// Bank transfers money between accounts, and reads all balances. The balances of
// a bank are the value of one key, so that a store whose compare-and-set is about
// one key can change two accounts at one instant; it is absent before the first
// transfer. A transfer of more than there is in the account is refused.
func Bank(o BankOptions) Layered {
	o.setDefaults()
	return Layered{
		Workload: reshaped("bank", "b", &o.RegisterOptions, func(op gen.Op, r *gen.Rand) gen.Op {
			if op.F != history.Write {
				op.F = history.ReadAll
				return op
			}
			from := r.IntN(o.Accounts)
			to := (from + 1 + r.IntN(o.Accounts-1)) % o.Accounts
			op.F, op.Arg, op.Arg2 = history.Transfer, history.Accounts(from, to), history.Value(1+r.IntN(o.MaxAmount))
			return op
		}),
		layer: func() layer { return bank{initial: o.Balances(), blind: o.Blind} },
	}
}

// bank is the layer of Bank.
type bank struct {
	asStored
	initial history.List
	blind   bool
}

func (l bank) open(kv KV, _ place) harness.Lister {
	return plain{
		invoke: func(ctx context.Context, key string, op *history.Op) error {
			if op.F != history.Transfer {
				return cannot("bank", op.F)
			}
			return change(ctx, kv, key, l.blind, func(old string) (string, error) {
				all, err := l.balances(old)
				if err != nil {
					return "", err
				}
				from, to := op.Accounts()
				if max(from, to) >= len(all) {
					return "", fmt.Errorf("accounts %d and %d: the bank has %d", from, to, len(all))
				}
				if all[from] < op.Arg2 {
					return "", fmt.Errorf("account %d has %v, which is less than %v", from, all[from], op.Arg2)
				}
				all[from] -= op.Arg2
				all[to] += op.Arg2
				return encodeList(all), nil
			})
		},
		all: func(ctx context.Context, key string) (history.List, error) {
			text, err := get(ctx, kv, key)
			if err != nil {
				return nil, err
			}
			return l.balances(text)
		},
	}
}

// balances gives a list of its own.
func (l bank) balances(text string) (history.List, error) {
	if text == "" {
		return append(history.List(nil), l.initial...), nil
	}
	return decodeList(text)
}
