package checkers

import (
	"fmt"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// The zone decision: is the history of one read/write register linearizable,
// if every value is written once at most? It needs no search: O(n log n) time,
// about 50 bytes a write.
//
// Source: Gibbons and Korach, "Testing shared memories", SIAM Journal on
// Computing 26(4), 1997. A write and the reads of its value are a cluster. Let
// f be the least end and s the greatest call in it. If f < s the value must be
// in force from f to s, without a break: a forward zone. Otherwise it is
// enough that it is in force at some instant of [s, f]: a backward zone. The
// history is linearizable iff no read ends before its write is called, no two
// forward zones overlap, and no backward zone lies inside a forward one.
//
// Beyond the paper:
//   - An operation of unknown outcome may take effect at any time later: its
//     end is Never. If nobody read its value it can be placed after everything
//     else, where it forbids nothing, so it is left out.
//   - The initial value is a cluster whose write ended before everything, so
//     its zone is forward.
//   - Intervals are closed and times may be equal, so every comparison is
//     strict.

// Rule names the condition that a history violates.
type Rule string

// The rules of the zone decision.
const (
	ReadFromNowhere Rule = "read of a value that nobody wrote"
	ReadBeforeWrite Rule = "read ended before its write was called"
	ForwardOverlap  Rule = "two values had to be in force at one time"
	BackwardInside  Rule = "a value was written while another had to be in force"
)

// ruling is what a decision procedure found on one key.
type ruling struct {
	// verdict is Unknown where the procedure does not apply, see why.
	verdict    Verdict
	rule       Rule
	why        string
	violations int
	// proof are the operations that show the violation, as places in
	// History.Ops, ascending. Where no compare-and-set took effect a
	// history of them alone is already not linearizable.
	proof []int
}

func notApplicable(format string, args ...any) ruling {
	return ruling{verdict: Unknown, why: fmt.Sprintf(format, args...)}
}

// cluster is a write and the reads of its value.
type cluster struct {
	value history.Value
	f, s  int64 // least end, greatest call
	// write, first and last are places in the view: of the write, and of
	// the operations that f and s are of.
	write, first, last int32
	unread             bool // an info write whose value nobody read
}

// noOp marks the write of the initial value, which is in no history.
const noOp int32 = -1

func (c *cluster) forward() bool { return c.f < c.s }

// clusters finds a cluster by its value. Values that are counted up stand in
// their own order, so that what is near in time is near in memory; others are
// hashed, with open addressing. Either way a million values cost one array.
type clusters struct {
	all   []cluster
	slots []int32 // place in all + 1, 0: free
	// counted says that slots are of the values from least on.
	counted bool
	least   history.Value
	beyond  int32 // 0: no cluster has a value that is beyond the slots
	// initial, if it has a cluster, stands apart: it is far from the others.
	initial    history.Value
	hasInitial bool
	initially  int32
}

// values is how many writes there are, and the range of what they write.
type values struct {
	writes      int
	least, most history.Value
}

func (n *values) add(v history.Value) {
	if n.writes == 0 {
		n.least, n.most = v, v
	}
	n.writes++
	n.least, n.most = min(n.least, v), max(n.most, v)
}

func newClusters(n values) clusters {
	size := 16
	for size < 2*n.writes {
		size *= 2
	}
	c := clusters{all: make([]cluster, 0, n.writes+1), least: n.least}
	if span := uint64(n.most) - uint64(n.least); span < uint64(size) {
		c.counted, size = true, int(span)+1
	}
	c.slots = make([]int32, size)
	return c
}

// slot gives where a value stands in the table or would have to.
func (c *clusters) slot(v history.Value) *int32 {
	if c.hasInitial && v == c.initial {
		return &c.initially
	}
	if c.counted {
		if k := uint64(v) - uint64(c.least); k < uint64(len(c.slots)) {
			return &c.slots[k]
		}
		return &c.beyond
	}
	mask := uint64(len(c.slots) - 1)
	x := uint64(v) * 0x9e3779b97f4a7c15
	for k := (x ^ x>>32) & mask; ; k = (k + 1) & mask {
		if s := c.slots[k]; s == 0 || c.all[s-1].value == v {
			return &c.slots[k]
		}
	}
}

// find gives the cluster of a value, nil for a value that nobody wrote.
func (c *clusters) find(v history.Value) *cluster {
	if s := *c.slot(v); s != 0 {
		return &c.all[s-1]
	}
	return nil
}

// observes gives the value that an operation saw, if it saw one.
func (o Options) observes(op *history.Op) (history.Value, bool) {
	switch {
	case op.F == history.Read && op.Outcome == history.OK:
		return op.Out, op.Out != history.Nil || o.NilRead != NilAny
	case op.F == history.CAS && op.Outcome == history.Fail:
		return op.Out, op.Out != history.Nil
	}
	return history.Nil, false
}

// decideZones judges one register. Its answer is Unknown where the decision
// does not apply: another function than read and write took effect, or a
// value was written twice.
func decideZones(h *history.History, v view, opts Options) ruling {
	initial := opts.initial()
	var written values
	for i, n := 0, v.len(); i < n; i++ {
		o := v.at(i)
		switch o.F {
		case history.Read:
		case history.Write:
			if o.Outcome != history.Fail {
				written.add(o.Arg)
			}
		case history.CAS:
			if o.Outcome != history.Fail {
				return notApplicable("a compare-and-set may have taken effect")
			}
			if o.Out == history.Nil && opts.FailedCAS == ObserveFailedCAS {
				return notApplicable("a failed compare-and-set says only what the value was not")
			}
		default:
			if o.Outcome != history.Fail {
				return notApplicable("%s is not a read or a write", o.F)
			}
		}
	}
	cl := newClusters(written)
	for i, n := 0, v.len(); i < n; i++ {
		o := v.at(i)
		if o.F != history.Write || o.Outcome == history.Fail {
			continue
		}
		if o.Arg == initial {
			return notApplicable("the initial value %s was written", initial)
		}
		slot := cl.slot(o.Arg)
		if *slot != 0 {
			return notApplicable("%s was written twice", o.Arg)
		}
		at := int32(i)
		cl.all = append(cl.all, cluster{
			value: o.Arg, f: o.End(), s: o.Call,
			write: at, first: at, last: at, unread: o.Outcome == history.Info,
		})
		*slot = int32(len(cl.all))
	}
	z := zones{h: h, v: v}
	initially := cluster{value: initial, f: beginning, s: beginning, write: noOp, first: noOp, last: noOp}
	for i, n := 0, v.len(); i < n; i++ {
		o := v.at(i)
		value, saw := opts.observes(o)
		if !saw {
			continue
		}
		c := &initially
		if value != initial {
			if c = cl.find(value); c == nil {
				z.fromNowhere(i, value)
				continue
			}
			if w := v.at(int(c.write)); o.Return < w.Call {
				z.beforeWrite(i, c)
			}
			c.unread = false
		}
		if o.Return < c.f {
			c.f, c.first = o.Return, int32(i)
		}
		if o.Call > c.s {
			c.s, c.last = o.Call, int32(i)
		}
	}
	if initially.last != noOp {
		cl.all = append(cl.all, initially)
	}
	z.decide(cl.all)
	return z.ruling()
}

// zones collects violations: the first one in full, the others by number.
type zones struct {
	h     *history.History
	v     view
	found ruling
	// chained says that clusters stand for chains of values.
	chained bool
}

func (z *zones) decide(all []cluster) {
	forward := make([]int32, 0, 64)
	for i := range all {
		if all[i].forward() {
			forward = append(forward, int32(i))
		}
	}
	byStart := func(a, b int32) int { return compare(all[a].f, all[b].f) }
	if !slices.IsSortedFunc(forward, byStart) { // the history's order is nearly theirs
		slices.SortFunc(forward, func(a, b int32) int {
			if c := byStart(a, b); c != 0 {
				return c
			}
			return int(a - b)
		})
	}
	// widest is the zone reaching furthest of those before: an overlap that
	// was found must not hide another one.
	for i, widest := 1, 0; i < len(forward); i++ {
		a, b := &all[forward[widest]], &all[forward[i]]
		if b.f < a.s {
			z.overlap(a, b)
		}
		if b.s > a.s {
			widest = i
		}
	}
	if len(forward) == 0 {
		return
	}
	at := 0
	for i := range all {
		c := &all[i]
		if c.forward() || c.unread {
			continue
		}
		// The last forward zone that starts before c's does. Clusters
		// come roughly in the order of time, so it is near the last one.
		at = lastBefore(forward, all, at, c.s)
		if at < 0 {
			at = 0
			continue
		}
		if f := &all[forward[at]]; c.f < f.s {
			z.inside(c, f)
		}
	}
}

// lastBefore gives the last of the zones that starts before t, -1 for none,
// galloping from a place near it.
func lastBefore(forward []int32, all []cluster, near int, t int64) int {
	starts := func(i int) bool { return all[forward[i]].f < t }
	lo, hi := 0, len(forward) // zones before lo start before t, those from hi on do not
	if starts(near) {
		lo = near + 1
		for step := 1; lo < hi; step *= 2 {
			probe := lo + step - 1
			if probe >= len(forward) {
				break
			}
			if !starts(probe) {
				hi = probe
				break
			}
			lo = probe + 1
		}
	} else {
		hi = near
		for step := 1; lo < hi; step *= 2 {
			probe := hi - step
			if probe < 0 {
				break
			}
			if starts(probe) {
				lo = probe + 1
				break
			}
			hi = probe
		}
	}
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if starts(mid) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// first records a violation; only the first one is told in words.
func (z *zones) first(rule Rule, places []int32, why func() string) {
	z.found.violations++
	if z.found.violations > 1 {
		return
	}
	z.found.rule = rule
	z.found.why = why()
	for _, p := range places {
		if p != noOp {
			z.found.proof = append(z.found.proof, z.v.index(int(p)))
		}
	}
	slices.Sort(z.found.proof)
	z.found.proof = slices.Compact(z.found.proof)
}

func (z *zones) ruling() ruling {
	z.found.verdict = Held
	if z.found.violations > 0 {
		z.found.verdict = Broken
	}
	return z.found
}

func (z *zones) tell(place int32) string { return describe(z.h, z.v.index(int(place))) }

func (z *zones) fromNowhere(read int, value history.Value) {
	z.first(ReadFromNowhere, []int32{int32(read)}, func() string {
		return z.tell(int32(read)) + " saw a value that nobody wrote" + failedWriter(z.h, z.v, value)
	})
}

func (z *zones) beforeWrite(read int, c *cluster) {
	z.first(ReadBeforeWrite, []int32{int32(read), c.write}, func() string {
		return fmt.Sprintf("%s saw a value before it was written by %s", z.tell(int32(read)), z.tell(c.write))
	})
}

// name tells which value a cluster is of.
func (z *zones) name(c *cluster) string {
	if z.chained {
		return c.value.String() + " (or what compare-and-sets made of it)"
	}
	return c.value.String()
}

// inForce says why a value had to be in force without a break.
func (z *zones) inForce(c *cluster) string {
	if c.write == noOp {
		return fmt.Sprintf("the initial value %s was still seen by %s", z.name(c), z.tell(c.last))
	}
	return fmt.Sprintf("%s was in force when %s ended, and still when %s began", z.name(c), z.tell(c.first), z.tell(c.last))
}

func (z *zones) overlap(a, b *cluster) {
	z.first(ForwardOverlap, []int32{a.write, a.first, a.last, b.write, b.first, b.last}, func() string {
		return fmt.Sprintf("two values had to be in force at one time: %s; but %s", z.inForce(a), z.inForce(b))
	})
}

func (z *zones) inside(b, f *cluster) {
	z.first(BackwardInside, []int32{b.write, b.first, b.last, f.write, f.first, f.last}, func() string {
		seen := ""
		switch {
		case b.first != b.write:
			seen = ", seen by " + z.tell(b.first)
		case b.last != b.write:
			seen = ", seen by " + z.tell(b.last)
		}
		return fmt.Sprintf("%s; but in between %s was in force: %s%s", z.inForce(f), z.name(b), z.tell(b.write), seen)
	})
}
