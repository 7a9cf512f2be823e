package docker

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker/agent"
)

// cuts is which links are cut, by whom and until when. Cuts of different ids
// overlap; a link is cut until the last of them is over.
type cuts struct {
	mu   sync.Mutex // held over the agent's call too, so that sets arrive in order
	byID map[string]cut
}

type cut struct {
	links []harness.Link
	until int64 // on the executor's clock
}

// union is the links in force at a time, each with what is left of its lease,
// in order. What is over is forgotten.
func (c *cuts) union(now int64) ([]harness.Link, []time.Duration) {
	until := map[harness.Link]int64{}
	for id, one := range c.byID {
		if one.until <= now {
			delete(c.byID, id)
			continue
		}
		for _, l := range one.links {
			until[l] = max(until[l], one.until)
		}
	}
	links := make([]harness.Link, 0, len(until))
	for l := range until {
		links = append(links, l)
	}
	sort.Slice(links, func(i, j int) bool {
		a, b := links[i], links[j]
		return a.From < b.From || a.From == b.From && a.To < b.To
	})
	left := make([]time.Duration, len(links))
	for i, l := range links {
		left[i] = time.Duration(until[l] - now)
	}
	return links, left
}

// Cut implements [harness.World].
func (w *World) Cut(ctx context.Context, id string, links []harness.Link, lease time.Duration) error {
	if err := w.Supports(harness.CanCut); err != nil {
		return err
	}
	if err := checkLease(lease); err != nil {
		return fmt.Errorf("cut %s: %w", id, err)
	}
	for _, l := range links {
		if err := w.check(l.From); err != nil {
			return fmt.Errorf("cut %s: %w", id, err)
		}
		if err := w.check(l.To); err != nil {
			return fmt.Errorf("cut %s: %w", id, err)
		}
	}
	w.cuts.mu.Lock()
	defer w.cuts.mu.Unlock()
	before, had := w.cuts.byID[id]
	w.cuts.byID[id] = cut{append([]harness.Link(nil), links...), w.Now() + int64(lease)}
	if err := w.applyCuts(ctx); err != nil {
		// A cut that failed must not come back with the next one.
		delete(w.cuts.byID, id)
		if had {
			w.cuts.byID[id] = before
		}
		return fmt.Errorf("cut %s: %w", id, err)
	}
	return nil
}

// Restore implements [harness.World].
func (w *World) Restore(ctx context.Context, id string) error {
	w.cuts.mu.Lock()
	defer w.cuts.mu.Unlock()
	if _, known := w.cuts.byID[id]; !known {
		return nil
	}
	delete(w.cuts.byID, id)
	if err := w.applyCuts(ctx); err != nil {
		return fmt.Errorf("restore %s: %w", id, err)
	}
	return nil
}

func (w *World) applyCuts(ctx context.Context) error {
	links, left := w.cuts.union(w.Now())
	args := agent.CutArgs{Links: make([]agent.CutLink, len(links))}
	for i, l := range links {
		args.Links[i] = agent.CutLink{
			From: w.nodes[l.From].addr.String(),
			To:   w.nodes[l.To].addr.String(),
			// Rounded up: a lease of less than a millisecond is one.
			MS: int64((left[i] + time.Millisecond - 1) / time.Millisecond),
		}
	}
	return w.host.call(ctx, agent.OpCut, args, nil)
}

func checkLease(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("the lease is %v: want more than 0, every fault ends by itself", d)
	}
	return nil
}
