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
	// Apart: each account is a key of its own, bank/number, and a transfer reads
	// and puts one after the other: what people do on a store that changes one
	// key at a time and has no compare-and-set.
	Apart bool
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
// a bank are the value of one key, which transfers change by compare-and-set: a
// store whose compare-and-set is about one key can then change two accounts at one
// instant. The key is absent before the first transfer. A transfer of more than
// there is in the account is refused.
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
		layer: func() layer {
			if o.Apart {
				return accounts{o.Balances()}
			}
			return bank{initial: o.Balances()}
		},
	}
}

// bank is the layer of Bank.
type bank struct {
	asStored
	initial history.List
}

func (l bank) open(kv KV, _ place) harness.Lister {
	return plain{
		invoke: func(ctx context.Context, key string, op *history.Op) error {
			if op.F != history.Transfer {
				return cannot("bank", op.F)
			}
			return change(ctx, kv, key, false, func(old string) (string, error) {
				all, err := l.balances(old)
				if err != nil {
					return "", err
				}
				from, to := op.Accounts()
				if err := covers(op, from, all[from]); err != nil {
					return "", err
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

// covers says why an account has too little for a transfer.
func covers(transfer *history.Op, account int, balance history.Value) error {
	if balance < transfer.Arg2 {
		return fmt.Errorf("account %d has %v, which is less than %v", account, balance, transfer.Arg2)
	}
	return nil
}

// accounts is the layer of a Bank whose accounts are keys of their own.
type accounts struct{ initial history.List }

func (l accounts) open(kv KV, _ place) harness.Lister {
	balance := func(ctx context.Context, key string, account int) (history.Value, error) {
		text, err := get(ctx, kv, partKey(key, account))
		if err != nil || text == "" {
			return l.initial[account], err
		}
		v, _, err := Decode(text)
		return v, err
	}
	put := func(ctx context.Context, key string, account int, v history.Value) error {
		return kv.Put(ctx, partKey(key, account), v.String())
	}
	return plain{
		invoke: func(ctx context.Context, key string, op *history.Op) error {
			if op.F != history.Transfer {
				return cannot("bank", op.F)
			}
			from, to := op.Accounts()
			source, err := balance(ctx, key, from)
			if err == nil {
				err = covers(op, from, source)
			}
			if err != nil {
				return harness.Definite(err)
			}
			if err := put(ctx, key, from, source-op.Arg2); err != nil {
				return err
			}
			target, err := balance(ctx, key, to)
			if err == nil {
				err = put(ctx, key, to, target+op.Arg2)
			}
			if err != nil {
				// Not wrapped: whatever is certain of the second half, the first
				// has happened.
				return fmt.Errorf("half of the transfer was made: %v", err)
			}
			return nil
		},
		all: func(ctx context.Context, key string) (history.List, error) {
			all := make(history.List, len(l.initial))
			for i := range all {
				var err error
				if all[i], err = balance(ctx, key, i); err != nil {
					return nil, err
				}
			}
			return all, nil
		},
	}
}

func (l accounts) inspect(_ int, keys []string, read func([]string) ([]harness.Replica, error)) ([]harness.Replica, error) {
	return inParts(keys, len(l.initial), read, func(parts []harness.Replica) history.List {
		all, found := append(history.List(nil), l.initial...), false
		for i, r := range parts {
			if r.Present {
				all[i], found = r.Value, true
			}
		}
		if !found {
			return nil
		}
		return all
	})
}
