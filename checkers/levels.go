package checkers

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// The decision by levels: is the history of one set, list or counter
// linearizable? It needs no search, if elements are added once and a counter
// grows by equal steps: O(n log n), and for sets and lists linear in the lengths
// of the lists that were read.
//
// What grows is seen at levels: reads of the same are a level, and two levels are
// ordered by what they hold. In a list or a set the reads say which additions
// stand before a level, so the levels and the additions between them are groups
// in a known order; additions that no read has seen come last. Instants that
// follow this order exist iff no operation ended before one of an earlier group
// was called. Within a group operations are free.
//
// Of a counter the reads say only how many additions stand before a level. Which
// ones is a schedule of unit jobs with deadlines, for which earliest deadline
// first is right (Jackson 1955): take those that end first of all that were called
// before every later read had ended.
//
// An addition of unknown outcome ends never; if no read needs it, it is left out.

// The rules of the decision by levels.
const (
	SeenFromNowhere Rule = "read of an element that nobody added"
	SeenTwice       Rule = "read of an element twice"
	NoOneOrder      Rule = "two reads that no order of the additions explains"
	LevelOrder      Rule = "ended before an operation that has to precede it was called"
	TooMany         Rule = "read of more than had been added"
	OtherTotal      Rule = "read of a total that no transfer can make"
)

// levels walks groups of operations in their order.
type levels struct {
	h *history.History
	v view
	ruling
	call int64 // the greatest so far, and whose it is
	last int32
}

func newLevels(h *history.History, v view) *levels {
	return &levels{h: h, v: v, ruling: ruling{verdict: Held}, call: beginning, last: noOp}
}

// broken records the first violation.
func (l *levels) broken(rule Rule, places []int32, format string, args ...any) {
	l.violations++
	if l.violations > 1 {
		return
	}
	l.verdict, l.rule, l.why = Broken, rule, fmt.Sprintf(format, args...)
	for _, p := range places {
		l.proof = append(l.proof, l.v.index(int(p)))
	}
	slices.Sort(l.proof)
	l.proof = slices.Compact(l.proof)
}

func (l *levels) tell(place int32) string { return describe(l.h, l.v.index(int(place))) }

// contrast says what is wrong with an operation that is over when the one is called
// that it has to follow.
func (l *levels) contrast(place int32) string {
	first, second := l.v.at(int(place)).F == history.Add, l.v.at(int(l.last)).F == history.Add
	switch {
	case second:
		return "but has to come after it by what was read"
	case first:
		return "which did not see it"
	}
	return "and saw more"
}

// group is the next group: every operation of it comes after all before it.
func (l *levels) group(places []int32) {
	for _, p := range places {
		if o := l.v.at(int(p)); o.End() < l.call {
			l.broken(LevelOrder, []int32{p, l.last}, "%s had ended before %s was called, %s", l.tell(p), l.tell(l.last), l.contrast(p))
		}
	}
	for _, p := range places {
		if o := l.v.at(int(p)); o.Call > l.call {
			l.call, l.last = o.Call, p
		}
	}
}

// collection is what a set or a list was seen to hold.
type collection struct {
	*levels
	adds  map[history.Value]int32 // places of the additions that may have happened
	order []int32                 // of the same
	reads []int32                 // by length
	lists []history.List          // parallel to reads
}

// decideCollection judges one list or, unordered, one set. Its answer is Unknown
// where the decision does not apply.
func decideCollection(h *history.History, v view, ordered bool, opts Options) ruling {
	g := collection{levels: newLevels(h, v), adds: make(map[history.Value]int32)}
	if r := g.gather(ordered, opts); r.why != "" {
		return r
	}
	if !g.origins() {
		return g.ruling
	}
	if ordered {
		g.list()
	} else {
		g.set()
	}
	return g.ruling
}

