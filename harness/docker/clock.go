package docker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker/agent"
)

// clock is the clock fault of one node. Its agent shares the node's process
// namespace, so it dies with the node and is started anew after it. It keeps
// the lease.
type clock struct {
	set   harness.Clock
	since int64 // when it was set, on the executor's clock
	until int64 // when its lease is over
	agent *channel
}

func (c *clock) drop() {
	if c.agent != nil {
		c.agent.close()
		c.agent = nil
	}
}

// at is the fault as it must be set at a later time: what the clock has
// drifted so far is part of the offset.
func (c *clock) at(now int64) harness.Clock {
	return harness.Clock{
		Offset: c.set.Offset + time.Duration(c.set.Drift*float64(now-c.since)),
		Drift:  c.set.Drift,
	}
}

// Bounds of a clock fault. Outside of them a clock in nanoseconds would
// overflow within a long run, or run backwards.
const (
	maxOffset = 20 * 365 * 24 * time.Hour
	minDrift  = -0.99
	maxDrift  = 100
)

// SetClock implements [harness.World]. It changes what Go programs read; see
// package agent for how.
func (w *World) SetClock(ctx context.Context, number int, c harness.Clock, lease time.Duration) error {
	n, unlock, err := w.lock(number)
	if err != nil {
		return err
	}
	defer unlock()
	if err := w.Supports(harness.CanClock); err != nil {
		return err
	}
	if c.Offset.Abs() > maxOffset || !(c.Drift >= minDrift && c.Drift <= maxDrift) {
		return fmt.Errorf("clock of node %d: offset %v, drift %v: want at most %v either way and %v to %v", number, c.Offset, c.Drift, maxOffset, minDrift, maxDrift)
	}
	if c == (harness.Clock{}) {
		return w.restoreClock(ctx, n)
	}
	if err := checkLease(lease); err != nil {
		return fmt.Errorf("clock of node %d: %w", number, err)
	}
	before := n.clock
	now := w.Now()
	n.clock.set, n.clock.since, n.clock.until = c, now, now+int64(lease)
	status, _, err := w.inspect(ctx, n)
	if err != nil {
		return err
	}
	if !status.Up {
		return nil // Start does it
	}
	if err := w.applyClock(ctx, n); err != nil {
		n.clock.set, n.clock.since, n.clock.until = before.set, before.since, before.until
		return fmt.Errorf("clock of node %d: %w", number, err)
	}
	return nil
}

func (w *World) restoreClock(ctx context.Context, n *node) error {
	n.clock.set, n.clock.until = harness.Clock{}, 0
	a := n.clock.agent
	if a == nil {
		return nil
	}
	err := a.call(ctx, agent.OpSet, agent.SetArgs{}, nil)
	if errors.Is(err, errAgentGone) {
		err = nil // it restores the clock as it goes
	}
	n.clock.drop()
	if err != nil {
		return fmt.Errorf("clock of node %d: %w", n.number, err)
	}
	return nil
}

// reapplyClock gives a node that was started again the clock in force.
func (w *World) reapplyClock(ctx context.Context, n *node) error {
	if n.clock.set == (harness.Clock{}) || n.clock.until <= w.Now() {
		return nil
	}
	return w.applyClock(ctx, n)
}

// applyClock sets a running node's clock as it must be now.
func (w *World) applyClock(ctx context.Context, n *node) error {
	if n.clock.agent != nil {
		err := w.tellClock(ctx, n)
		if !errors.Is(err, errAgentGone) {
			return err
		}
		n.clock.drop() // its lease was over
	}
	if err := w.startClock(ctx, n); err != nil {
		return err
	}
	return w.tellClock(ctx, n)
}

func (w *World) startClock(ctx context.Context, n *node) error {
	l := labels(w.run, agent.RoleClock)
	l[agent.LabelNode] = strconv.Itoa(n.number)
	a, _, err := w.engine.startAgent(ctx, spec{
		name: fmt.Sprintf("%s-clock%d-%d", w.prefix, n.number, w.clockAgents.Add(1)), image: w.agentImage, labels: l,
		network: "none", pid: "container:" + n.id(), caps: []string{"SYS_PTRACE"}, autoRemove: true,
	}, agent.RoleClock, nil)
	n.clock.agent = a
	return err
}

func (w *World) tellClock(ctx context.Context, n *node) error {
	now := w.Now()
	c := n.clock.at(now)
	left := max(time.Duration(n.clock.until-now), time.Millisecond)
	return n.clock.agent.call(ctx, agent.OpSet, agent.SetArgs{
		OffsetNS: int64(c.Offset), Drift: c.Drift, MS: left.Milliseconds(),
	}, nil)
}

// clockSamples is how often each clock is read; the quickest answer counts.
const clockSamples = 3

// ClockOffset implements [harness.World]. The true time is the engine's kernel's
// as the node's holder reads it, so that a harness on another machine needs no
// right clock of its own.
func (w *World) ClockOffset(ctx context.Context, number int) (offset, within time.Duration, err error) {
	n, err := w.node(number)
	if err != nil {
		return 0, 0, err
	}
	system, ok := w.cfg.System.(WallClock)
	if !ok {
		return 0, 0, fmt.Errorf("clock of node %d: %w", number, errNoWall)
	}
	truth, err := w.sample(ctx, func(ctx context.Context) (time.Time, error) {
		var r agent.TimeResult
		err := n.holder.call(ctx, agent.OpTime, nil, &r)
		return time.Unix(0, r.UnixNano), err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("true time at node %d: %w", number, err)
	}
	seen, err := w.sample(ctx, func(ctx context.Context) (time.Time, error) { return system.Wall(ctx, n.first) })
	if err != nil {
		return 0, 0, fmt.Errorf("clock of node %d: %w", number, err)
	}
	return time.Duration(seen.distance - truth.distance), truth.within + seen.within, nil
}

var errNoWall = errors.New("the system cannot tell a node's wall clock, which is the proof of a clock fault: implement docker.WallClock")

// reading is a wall clock's distance from the executor's clock.
type reading struct {
	distance int64         // nanoseconds
	within   time.Duration // half the round trip
}

// sample reads a wall clock some way off, assuming that the answer was made
// half-way.
func (w *World) sample(ctx context.Context, read func(context.Context) (time.Time, error)) (reading, error) {
	var best reading
	for i := range clockSamples {
		t0 := w.Now()
		wall, err := read(ctx)
		if err != nil {
			return best, err
		}
		t1 := w.Now()
		if half := time.Duration(t1-t0) / 2; i == 0 || half < best.within {
			best = reading{distance: wall.UnixNano() - (t0+t1)/2, within: half}
		}
	}
	return best, nil
}
