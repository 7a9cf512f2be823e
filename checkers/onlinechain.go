package checkers

import "github.com/assay-chaos/assay/harness/history"

// The chains of the keys that are judged while their history is made: how they
// grow, how they are compared, and how they are forgotten. See [Online].

// found begins a chain.
func (o *Online) found(r *liveKey, x int32) {
	l := &o.live[x]
	c := liveChain{head: x, tail: x, at: int32(len(r.window))}
	c.value, c.write = l.value, l.write
	c.f, c.first = l.f()
	c.s, c.last = l.s()
	l.upTo, l.onward = c.s, c.f
	if n := len(o.freeChain); n > 0 {
		l.chain, o.freeChain = o.freeChain[n-1], o.freeChain[:n-1]
		o.chains[l.chain] = c
	} else {
		l.chain = int32(len(o.chains))
		o.chains = append(o.chains, c)
	}
	top := c.s
	if n := len(r.window); n > 0 {
		top = max(top, r.window[n-1].top)
	}
	r.window = append(r.window, windowed{l.chain, top})
	r.links++
	o.compare(r, l.chain)
}

// join puts a value behind the one that its compare-and-set replaced.
func (o *Online) join(r *liveKey, x int32) {
	l := &o.live[x]
	p := o.find[valueOf{l.key, l.from}]
	before := &o.live[p]
	if before.next != none {
		o.offend(r, offence{rule: SetTwice, op: l.write, other: o.live[before.next].write, value: l.from})
		return
	}
	f, first := l.f()
	s, last := l.s()
	if f < before.upTo {
		o.offend(r, offence{rule: ChainOrder, op: first, other: o.caller(p, f), value: l.value})
		return
	}
	l.chain, l.prev, before.next = before.chain, p, x
	l.upTo, l.onward = max(before.upTo, s), f
	c := &o.chains[l.chain]
	c.tail = x
	r.links++
	o.stretch(r, x, f, first, s, last)
}

// touch takes another operation on a link of a chain.
func (o *Online) touch(r *liveKey, x int32, id int, end, call int64) {
	l := &o.live[x]
	if l.prev != none && end < o.live[l.prev].upTo {
		o.offend(r, offence{rule: ChainOrder, op: id, other: o.caller(l.prev, end), value: l.value})
		return
	}
	if l.next != none && call > o.live[l.next].onward {
		o.offend(r, offence{rule: ChainOrder, op: o.ender(l.next, call), other: id, value: l.value})
		return
	}
	l.upTo, l.onward = max(l.upTo, call), min(l.onward, end)
	o.stretch(r, x, end, id, call, id)
}

// caller finds an operation, on a link or before it, that was called after t.
func (o *Online) caller(x int32, t int64) int {
	for ; x != none; x = o.live[x].prev {
		if s, who := o.live[x].s(); s > t {
			return who
		}
	}
	return nobody
}

// ender finds an operation, on a link or behind it, that ended before t.
func (o *Online) ender(x int32, t int64) int {
	for ; x != none; x = o.live[x].next {
		if f, who := o.live[x].f(); f < t {
			return who
		}
	}
	return nobody
}

// stretch tells the neighbours of a link, and its chain, of an end and a call
// on it, and compares the chain with the others.
func (o *Online) stretch(r *liveKey, x int32, f int64, first int, s int64, last int) {
	l := &o.live[x]
	for y := l.next; y != none && o.live[y].upTo < s; y = o.live[y].next {
		o.live[y].upTo = s
	}
	for y := l.prev; y != none && o.live[y].onward > f; y = o.live[y].prev {
		o.live[y].onward = f
	}
	c := &o.chains[l.chain]
	if f < c.f {
		c.f, c.first = f, first
	}
	if s > c.s {
		c.s, c.last = s, last
	}
	for i := int(c.at); i < len(r.window) && r.window[i].top < c.s; i++ {
		r.window[i].top = c.s
	}
	o.compare(r, l.chain)
}

