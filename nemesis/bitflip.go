package nemesis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// Bitflip has a disk spoil records that are at rest on it: one at once, and
// another one every so often. What was spoiled stays so when the disk is healthy
// again: to find it and to repair it is the store's business.
//
// One disk is hit, and one episode: what a schedule spoils is spoiled at one
// node. A store can bring back what its other disks still have.
type Bitflip struct {
	Target int
	Every  time.Duration

	before int // records spoiled before
}

// rotWatch is how often a disk is looked at until it has spoiled something.
const rotWatch = 10 * time.Millisecond

var bitflipKind = Kind{
	Name:  "bitflip",
	Doc:   "have one disk spoil records that are stored on it",
	Needs: harness.CanRot,
	named: true,
	disk:  true,
	once:  true,
	draw: func(d draw) harness.Fault {
		if t := d.pick(1); t != nil {
			return &Bitflip{Target: t[0], Every: d.between(20*time.Millisecond, 100*time.Millisecond)}
		}
		return nil
	},
	decode: func(data []byte) (harness.Fault, error) {
		b := &Bitflip{}
		return b, json.Unmarshal(data, b)
	},
}

// Kind implements harness.Fault.
func (b *Bitflip) Kind() string { return bitflipKind.Name }

func (b *Bitflip) String() string {
	return fmt.Sprintf("n%d every %v", b.Target, b.Every.Round(time.Millisecond))
}

// Nodes implements harness.Fault.
func (b *Bitflip) Nodes() []int { return []int{b.Target} }

// Apply implements harness.Fault.
func (b *Bitflip) Apply(ctx context.Context, w harness.World, lease time.Duration) error {
	p, err := w.ProbeDisk(ctx, b.Target)
	if err != nil {
		return err
	}
	b.before = p.Spoiled
	return w.SetDisk(ctx, b.Target, harness.Disk{Rot: b.Every}, lease)
}

// ProveApplied waits until a record was spoiled: there may be none yet.
func (b *Bitflip) ProveApplied(ctx context.Context, w harness.World) (string, error) {
	for {
		switch p, err := w.ProbeDisk(ctx, b.Target); {
		case err != nil:
			return "", err
		case p.Rot == 0:
			return "", errors.New("its disk is healthy")
		case p.Spoiled > b.before:
			return fmt.Sprintf("%d records on n%d are not what was written", p.Spoiled-b.before, b.Target), nil
		}
		if err := w.Sleep(ctx, rotWatch); err != nil {
			return "", fmt.Errorf("its disk has spoiled no record: %w", err)
		}
	}
}

// Heal implements harness.Fault.
func (b *Bitflip) Heal(ctx context.Context, w harness.World) error {
	return w.SetDisk(ctx, b.Target, harness.Disk{}, 0)
}

// ProveHealed sees that no more is spoiled.
func (b *Bitflip) ProveHealed(ctx context.Context, w harness.World) (string, error) {
	p, err := w.ProbeDisk(ctx, b.Target)
	if err == nil && p.Rot != 0 {
		err = errors.New("its disk still spoils records")
	}
	return proved(err, fmt.Sprintf("n%d: %d records were spoiled, and no more are", b.Target, p.Spoiled-b.before))
}
