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
// serve and hold records. When running is done the run ends.
func (r *run) proveJoined(ctx, running context.Context, nodes []int) (evidence string, err error) {
	r.roster.join(nodes)
	for _, n := range nodes {
		var served, held string
		for served == "" || held == "" {
			switch {
			case served != "":
			case len(r.slots) < len(r.roster.members()):
				served = "there are too few clients for one to talk to it"
			case r.roster.hasServed(n):
				served = "serves clients"
			}
			if held, err = r.held(ctx, n); held == "" && err == nil {
				err = errors.New("it holds no record, and others have some of its keys")
			}
			if served == "" {
				err = errors.Join(err, errors.New("no client's operation was ok there"))
			}
			if err == nil {
				break
			}
			if running.Err() != nil {
				return evidence, fmt.Errorf("n%d: the run ended: %w", n, err)
			}
			if r.world.Sleep(ctx, 10*time.Millisecond) != nil {
				return evidence, fmt.Errorf("n%d: %w", n, err)
			}
		}
		evidence += fmt.Sprintf("; n%d %s and %s", n, served, held)
	}
	return evidence, nil
}

// held tells how many keys a new node holds. It is empty if the node holds none,
// and another replica of a key has something.
func (r *run) held(ctx context.Context, node int) (string, error) {
	keys := r.test.Workload.Keys
	own, err := r.test.System.Inspect(ctx, r.world, node, keys)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return "cannot tell what it holds", nil
	case err != nil:
		return "", err
	}
	has := func(x Replica) bool { return x.Present && !x.Elsewhere }
	count := 0
	for _, x := range own {
		if has(x) {
			count++
		}
	}
	if count > 0 {
		return fmt.Sprintf("holds %d keys", count), nil
	}
	for _, other := range r.roster.members() {
		theirs, err := r.test.System.Inspect(ctx, r.world, other, keys)
		if err != nil {
			continue // it may be down
		}
		for i := range min(len(own), len(theirs)) {
			if has(theirs[i]) && !own[i].Elsewhere {
				return "", nil
			}
		}
	}
	return "holds nothing, as nobody holds any of its keys", nil
}
