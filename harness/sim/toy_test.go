package sim

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
)

// toy is a system whose nodes are made by a function.
type toy struct {
	boot func(h Host) (Node, error)
}

func (toy) Name() string { return "toy" }
func (toy) Open(context.Context, harness.World, int) (harness.Client, error) {
	return nil, errors.ErrUnsupported
}
func (toy) Inspect(context.Context, harness.World, int, []string) ([]harness.Replica, error) {
	return nil, errors.ErrUnsupported
}
func (s toy) Boot(h Host) (Node, error) { return s.boot(h) }

// puppet is a node whose reactions are functions; a nil one is no reaction.
type puppet struct {
	receive func(from int, msg any)
	request func(id uint64, req any)
	wake    func()
	synced  func(token uint64)
}

func (p *puppet) Receive(from int, msg any) {
	if p.receive != nil {
		p.receive(from, msg)
	}
}

func (p *puppet) Request(id uint64, req any) {
	if p.request != nil {
		p.request(id, req)
	}
}

func (p *puppet) Wake() {
	if p.wake != nil {
		p.wake()
	}
}

func (p *puppet) Synced(token uint64) {
	if p.synced != nil {
		p.synced(token)
	}
}

// echoSystem answers every request with the request.
func echoSystem() System {
	return toy{func(h Host) (Node, error) {
		return &puppet{request: func(id uint64, req any) { h.Reply(id, req) }}, nil
	}}
}

var bg = context.Background()

// newWorld makes a world that is closed with the test.
func newWorld(t testing.TB, cfg Config) *World {
	t.Helper()
	if cfg.System == nil {
		cfg.System = echoSystem()
	}
	if cfg.Nodes == 0 {
		cfg.Nodes = 3
	}
	w, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close(bg)) })
	return w
}

// await runs f as a task, which must succeed.
func await(t testing.TB, w *World, f func(ctx context.Context) error) {
	t.Helper()
	require.NoError(t, w.Await(bg, f))
}

// pass lets virtual time pass.
func pass(t testing.TB, w *World, d time.Duration) {
	t.Helper()
	await(t, w, func(ctx context.Context) error { return w.Sleep(ctx, d) })
}

// exactly is a constant latency.
func exactly(d time.Duration) Latency { return Latency{Median: d} }

// still is a network and disk without chance.
func still() Config {
	return Config{
		Net:  NetConfig{Latency: exactly(time.Millisecond), Client: exactly(time.Millisecond)},
		Disk: DiskConfig{Sync: exactly(time.Millisecond)},
		Boot: exactly(10 * time.Millisecond),
	}
}
