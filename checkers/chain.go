package checkers

import (
	"fmt"

	"github.com/assay-chaos/assay/harness/history"
)

// The chain decision: the zone decision for registers with compare-and-set,
// where every value is new when it is written. It needs no search either, as
// long as no failed compare-and-set tells only what the value was not.
//
// A compare-and-set from a to b took effect right after the reads of a: the
// clusters of a and b are one chain, in which the order is known. A value took
// effect if its writer is ok, if it was read, or if a compare-and-set that took
// effect starts from it; other operations of unknown outcome are left out. The
// history is not linearizable if two compare-and-sets that took effect start
// from one value, if one starts from a value that nobody wrote, if they form a
// circle, or if in a chain an operation ended before one of an earlier link
// was called. Otherwise the zone conditions decide, on whole chains.

// The rules of the chain decision.
const (
	SetFromNowhere Rule = "compare-and-set from a value that nobody wrote"
	SetTwice       Rule = "two compare-and-sets replaced one value"
	SetInCircle    Rule = "compare-and-sets in a circle"
	ChainOrder     Rule = "ended before an operation that it depends on was called"
)

// link is what a chain needs to know of a cluster beside it.
type link struct {
	from      int32 // the cluster that the compare-and-set replaced; see the constants
	next      int32 // the cluster that replaced this one, noLink: none
	effective bool
	// The reads of the value: least end, greatest call, and whose they are.
	minEnd, maxCall  int64
	earliest, latest int32
}

const (
	noLink      int32 = -1 // a plain write, or the initial value
	fromNothing int32 = -2 // from a value that nobody wrote
)

type chains struct {
	zones
	cl    clusters
	links []link // parallel to cl.all
}

// decideChains judges one register. Its answer is Unknown where the decision
// does not apply.
func decideChains(h *history.History, v view, opts Options) ruling {
	c := chains{zones: zones{h: h, v: v, chained: true}}
	if r := c.writers(opts); r.why != "" {
		return r
	}
	c.reads(opts)
	if c.join() {
		c.walk()
	}
	return c.ruling()
}

// writers makes the clusters, the initial value's first.
func (c *chains) writers(opts Options) ruling {
	var written values
	for i := range c.v.len() {
		o := c.v.at(i)
		switch {
		case o.F == history.CAS && o.Outcome == history.Fail && o.Out == history.Nil && opts.FailedCAS == ObserveFailedCAS:
			return notApplicable("a failed compare-and-set says only what the value was not")
		case o.Outcome == history.Fail || o.F == history.Read:
		case o.F == history.Write:
			written.add(o.Arg)
		case o.F == history.CAS:
			written.add(o.Arg2)
		default:
			return notApplicable("%s is not a read, a write or a compare-and-set", o.F)
		}
	}
	c.cl = newClusters(written)
	c.cl.initial, c.cl.hasInitial = opts.initial(), true
	c.links = make([]link, 0, written.writes+1)
	add := func(cluster cluster, effective bool) bool {
		slot := c.cl.slot(cluster.value)
		if *slot != 0 {
			return false
		}
		c.cl.all = append(c.cl.all, cluster)
		c.links = append(c.links, link{from: noLink, next: noLink, effective: effective,
			minEnd: history.Never, maxCall: beginning, earliest: noOp, latest: noOp})
		*slot = int32(len(c.cl.all))
		return true
	}
	add(cluster{value: opts.initial(), f: beginning, s: beginning, write: noOp, first: noOp, last: noOp}, true)
	for i := range c.v.len() {
		o := c.v.at(i)
		value, wrote := writes(o)
		if !wrote {
			continue
		}
		at := int32(i)
		if !add(cluster{value: value, f: o.End(), s: o.Call, write: at, first: at, last: at}, o.Outcome == history.OK) {
			return notApplicable("%s was written twice, or is the initial value", value)
		}
	}
	for i := range c.cl.all {
		w := c.cl.all[i].write
		if w == noOp || c.v.at(int(w)).F != history.CAS {
			continue
		}
		c.links[i].from = fromNothing
		if s := *c.cl.slot(c.v.at(int(w)).Arg); s != 0 {
			c.links[i].from = s - 1
		}
	}
	return ruling{}
}

