package nemesis

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// Schedule draws the episodes of a fault phase: a pure function of its
// arguments. Every spec has a timeline of its own, in which its episodes
// follow each other with gaps between; timelines overlap. Two partitions never
// overlap, nor do two process faults on one node, because each fault must be
// able to prove its effect and its healing.
//
// Every spec gets at least one episode, unless the cluster is too small for it
// or the others leave it no gap.
func Schedule(seed uint64, specs []Spec, nodes int, length time.Duration) ([]harness.Episode, error) {
	if length <= 0 && len(specs) > 0 {
		return nil, fmt.Errorf("the fault phase must have a length, not %v", length)
	}
	margin := min(settle, length/8)
	var all []planned
	for i, s := range specs {
		k, err := kindNamed(s.Kind)
		if err != nil {
			return nil, err
		}
		rng := rand.New(rand.NewPCG(seed, 0x6e656d65736973<<8|uint64(i)))
		all = append(all, timeline(rng, k, s, i, length, margin)...)
	}
	slices.SortStableFunc(all, func(a, b planned) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.spec - b.spec
	})
	var out []planned
	place := func(p planned, name string) bool {
		d := draw{rng: p.rng, id: name, nodes: nodes, variant: p.variant, free: freeNodes(out, p, nodes, margin)}
		if p.fault = p.kind.draw(d); p.fault == nil {
			return false
		}
		out = append(out, p)
		return true
	}
	// Each spec's first episode finds its place before any second one; if
	// its nodes are busy it takes the first gap there is.
	for n, p := range all {
		if !p.first {
			continue
		}
		name := fmt.Sprintf("%s-%d", p.kind.Name, n)
		ok := place(p, name)
		for step := 0; step < 100 && !ok; step++ {
			p.at = length * time.Duration(step) / 100
			p.length = min(length/8, length-p.at)
			ok = place(p, name)
		}
	}
	for n, p := range all {
		if !p.first && !p.kind.once {
			place(p, fmt.Sprintf("%s-%d", p.kind.Name, n))
		}
	}
	slices.SortStableFunc(out, func(a, b planned) int { return int(a.at - b.at) })
	episodes := make([]harness.Episode, len(out))
	for i, p := range out {
		episodes[i] = harness.Episode{At: p.at, For: p.length, Fault: p.fault}
	}
	return episodes, nil
}

// planned is an episode while the schedule is made.
type planned struct {
	kind       Kind
	variant    string
	spec       int
	first      bool // of its spec
	rng        *rand.Rand
	at, length time.Duration
	fault      harness.Fault
}

// settle is the time between two episodes that would disturb each other: the
// first must have healed, and proved it, before the same nodes are hurt again.
// Restarting a container takes a few tenths of it. Short phases take less.
const settle = time.Second

// timeline draws when a spec's episodes are: a few of them fit into the phase
// with gaps between, and the first always does.
func timeline(rng *rand.Rand, k Kind, s Spec, spec int, length, margin time.Duration) []planned {
	var eps []planned
	part := func(lo, hi float64) time.Duration {
		return time.Duration((lo + (hi-lo)*rng.Float64()) * float64(length))
	}
	for at := part(0, 0.15); ; at += margin + part(0, 0.15) {
		n := part(0.12, 0.3)
		if at+n > length {
			if len(eps) > 0 || at >= length {
				return eps
			}
			n = length - at
		}
		eps = append(eps, planned{kind: k, variant: s.Variant, spec: spec, first: len(eps) == 0, at: at, length: n,
			rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))})
		at += n
	}
}

// freeNodes gives the nodes that an episode may use: those that no episode in
// conflict with it acts on within the margin.
func freeNodes(done []planned, p planned, nodes int, margin time.Duration) []int {
	busy := make([]bool, nodes)
	for _, q := range done {
		if q.at+q.length+margin <= p.at || p.at+p.length+margin <= q.at {
			continue
		}
		switch {
		case q.kind.exclusive && p.kind.exclusive, q.kind.disk && p.kind.disk:
			for _, n := range q.fault.Nodes() {
				busy[n] = true
			}
		case q.kind.Name == p.kind.Name: // two partitions
			for n := range busy {
				busy[n] = true
			}
		}
	}
	var free []int
	for n, b := range busy {
		if !b {
			free = append(free, n)
		}
	}
	return free
}

// stored is an episode in its stored form.
type stored struct {
	At    time.Duration   `json:"at_ns"`
	For   time.Duration   `json:"for_ns"`
	Kind  string          `json:"kind"`
	Fault json.RawMessage `json:"fault"`
	Text  string          `json:"text"` // for people; ignored when read
}

// Encode stores a schedule as JSON, so that it can be replayed as it was.
func Encode(episodes []harness.Episode) ([]byte, error) {
	out := make([]stored, len(episodes))
	for i, e := range episodes {
		raw, err := json.Marshal(e.Fault)
		if err != nil {
			return nil, fmt.Errorf("storing the %s fault: %w", e.Fault.Kind(), err)
		}
		out[i] = stored{At: e.At, For: e.For, Kind: e.Fault.Kind(), Fault: raw, Text: e.Fault.String()}
	}
	return json.MarshalIndent(out, "", "  ")
}

// Decode reads what Encode stored.
func Decode(data []byte) ([]harness.Episode, error) {
	var in []stored
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("reading a fault schedule: %w", err)
	}
	out := make([]harness.Episode, len(in))
	for i, s := range in {
		k, err := kindNamed(s.Kind)
		if err != nil {
			return nil, fmt.Errorf("episode %d of the schedule: %w", i, err)
		}
		f, err := k.decode(s.Fault)
		if err != nil {
			return nil, fmt.Errorf("episode %d of the schedule: %w", i, err)
		}
		out[i] = harness.Episode{At: s.At, For: s.For, Fault: f}
	}
	return out, nil
}
