package nemesis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// Pause stops processes from running, without their noticing: what a long
// garbage collection, a VM migration or an overloaded machine does.
type Pause struct {
	Targets []int
}

// pauseWatch is how long a paused process is watched standing still.
const pauseWatch = 50 * time.Millisecond

var pauseKind = Kind{
	Name:      "pause",
	Doc:       "stop the processes of nodes, and let them go on later",
	Variants:  []string{"one", "minority", "majority", "all"},
	Needs:     harness.CanPause,
	exclusive: true,
	draw: func(d draw) harness.Fault {
		if t := d.pick(d.count([]string{"one", "one", "minority", "majority"})); t != nil {
			return &Pause{Targets: t}
		}
		return nil
	},
	decode: func(data []byte) (harness.Fault, error) {
		p := &Pause{}
		return p, json.Unmarshal(data, p)
	},
}

// Kind implements harness.Fault.
func (p *Pause) Kind() string { return pauseKind.Name }

func (p *Pause) String() string { return nodeList(p.Targets) }

// Nodes implements harness.Fault.
func (p *Pause) Nodes() []int { return p.Targets }

// Apply implements harness.Fault.
func (p *Pause) Apply(ctx context.Context, w harness.World, lease time.Duration) error {
	return each(ctx, w, p.Targets, func(ctx context.Context, i, n int) error { return w.Pause(ctx, n, lease) })
}

// ProveApplied watches the processes make no progress.
func (p *Pause) ProveApplied(ctx context.Context, w harness.World) (string, error) {
	work := make([]uint64, len(p.Targets))
	err := each(ctx, w, p.Targets, func(ctx context.Context, i, n int) error {
		s, err := w.Status(ctx, n)
		if err == nil && !(s.Up && s.Paused) {
			err = fmt.Errorf("is not paused (up %t, paused %t)", s.Up, s.Paused)
		}
		work[i] = s.Work
		return err
	})
	if err != nil {
		return "", err
	}
	if err := w.Sleep(ctx, pauseWatch); err != nil {
		return "", err
	}
	err = each(ctx, w, p.Targets, func(ctx context.Context, i, n int) error {
		s, err := w.Status(ctx, n)
		if err == nil && s.Work != work[i] {
			err = fmt.Errorf("went on working while paused (%d to %d)", work[i], s.Work)
		}
		return err
	})
	return proved(err, fmt.Sprintf("%s did nothing for %v", nodeList(p.Targets), pauseWatch))
}

// Heal implements harness.Fault.
func (p *Pause) Heal(ctx context.Context, w harness.World) error {
	return each(ctx, w, p.Targets, func(ctx context.Context, i, n int) error { return w.Resume(ctx, n) })
}

// ProveHealed sees that the processes may run again.
func (p *Pause) ProveHealed(ctx context.Context, w harness.World) (string, error) {
	err := each(ctx, w, p.Targets, func(ctx context.Context, i, n int) error {
		s, err := w.Status(ctx, n)
		if err == nil && (!s.Up || s.Paused) {
			err = errors.New("is still paused")
		}
		return err
	})
	return proved(err, nodeList(p.Targets)+" run again")
}
