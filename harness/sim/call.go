package sim

import (
	"context"
	"errors"
	"fmt"

	"github.com/assay-chaos/assay/harness"
)

// The errors of [World.Call], to be tested for with errors.Is. A call that ran
// out of time gives its context's error.
var (
	// ErrRefused: the node's process was down when the request arrived.
	// It is definite: the request was not carried out.
	ErrRefused = errors.New("connection refused")
	// ErrReset: the node's process died with the request in it.
	ErrReset = errors.New("connection reset")
)

// call is one request of a client, from its sending until its answer arrives
// (or the news that there will be none), whether or not the client still
// waits.
type call struct {
	gen    uint32 // tells one user of the slot from the next
	number uint64 // for people
	node   int32
	pos    int32 // place in the node's requests
	task   *task // nil: the client has given up
	served bool  // the node has it
	done   bool
	resp   any
	err    error
}

const (
	slotBits = 32
	slotMask = 1<<slotBits - 1
)

// What became of a request, in the item of its answer.
const (
	answered = iota
	refused
	reset
)

// Call sends a request to a node as a client outside of the cluster, and waits
// for the answer that the node gives with Host.Reply. Errors marked definite
// (see [harness.IsDefinite]) say that the node never saw the request; after any
// other it may still carry it out later: a paused node does when it is resumed.
func (w *World) Call(ctx context.Context, node int, req any) (any, error) {
	m, err := w.machine(node)
	if err != nil {
		return nil, harness.Definite(err)
	}
	if w.current != nil {
		return w.call(ctx, w.current, m, req)
	}
	var resp any
	err = w.Await(ctx, func(ctx context.Context) (err error) {
		resp, err = w.call(ctx, w.current, m, req)
		return err
	})
	return resp, err
}

func (w *World) call(ctx context.Context, t *task, m *machine, req any) (any, error) {
	c := w.adopt(ctx)
	if c.err != nil {
		return nil, harness.Definite(fmt.Errorf("sim: node %d: the request was not sent: %w", m.id, t.refused(c.err)))
	}
	w.stats.Calls++
	var slot uint32
	if n := len(w.freeCalls); n > 0 {
		slot = w.freeCalls[n-1]
		w.freeCalls = w.freeCalls[:n-1]
	} else {
		slot = uint32(len(w.calls))
		w.calls = append(w.calls, call{gen: 1})
	}
	k := &w.calls[slot]
	k.number, k.task, k.node = w.stats.Calls, t, int32(m.id)
	it, _ := w.queue.push(w.now+w.clientDelay.draw(m.toRand.Uint64()), kindRequest)
	it.node, it.id, it.msg = int32(m.id), uint64(k.gen)<<slotBits|uint64(slot), req

	c.wait(t)
	for !w.calls[slot].done && c.err == nil {
		t.park("the answer to a call")
	}
	c.unwait(t)

	k = &w.calls[slot]
	k.task = nil
	if !k.done {
		// The slot is free when the request has run its course.
		return nil, fmt.Errorf("sim: node %d: no answer: %w", m.id, c.err)
	}
	resp, err := k.resp, k.err
	w.freeCall(slot)
	return resp, err
}

func (w *World) freeCall(slot uint32) {
	w.calls[slot] = call{gen: w.calls[slot].gen + 1}
	w.freeCalls = append(w.freeCalls, slot)
}

// serve hands a request that has arrived to the node.
func (w *World) serve(m *machine, id uint64, req any) {
	if !m.up {
		w.answer(m, id, nil, refused)
		return
	}
	slot := uint32(id & slotMask)
	k := &w.calls[slot]
	k.served = true
	k.pos = int32(len(m.requests))
	m.requests = append(m.requests, slot)
	if w.cfg.Trace != nil {
		w.trace(Event{Kind: EventRequest, Node: m.id, Peer: -1, ID: k.number, Msg: req})
	}
	m.work++
	w.acting = m
	m.node.Request(id, req)
	w.acting = nil
}

// reply is Host.Reply.
func (w *World) reply(m *machine, id uint64, resp any) {
	slot := id & slotMask
	if slot >= uint64(len(w.calls)) {
		return
	}
	k := &w.calls[slot]
	if k.gen != uint32(id>>slotBits) || !k.served || k.node != int32(m.id) {
		return
	}
	last := len(m.requests) - 1
	moved := m.requests[last]
	m.requests[k.pos] = moved
	w.calls[moved].pos = k.pos
	m.requests = m.requests[:last]
	k.served = false
	if w.cfg.Trace != nil {
		w.trace(Event{Kind: EventReply, Node: m.id, Peer: -1, ID: k.number, Msg: resp})
	}
	w.answer(m, id, resp, answered)
}

// answer sends the client what became of its request.
func (w *World) answer(m *machine, id uint64, resp any, how uint64) {
	it, _ := w.queue.push(w.now+w.clientDelay.draw(m.fromRand.Uint64()), kindAnswer)
	it.node, it.id, it.msg, it.aux = int32(m.id), id, resp, how
}

// returned is the arrival of an answer at the client.
func (w *World) returned(m *machine, id uint64, resp any, how uint64) {
	slot := uint32(id & slotMask)
	k := &w.calls[slot]
	if w.cfg.Trace != nil {
		e := Event{Kind: EventAnswer, Node: m.id, Peer: -1, ID: k.number, Msg: resp}
		switch how {
		case refused:
			e.Note = ErrRefused.Error()
		case reset:
			e.Note = ErrReset.Error()
		}
		w.trace(e)
	}
	if k.task == nil {
		w.freeCall(slot)
		return
	}
	switch how {
	case refused:
		k.err = m.errRefused
	case reset:
		k.err = m.errReset
	}
	k.resp, k.done = resp, true
	w.wake(k.task)
}
