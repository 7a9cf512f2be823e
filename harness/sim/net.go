package sim

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// link is one direction between two nodes.
type link struct {
	rand  rand.PCG
	delay *sampler
	cuts  int   // how many ids cut it
	last  int64 // the latest arrival so far, for InOrder
}

// cut is what one id has cut.
type cut struct {
	links []int // indices into World.links
	lease timer
}

func (w *World) linkIndex(from, to int) int { return from*len(w.machines) + to }

// send puts a message on its way. The number of draws does not depend on what
// becomes of the message, so that a cut does not change the fate of those
// after it.
func (w *World) send(from, to int, msg any) {
	net := &w.cfg.Net
	index := w.linkIndex(from, to)
	l := &w.links[index]
	at := w.now + l.delay.draw(l.rand.Uint64())
	lost := net.Loss > 0 && chance(&l.rand, net.Loss)
	twin := int64(-1)
	if net.Duplicate > 0 {
		d := l.delay.draw(l.rand.Uint64())
		if chance(&l.rand, net.Duplicate) {
			twin = w.now + d
		}
	}
	free := net.Reorder > 0 && chance(&l.rand, net.Reorder)

	w.messages++
	id := w.messages
	w.stats.Sent++
	if w.cfg.Trace != nil {
		w.trace(Event{Kind: EventSend, Node: from, Peer: to, ID: id, Msg: msg})
	}
	if l.cuts > 0 {
		w.dropped(&w.stats.Cut, "cut", from, to, id, msg)
		return
	}
	if lost {
		w.dropped(&w.stats.Lost, "lost", from, to, id, msg)
		return
	}
	if net.InOrder && !free {
		at = max(at, l.last)
		l.last = at
	}
	w.arrive(at, from, to, id, msg)
	if twin >= 0 {
		w.stats.Duplicated++
		w.arrive(twin, from, to, id, msg)
	}
}

func (w *World) arrive(at int64, from, to int, id uint64, msg any) {
	it, _ := w.queue.push(at, kindMessage)
	it.node, it.from, it.id, it.msg = int32(to), int32(from), id, msg
}

func (w *World) dropped(count *uint64, why string, from, to int, id uint64, msg any) {
	*count++
	if w.cfg.Trace != nil {
		w.trace(Event{Kind: EventDrop, Node: to, Peer: from, ID: id, Msg: msg, Note: why})
	}
}

// Cut implements [harness.World]. Messages that are on the way when their link
// is cut do not arrive either while it is. A second Cut of the same id replaces
// the first.
func (w *World) Cut(_ context.Context, id string, links []harness.Link, lease time.Duration) error {
	if err := w.usableFor(lease); err != nil {
		return err
	}
	c := &cut{links: make([]int, 0, len(links))}
	for _, l := range links {
		if err := checkLink(l, len(w.machines)); err != nil {
			return fmt.Errorf("sim: cut %q: %w", id, err)
		}
		c.links = append(c.links, w.linkIndex(l.From, l.To))
	}
	slices.Sort(c.links)
	c.links = slices.Compact(c.links)
	w.restore(id)
	for _, i := range c.links {
		w.links[i].cuts++
	}
	c.lease = w.later(lease, func() { w.restore(id) })
	w.cuts[id] = c
	if w.cfg.Trace != nil {
		note := id + ":"
		for _, l := range links {
			note += fmt.Sprintf(" %d→%d", l.From, l.To)
		}
		w.trace(Event{Kind: EventCut, Node: -1, Peer: -1, Note: note})
	}
	return nil
}

// Restore implements [harness.World].
func (w *World) Restore(_ context.Context, id string) error {
	if w.closed {
		return w.wrap(harness.ErrClosed)
	}
	w.restore(id)
	return nil
}

func (w *World) restore(id string) {
	c := w.cuts[id]
	if c == nil {
		return
	}
	delete(w.cuts, id)
	w.queue.cancel(c.lease)
	for _, i := range c.links {
		w.links[i].cuts--
	}
	w.trace(Event{Kind: EventRestore, Node: -1, Peer: -1, Note: id})
}

const (
	probes        = 5
	probeInterval = 20 * time.Millisecond
)

// Probe implements [harness.World]: it sends up to five probes over each link
// that has not yet let one through, 20 ms apart, subject to what the network
// does to messages there.
func (w *World) Probe(ctx context.Context, links []harness.Link) ([]bool, error) {
	for _, l := range links {
		if err := checkLink(l, len(w.machines)); err != nil {
			return nil, fmt.Errorf("sim: probe: %w", err)
		}
	}
	reached := make([]bool, len(links))
	err := w.asTask(ctx, func(ctx context.Context, t *task) error {
		for range probes {
			if err := w.probe(ctx, t, links, reached); err != nil {
				return err
			}
			if !slices.Contains(reached, false) {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return reached, nil
}

// probe sends one probe over each link that is not yet reached, and waits until
// all have arrived or it is time for the next round.
func (w *World) probe(ctx context.Context, t *task, links []harness.Link, reached []bool) error {
	type flight struct {
		at    int64
		index int // in links
	}
	var flights []flight
	for i, l := range links {
		path := &w.links[w.linkIndex(l.From, l.To)]
		d := path.delay.draw(w.probeRand.Uint64())
		lost := chance(&w.probeRand, w.cfg.Net.Loss)
		if !reached[i] && !lost && path.cuts == 0 && d <= int64(probeInterval) {
			flights = append(flights, flight{w.now + d, i})
		}
	}
	slices.SortStableFunc(flights, func(a, b flight) int { return cmp.Compare(a.at, b.at) })
	next := w.after(probeInterval)
	for _, f := range flights {
		if err := t.sleep(ctx, time.Duration(f.at-w.now)); err != nil {
			return err
		}
		l := links[f.index]
		reached[f.index] = w.links[w.linkIndex(l.From, l.To)].cuts == 0
	}
	if !slices.Contains(reached, false) {
		return nil
	}
	return t.sleep(ctx, time.Duration(next-w.now))
}
