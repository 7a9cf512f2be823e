package nemesis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// Kill ends processes at once and starts them again on their disks.
type Kill struct {
	Targets []int

	before []uint64 // incarnations, to prove that the process is another one
}

var killKind = Kind{
	Name:      "kill",
	Doc:       "kill -9 nodes, and restart them on the same disk",
	Variants:  []string{"one", "minority", "majority", "all"},
	Needs:     harness.CanKill,
	exclusive: true,
	draw: func(d draw) harness.Fault {
		if t := d.pick(d.count([]string{"one", "one", "minority", "majority", "all"})); t != nil {
			return &Kill{Targets: t}
		}
		return nil
	},
	decode: func(data []byte) (harness.Fault, error) {
		k := &Kill{}
		return k, json.Unmarshal(data, k)
	},
}

// count is how many nodes the variant takes; with no variant one of the given
// words is drawn.
func (d draw) count(words []string) int {
	v := d.variant
	if v == "" {
		v = words[d.rng.IntN(len(words))]
	}
	switch v {
	case "minority":
		return min(max(minority(d.size), 1), max(len(d.free), 1))
	case "majority":
		return d.size/2 + 1
	case "all":
		return d.size
	}
	return 1
}

// Kind implements harness.Fault.
func (k *Kill) Kind() string { return killKind.Name }

func (k *Kill) String() string { return nodeList(k.Targets) }

// Nodes implements harness.Fault.
func (k *Kill) Nodes() []int { return k.Targets }

// Apply implements harness.Fault.
func (k *Kill) Apply(ctx context.Context, w harness.World, lease time.Duration) error {
	k.before = make([]uint64, len(k.Targets))
	return each(ctx, w, k.Targets, func(ctx context.Context, i, n int) error {
		s, err := w.Status(ctx, n)
		if err != nil {
			return err
		}
		if !s.Up {
			return errors.New("was down already")
		}
		k.before[i] = s.Incarnation
		return w.Kill(ctx, n, lease)
	})
}

// ProveApplied sees that the processes are gone.
func (k *Kill) ProveApplied(ctx context.Context, w harness.World) (string, error) {
	err := each(ctx, w, k.Targets, func(ctx context.Context, i, n int) error {
		s, err := w.Status(ctx, n)
		if err == nil && s.Up {
			err = errors.New("its process still runs")
		}
		return err
	})
	return proved(err, "no process on "+nodeList(k.Targets))
}

// Heal implements harness.Fault.
func (k *Kill) Heal(ctx context.Context, w harness.World) error {
	return each(ctx, w, k.Targets, func(ctx context.Context, i, n int) error { return w.Start(ctx, n) })
}

// ProveHealed sees that other processes run in their place.
func (k *Kill) ProveHealed(ctx context.Context, w harness.World) (string, error) {
	err := each(ctx, w, k.Targets, func(ctx context.Context, i, n int) error {
		s, err := w.Status(ctx, n)
		switch {
		case err != nil:
			return err
		case !s.Up:
			return errors.New("is still down")
		case k.before == nil:
			return errors.New("was never killed")
		case s.Incarnation == k.before[i]:
			return fmt.Errorf("is the process of before (incarnation %d): it was never killed", s.Incarnation)
		}
		return nil
	})
	return proved(err, "new processes on "+nodeList(k.Targets))
}
