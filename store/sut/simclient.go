package sut

import (
	"context"
	"errors"
	"fmt"

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

func openSim(w *sim.World, node int) (harness.Client, error) {
	if node < 0 || node >= w.Nodes() {
		return nil, fmt.Errorf("node %d: the nodes are 0 to %d", node, w.Nodes()-1)
	}
	return &simClient{world: w, node: node}, nil
}

// Invoke asks the node. What the connection and the node know of the outcome is
// in the error: see [sim.World.Call] and [replica.Error].
func (c *simClient) Invoke(ctx context.Context, key string, op *history.Op) error {
	q, err := request(key, op)
	if err != nil {
		return err
	}
	answer, err := c.world.Call(ctx, c.node, q)
	if err != nil {
		return err
	}
	p, ok := answer.(replica.Reply)
	if !ok {
		return fmt.Errorf("node %d answered with a %T", c.node, answer)
	}
	if p.Err != nil {
		if p.Err.Code == replica.CodeMismatch {
			return mismatch(op, p.Found, p.Value, p.Err)
		}
		if p.Err.Definite {
			return harness.Definite(p.Err)
		}
		return p.Err
	}
	if op.F != history.Read {
		return nil
	}
	op.Out = history.Nil
	if p.Found {
		op.Out, err = decode(p.Value)
	}
	return err
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
		v, err := decode(rec.Value)
		if err != nil {
			return nil, fmt.Errorf("node %d, key %q: %w", id, key, err)
		}
		out[i].Present, out[i].Value = true, v
	}
	return out, nil
}

var errDown = errors.New("its process is down, so its replica cannot be read: start it first")
