package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/testcontainers/testcontainers-go"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker/agent"
)

// node is one node: its place in the network, which lasts as long as the world,
// and its process, which comes and goes.
type node struct {
	number    int
	name      string
	addr      netip.Addr
	ports     map[int]string // container port to address for clients
	first     string         // address of the first port
	holder    *channel
	probePort int
	run       Container
	container atomic.Pointer[box] // nil: the node is a spare

	mu     sync.Mutex // held over every change of the process
	past   []byte     // what containers before this one have logged
	killed lease
	paused lease
	clock  clock
}

// box is a container; its type is an interface, which has no atomic pointer.
type box struct{ testcontainers.Container }

// id is the container's, which the engine knows nothing of if there is none.
func (n *node) id() string {
	if c := n.container.Load(); c != nil {
		return c.GetContainerID()
	}
	return n.name
}

// lease heals a fault by itself. Its methods are called under the node's lock.
type lease struct{ timer *time.Timer }

// set makes heal run when d is over, in place of what was set before.
func (l *lease) set(n *node, d time.Duration, heal func()) {
	l.end()
	var own *time.Timer
	own = time.AfterFunc(d, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		// The lease may have ended while this waited for the lock.
		if l.timer == own {
			l.timer = nil
			heal()
		}
	})
	l.timer = own
}

func (l *lease) end() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// healTimeout bounds a change that the world makes by itself.
const healTimeout = 30 * time.Second

// heal runs f for a lease that is over, unless the world is going down.
func (w *World) heal(n *node, what string, f func(ctx context.Context) error) func() {
	return func() {
		if w.closing.Load() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), healTimeout)
		defer cancel()
		if err := f(ctx); err != nil && !w.closing.Load() {
			w.cfg.Logf("node %d: %s after its lease: %v", n.number, what, err)
		}
	}
}

// Kill implements [harness.World].
func (w *World) Kill(ctx context.Context, number int, lease time.Duration) error {
	n, unlock, err := w.lock(number)
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkLease(lease); err != nil {
		return fmt.Errorf("kill node %d: %w", number, err)
	}
	if n.container.Load() == nil {
		return fmt.Errorf("kill node %d: it is a spare, and was not started", number)
	}
	n.paused.end()
	// The lease runs from before the deed: if that fails half-way, the node
	// comes back all the same.
	n.killed.set(n, lease, w.heal(n, "start", func(ctx context.Context) error { return w.start(ctx, n) }))
	return w.kill(ctx, n)
}

// kill ends a node's process, if there is one, and waits for its end.
func (w *World) kill(ctx context.Context, n *node) error {
	// The engine says "conflict" for a container that does not run.
	if err := w.engine.ContainerKill(ctx, n.id(), "KILL"); err != nil && !cerrdefs.IsConflict(err) {
		return fmt.Errorf("kill node %d: %w", n.number, err)
	}
	exited, failed := w.engine.ContainerWait(ctx, n.id(), container.WaitConditionNotRunning)
	select {
	case <-exited:
	case err := <-failed:
		return fmt.Errorf("wait for the end of node %d: %w", n.number, err)
	}
	// Its clock agent shared its process namespace, and died with it.
	n.clock.drop()
	return nil
}

// Start implements [harness.World].
func (w *World) Start(ctx context.Context, number int) error {
	n, unlock, err := w.lock(number)
	if err != nil {
		return err
	}
	defer unlock()
	return w.start(ctx, n)
}

func (w *World) start(ctx context.Context, n *node) error {
	n.killed.end()
	if n.container.Load() == nil {
		if err := w.createNode(ctx, n); err != nil {
			return err
		}
	}
	// Starting a container that runs is no error to the engine.
	if err := n.container.Load().Start(ctx); err != nil {
		return fmt.Errorf("start node %d: %w", n.number, err)
	}
	if err := w.reapplyClock(ctx, n); err != nil {
		return fmt.Errorf("start node %d: its clock: %w", n.number, err)
	}
	return nil
}

// Wipe implements [harness.World]. The container and its volume are removed; what
// it has logged is kept.
func (w *World) Wipe(ctx context.Context, number int) error {
	n, unlock, err := w.lock(number)
	if err != nil {
		return err
	}
	defer unlock()
	if n.container.Load() == nil {
		return nil
	}
	n.killed.end()
	n.paused.end()
	if err := w.kill(ctx, n); err != nil {
		return err
	}
	if n.past, err = w.logOf(ctx, n); err != nil {
		return err
	}
	if err := w.engine.ContainerRemove(ctx, n.id(), container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
		return fmt.Errorf("remove node %d: %w", number, err)
	}
	n.container.Store(nil)
	if n.run.DataDir == "" {
		return nil
	}
	if err := w.engine.VolumeRemove(ctx, w.volumeName(n), true); err != nil {
		return fmt.Errorf("remove the disk of node %d: %w", number, err)
	}
	return nil
}

