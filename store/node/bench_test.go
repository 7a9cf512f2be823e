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
// real disks with fsync. One iteration is one operation. The clients of a node
// share one client object: 21 connections of HTTP, or one stream.
func benchmarkCluster(b *testing.B, dial func(addr string) *client.Client, op func(ctx context.Context, c *client.Client, i int) error) {
	const clients = 64
	c := startCluster(b, 3, false, nil)
	ctx := context.Background()
	var nodes [3]*client.Client
	for i := range nodes {
		nodes[i] = dial(c.nodes[i].cfg.ListenClient)
		defer nodes[i].Close()
	}
	for i := range clients { // connects everything
		_, err := nodes[i%3].Put(ctx, key(i), []byte("value"))
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
				if err := op(ctx, nodes[p%3], int(i)); err != nil {
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

func BenchmarkPut(b *testing.B)       { benchmarkCluster(b, client.New, putOne) }
func BenchmarkGet(b *testing.B)       { benchmarkCluster(b, client.New, getOne) }
func BenchmarkStreamPut(b *testing.B) { benchmarkCluster(b, client.NewStream, putOne) }
func BenchmarkStreamGet(b *testing.B) { benchmarkCluster(b, client.NewStream, getOne) }

func putOne(ctx context.Context, c *client.Client, i int) error {
	_, err := c.Put(ctx, key(i%64), []byte("value"))
	return err
}

func getOne(ctx context.Context, c *client.Client, i int) error {
	_, err := c.Get(ctx, key(i%64))
	return err
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
