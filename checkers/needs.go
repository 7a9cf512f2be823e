package checkers

import (
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/assay-chaos/assay/harness/history"
)

// What an operation rests on. A part of a history is worth judging only if
// every value that is seen in it still has the writes that it can have come
// from: without them a read of 3 is a read of a value from nowhere, which the
// whole history does not have. Such a part is called closed.
//
// The operations that a value can have come from are the writes of it that
// were called before the observation ended, but for those after which another
// acknowledged write fits in before the observation began. If the whole history
// can be put in order then the write that an observation rests on in that order
// is one of them, so a closed part keeps it, nothing of the part comes between
// the two, and the same order explains the part. Therefore: a closed part that
// is broken shows that the whole is.
//
// Where no write can be the one (that is what makes the observation wrong) the
// nearest of that value is kept for the story: the latest that was overwritten, or else the
// first one called later, or one that had failed.

// touch is what one operation has to do with one register, text or collection.
type touch struct {
	key int32
	// sees is what it observed; blind: what it saw the value was not.
	sees, blind, whole bool // whole: a list of values, each of them
	saw                history.Value
	// writes is what it may have left there; adds: joined to what was there.
	writes, adds bool
	wrote        history.Value
}

// entry is one operation that may have changed a register.
type entry struct {
	op        int32
	call, end int64
	value     history.Value
	adds      bool
}

// ledger is what may have been written to one register.
type ledger struct {
	all     []entry // by call
	byValue map[history.Value]*writers
	failed  map[history.Value]int32 // a write of it that had failed
	summed  bool                    // a counter: reads see the sum of what was added
	// The acknowledged writes by end, with the latest call of them so far:
	// a write that ended before that call is overwritten.
	ends, latest []int64
}

// writers are the entries of one value, by call: those that completed, with the
// latest end so far, and those of unknown outcome.
type writers struct {
	done, open []int32
	ends       []int64
}

// each calls f for the entries called up to a time, but for completed ones that
// ended before another.
func (w *writers) each(l *ledger, least, until int64, f func(*entry)) {
	if w == nil {
		return
	}
	for _, i := range w.open {
		if l.all[i].call > until {
			break
		}
		f(&l.all[i])
	}
	n := sort.Search(len(w.done), func(k int) bool { return l.all[w.done[k]].call > until })
	for n--; n >= 0 && w.ends[n] >= least; n-- {
		f(&l.all[w.done[n]])
	}
}

// enter adds an entry.
func (l *ledger) enter(e entry) {
	w := l.byValue[e.value]
	if w == nil {
		w = new(writers)
		l.byValue[e.value] = w
	}
	if e.end == history.Never {
		w.open = append(w.open, int32(len(l.all)))
	} else {
		end := e.end
		if n := len(w.ends); n > 0 {
			end = max(end, w.ends[n-1])
		}
		w.done, w.ends = append(w.done, int32(len(l.all))), append(w.ends, end)
	}
	l.all = append(l.all, e)
}

// overwritten gives the end before which a write was overwritten when an
// operation called at t began.
func (l *ledger) overwritten(t int64) int64 {
	n := sort.Search(len(l.ends), func(i int) bool { return l.ends[i] >= t })
	if n == 0 {
		return beginning
	}
	return l.latest[n-1]
}

// need is what one observation rests on.
type need struct {
	op  int32
	key int32
	// ops are the operations that must be there, ascending.
	ops []int32
	// initial says that it is also explained if nothing in front of it wrote
	// another value than the initial one (for blind: wrote the value saw).
	initial, blind bool
	saw            history.Value
	until          int64 // its end
}

// grounds finds what the operations of a history rest on.
type grounds struct {
	h       *history.History
	opts    Options
	texts   bool
	ledgers map[int32]*ledger
	needs   map[int32][]need
}

// newGrounds reads the operations at the given places (ascending).
func newGrounds(h *history.History, ops []int32, opts Options) *grounds {
	g := &grounds{h: h, opts: opts, ledgers: make(map[int32]*ledger), needs: make(map[int32][]need)}
	g.texts = len(h.Texts) > 0 && (opts.Model == "" || opts.Model == ModelKV)
	for _, i := range ops {
		o := &h.Ops[i]
		g.touches(o, func(t touch) {
			if !t.writes {
				return
			}
			l := g.ledger(t.key)
			if o.Outcome == history.Fail {
				if _, known := l.failed[t.wrote]; !known {
					l.failed[t.wrote] = i
				}
				return
			}
			l.enter(entry{op: i, call: o.Call, end: o.End(), value: t.wrote, adds: t.adds})
			l.summed = l.summed || o.F == history.Add
		})
	}
	for _, l := range g.ledgers {
		l.order()
	}
	return g
}

