package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// Supports implements [harness.World]: a simulated world can do everything,
// but for what the system has to tell.
func (w *World) Supports(c harness.Capability) error {
	switch c {
	case harness.CanCut, harness.CanKill, harness.CanPause, harness.CanClock, harness.CanDelayDisk:
		return nil
	case harness.CanRot:
		return w.supportsRot()
	}
	return fmt.Errorf("sim: %q: no such capability is known", c)
}

// Kill implements [harness.World]. Messages that the node has sent are still on
// their way; those to it are lost when they arrive before it is up again. A
// node that is down already gets the new lease.
func (w *World) Kill(_ context.Context, node int, lease time.Duration) error {
	m, err := w.machine(node)
	if err != nil {
		return err
	}
	if err := w.usableFor(lease); err != nil {
		return err
	}
	if m.up {
		m.kill()
	}
	w.queue.cancel(m.boot)
	w.queue.cancel(m.killLease)
	m.boot = timer{}
	m.killLease = w.later(lease, m.startBoot)
	m.wakeBooters()
	return nil
}

// startBoot begins a restart.
func (m *machine) startBoot() {
	w := m.w
	if m.up || m.boot != (timer{}) {
		return
	}
	w.queue.cancel(m.killLease)
	m.killLease = timer{}
	m.boot = w.later(time.Duration(w.bootDelay.draw(m.bootRand.Uint64())), m.start)
}

// Start implements [harness.World].
func (w *World) Start(ctx context.Context, node int) error {
	m, err := w.machine(node)
	if err != nil || m.up {
		return err
	}
	return w.asTask(ctx, func(ctx context.Context, t *task) error {
		c := w.adopt(ctx)
		if c.err != nil {
			return t.refused(c.err)
		}
		m.startBoot()
		c.wait(t)
		defer c.unwait(t)
		for !m.up && c.err == nil {
			if m.boot == (timer{}) {
				return fmt.Errorf("sim: node %d was killed again while it was starting", node)
			}
			m.booters = append(m.booters, t)
			t.park("a node to start")
		}
		if i := slices.Index(m.booters, t); i >= 0 {
			m.booters = slices.Delete(m.booters, i, i+1)
		}
		if !m.up {
			return fmt.Errorf("sim: node %d is still starting: %w", node, c.err)
		}
		return nil
	})
}

// Pause implements [harness.World]. A second Pause replaces the lease of the
// first.
func (w *World) Pause(_ context.Context, node int, lease time.Duration) error {
	m, err := w.machine(node)
	if err != nil {
		return err
	}
	if err := w.usableFor(lease); err != nil {
		return err
	}
	if !m.up {
		return fmt.Errorf("sim: node %d is down: there is no process to pause", node)
	}
	if !m.paused {
		m.paused = true
		w.trace(Event{Kind: EventPause, Node: node, Peer: -1})
	}
	w.queue.cancel(m.pauseLease)
	m.pauseLease = w.later(lease, m.resume)
	return nil
}

// Resume implements [harness.World].
func (w *World) Resume(_ context.Context, node int) error {
	m, err := w.machine(node)
	if err != nil {
		return err
	}
	m.resume()
	return nil
}

// SetClock implements [harness.World]. The node need not be up.
func (w *World) SetClock(_ context.Context, node int, c harness.Clock, lease time.Duration) error {
	m, err := w.machine(node)
	if err != nil {
		return err
	}
	if c == (harness.Clock{}) {
		m.setClock(c)
		return nil
	}
	if err := w.usableFor(lease); err != nil {
		return err
	}
	if !(c.Drift >= -1 && c.Drift <= 1e3) {
		return errors.New("sim: a clock's drift must be from -1 (it stands still) to 1000")
	}
	m.setClock(c)
	m.clockLease = w.later(lease, func() { m.setClock(harness.Clock{}) })
	return nil
}

// Status implements [harness.World].
func (w *World) Status(_ context.Context, node int) (harness.Status, error) {
	m, err := w.machine(node)
	if err != nil {
		return harness.Status{}, err
	}
	return harness.Status{Up: m.up, Paused: m.paused, Incarnation: uint64(m.inc), Work: m.work}, nil
}

// ClockOffset implements [harness.World]. It is exact. A paused process is read
// as well: what it would see is known.
func (w *World) ClockOffset(_ context.Context, node int) (offset, within time.Duration, err error) {
	m, err := w.machine(node)
	if err != nil {
		return 0, 0, err
	}
	if !m.up {
		return 0, 0, fmt.Errorf("sim: node %d is down: there is no process to read its clock", node)
	}
	return time.Duration(m.clockOffset()), 0, nil
}

// Log implements [harness.World]. Of a long log it is the end. It can be read
// after Close too.
func (w *World) Log(_ context.Context, node int) ([]byte, error) {
	if node < 0 || node >= len(w.machines) {
		return nil, fmt.Errorf("sim: node %d: the nodes are 0 to %d", node, len(w.machines)-1)
	}
	return w.machines[node].log.bytes(), nil
}
