package sim

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// pinger sends every message on to the next node.
type pinger struct{ h Host }

func (p pinger) Receive(_ int, msg any)     { p.h.Send((p.h.ID()+1)%p.h.Nodes(), msg) }
func (p pinger) Request(id uint64, req any) { p.h.Reply(id, req) }
func (p pinger) Wake()                      {}
func (p pinger) Synced(uint64)              {}
func pingerSystem(inFlight int) System {
	return toy{func(h Host) (Node, error) {
		p := pinger{h}
		for range inFlight / h.Nodes() {
			p.Receive(-1, "ping")
		}
		return p, nil
	}}
}

// BenchmarkMessages measures delivered messages per second on one core, with
// 5 nodes, 100 messages in flight and the default delays.
func BenchmarkMessages(b *testing.B) {
	w, err := New(Config{System: pingerSystem(100), Nodes: 5, Seed: 1})
	require.NoError(b, err)
	ctx := context.Background()
	run := func(n uint64) {
		for end := w.stats.Delivered + n; w.stats.Delivered < end; {
			_, err := w.Wait(ctx, w.Now()+int64(100*time.Microsecond), nil)
			require.NoError(b, err)
		}
	}
	run(10_000)
	b.ReportAllocs()
	b.ResetTimer()
	run(uint64(b.N))
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	require.NoError(b, w.Close(ctx))
}

// BenchmarkCall measures client operations per second: 20 workers, each a
// coroutine that calls an echoing node through the runner's interface.
func BenchmarkCall(b *testing.B) {
	const workers = 20
	w, err := New(Config{System: echoSystem(), Nodes: 3, Seed: 1})
	require.NoError(b, err)
	ctx := context.Background()
	var req any = "echo"
	w.Workers(workers, func(ctx context.Context, worker int, _ *history.Op) error {
		_, err := w.Call(ctx, worker%3, req)
		return err
	})
	var ops [workers]history.Op
	var buf []harness.Completion
	invoke := func(i int) { w.Invoke(i, time.Second, &ops[i]) }
	for i := range workers {
		invoke(i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		buf, err = w.Wait(ctx, w.Now()+int64(time.Second), buf[:0])
		require.NoError(b, err)
		done += len(buf)
		for _, c := range buf {
			require.NoError(b, c.Err)
			invoke(c.Worker)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	require.NoError(b, w.Close(ctx))
}
