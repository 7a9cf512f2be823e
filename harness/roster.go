package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// roster is which nodes belong to the cluster, as far as the run knows, and so
// which of them clients talk to. Faults change it, each in its task; the loop of
// the run follows.
type roster struct {
	changes atomic.Int32 // so far
	mu      sync.Mutex
	nodes   []int        // ascending, never empty
	served  map[int]bool // nodes at which something was ok since the first change

	seen   int32 // changes that places follows
	places []int // of the workers; nil: nothing has changed yet
}

func (o *roster) begin(nodes int) {
	o.nodes, o.served = make([]int, nodes), map[int]bool{}
	for i := range o.nodes {
		o.nodes[i] = i
	}
}

// members gives the nodes that belong to the cluster, ascending.
func (o *roster) members() []int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.nodes)
}

// changedMembers is members, or nil if they never changed.
func (o *roster) changedMembers() []int {
	if o.changes.Load() == 0 {
		return nil
	}
	return o.members()
}

// leave takes nodes out. The last one stays: clients must talk to somebody.
func (o *roster) leave(nodes []int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(o.nodes), func(n int) bool { return slices.Contains(nodes, n) })
	if len(nodes) > 0 && len(left) > 0 {
		o.nodes = left
		o.changes.Add(1)
	}
}

// join takes nodes in.
func (o *roster) join(nodes []int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(nodes) > 0 {
		o.nodes = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(o.nodes), nodes...))))
		o.changes.Add(1)
	}
}

// serves notes that a client's operation at a node was ok.
func (o *roster) serves(node int) {
	if o.changes.Load() == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.served[node] = true
}

func (o *roster) hasServed(node int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.served[node]
}

// place gives a worker its node. After a change of the members it may be another
// one: workers of nodes that have left go to those that have the fewest, and nodes
// that have joined take some of those that have the most.
func (r *run) place(worker int) {
	o := &r.roster
	if n := o.changes.Load(); n == 0 {
		return
	} else if n != o.seen {
		o.seen = n
		if o.places == nil {
			for i := range r.slots {
				o.places = append(o.places, r.slots[i].node)
			}
		}
		spread(o.places, o.members())
	}
	if s := &r.slots[worker]; s.node != o.places[worker] {
		s.node = o.places[worker]
		s.broken, s.fails = true, 0 // it needs another client
	}
}

// spread changes the workers' nodes so that all are of the given ones, and every
// node has as many workers as any other, or one more. Few of them move.
func spread(places, nodes []int) {
	load := make([]int, len(nodes))
	for _, n := range places {
		if i := slices.Index(nodes, n); i >= 0 {
			load[i]++
		}
	}
	for w, n := range places {
		if !slices.Contains(nodes, n) {
			i := slices.Index(load, slices.Min(load))
			places[w] = nodes[i]
			load[i]++
		}
	}
	for slices.Max(load) > slices.Min(load)+1 {
		from, to := slices.Index(load, slices.Max(load)), slices.Index(load, slices.Min(load))
		for w := len(places) - 1; ; w-- {
			if places[w] == nodes[from] {
				places[w] = nodes[to]
				break
			}
		}
		load[from]--
		load[to]++
	}
}

// proveJoined lets clients talk to nodes that have joined, and observes that they
// hold records and serve. With running the run ends.
func (r *run) proveJoined(ctx, running context.Context, nodes []int) (evidence string, err error) {
	for _, n := range nodes {
		held, err := r.records(ctx, n)
		if err != nil {
			return evidence, err
		}
		evidence += held
	}
	r.roster.join(nodes)
	for _, n := range nodes {
		if len(r.slots) < len(r.roster.members()) {
			return evidence + fmt.Sprintf("; there are too few clients for one to talk to n%d", n), nil
		}
		for !r.roster.hasServed(n) {
			if running.Err() != nil {
				return evidence, fmt.Errorf("the run ended before n%d had served a client", n)
			}
			if err := r.world.Sleep(ctx, 5*time.Millisecond); err != nil {
				return evidence, fmt.Errorf("no client's operation at n%d was ok: %w", n, err)
			}
		}
		evidence += fmt.Sprintf("; n%d serves clients", n)
	}
	return evidence, nil
}

// records looks how many of the keys that live on a new node it holds. It should
// hold some, if another replica of them does.
func (r *run) records(ctx context.Context, node int) (evidence string, err error) {
	keys := r.test.Workload.Keys
	own, err := r.test.System.Inspect(ctx, r.world, node, keys)
	if errors.Is(err, errors.ErrUnsupported) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("inspect node %d: %w", node, err)
	}
	held := 0
	for i := range own {
		if own[i].Present && !own[i].Elsewhere {
			held++
		}
	}
	if held > 0 {
		return fmt.Sprintf("; n%d holds %d keys", node, held), nil
	}
	for _, other := range r.roster.members() {
		theirs, err := r.test.System.Inspect(ctx, r.world, other, keys)
		if err != nil {
			continue // it may be down
		}
		for i := range min(len(own), len(theirs)) {
			if theirs[i].Present && !theirs[i].Elsewhere && !own[i].Elsewhere {
				return "", fmt.Errorf("n%d holds no record, although node %d has key %q, which lives on both", node, other, keys[i])
			}
		}
	}
	return fmt.Sprintf("; no key that lives on n%d has a record yet", node), nil
}
