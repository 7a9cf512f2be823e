package nemesis

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// The shapes of a partition.
const (
	shapeOne      = "one"      // one node alone
	shapeHalves   = "halves"   // two parts of (nearly) equal size
	shapeMajority = "majority" // a random minority against the rest
	shapeBridge   = "bridge"   // two parts, and one node that sees both
	shapeRing     = "ring"     // majorities-ring: every node sees a majority, no two the same one
	shapeOneWay   = "one-way"  // one node is heard by nobody, but hears
)

// Partition cuts links between nodes.
type Partition struct {
	ID    string
	Shape string
	// Text describes the sides, for people: "n0 n1 | n2".
	Text    string
	Cluster int // how many nodes there are
	Links   []harness.Link
}

var partitionKind = Kind{
	Name:     "partition",
	Doc:      "cut the network between nodes",
	Variants: []string{shapeOne, shapeHalves, shapeMajority, shapeBridge, shapeRing, shapeOneWay},
	Needs:    harness.CanCut,
	draw:     drawPartition,
	decode: func(data []byte) (harness.Fault, error) {
		p := &Partition{}
		return p, json.Unmarshal(data, p)
	},
}

func drawPartition(d draw) harness.Fault {
	if d.nodes < 2 || len(d.free) < d.nodes {
		return nil
	}
	shape := d.variant
	if shape == "" {
		shapes := []string{shapeOne, shapeHalves, shapeMajority, shapeOneWay}
		if d.nodes >= 4 {
			shapes = append(shapes, shapeBridge)
		}
		if d.nodes >= 5 {
			shapes = append(shapes, shapeRing)
		}
		shape = shapes[d.rng.IntN(len(shapes))]
	}
	return NewPartition(d.id, shape, d.rng.Perm(d.nodes))
}

// NewPartition cuts the cluster in a shape, with the nodes taking their places
// in the given order (a permutation of all nodes). A shape that needs more
// nodes than there are degrades to the nearest that does not.
func NewPartition(id, shape string, order []int) *Partition {
	n := len(order)
	if shape == shapeRing && n < 4 {
		shape = shapeBridge // three nodes in a ring all see each other
	}
	if shape == shapeBridge && n < 3 {
		shape = shapeOne
	}
	p := &Partition{ID: id, Shape: shape, Cluster: n}
	switch shape {
	case shapeHalves:
		p.split(order[:n/2], order[n/2:])
	case shapeMajority:
		k := max(minority(n), 1)
		p.split(order[:k], order[k:])
	case shapeBridge:
		// order[0] is the bridge.
		k := 1 + (n-1)/2
		p.split(order[1:k], order[k:])
		p.Text = nodeList(sorted(order[1:k])) + " | " + nodeList(order[:1]) + " sees both | " + nodeList(sorted(order[k:]))
	case shapeRing:
		// Node i of the ring keeps its nearest neighbours, enough for a
		// majority with itself; the distance is symmetric, so links are.
		reach := (n/2 + 1) / 2
		for i, a := range order {
			for j, b := range order {
				gap := (j - i + n) % n
				if gap = min(gap, n-gap); gap > reach {
					p.Links = append(p.Links, harness.Link{From: a, To: b})
				}
			}
		}
		p.Text = "ring " + nodeList(order)
	case shapeOneWay:
		for _, b := range order[1:] {
			p.Links = append(p.Links, harness.Link{From: order[0], To: b})
		}
		p.Text = nodeList(order[:1]) + " is not heard by " + nodeList(sorted(order[1:]))
	default:
		p.Shape = shapeOne
		p.split(order[:1], order[1:])
	}
	slices.SortFunc(p.Links, func(a, b harness.Link) int {
		if a.From != b.From {
			return a.From - b.From
		}
		return a.To - b.To
	})
	return p
}

// split cuts everything between two sides.
func (p *Partition) split(a, b []int) {
	for _, x := range a {
		for _, y := range b {
			p.Links = append(p.Links, harness.Link{From: x, To: y}, harness.Link{From: y, To: x})
		}
	}
	p.Text = nodeList(sorted(a)) + " | " + nodeList(sorted(b))
}

func sorted(nodes []int) []int {
	s := slices.Clone(nodes)
	slices.Sort(s)
	return s
}

// Kind implements harness.Fault.
func (p *Partition) Kind() string { return partitionKind.Name }

// String gives the shape and the sides.
func (p *Partition) String() string { return p.Shape + ": " + p.Text }

// Nodes gives the nodes at which something is cut.
func (p *Partition) Nodes() []int {
	var nodes []int
	for _, l := range p.Links {
		nodes = append(nodes, l.From, l.To)
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// Cuts gives the links that are cut, for pictures.
func (p *Partition) Cuts() []harness.Link { return p.Links }

// Apply implements harness.Fault.
func (p *Partition) Apply(ctx context.Context, w harness.World, lease time.Duration) error {
	return w.Cut(ctx, p.ID, p.Links, lease)
}

// ProveApplied sends probes over all links: exactly the cut ones must drop
// them.
func (p *Partition) ProveApplied(ctx context.Context, w harness.World) (string, error) {
	return p.probe(ctx, w, p.Links)
}

// Heal implements harness.Fault.
func (p *Partition) Heal(ctx context.Context, w harness.World) error { return w.Restore(ctx, p.ID) }

// ProveHealed sends probes over all links: all must arrive.
func (p *Partition) ProveHealed(ctx context.Context, w harness.World) (string, error) {
	return p.probe(ctx, w, nil)
}

// probe says whether exactly the given links are cut.
func (p *Partition) probe(ctx context.Context, w harness.World, cut []harness.Link) (string, error) {
	var links []harness.Link
	for a := range p.Cluster {
		for b := range p.Cluster {
			if a != b {
				links = append(links, harness.Link{From: a, To: b})
			}
		}
	}
	arrived, err := w.Probe(ctx, links)
	if err != nil {
		return "", fmt.Errorf("probing the network: %w", err)
	}
	var wrong []string
	for i, l := range links {
		want := !slices.Contains(cut, l)
		if arrived[i] != want {
			what := "dropped"
			if arrived[i] {
				what = "delivered"
			}
			wrong = append(wrong, fmt.Sprintf("n%d→n%d %s", l.From, l.To, what))
		}
	}
	if wrong != nil {
		return "", fmt.Errorf("of %d links %d should be cut, but: %s", len(links), len(cut), strings.Join(wrong, ", "))
	}
	return fmt.Sprintf("probes dropped on %d links and delivered on %d, as asked", len(cut), len(links)-len(cut)), nil
}
