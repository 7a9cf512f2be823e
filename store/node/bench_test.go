package node

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
)

// benchmarkCluster runs 64 clients against three nodes in this process, on
// real disks with fsync. One iteration is one operation.
func benchmarkCluster(b *testing.B, op func(ctx context.Context, c *client.Client, i int) error) {
	const clients = 64
	c := startCluster(b, 3, false, nil)
	ctx := context.Background()
	for i := range clients { // connects everything
		_, err := c.nodes[i%3].client.Put(ctx, key(i), []byte("value"))
		require.NoError(b, err)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for p := range clients {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				if err := op(ctx, c.nodes[p%3].client, int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func BenchmarkPut(b *testing.B) {
	benchmarkCluster(b, func(ctx context.Context, c *client.Client, i int) error {
		_, err := c.Put(ctx, key(i%64), []byte("value"))
		return err
	})
}

func BenchmarkGet(b *testing.B) {
	benchmarkCluster(b, func(ctx context.Context, c *client.Client, i int) error {
		_, err := c.Get(ctx, key(i%64))
		return err
	})
}

// BenchmarkLonePut is the latency of a put when nothing else goes on: two
// message rounds and an fsync on the way.
func BenchmarkLonePut(b *testing.B) {
	c := startCluster(b, 3, false, nil)
	ctx := context.Background()
	_, err := c.nodes[0].client.Put(ctx, "k", []byte("value"))
	require.NoError(b, err)
	for b.Loop() {
		if _, err := c.nodes[0].client.Put(ctx, "k", []byte("value")); err != nil {
			b.Fatal(err)
		}
	}
}
