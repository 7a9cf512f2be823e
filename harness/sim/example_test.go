package sim_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/sim"
)

// counter is a counter that every node adds to and spreads, without caring
// whether the others hear of it.
type counter struct {
	host sim.Host
	n    int
}

func (c *counter) Receive(_ int, msg any) { c.n += msg.(int) }

func (c *counter) Request(id uint64, req any) {
	add := req.(int)
	c.n += add
	for to := range c.host.Nodes() {
		if to != c.host.ID() && add != 0 {
			c.host.Send(to, add)
		}
	}
	c.host.Reply(id, c.n)
}

func (c *counter) Wake()         {}
func (c *counter) Synced(uint64) {}

// counterSystem makes counters. Only Boot is of interest here: the runner of
// package harness would also use Open and Inspect.
type counterSystem struct{}

func (counterSystem) Name() string                      { return "counter" }
func (counterSystem) Boot(h sim.Host) (sim.Node, error) { return &counter{host: h}, nil }
func (counterSystem) Open(context.Context, harness.World, int) (harness.Client, error) {
	return nil, errors.ErrUnsupported
}
func (counterSystem) Inspect(context.Context, harness.World, int, []string) ([]harness.Replica, error) {
	return nil, errors.ErrUnsupported
}

// Example breaks a naive counter with a partition.
func Example() {
	w, err := sim.New(sim.Config{System: counterSystem{}, Nodes: 3, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close(context.Background())

	err = w.Await(context.Background(), func(ctx context.Context) error {
		away := []harness.Link{{From: 0, To: 2}, {From: 1, To: 2}}
		if err := w.Cut(ctx, "partition", away, time.Minute); err != nil {
			return err
		}
		if _, err := w.Call(ctx, 0, 5); err != nil {
			return err
		}
		if err := w.Sleep(ctx, 10*time.Second); err != nil {
			return err
		}
		for node := range w.Nodes() {
			n, err := w.Call(ctx, node, 0)
			if err != nil {
				return err
			}
			fmt.Printf("node %d counts %d\n", node, n)
		}
		return nil
	})
	fmt.Println("error:", err, "dropped:", w.Stats().Cut)
	// Output:
	// node 0 counts 5
	// node 1 counts 5
	// node 2 counts 0
	// error: <nil> dropped: 1
}
