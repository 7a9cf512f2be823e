package replica

// gate is the durability gate: the writes that are under way to the disk, in
// order, and the messages that must not leave before one of them is durable.
//
//	 done          issued
//	  │              │
//	  ▼              ▼
//	──┼──┬──┬──┬──┬──┤   one entry a write; each has the list of
//	  │██│██│██│██│██│   the messages that wait for it
//	──┴──┴──┴──┴──┴──┘
//	  ▲ pop          ▲ push
type gate struct {
	issued uint64 // ticket of the last write
	done   uint64 // everything up to this ticket has been popped

	entries []entry // of the tickets done+1 … issued start at entries[head]
	head    int
	byKey   map[string]uint64 // ticket of the last write of a key, while it is in entries

	waiters []waiter // all of them; lists are linked by index
	free    int32    // the first unused one
}

type entry struct {
	write       Write
	first, last int32 // waiters, or none
}

type waiter struct {
	to   NodeID
	next int32
	msg  Message
}

// none ends a list of waiters.
const none = -1

func newGate() gate { return gate{byKey: make(map[string]uint64), free: none} }

// push adds a write and gives its ticket.
func (g *gate) push(w Write) uint64 {
	if len(g.entries) == cap(g.entries) && g.head > len(g.entries)/2 {
		// Move down instead of growing: most of the room is free.
		n := copy(g.entries, g.entries[g.head:])
		clear(g.entries[n:])
		g.entries, g.head = g.entries[:n], 0
	}
	g.issued++
	g.entries = append(g.entries, entry{write: w, first: none, last: none})
	g.byKey[w.Key] = g.issued
	return g.issued
}

// at is the entry of a ticket between done+1 and issued.
func (g *gate) at(seq uint64) *entry { return &g.entries[g.head+int(seq-g.done-1)] }

// last is the ticket of the last write that is under way, 0 if none is.
func (g *gate) last() uint64 {
	if g.done == g.issued {
		return 0
	}
	return g.issued
}

// find gives the newest record of a key that is under way, and its ticket.
func (g *gate) find(key string) (Record, uint64, bool) {
	if g.done == g.issued {
		return Record{}, 0, false
	}
	seq, ok := g.byKey[key]
	if !ok {
		return Record{}, 0, false
	}
	return g.at(seq).write.Record, seq, true
}

// holds says whether a write of the key is under way.
func (g *gate) holds(key string) bool {
	_, ok := g.byKey[key]
	return ok
}

// wait keeps a message until the ticket is popped.
func (g *gate) wait(seq uint64, to NodeID, m *Message) {
	i := g.free
	if i == none {
		i = int32(len(g.waiters))
		g.waiters = append(g.waiters, waiter{})
	} else {
		g.free = g.waiters[i].next
	}
	g.waiters[i] = waiter{to: to, next: none, msg: *m}

	e := g.at(seq)
	if e.first == none {
		e.first = i
	} else {
		g.waiters[e.last].next = i
	}
	e.last = i
}

// pop takes the oldest write off and gives the first of its waiters. Releasing
// them may push: the entry is gone by then.
func (g *gate) pop() (first int32, key string) {
	e := &g.entries[g.head]
	first, key = e.first, e.write.Key
	*e = entry{}
	g.head++
	g.done++
	if g.byKey[key] == g.done {
		delete(g.byKey, key)
	}
	if g.done == g.issued {
		g.entries, g.head = g.entries[:0], 0
	}
	return first, key
}

// release takes one waiter off and gives its message and the next of the list.
func (g *gate) release(i int32) (to NodeID, m Message, next int32) {
	w := &g.waiters[i]
	to, m, next = w.to, w.msg, w.next
	*w = waiter{next: g.free}
	g.free = i
	return to, m, next
}
