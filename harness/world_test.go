package harness_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// memWorld is a world in real time without machines: its nodes share one map.
// A killed node refuses its clients.
type memWorld struct {
	*harness.RealExecutor
	nodes int

	mu   sync.Mutex
	data map[string]history.Value
	down map[int]bool
}

func newMemWorld(t testing.TB, nodes int) *memWorld {
	w := &memWorld{
		RealExecutor: harness.NewRealExecutor(),
		nodes:        nodes,
		data:         map[string]history.Value{},
		down:         map[int]bool{},
	}
	t.Cleanup(w.Stop)
	return w
}

var _ harness.World = (*memWorld)(nil)

func (w *memWorld) Name() string { return "memory" }
func (w *memWorld) Nodes() int   { return w.nodes }

func (w *memWorld) Supports(c harness.Capability) error {
	if c == harness.CanKill {
		return nil
	}
	return fmt.Errorf("%s: %w", c, errors.ErrUnsupported)
}

func (w *memWorld) Kill(_ context.Context, node int, _ time.Duration) error {
	w.setDown(node, true)
	return nil
}

func (w *memWorld) Start(_ context.Context, node int) error {
	w.setDown(node, false)
	return nil
}

func (w *memWorld) setDown(node int, down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down[node] = down
}

func (w *memWorld) isDown(node int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down[node]
}

func (w *memWorld) Status(_ context.Context, node int) (harness.Status, error) {
	return harness.Status{Up: !w.isDown(node)}, nil
}

func (w *memWorld) Close(context.Context) error {
	w.Stop()
	return nil
}

func (w *memWorld) Cut(context.Context, string, []harness.Link, time.Duration) error {
	return errors.ErrUnsupported
}
func (w *memWorld) Restore(context.Context, string) error           { return errors.ErrUnsupported }
func (w *memWorld) Pause(context.Context, int, time.Duration) error { return errors.ErrUnsupported }
func (w *memWorld) Resume(context.Context, int) error               { return errors.ErrUnsupported }
func (w *memWorld) Log(context.Context, int) ([]byte, error)        { return nil, nil }
func (w *memWorld) Probe(context.Context, []harness.Link) ([]bool, error) {
	return nil, errors.ErrUnsupported
}
func (w *memWorld) SetClock(context.Context, int, harness.Clock, time.Duration) error {
	return errors.ErrUnsupported
}
func (w *memWorld) SetDisk(context.Context, int, harness.Disk, time.Duration) error {
	return errors.ErrUnsupported
}
func (w *memWorld) ProbeDisk(context.Context, int) (harness.DiskProbe, error) {
	return harness.DiskProbe{}, errors.ErrUnsupported
}
func (w *memWorld) ClockOffset(context.Context, int) (offset, within time.Duration, err error) {
	return 0, 0, errors.ErrUnsupported
}

// memSystem is a linearizable map. Its hooks, where set, stand in for it.
type memSystem struct {
	open    func(node int) (harness.Client, error)
	invoke  func(ctx context.Context, node int, key string, op *history.Op) error
	inspect func(node int, keys []string) ([]harness.Replica, error)

	opened, closed atomic.Int64
}

func (s *memSystem) Name() string { return "memory map" }

func (s *memSystem) Open(_ context.Context, w harness.World, node int) (harness.Client, error) {
	if s.open != nil {
		return s.open(node)
	}
	if w.(*memWorld).isDown(node) {
		return nil, fmt.Errorf("node %d is down", node)
	}
	s.opened.Add(1)
	return &memClient{s, w.(*memWorld), node}, nil
}

func (s *memSystem) Inspect(_ context.Context, world harness.World, node int, keys []string) ([]harness.Replica, error) {
	if s.inspect != nil {
		return s.inspect(node, keys)
	}
	w := world.(*memWorld)
	w.mu.Lock()
	defer w.mu.Unlock()
	replicas := make([]harness.Replica, len(keys))
	for i, k := range keys {
		replicas[i].Value, replicas[i].Present = w.data[k]
	}
	return replicas, nil
}

type memClient struct {
	s    *memSystem
	w    *memWorld
	node int
}

func (c *memClient) Invoke(ctx context.Context, key string, op *history.Op) error {
	if c.s.invoke != nil {
		return c.s.invoke(ctx, c.node, key, op)
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.w.down[c.node] {
		return harness.Definite(errors.New("connection refused"))
	}
	switch op.F {
	case history.Write:
		c.w.data[key] = op.Arg
	case history.Read:
		if v, ok := c.w.data[key]; ok {
			op.Out = v
		}
	}
	return nil
}

func (c *memClient) Close() error {
	c.s.closed.Add(1)
	return nil
}

// fault is a fault made of functions; those that are nil succeed.
type fault struct {
	kind                      string
	apply, heal               func(ctx context.Context, w harness.World) error
	proveApplied, proveHealed func(ctx context.Context, w harness.World) (string, error)
	lease                     time.Duration // what Apply was given
}

func (f *fault) Kind() string   { return f.kind }
func (f *fault) String() string { return "node 0" }
func (f *fault) Nodes() []int   { return []int{0} }

func (f *fault) Apply(ctx context.Context, w harness.World, lease time.Duration) error {
	f.lease = lease
	return do(ctx, w, f.apply)
}

func (f *fault) Heal(ctx context.Context, w harness.World) error { return do(ctx, w, f.heal) }

func (f *fault) ProveApplied(ctx context.Context, w harness.World) (string, error) {
	return prove(ctx, w, f.proveApplied, "it bit")
}

func (f *fault) ProveHealed(ctx context.Context, w harness.World) (string, error) {
	return prove(ctx, w, f.proveHealed, "it is gone")
}

func do(ctx context.Context, w harness.World, f func(context.Context, harness.World) error) error {
	if f == nil {
		return nil
	}
	return f(ctx, w)
}

func prove(ctx context.Context, w harness.World, f func(context.Context, harness.World) (string, error), evidence string) (string, error) {
	if f == nil {
		return evidence, nil
	}
	return f(ctx, w)
}

// kill is a fault that kills a node.
func kill(node int) *fault {
	return &fault{
		kind:  "kill",
		apply: func(ctx context.Context, w harness.World) error { return w.Kill(ctx, node, time.Minute) },
		heal:  func(ctx context.Context, w harness.World) error { return w.Start(ctx, node) },
	}
}