// gather sorts the operations into additions and reads, the shortest first.
func (g *collection) gather(ordered bool, opts Options) ruling {
	type read struct {
		at   int32
		list history.List
	}
	var reads []read
	for i := range g.v.len() {
		o := g.v.at(i)
		switch {
		case o.F == history.ReadAll:
			list, ok, err := listOf(g.h, o, opts)
			if err != nil {
				return notApplicable("%v", err)
			}
			if ok {
				if !ordered {
					list = asSet(list)
				}
				reads = append(reads, read{int32(i), list})
			}
		case o.F != history.Add:
			return notApplicable("%s is neither an addition nor a read of all", o.F)
		case o.Outcome == history.Fail:
		default:
			if _, twice := g.adds[o.Arg]; twice {
				return notApplicable("%s was added twice", o.Arg)
			}
			g.adds[o.Arg] = int32(i)
			g.order = append(g.order, int32(i))
		}
	}
	slices.SortStableFunc(reads, func(a, b read) int { return cmp.Compare(len(a.list), len(b.list)) })
	for _, r := range reads {
		g.reads = append(g.reads, r.at)
		g.lists = append(g.lists, r.list)
	}
	return ruling{}
}

// origins says whether every element that was seen was added.
func (g *collection) origins() bool {
	for i, list := range g.lists {
		seen := make(map[history.Value]bool, len(list))
		for _, e := range list {
			if _, added := g.adds[e]; !added {
				g.broken(SeenFromNowhere, []int32{g.reads[i]}, "%s saw %s, which nobody added%s", g.tell(g.reads[i]), e, g.failed(e))
			}
			if seen[e] {
				g.broken(SeenTwice, []int32{g.reads[i]}, "%s saw %s twice", g.tell(g.reads[i]), e)
			}
			seen[e] = true
		}
	}
	return g.verdict != Broken
}

// failed tells of an addition of the element that was reported as failed.
func (g *collection) failed(e history.Value) string {
	for i := range g.v.len() {
		if o := g.v.at(i); o.F == history.Add && o.Arg == e {
			return ": " + g.tell(int32(i)) + " had been reported as not done"
		}
	}
	return ""
}

// list: every read is the beginning of the longest one.
func (g *collection) list() {
	var longest history.List
	last := len(g.lists) - 1
	if last >= 0 {
		longest = g.lists[last]
	}
	for i, list := range g.lists {
		if !slices.Equal(list, longest[:len(list)]) {
			g.broken(NoOneOrder, []int32{g.reads[i], g.reads[last]}, "%s and %s disagree: neither is the beginning of the other", g.tell(g.reads[i]), g.tell(g.reads[last]))
			return
		}
	}
	next := 0
	for n := 0; n <= len(longest); n++ {
		if n > 0 {
			g.group([]int32{g.adds[longest[n-1]]})
		}
		first := next
		for next < len(g.lists) && len(g.lists[next]) == n {
			next++
		}
		g.group(g.reads[first:next])
	}
	g.unseen(longest)
}

// set: every read is contained in the next larger one.
func (g *collection) set() {
	var before history.List
	for i := 0; i < len(g.lists); {
		list, first := g.lists[i], i
		if !containsAll(list, before) {
			g.broken(NoOneOrder, []int32{g.reads[i-1], g.reads[i]}, "%s and %s disagree: each lacks an element of the other", g.tell(g.reads[i-1]), g.tell(g.reads[i]))
			return
		}
		var fresh []int32
		k := 0
		for _, e := range list {
			if k < len(before) && before[k] == e {
				k++
				continue
			}
			fresh = append(fresh, g.adds[e])
		}
		g.group(fresh)
		for ; i < len(g.lists) && len(g.lists[i]) == len(list); i++ {
			if !slices.Equal(g.lists[i], list) {
				g.broken(NoOneOrder, []int32{g.reads[first], g.reads[i]}, "%s and %s disagree: each lacks an element of the other", g.tell(g.reads[first]), g.tell(g.reads[i]))
				return
			}
		}
		g.group(g.reads[first:i])
		before = list
	}
	g.unseen(before)
}

// unseen is the group of the additions that happened and that no read has seen.
func (g *collection) unseen(seen history.List) {
	has := make(map[history.Value]bool, len(seen))
	for _, e := range seen {
		has[e] = true
	}
	var rest []int32
	for _, p := range g.order {
		if o := g.v.at(int(p)); o.Outcome == history.OK && !has[o.Arg] {
			rest = append(rest, p)
		}
	}
	g.group(rest)
}

// byEnd is a heap of additions, those that end first on top.
type byEnd struct {
	v      view
	places []int32
}