func (g *grounds) ledger(key int32) *ledger {
	l := g.ledgers[key]
	if l == nil {
		l = &ledger{byValue: make(map[history.Value]*writers), failed: make(map[history.Value]int32)}
		g.ledgers[key] = l
	}
	return l
}

func (l *ledger) order() {
	var acknowledged []int32
	for i := range l.all {
		if e := &l.all[i]; e.end != history.Never && !e.adds {
			acknowledged = append(acknowledged, int32(i))
		}
	}
	slices.SortFunc(acknowledged, func(a, b int32) int { return compare(l.all[a].end, l.all[b].end) })
	latest := int64(beginning)
	for _, i := range acknowledged {
		latest = max(latest, l.all[i].call)
		l.ends, l.latest = append(l.ends, l.all[i].end), append(l.latest, latest)
	}
}

// touches calls f for everything that an operation has to do with a register.
// The observation of an operation that also writes comes with it.
func (g *grounds) touches(o *history.Op, f func(touch)) {
	t := touch{key: o.Key, saw: history.Nil, wrote: history.Nil}
	known := o.Outcome == history.OK
	switch o.F {
	case history.Read:
		t.saw, t.sees = g.opts.observes(o)
	case history.ReadAll:
		t.sees, t.whole, t.saw = known, true, o.Out
	case history.Write:
		t.writes, t.wrote = true, o.Arg
	case history.Append, history.Add:
		t.writes, t.adds, t.wrote = true, true, o.Arg
	case history.Delete:
		t.writes = true
	case history.CAS:
		t.writes, t.wrote = true, o.Arg2
		if o.Outcome != history.Fail {
			t.sees, t.saw = true, o.Arg
			break
		}
		if t.saw, t.sees = g.opts.observes(o); !t.sees && g.opts.FailedCAS == ObserveFailedCAS {
			t.sees, t.blind, t.saw = true, true, o.Arg
		}
	case history.Acquire, history.Release:
		// A compare-and-set of two values, the initial one of which is "free".
		free := g.initial()
		t.writes, t.sees, t.saw, t.wrote = true, o.Outcome != history.Fail, free, free+1
		if o.F == history.Release {
			t.saw, t.wrote = free+1, free
		}
	case history.Transact:
		g.touchesOf(o, f)
		return
	}
	if t.sees || t.writes {
		f(t)
	}
}

func (g *grounds) touchesOf(o *history.Op, f func(touch)) {
	v := o.Arg
	filled := o.Outcome == history.OK && o.Out != history.Nil
	if filled {
		v = o.Out
	}
	if v < 0 || int64(v) >= int64(len(g.h.Txns)) {
		return
	}
	for _, m := range g.h.Txns[v] {
		switch {
		case m.F == history.Write:
			f(touch{key: m.Key, writes: true, wrote: m.Value, saw: history.Nil})
		case filled && (m.Value != history.Nil || g.opts.NilRead != NilAny):
			f(touch{key: m.Key, sees: true, saw: m.Value, wrote: history.Nil})
		}
	}
}

// initial is the value of every register before the first operation.
func (g *grounds) initial() history.Value { return g.opts.initial() }

// of gives what an operation rests on. One of unknown outcome rests on nothing:
// it need not have happened.
func (g *grounds) of(op int32) []need {
	if n, known := g.needs[op]; known {
		return n
	}
	var needs []need
	o := &g.h.Ops[op]
	if o.Outcome != history.Info {
		g.touches(o, func(t touch) {
			if t.sees {
				needs = append(needs, g.need(op, t))
			}
		})
	}
	g.needs[op] = needs
	return needs
}

func (g *grounds) need(op int32, t touch) need {
	o := &g.h.Ops[op]
	n := need{op: op, key: t.key, saw: t.saw, blind: t.blind, until: o.Return}
	n.initial = !t.whole && (t.saw == g.initial()) != t.blind
	if g.texts && !t.whole {
		n.initial = g.text(t.saw) == ""
	}
	l := g.ledgers[t.key]
	if l == nil {
		return n
	}
	found := make(map[int32]bool)
	g.collect(l, o.Call, o.Return, t, found)
	delete(found, op)
	if len(found) == 0 && !t.whole && !n.blind && !n.initial { // the initial value needs no write
		if nearest, ok := l.nearest(t.saw, o, op); ok {
			found[nearest] = true
		}
	}
	for i := range found {
		n.ops = append(n.ops, i)
	}
	slices.Sort(n.ops)
	return n
}

