// Package nemesis is the policy of breaking things: kinds of faults, their
// targets, seeded schedules, and the proof that each fault took effect and
// went away again.
//
// A fault is written once, against harness.World, and so runs in every world.
// All are of one shape (harness.Fault): apply, prove, heal, prove. There is
// one file a kind, and each registers itself in Kinds:
//
//	partition.go  links cut, in six shapes
//	kill.go       SIGKILL and restart on the same disk
//	pause.go      the process stands still, and does not know it
//	clock.go      the wall clock jumps or drifts
//	bitflip.go    a disk spoils records that are stored on it
//	slowdisk.go   syncs take longer
//
// How a world does any of this does not belong here.
package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// Kind is one sort of fault that a schedule can draw.
type Kind struct {
	Name     string
	Doc      string // one line
	Variants []string
	Needs    harness.Capability
	// exclusive: acts on processes, so a schedule never lets two of these
	// share a node at one time: their proofs would contradict each other.
	exclusive bool
	// disk: acts on disks; the same is true of two of these.
	disk bool
	// once: a schedule has one episode of it at most.
	once bool
	// named: "all" does not mean it; not every world can do it.
	named bool
	// draw makes a fault of the variant ("" for any). It may use the free
	// nodes only, and returns nil if they are too few.
	draw func(d draw) harness.Fault
	// decode makes the fault from its stored form.
	decode func(data []byte) (harness.Fault, error)
}

// draw is what a kind may use to draw a fault.
type draw struct {
	rng     *rand.Rand
	id      string
	nodes   int
	free    []int // ascending
	variant string
}

// pick draws k of the free nodes, ascending; nil if there are fewer.
func (d draw) pick(k int) []int {
	if k < 1 || k > len(d.free) {
		return nil
	}
	p := slices.Clone(d.free)
	d.rng.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
	p = p[:k]
	slices.Sort(p)
	return p
}

// between draws a duration in [lo, hi).
func (d draw) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(d.rng.Int64N(int64(hi-lo)))
}

// minority is the greatest number of nodes that leaves a majority.
func minority(nodes int) int { return (nodes - 1) / 2 }

// Kinds gives all kinds of faults, in the order in which they are documented.
func Kinds() []Kind {
	return []Kind{partitionKind, killKind, pauseKind, clockKind, bitflipKind, slowDiskKind}
}

// Spec is one entry of a nemesis list: a kind, or one variant of it.
type Spec struct{ Kind, Variant string }

func (s Spec) String() string {
	if s.Variant == "" {
		return s.Kind
	}
	return s.Kind + ":" + s.Variant
}

// Parse reads a list such as "partition,kill,clock:jump". An empty list and
// "none" are no faults; "all" is every kind that has not to be named, see Kinds.
func Parse(list string) ([]Spec, error) {
	var specs []Spec
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		switch word {
		case "", "none":
			continue
		case "all", "mix":
			for _, k := range Kinds() {
				if !k.named {
					specs = append(specs, Spec{Kind: k.Name})
				}
			}
			continue
		}
		name, variant, _ := strings.Cut(word, ":")
		k, err := kindNamed(name)
		if err != nil {
			return nil, err
		}
		if variant != "" && !slices.Contains(k.Variants, variant) {
			return nil, fmt.Errorf("nemesis %q has no variant %q; it has: %s", name, variant, strings.Join(k.Variants, ", "))
		}
		specs = append(specs, Spec{Kind: name, Variant: variant})
	}
	for i, s := range specs {
		if slices.Contains(specs[:i], s) {
			return nil, fmt.Errorf("nemesis %q is named twice", s)
		}
	}
	return specs, nil
}

func kindNamed(name string) (Kind, error) {
	var names []string
	for _, k := range Kinds() {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return Kind{}, fmt.Errorf("unknown nemesis %q; there are: %s, all, none", name, strings.Join(names, ", "))
}

// Check says whether the world can do the faults of a schedule here and now;
// the error tells what is missing. Kinds that are not of this package pass.
func Check(w harness.World, episodes []harness.Episode) error {
	for _, e := range episodes {
		k, err := kindNamed(e.Fault.Kind())
		if err != nil {
			continue
		}
		if err := w.Supports(k.Needs); err != nil {
			return fmt.Errorf("the world %s cannot %s: %w", w.Name(), k.Name, err)
		}
	}
	return nil
}

// nodeList writes nodes as "n0 n2".
func nodeList(nodes []int) string {
	var b strings.Builder
	for i, n := range nodes {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "n%d", n)
	}
	return b.String()
}

// each runs f for all nodes at the same time, with their places in the list,
// and joins what went wrong.
func each(ctx context.Context, w harness.World, nodes []int, f func(ctx context.Context, i, node int) error) error {
	return w.All(ctx, len(nodes), func(ctx context.Context, i int) error {
		if err := f(ctx, i, nodes[i]); err != nil {
			return fmt.Errorf("n%d: %w", nodes[i], err)
		}
		return nil
	})
}

// proved is what a proof answers: the evidence, or why there is none.
func proved(err error, evidence string) (string, error) {
	if err != nil {
		return "", err
	}
	return evidence, nil
}
