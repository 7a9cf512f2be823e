package gen_test

import (
	"testing"

	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// BenchmarkNext draws from typical compositions, with ten workers of whom one
// to ten are idle, and completes every operation.
func BenchmarkNext(b *testing.B) {
	mix := gen.Mix(gen.Weight(1, reads), gen.Weight(1, gen.Unique(writes)))
	for _, bm := range []struct {
		name string
		g    gen.Generator
	}{
		{"repeat", reads},
		{"rate-mix", gen.Rate(1e6, mix)},
		{"rate-keys-mix", gen.Rate(1e6, gen.Keys(1<<30, 8, func(int32) gen.Generator { return gen.Limit(200, mix) }))},
		{"phases-rate-mix", gen.Phases(gen.Rate(1e6, mix))},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			g := bm.g
			c := gen.Context{Idle: gen.FullSet(10), Workers: 10}
			var done history.Op
			for i := range b.N {
				c.Seed = gen.Derive(1, uint64(i))
				op, st, next := g.Next(c)
				if st != gen.Ready {
					b.Fatal(st)
				}
				g = next
				c.Time = max(c.Time, op.Time)
				done.F, done.Key, done.Arg = op.F, op.Key, op.Arg
				g = g.Update(c, gen.Completion{Op: &done, Worker: op.Worker, Route: op.Route})
			}
		})
	}
}