// collect gathers the writes that what was seen by an operation, called and
// ended at the given times, can have come from. A compare-and-set of unknown
// outcome among them has taken effect if it is the one, so what it can have
// seen by then is part of it.
func (g *grounds) collect(l *ledger, call, until int64, t touch, found map[int32]bool) {
	least := l.overwritten(call)
	add := func(e *entry) {
		if e.call > until || found[e.op] {
			return
		}
		if e.end < least && !e.adds && !t.whole {
			return
		}
		found[e.op] = true
		if o := &g.h.Ops[e.op]; o.Outcome == history.Info {
			g.touches(o, func(u touch) {
				if u.sees && g.ledgers[u.key] != nil {
					g.collect(g.ledgers[u.key], o.Call, until, u, found)
				}
			})
		}
	}
	each := func(keep func(*entry) bool) {
		for i := range l.all {
			if e := &l.all[i]; e.call > until {
				break
			} else if keep(e) {
				add(e)
			}
		}
	}
	switch {
	case t.whole && (t.saw < 0 || int64(t.saw) >= int64(len(g.h.Lists))):
	case t.whole:
		for _, v := range g.h.Lists[t.saw] {
			l.byValue[v].each(l, beginning, until, add)
		}
	case t.blind:
		each(func(e *entry) bool { return e.value != t.saw })
	case g.texts:
		saw := g.text(t.saw)
		each(func(e *entry) bool {
			if e.adds {
				return e.end >= least && strings.Contains(saw, g.text(e.value))
			}
			return strings.HasPrefix(saw, g.text(e.value))
		})
	case l.summed:
		each(func(*entry) bool { return true })
	default:
		l.byValue[t.saw].each(l, least, until, add)
	}
}

func (g *grounds) text(v history.Value) string {
	if v == history.Nil {
		return ""
	}
	return textOf(g.h, v)
}

// nearest is the write of a value that comes nearest to being the one that was
// seen, where none can be.
func (l *ledger) nearest(v history.Value, o *history.Op, self int32) (int32, bool) {
	before, after := int32(-1), int32(-1)
	last, first := int64(beginning), int64(math.MaxInt64)
	l.byValue[v].each(l, beginning, history.Never, func(e *entry) {
		switch {
		case e.op == self:
		case e.call <= o.Return && e.end >= last:
			before, last = e.op, e.end
		case e.call > o.Return && e.call < first:
			after, first = e.op, e.call
		}
	})
	switch {
	case before >= 0:
		return before, true
	case after >= 0:
		return after, true
	}
	failed, ok := l.failed[v]
	return failed, ok && failed != self
}

// opSet is a set of operations, as places in History.Ops, ascending.
type opSet []int32

// closed gives the part of a set that is left when every operation whose
// grounds are not all in it has been taken out.
func (g *grounds) closed(set opSet) opSet {
	set = slices.Clone(set)
	in := make(map[int32]bool, len(set))
	for _, i := range set {
		in[i] = true
	}
	for again := true; again; {
		again = false
		kept := set[:0:0]
		for _, i := range set {
			if g.grounded(i, in, set) {
				kept = append(kept, i)
				continue
			}
			delete(in, i)
			again = true
		}
		set = kept
	}
	return set
}

// grounded says whether everything that an operation rests on is in a set.
func (g *grounds) grounded(op int32, in map[int32]bool, set opSet) bool {
	for _, n := range g.of(op) {
		if !g.met(&n, in, set) {
			return false
		}
	}
	return true
}

func (g *grounds) met(n *need, in map[int32]bool, set opSet) bool {
	all := true
	for _, i := range n.ops {
		all = all && in[i]
	}
	return all || n.initial && !g.changedBefore(n, in, set)
}

// changedBefore says whether an operation of the set may have changed a
// register before an observation of its initial value ended.
func (g *grounds) changedBefore(n *need, in map[int32]bool, set opSet) bool {
	for _, i := range set {
		o := &g.h.Ops[i]
		if o.Call > n.until {
			return false
		}
		if i == n.op || !in[i] || o.Outcome == history.Fail {
			continue
		}
		changed := false
		g.touches(o, func(t touch) {
			if !t.writes || t.key != n.key {
				return
			}
			changed = changed || t.adds || (n.blind && t.wrote == n.saw) || (!n.blind && t.wrote != n.saw)
		})
		if changed {
			return true
		}
	}
	return false
}

// grown gives the least closed set that holds the given operations, as far as
// their grounds are known.
func (g *grounds) grown(ops opSet) opSet {
	in := make(map[int32]bool)
	set := slices.Clone(ops)
	for _, i := range set {
		in[i] = true
	}
	for again := true; again; {
		again = false
		slices.Sort(set)
		for _, i := range slices.Clone(set) {
			for _, n := range g.of(i) {
				if g.met(&n, in, set) {
					continue
				}
				for _, k := range n.ops {
					if !in[k] {
						in[k], again = true, true
						set = append(set, k)
					}
				}
			}
		}
	}
	return set
}
