package harness_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// BenchmarkRunner runs whole tests of a quarter of a second with clients that
// do nothing, as fast as they go: reads and unique writes, every operation
// recorded and written out. What counts is the metric ops/s.
func BenchmarkRunner(b *testing.B) {
	for _, clients := range []int{1, 10, 50, 500} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := &memSystem{
				invoke:  func(context.Context, int, string, *history.Op) error { return nil },
				inspect: func(_ int, keys []string) ([]harness.Replica, error) { return make([]harness.Replica, len(keys)), nil },
			}
			reads := gen.Repeat(gen.Op{F: history.Read})
			writes := gen.Unique(gen.Repeat(gen.Op{F: history.Write}))
			test := harness.Test{
				Name:    "no-op",
				System:  s,
				Clients: clients, OpTimeout: time.Second,
				Before: 250 * time.Millisecond,
				Workload: harness.Workload{
					Name: "mix", Keys: []string{"x"},
					Generator: gen.Mix(gen.Weight(1, reads), gen.Weight(1, writes)),
				},
			}
			b.ReportAllocs()
			ops := 0
			for b.Loop() {
				w := newMemWorld(b, 3)
				r, err := harness.Run(b.Context(), test, w, harness.Options{Log: io.Discard})
				require.NoError(b, err)
				ops += len(r.History.Ops)
				w.Stop()
			}
			b.ReportMetric(float64(ops)/(float64(b.N)*test.Before.Seconds()), "ops/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(ops), "ns/op-run")
		})
	}
}