// compare looks for a chain that must come before and after the given one.
// In a history without one it looks at few: those that were in flight with it.
func (o *Online) compare(r *liveKey, chain int32) {
	c := &o.chains[chain]
	for i := len(r.window) - 1; i >= 0 && r.window[i].top > c.f; i-- {
		if r.window[i].chain == chain {
			continue
		}
		if g := &o.chains[r.window[i].chain]; g.f < c.s && c.f < g.s {
			o.offend(r, offence{rule: zoneRule(&c.extent, &g.extent), a: c.extent, b: g.extent})
			return
		}
	}
}

// latest gives the chain with the greatest s of those that must come before
// what is called at t.
func (o *Online) latest(r *liveKey, t int64) extent {
	e := r.spent
	for _, w := range r.window {
		if c := &o.chains[w.chain]; c.f < t && c.s > e.s {
			e = c.extent
		}
	}
	return e
}

func zoneRule(a, b *extent) Rule {
	if a.f < a.s && b.f < b.s {
		return ForwardOverlap
	}
	return BackwardInside
}

// forget drops what is dead.
func (o *Online) forget(r *liveKey) {
	t := o.floor()
	// The two greatest s, so that no chain is compared with itself.
	best, second, who := int64(beginning), int64(beginning), none
	for _, w := range r.window {
		c := &o.chains[w.chain]
		switch {
		case c.f >= t:
		case c.s > best:
			best, second, who = c.s, best, w.chain
		case c.s > second:
			second = c.s
		}
	}
	kept := r.window[:0]
	spent := r.spent
	top := int64(beginning)
	for _, w := range r.window {
		c := &o.chains[w.chain]
		other := best
		if w.chain == who {
			other = second
		}
		for x := c.head; o.live[x].next != none && o.live[o.live[x].next].onward < t; x = c.head {
			// A compare-and-set that replaced the value has ended.
			c.head = o.live[x].next
			o.live[c.head].prev = none
			o.drop(x)
			r.links--
		}
		if c.f >= t || c.f >= other {
			top = max(top, c.s)
			c.at = int32(len(kept))
			kept = append(kept, windowed{w.chain, top})
			continue
		}
		if c.s > spent.s {
			spent = c.extent
		}
		o.dropChain(r, w.chain)
	}
	r.window, r.spent = kept, spent
	r.limit = max(o.spare, 2*r.links)
}

// value adds a loose value.
func (o *Online) value(l liveValue) int32 {
	l.minEnd, l.maxCall, l.earliest, l.latest = history.Never, beginning, nobody, nobody
	l.chain, l.prev, l.next = none, none, none
	var x int32
	if n := len(o.freeLive); n > 0 {
		x, o.freeLive = o.freeLive[n-1], o.freeLive[:n-1]
		o.live[x] = l
	} else {
		x = int32(len(o.live))
		o.live = append(o.live, l)
	}
	o.find[valueOf{l.key, l.value}] = x
	return x
}

func (o *Online) dropChain(r *liveKey, chain int32) {
	for x := o.chains[chain].head; x != none; {
		next := o.live[x].next
		o.drop(x)
		r.links--
		x = next
	}
	o.freeChain = append(o.freeChain, chain)
}

func (o *Online) drop(x int32) {
	l := &o.live[x]
	delete(o.find, valueOf{l.key, l.value})
	o.freeLive = append(o.freeLive, x)
}

// offend notes that a key is broken.
func (o *Online) offend(r *liveKey, f offence) {
	f.key = r.key
	for _, e := range []*extent{&f.a, &f.b} {
		if *e == (extent{}) {
			*e = extent{write: nobody, first: nobody, last: nobody}
		}
	}
	r.broken = true
	o.broken++
	if o.first == nil {
		o.first = &f
	}
	if o.lowest == nil || f.key < o.lowest.key {
		o.lowest = &f
	}
}

// size is about how many bytes the state takes.
func (o *Online) size() int {
	const (
		perLive     = 136
		perChain    = 80 + 16 // with its place in the window
		perFind     = 48
		perRegister = 208 + 32
		perOpen     = 40
	)
	return cap(o.live)*perLive + cap(o.chains)*perChain + len(o.find)*perFind +
		o.keys*perRegister + 8*cap(o.registers) + len(o.open)*perOpen + 72*cap(o.waiting)
}