// Pause implements [harness.World].
func (w *World) Pause(ctx context.Context, number int, lease time.Duration) error {
	n, unlock, err := w.lock(number)
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkLease(lease); err != nil {
		return fmt.Errorf("pause node %d: %w", number, err)
	}
	n.paused.set(n, lease, w.heal(n, "resume", func(ctx context.Context) error { return w.resume(ctx, n) }))
	if err := w.engine.ContainerPause(ctx, n.id()); err != nil {
		// A second pause only renews the lease.
		if s, _, statusErr := w.inspect(ctx, n); statusErr == nil && s.Paused {
			return nil
		}
		n.paused.end()
		return fmt.Errorf("pause node %d: %w", number, err)
	}
	return nil
}

// Resume implements [harness.World].
func (w *World) Resume(ctx context.Context, number int) error {
	n, unlock, err := w.lock(number)
	if err != nil {
		return err
	}
	defer unlock()
	return w.resume(ctx, n)
}

func (w *World) resume(ctx context.Context, n *node) error {
	n.paused.end()
	if err := w.engine.ContainerUnpause(ctx, n.id()); err != nil {
		if s, _, statusErr := w.inspect(ctx, n); statusErr == nil && !s.Paused {
			return nil // nothing to resume
		}
		return fmt.Errorf("resume node %d: %w", n.number, err)
	}
	return nil
}

// Status implements [harness.World]. Work is the processor time that the node
// has used since its start, in nanoseconds.
func (w *World) Status(ctx context.Context, number int) (harness.Status, error) {
	n, err := w.node(number)
	if err != nil {
		return harness.Status{}, err
	}
	s, pid, err := w.inspect(ctx, n)
	if err != nil || !s.Up {
		return s, err
	}
	s.Work, err = w.work(ctx, n, pid)
	return s, err
}

// work asks the agent on the engine's machine or, where that cannot see the
// node's processes, the engine, which is much slower.
func (w *World) work(ctx context.Context, n *node, pid int) (uint64, error) {
	var r agent.WorkResult
	agentErr := w.host.call(ctx, agent.OpWork, agent.WorkArgs{PID: pid}, &r)
	if agentErr == nil {
		return r.NS, nil
	}
	stats, err := w.engine.ContainerStatsOneShot(ctx, n.id())
	if err != nil {
		return 0, fmt.Errorf("processor time of node %d: %w", n.number, errors.Join(agentErr, err))
	}
	defer stats.Body.Close()
	var usage container.StatsResponse
	if err := json.NewDecoder(stats.Body).Decode(&usage); err != nil {
		return 0, fmt.Errorf("processor time of node %d: %w", n.number, errors.Join(agentErr, err))
	}
	return usage.CPUStats.CPUUsage.TotalUsage, nil
}

// inspect is Status without the work, and the main process as the engine's
// machine numbers it.
func (w *World) inspect(ctx context.Context, n *node) (s harness.Status, pid int, err error) {
	if n.container.Load() == nil {
		return s, 0, nil
	}
	c, err := w.engine.ContainerInspect(ctx, n.id())
	if err != nil {
		return s, 0, fmt.Errorf("status of node %d: %w", n.number, err)
	}
	started, err := time.Parse(time.RFC3339Nano, c.State.StartedAt)
	if err != nil {
		return s, 0, fmt.Errorf("status of node %d: when it started: %w", n.number, err)
	}
	return harness.Status{
		Up: c.State.Running, Paused: c.State.Paused,
		Incarnation: uint64(started.UnixNano()),
	}, c.State.Pid, nil
}

// Log implements [harness.World].
func (w *World) Log(ctx context.Context, number int) ([]byte, error) {
	n, err := w.node(number)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return w.logOf(ctx, n)
}

func (w *World) logOf(ctx context.Context, n *node) ([]byte, error) {
	text := logBuffer{slices.Clone(n.past)}
	if n.container.Load() == nil {
		return text.bytes, nil
	}
	stream, err := w.engine.ContainerLogs(ctx, n.id(), container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return text.bytes, fmt.Errorf("log of node %d: %w", n.number, err)
	}
	defer stream.Close()
	if _, err := stdcopy.StdCopy(&text, &text, stream); err != nil {
		return text.bytes, fmt.Errorf("log of node %d: %w", n.number, err)
	}
	return text.bytes, nil
}

type logBuffer struct{ bytes []byte }

func (b *logBuffer) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}