func (c *chains) reads(opts Options) {
	for i := range c.v.len() {
		o := c.v.at(i)
		value, saw := opts.observes(o)
		if !saw {
			continue
		}
		s := *c.cl.slot(value)
		if s == 0 {
			c.fromNowhere(i, value)
			continue
		}
		l := &c.links[s-1]
		l.effective = true
		if l.earliest == noOp || o.Return < l.minEnd {
			l.minEnd, l.earliest = o.Return, int32(i)
		}
		if l.latest == noOp || o.Call > l.maxCall {
			l.maxCall, l.latest = o.Call, int32(i)
		}
	}
}

// join links the clusters that took effect into chains. It is false where they
// are no chains.
func (c *chains) join() bool {
	whole := true
	joined := make([]bool, len(c.links))
	for i := range c.links {
		if !c.links[i].effective {
			continue
		}
		for x := int32(i); !joined[x]; {
			joined[x] = true
			l := &c.links[x]
			l.effective = true
			if l.from == noLink {
				break
			}
			set := c.cl.all[x].write
			if l.from == fromNothing {
				whole = false
				c.first(SetFromNowhere, []int32{set}, func() string {
					return fmt.Sprintf("%s took effect, from a value that nobody wrote", c.tell(set))
				})
				break
			}
			if other := c.links[l.from].next; other != noLink {
				whole = false
				rival := c.cl.all[other].write
				c.first(SetTwice, []int32{rival, set}, func() string {
					return fmt.Sprintf("both %s and %s took effect, but the value was there once", c.tell(rival), c.tell(set))
				})
				break
			}
			c.links[l.from].next = x
			x = l.from
		}
	}
	return whole
}

// walk follows every chain and hands them to the zone conditions.
func (c *chains) walk() {
	seen := 0
	var blocks []cluster
	for i := range c.links {
		if l := &c.links[i]; l.effective && l.from == noLink {
			blocks = append(blocks, c.block(int32(i), &seen))
		}
	}
	for i := range c.links {
		if c.links[i].effective {
			seen--
		}
	}
	if seen < 0 { // some chain has no beginning
		for i := range c.links {
			if l := &c.links[i]; l.effective && l.from != noLink && c.inCircle(int32(i)) {
				set := c.cl.all[i].write
				c.first(SetInCircle, []int32{set}, func() string {
					return fmt.Sprintf("%s took effect, but its value goes back to itself by compare-and-sets alone", c.tell(set))
				})
				break
			}
		}
	}
	c.decide(blocks)
}

func (c *chains) inCircle(i int32) bool {
	x := c.links[i].from
	for n := 0; n < len(c.links) && x != noLink && x != i; n++ {
		x = c.links[x].from
	}
	return x == i
}

// block makes one cluster of a chain: the write, its reads, the
// compare-and-set that replaced it, its reads and so on.
func (c *chains) block(root int32, seen *int) cluster {
	b := c.cl.all[root]
	b.s, b.last = beginning, noOp // the greatest call so far, and whose it is
	add := func(first int32, end int64, last int32, call int64) {
		if first != noOp && end < b.s {
			late := b.last
			c.first(ChainOrder, []int32{first, late}, func() string {
				return fmt.Sprintf("%s ended before %s was called, but depends on it", c.tell(first), c.tell(late))
			})
		}
		if end < b.f {
			b.f, b.first = end, first
		}
		if call > b.s {
			b.s, b.last = call, last
		}
	}
	for x := root; x != noLink; x = c.links[x].next {
		*seen++
		l := &c.links[x]
		w := c.cl.all[x].write
		if w != noOp {
			o := c.v.at(int(w))
			add(w, o.End(), w, o.Call)
		}
		if l.earliest != noOp {
			add(l.earliest, l.minEnd, l.latest, l.maxCall)
		}
	}
	return b
}