func (b *byEnd) Len() int { return len(b.places) }
func (b *byEnd) Less(i, j int) bool {
	x, y := b.places[i], b.places[j]
	return cmp.Or(cmp.Compare(b.v.at(int(x)).End(), b.v.at(int(y)).End()), cmp.Compare(x, y)) < 0
}
func (b *byEnd) Swap(i, j int) { b.places[i], b.places[j] = b.places[j], b.places[i] }
func (b *byEnd) Push(x any)    { b.places = append(b.places, x.(int32)) }
func (b *byEnd) Pop() any {
	last := len(b.places) - 1
	x := b.places[last]
	b.places = b.places[:last]
	return x
}

// decideCounter judges one counter. Its answer is Unknown where the decision does
// not apply.
func decideCounter(h *history.History, v view, opts Options) ruling {
	l := newLevels(h, v)
	var adds, reads []int32 // by call
	grows := history.Value(0)
	for i := range v.len() {
		o := v.at(i)
		switch {
		case o.F == history.Read:
			if _, saw := countOf(o, opts); saw {
				reads = append(reads, int32(i))
			}
		case o.F != history.Add:
			return notApplicable("%s is neither an addition nor a read", o.F)
		case o.Arg <= 0 || grows != 0 && o.Arg != grows:
			return notApplicable("the counter grows by %s and %s", grows, o.Arg)
		case o.Outcome != history.Fail:
			grows = o.Arg
			adds = append(adds, int32(i))
		}
	}
	byCall := func(a, b int32) int { return compare(v.at(int(a)).Call, v.at(int(b)).Call) }
	slices.SortStableFunc(adds, byCall)
	value := func(p int32) history.Value { n, _ := countOf(v.at(int(p)), opts); return n }
	slices.SortStableFunc(reads, func(a, b int32) int { return cmp.Compare(value(a), value(b)) })
	for _, p := range reads {
		if n := value(p); n < 0 || grows == 0 && n != 0 || grows != 0 && n%grows != 0 {
			l.broken(SeenFromNowhere, []int32{p}, "%s, and the counter grows by %s from 0", l.tell(p), grows)
			return l.ruling
		}
	}
	// By when the reads from here on have ended, all of them.
	soonest := make([]int64, len(reads)+1)
	soonest[len(reads)] = history.Never
	for i := len(reads) - 1; i >= 0; i-- {
		soonest[i] = min(soonest[i+1], v.at(int(reads[i])).Return)
	}
	open := &byEnd{v: v} // called in time, and not yet placed
	called := 0
	admit := func(until int64) {
		for ; called < len(adds) && v.at(int(adds[called])).Call <= until; called++ {
			heap.Push(open, adds[called])
		}
	}
	placed := history.Value(0)
	for i := 0; i < len(reads); {
		first := i
		for i < len(reads) && value(reads[i]) == value(reads[first]) {
			i++
		}
		admit(soonest[first])
		var group []int32
		for ; placed < value(reads[first]); placed += grows {
			if open.Len() == 0 {
				l.broken(TooMany, []int32{reads[first]}, "%s, but only %s could have been added before it, or before a read of more that ended earlier", l.tell(reads[first]), placed)
				return l.ruling
			}
			group = append(group, heap.Pop(open).(int32))
		}
		l.group(group)
		l.group(reads[first:i])
		if l.verdict == Broken {
			return l.ruling
		}
	}
	admit(history.Never)
	rest := slices.DeleteFunc(open.places, func(p int32) bool { return v.at(int(p)).Outcome != history.OK })
	l.group(rest)
	return l.ruling
}

// decideBank finds the reads of one bank that no order of transfers explains,
// whatever else happened: transfers leave the total as it is. Its answer is never
// Held: a bank whose reads are all of the right total has to be searched.
func decideBank(h *history.History, v view, opts Options) ruling {
	if opts.Balances == nil {
		return notApplicable("nobody knows the balances at the beginning")
	}
	total, _ := sumOf(opts.Balances)
	l := newLevels(h, v)
	for i := range v.len() {
		o := v.at(i)
		if o.F != history.ReadAll && o.F != history.Transfer {
			return notApplicable("%s is neither a transfer nor a read of all", o.F)
		}
		list, ok, err := listOf(h, o, opts)
		if err != nil {
			return notApplicable("%v", err)
		}
		if o.F != history.ReadAll || !ok {
			continue
		}
		if sum, _ := sumOf(list); sum != total {
			l.broken(OtherTotal, []int32{int32(i)}, "%s, which are %s in all and should be %s", l.tell(int32(i)), sum, total)
		}
	}
	if l.verdict == Held {
		return notApplicable("all reads are of the right total")
	}
	return l.ruling
}
