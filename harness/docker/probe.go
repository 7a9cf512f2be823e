package docker

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strconv"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker/agent"
)

// A probe is sent a few times over, so that one lost packet is no partition.
const (
	probeTries  = 4
	probeGapMS  = 25
	probeWaitMS = probeTries*probeGapMS + 50
	probeLateMS = 50 // after the last one was surely sent
)

// Probe implements [harness.World]: the holder of one node sends, and the holder
// of the other is asked whether it came. Both are on the nodes' own network
// interfaces; nothing travels back over the link.
func (w *World) Probe(ctx context.Context, links []harness.Link) ([]bool, error) {
	arrived := make([]bool, len(links))
	tasks := make([]func() error, len(links))
	for i, l := range links {
		from, err := w.node(l.From)
		if err != nil {
			return nil, err
		}
		to, err := w.node(l.To)
		if err != nil {
			return nil, err
		}
		tasks[i] = func() error {
			var err error
			if arrived[i], err = probe(ctx, from, to); err != nil {
				return fmt.Errorf("probe from node %d to node %d: %w", l.From, l.To, err)
			}
			return nil
		}
	}
	if err := all(tasks...); err != nil {
		return nil, err
	}
	return arrived, nil
}

func probe(ctx context.Context, from, to *node) (bool, error) {
	nonce := rand.Text()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // lets go of the sender's answer when the packet is there
	sent := make(chan error, 1)
	go func() {
		sent <- from.holder.call(ctx, agent.OpSend, agent.SendArgs{
			To:    net.JoinHostPort(to.addr.String(), strconv.Itoa(to.probePort)),
			Nonce: nonce, Tries: probeTries, GapMS: probeGapMS,
		}, nil)
	}()
	arrived, err := to.awaitProbe(ctx, nonce, probeWaitMS)
	if arrived || err != nil {
		return arrived, err
	}
	// On a slow machine the waiting may have ended before the sending.
	if err := <-sent; err != nil {
		return false, err
	}
	return to.awaitProbe(ctx, nonce, probeLateMS)
}

func (n *node) awaitProbe(ctx context.Context, nonce string, ms int) (bool, error) {
	var r agent.AwaitResult
	err := n.holder.call(ctx, agent.OpAwait, agent.AwaitArgs{Nonce: nonce, MS: ms}, &r)
	return r.Arrived, err
}
