package workloads

import (
	"context"
	"slices"
	"sync"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// BalanceOptions are the dials of [Balance]. The zero value is a fair start.
type BalanceOptions struct {
	// RegisterOptions are as for [Register]: a key is an account, and what are
	// writes there are its new balances in the ledger. There are no deletes.
	RegisterOptions
	// GlanceFraction is the share of the reads that are glances. 0 means one
	// half, and a negative one means none.
	GlanceFraction float64
}

// Glance is the Arg of a read of [Balance] that is answered from the cache.
const Glance history.Value = 1

// Balance is an app that shows balances: a cache in front of a ledger. The store
// is the ledger. In front of each node there is a cache, as on a phone that talks
// to it. Opening the details of an account asks the ledger, and refreshes the
// cache; a glance at the main screen shows what is in the cache.
//
// Every balance is unique in the run. Opening the details is a plain read, and a
// glance is a read with the Arg [Glance]. What replicas are to other workloads,
// the caches are to this one: what is shown until somebody opens the details.
func Balance(o BalanceOptions) Layered {
	if o.GlanceFraction == 0 {
		o.GlanceFraction = 0.5
	}
	return Layered{
		Workload: reshaped("balance", "a", &o.RegisterOptions, func(op gen.Op, r *gen.Rand) gen.Op {
			if op.F == history.Read && r.Float64() < o.GlanceFraction {
				op.Arg = Glance
			}
			return op
		}),
		layer: func() layer { return &caches{} },
	}
}

// caches is the layer of Balance.
type caches struct {
	mu    sync.Mutex
	shown []map[string]history.Value // by node
}

// of gives what is shown at a node.
func (l *caches) of(node int) map[string]history.Value {
	for len(l.shown) <= node {
		l.shown = append(l.shown, map[string]history.Value{})
	}
	return l.shown[node]
}

func (l *caches) glance(node int, key string) (history.Value, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.of(node)[key]
	return v, ok
}

func (l *caches) refresh(node int, key string, v history.Value) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(node)[key] = v
}

func (l *caches) open(kv KV, at place) harness.Lister {
	details := func(ctx context.Context, key string) (history.Value, error) {
		text, err := get(ctx, kv, key)
		if err != nil || text == "" {
			return history.Nil, err
		}
		v, _, err := Decode(text)
		return v, err
	}
	return plain{
		invoke: func(ctx context.Context, key string, op *history.Op) (err error) {
			switch op.F {
			case history.Write:
				return kv.Put(ctx, key, op.Arg.String())
			case history.Read:
				if op.Arg == Glance {
					if v, ok := l.glance(at.node, key); ok {
						op.Out = v
						return nil
					}
					// Nothing to show yet: it is fetched.
				}
				if op.Out, err = details(ctx, key); err == nil {
					l.refresh(at.node, key, op.Out)
				}
				return err
			}
			return cannot("balance", op.F)
		},
		all: func(context.Context, string) (history.List, error) { return nil, cannot("balance", history.ReadAll) },
	}
}

// inspect shows the caches.
func (l *caches) inspect(node int, keys []string, _ func([]string) ([]harness.Replica, error)) ([]harness.Replica, error) {
	out := make([]harness.Replica, len(keys))
	for i, key := range keys {
		if v, ok := l.glance(node, key); ok && v != history.Nil {
			out[i] = harness.Replica{Present: true, Value: v}
		}
	}
	return slices.Clip(out), nil
}
