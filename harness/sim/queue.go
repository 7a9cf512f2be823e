package sim

// kind says what an item of the queue is.
type kind uint8

const (
	kindFree      kind = iota // not in use
	kindCancelled             // in use, but does nothing
	kindMessage               // from one node to another
	kindRequest               // from a client to a node
	kindAnswer                // from a node, or its machine, to a client
	kindWake                  // a node's timer
	kindSynced                // a disk has synced
	kindTimer                 // a task's timer
	kindDeadline              // of a context
	kindFunc                  // anything rare: leases, boots
)

// item is what happens at some time. One shape for all kinds keeps them in one
// slab: the message path allocates nothing.
type item struct {
	msg  any    // the message, request, response, *task, *vctx or func()
	id   uint64 // of the message or call; the token of a sync
	aux  uint64 // see the kind
	seq  uint64 // of its entry in the heap; tells whether a timer is still this one
	node int32  // where it happens
	from int32  // the sender of a message
	inc  uint32 // the incarnation it is meant for, of wakes and syncs
	kind kind
}

// timer names an item that is to be cancelled perhaps. The zero timer names
// none.
type timer struct {
	seq  uint64
	slot uint32
}

// entry is a heap entry: the order of events is by time, then by the order in
// which they were pushed.
type entry struct {
	at   int64
	seq  uint64
	slot uint32
}

func (a entry) before(b entry) bool {
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

// queue is the future: a 4-ary heap of small entries that point into a slab of
// items. Four children lie in two cache lines, and the heap is half as deep as
// a binary one.
type queue struct {
	heap      []entry
	slots     []item
	free      []uint32
	seq       uint64
	cancelled int // items in the heap that do nothing
}

// push makes an item that happens at the given time. The pointer is valid until
// the next push.
func (q *queue) push(at int64, k kind) (*item, timer) {
	var slot uint32
	if n := len(q.free); n > 0 {
		slot = q.free[n-1]
		q.free = q.free[:n-1]
	} else {
		slot = uint32(len(q.slots))
		q.slots = append(q.slots, item{})
	}
	it := &q.slots[slot]
	it.kind = k
	return it, q.insert(at, slot)
}

// insert puts a slot that is in use into the heap.
func (q *queue) insert(at int64, slot uint32) timer {
	q.seq++
	q.slots[slot].seq = q.seq
	q.heap = append(q.heap, entry{at: at, seq: q.seq, slot: slot})
	q.up(len(q.heap) - 1)
	return timer{seq: q.seq, slot: slot}
}

// peek gives the time of the first item, and false when nothing more will
// happen.
func (q *queue) peek() (at int64, ok bool) {
	for len(q.heap) > 0 {
		first := q.heap[0]
		if q.slots[first.slot].kind != kindCancelled {
			return first.at, true
		}
		q.release(q.pop())
		q.cancelled--
	}
	return 0, false
}

// pop takes the first entry out. Its slot stays in use until release.
func (q *queue) pop() uint32 {
	slot := q.heap[0].slot
	n := len(q.heap) - 1
	last := q.heap[n]
	q.heap = q.heap[:n]
	if n > 0 {
		q.down(0, last)
	}
	return slot
}

// release gives a slot back.
func (q *queue) release(slot uint32) {
	it := &q.slots[slot]
	it.msg = nil
	it.seq = 0
	it.kind = kindFree
	q.free = append(q.free, slot)
}

// cancel makes an item do nothing. One that has happened already, and the zero
// timer, are ignored. The item must be in the heap.
//
// Cancelled items stay where they are, and are swept out when they are the
// greater part. This is cheaper than to keep track of positions in the heap.
func (q *queue) cancel(t timer) {
	if t.seq == 0 || q.slots[t.slot].seq != t.seq {
		return
	}
	it := &q.slots[t.slot]
	if it.kind == kindCancelled {
		return
	}
	it.kind = kindCancelled
	it.msg = nil
	q.cancelled++
	if q.cancelled > 64 && q.cancelled > len(q.heap)/2 {
		q.sweep()
	}
}

// sweep drops the cancelled items. The order of the others is fixed by their
// times and numbers, whatever the shape of the heap.
func (q *queue) sweep() {
	kept := q.heap[:0]
	for _, e := range q.heap {
		if q.slots[e.slot].kind == kindCancelled {
			q.release(e.slot)
			continue
		}
		kept = append(kept, e)
	}
	q.heap = kept
	q.cancelled = 0
	for i := (len(q.heap) - 2) / 4; i >= 0 && len(q.heap) > 1; i-- {
		q.down(i, q.heap[i])
	}
}

func (q *queue) up(i int) {
	h := q.heap
	e := h[i]
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = e
}

// down puts e into the subtree at i, whose root is free.
func (q *queue) down(i int, e entry) {
	h := q.heap
	for {
		first := 4*i + 1
		if first >= len(h) {
			break
		}
		least := first
		for c := first + 1; c < first+4 && c < len(h); c++ {
			if h[c].before(h[least]) {
				least = c
			}
		}
		if !h[least].before(e) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = e
}
