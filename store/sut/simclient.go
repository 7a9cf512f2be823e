package sut

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/store/replica"
)

// simClient is a client of one simulated node.
type simClient struct {
	world *sim.World
	node  int
}

func openSim(w *sim.World, node int, p *Profile) (harness.Client, error) {
	if most := w.Nodes() + w.Spares() - 1; node < 0 || node > most {
		return nil, fmt.Errorf("node %d: the nodes are 0 to %d", node, most)
	}
	c := simClient{world: w, node: node}
	if p.Causal() {
		return &simSiblings{simClient: c}, nil
	}
	return &c, nil
}

// Invoke asks the node.
func (c *simClient) Invoke(ctx context.Context, key string, op *history.Op) error {
	q, err := request(key, op)
	if err != nil {
		return err
	}
	p, err := c.ask(ctx, q)
	switch {
	case mismatched(p):
		return mismatch(op, p.Found, p.Value, p.Err)
	case err != nil || op.F != history.Read:
		return err
	}
	op.Out = history.Nil
	if p.Found {
		op.Out, err = decode(p.Value)
	}
	return err
}

// ask sends a request. What the connection and the node know of the outcome is in
// the error: see [sim.World.Call] and [replica.Error].
func (c *simClient) ask(ctx context.Context, q replica.Request) (replica.Reply, error) {
	answer, err := c.world.Call(ctx, c.node, q)
	if err != nil {
		return replica.Reply{}, err
	}
	p, ok := answer.(replica.Reply)
	switch {
	case !ok:
		return p, fmt.Errorf("node %d answered with a %T", c.node, answer)
	case p.Err == nil:
		return p, nil
	case p.Err.Definite:
		return p, harness.Definite(p.Err)
	}
	return p, p.Err
}

// mismatched says that a CAS was refused because the key was not as expected.
func mismatched(p replica.Reply) bool { return p.Err != nil && p.Err.Code == replica.CodeMismatch }

// Get implements workloads.KV.
func (c *simClient) Get(ctx context.Context, key string) (string, error) {
	p, err := c.ask(ctx, replica.Request{Op: replica.Get, Key: key})
	return string(p.Value), err
}

// Put implements workloads.KV.
func (c *simClient) Put(ctx context.Context, key, value string) error {
	_, err := c.ask(ctx, replica.Request{Op: replica.Put, Key: key, Value: []byte(value)})
	return err
}

// CAS implements workloads.KV.
func (c *simClient) CAS(ctx context.Context, key, old, value string) (bool, error) {
	q := replica.Request{Op: replica.CAS, Key: key, Value: []byte(value), ExpectAbsent: old == ""}
	if old != "" {
		q.Expect = []byte(old)
	}
	p, err := c.ask(ctx, q)
	if mismatched(p) {
		return false, nil
	}
	return err == nil, err
}

// Now implements workloads.Clock.
func (c *simClient) Now(ctx context.Context) (time.Time, error) {
	answer, err := c.world.Call(ctx, c.node, clockQuestion{})
	if err != nil {
		return time.Time{}, err
	}
	wall, ok := answer.(int64)
	if !ok {
		return time.Time{}, fmt.Errorf("node %d answered with a %T", c.node, answer)
	}
	return time.Unix(0, wall), nil
}

func (c *simClient) Close() error { return nil }

// inspectSim reads a node's storage behind its back.
func inspectSim(w *sim.World, id int, keys []string) ([]harness.Replica, error) {
	n, ok := w.Node(id).(*node)
	if !ok {
		return nil, fmt.Errorf("node %d: %w", id, errDown)
	}
	out := make([]harness.Replica, len(keys))
	for i, key := range keys {
		if !n.core.Placement().Holds(replica.NodeID(id), key) {
			out[i].Elsewhere = true
			continue
		}
		rec, found, err := n.log.Get(key)
		if errors.Is(err, replica.ErrCorrupt) || !found {
			continue // what cannot be read is not there
		}
		if rec.Stamp != (replica.Stamp{}) { // else it has promised something, at most
			out[i].Stamp = rec.Stamp.String()
		}
		if rec.Absent() {
			continue
		}
		out[i].Present = true
		if rec.Siblings != nil {
			out[i].Values, err = listOf(valuesOf(rec.Siblings))
		} else {
			err = show(&out[i], rec.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("node %d, key %q: %w", id, key, err)
		}
	}
	return out, nil
}

var errDown = errors.New("its process is down, so its replica cannot be read: start it first")
