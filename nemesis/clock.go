package nemesis

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// Clock makes the wall clocks of nodes wrong.
type Clock struct {
	Targets []int
	Offset  time.Duration
	Drift   float64 // +0.01 gains 1 %

	// A drift began between these two times of the world's clock.
	began, inForce int64
}

// driftWatch is how long a drift is left to grow before it is read.
const driftWatch = 300 * time.Millisecond

var clockKind = Kind{
	Name:      "clock",
	Doc:       "make wall clocks jump, or run fast or slow",
	Variants:  []string{"jump", "drift"},
	Needs:     harness.CanClock,
	exclusive: true,
	draw:      drawClock,
	decode: func(data []byte) (harness.Fault, error) {
		c := &Clock{}
		return c, json.Unmarshal(data, c)
	},
}

func drawClock(d draw) harness.Fault {
	targets := d.pick(1 + d.rng.IntN(max(minority(d.size), 1)))
	if targets == nil {
		return nil
	}
	c := &Clock{Targets: targets}
	sign := 1
	if d.rng.IntN(2) == 0 {
		sign = -1
	}
	// Jumps dominate: they are what a wrong NTP server or an operator does,
	// and a drift of a few percent needs minutes to come to as much.
	if d.variant == "drift" || d.variant == "" && d.rng.IntN(4) == 0 {
		c.Drift = float64(sign) * (0.2 + 0.6*d.rng.Float64())
	} else {
		c.Offset = time.Duration(sign) * d.between(200*time.Millisecond, 5*time.Second)
	}
	return c
}

// Kind implements harness.Fault.
func (c *Clock) Kind() string { return clockKind.Name }

func (c *Clock) String() string {
	if c.Drift != 0 {
		return fmt.Sprintf("%s drift %+.1f%%", nodeList(c.Targets), 100*c.Drift)
	}
	return fmt.Sprintf("%s %+.3fs", nodeList(c.Targets), c.Offset.Seconds())
}

// Nodes implements harness.Fault.
func (c *Clock) Nodes() []int { return c.Targets }

// Apply implements harness.Fault.
func (c *Clock) Apply(ctx context.Context, w harness.World, lease time.Duration) error {
	c.began = w.Now()
	err := each(ctx, w, c.Targets, func(ctx context.Context, i, n int) error {
		return w.SetClock(ctx, n, harness.Clock{Offset: c.Offset, Drift: c.Drift}, lease)
	})
	c.inForce = w.Now()
	return err
}

// ProveApplied reads the nodes' clocks through their processes.
func (c *Clock) ProveApplied(ctx context.Context, w harness.World) (string, error) {
	if c.Drift != 0 {
		if err := w.Sleep(ctx, driftWatch); err != nil {
			return "", err
		}
	}
	return c.compare(ctx, w, harness.Clock{Offset: c.Offset, Drift: c.Drift})
}

// Heal implements harness.Fault.
func (c *Clock) Heal(ctx context.Context, w harness.World) error {
	return each(ctx, w, c.Targets, func(ctx context.Context, i, n int) error { return w.SetClock(ctx, n, harness.Clock{}, 0) })
}

// ProveHealed reads the nodes' clocks again: they must be right.
func (c *Clock) ProveHealed(ctx context.Context, w harness.World) (string, error) {
	return c.compare(ctx, w, harness.Clock{})
}

// compare reads each clock and holds it against what it should be off by,
// which for a drift depends on when exactly it began. A reading is only as good
// as its round trip, so one that is too vague to tell the fault from its
// absence proves nothing.
func (c *Clock) compare(ctx context.Context, w harness.World, asked harness.Clock) (string, error) {
	drifted := func(since, until int64) time.Duration {
		return asked.Offset + time.Duration(asked.Drift*float64(until-since))
	}
	evidence := make([]string, len(c.Targets))
	err := each(ctx, w, c.Targets, func(ctx context.Context, i, n int) error {
		before := w.Now()
		got, within, err := w.ClockOffset(ctx, n)
		if err != nil {
			return err
		}
		least, most := drifted(c.inForce, before), drifted(c.began, w.Now())
		lo, hi := min(least, most)-within-time.Millisecond, max(least, most)+within+time.Millisecond
		switch {
		case got < lo || got > hi:
			return fmt.Errorf("its clock is off by %v (±%v), not by %v to %v", got.Round(time.Microsecond), within.Round(time.Microsecond),
				min(least, most).Round(time.Microsecond), max(least, most).Round(time.Microsecond))
		case asked != harness.Clock{} && lo <= 0 && hi >= 0:
			return fmt.Errorf("reading its clock took too long (±%v) to tell an offset of %v from none", within, least)
		}
		evidence[i] = fmt.Sprintf("clock of n%d observed off by %v (±%v)", n, got.Round(100*time.Microsecond), within.Round(100*time.Microsecond))
		return nil
	})
	return proved(err, strings.Join(evidence, "; "))
}
