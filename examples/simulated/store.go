// Package simulated shows how a store's protocol is tested in the simulator:
// a naive primary/backup store as a deterministic node, and a test that finds
// its flaw and the seed that shows it. Nothing here is meant for use.
package simulated

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/harness/sim"
)

const (
	pingEvery = 50 * time.Millisecond
	deadAfter = 200 * time.Millisecond
)

// What clients ask, what nodes answer, and what nodes tell each other.
type (
	readRequest  struct{ key string }
	writeRequest struct {
		key   string
		value history.Value
	}
	answer   struct{ value history.Value }
	redirect struct{ primary int }

	ping   struct{}
	change struct {
		key   string
		value history.Value
	}
)

// node is one node. The primary is the lowest-numbered node that was heard of
// lately; it answers a write at once, and tells the backups afterwards.
type node struct {
	host  sim.Host
	data  map[string]history.Value
	heard []time.Duration
}

func (n *node) primary() int {
	for p, at := range n.heard {
		if p == n.host.ID() || n.host.Now()-at < deadAfter {
			return p
		}
	}
	return n.host.ID()
}

// others sends a message to all other nodes.
func (n *node) others(msg any) {
	for p := range n.host.Nodes() {
		if p != n.host.ID() {
			n.host.Send(p, msg)
		}
	}
}

// Request serves a client.
func (n *node) Request(id uint64, req any) {
	if p := n.primary(); p != n.host.ID() {
		n.host.Reply(id, redirect{p})
		return
	}
	switch q := req.(type) {
	case writeRequest:
		n.data[q.key] = q.value
		n.host.Reply(id, answer{q.value})
		n.others(change(q))
	case readRequest:
		v, ok := n.data[q.key]
		if !ok {
			v = history.Nil
		}
		n.host.Reply(id, answer{v})
	}
}

// Receive takes a message of another node.
func (n *node) Receive(from int, msg any) {
	n.heard[from] = n.host.Now()
	if c, ok := msg.(change); ok {
		n.data[c.key] = c.value
	}
}

// Wake tells the others that this node is alive.
func (n *node) Wake() {
	n.others(ping{})
	n.host.WakeAt(n.host.Now() + pingEvery)
}

// Synced is never called: the store keeps nothing on disk.
func (n *node) Synced(uint64) {}

// Store is the system under test.
type Store struct{}

var _ sim.System = Store{}

// Name implements harness.System.
func (Store) Name() string { return "naive primary/backup" }

// Boot implements sim.System.
func (Store) Boot(h sim.Host) (sim.Node, error) {
	n := &node{host: h, data: map[string]history.Value{}, heard: make([]time.Duration, h.Nodes())}
	for p := range n.heard {
		n.heard[p] = h.Now() // until it is missed
	}
	n.Wake()
	return n, nil
}

// Open implements harness.System.
func (Store) Open(_ context.Context, w harness.World, to int) (harness.Client, error) {
	return &client{world: w.(*sim.World), node: to}, nil
}

// Inspect implements harness.System: it looks into the node's memory.
func (Store) Inspect(_ context.Context, w harness.World, at int, keys []string) ([]harness.Replica, error) {
	n, ok := w.(*sim.World).Node(at).(*node)
	if !ok {
		return nil, errors.New("the node is down")
	}
	replicas := make([]harness.Replica, len(keys))
	for i, k := range keys {
		replicas[i].Value, replicas[i].Present = n.data[k]
	}
	return replicas, nil
}

// client talks to one node, and goes where that one sends it. It is plain
// blocking code; in the simulator it runs as a coroutine.
type client struct {
	world *sim.World
	node  int
}

// Invoke implements harness.Client. What Call knows of the outcome of a request
// is in its error already; a redirection says that nothing was done.
func (c *client) Invoke(ctx context.Context, key string, op *history.Op) error {
	var req any
	switch op.F {
	case history.Read:
		req = readRequest{key}
	case history.Write:
		req = writeRequest{key, op.Arg}
	default:
		return harness.Definite(fmt.Errorf("the store has no %v", op.F))
	}
	to := c.node
	for range 3 {
		resp, err := c.world.Call(ctx, to, req)
		if err != nil {
			return err
		}
		switch r := resp.(type) {
		case redirect:
			to = r.primary
		case answer:
			if op.F == history.Read {
				op.Out = r.value
			}
			return nil
		}
	}
	return harness.Definite(errors.New("no node takes itself for the primary"))
}

// Close implements harness.Client.
func (*client) Close() error { return nil }
