package nemesis

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// SlowDisk makes syncs take longer.
type SlowDisk struct {
	Targets []int
	Delay   time.Duration
}

var slowDiskKind = Kind{
	Name:     "slowdisk",
	Doc:      "make syncs of the disk slow",
	Variants: []string{"one", "minority", "majority", "all"},
	Needs:    harness.CanDelayDisk,
	named:    true,
	disk:     true,
	draw: func(d draw) harness.Fault {
		if t := d.pick(d.count([]string{"one", "minority", "majority", "all"})); t != nil {
			return &SlowDisk{Targets: t, Delay: d.between(20*time.Millisecond, time.Second)}
		}
		return nil
	},
	decode: func(data []byte) (harness.Fault, error) {
		s := &SlowDisk{}
		return s, json.Unmarshal(data, s)
	},
}

// Kind implements harness.Fault.
func (s *SlowDisk) Kind() string { return slowDiskKind.Name }

func (s *SlowDisk) String() string {
	return fmt.Sprintf("%s +%v", nodeList(s.Targets), s.Delay.Round(time.Millisecond))
}

// Nodes implements harness.Fault.
func (s *SlowDisk) Nodes() []int { return s.Targets }

// Apply implements harness.Fault.
func (s *SlowDisk) Apply(ctx context.Context, w harness.World, lease time.Duration) error {
	return each(ctx, w, s.Targets, func(ctx context.Context, _, n int) error {
		return w.SetDisk(ctx, n, harness.Disk{Delay: s.Delay}, lease)
	})
}

// ProveApplied has the disks make something durable: it takes as much longer.
func (s *SlowDisk) ProveApplied(ctx context.Context, w harness.World) (string, error) {
	return s.probe(ctx, w, func(took time.Duration) bool { return took >= s.Delay })
}

// Heal implements harness.Fault.
func (s *SlowDisk) Heal(ctx context.Context, w harness.World) error {
	return each(ctx, w, s.Targets, func(ctx context.Context, _, n int) error {
		return w.SetDisk(ctx, n, harness.Disk{}, 0)
	})
}

// ProveHealed has them do it again: they are fast.
func (s *SlowDisk) ProveHealed(ctx context.Context, w harness.World) (string, error) {
	return s.probe(ctx, w, func(took time.Duration) bool { return took < s.Delay })
}

// probes is how often a disk is tried: a healthy one is slow now and then.
const probes = 3

func (s *SlowDisk) probe(ctx context.Context, w harness.World, fits func(time.Duration) bool) (string, error) {
	evidence := make([]string, len(s.Targets))
	err := each(ctx, w, s.Targets, func(ctx context.Context, i, n int) error {
		fastest := time.Duration(0)
		for try := range probes {
			p, err := w.ProbeDisk(ctx, n)
			if err != nil {
				return err
			}
			if try == 0 || p.Sync < fastest {
				fastest = p.Sync
			}
		}
		if !fits(fastest) {
			return fmt.Errorf("the fastest of %d syncs took %v", probes, fastest.Round(time.Microsecond))
		}
		evidence[i] = fmt.Sprintf("the fastest of %d syncs on n%d took %v", probes, n, fastest.Round(100*time.Microsecond))
		return nil
	})
	return proved(err, strings.Join(evidence, "; "))
}
