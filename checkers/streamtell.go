package checkers

import (
	"fmt"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// teller collects from a stream the few operations that show what is wrong with
// a key, and tells of them in the words of the zone and chain decisions.
type teller struct {
	f     *offence
	opts  Options
	ids   map[int]bool
	texts []string
	ops   []numbered // the collected, by number

	// What became of a value that was not in force: its writer, the read of it
	// that ended first, the one that was called last, the compare-and-set that
	// replaced it, and a writer that failed.
	writer, first, last, replaced, failed numbered
}

type numbered struct {
	id    int
	known bool
	op    history.Op
}

// absent says that the offence is a value that was not in force.
func (f *offence) absent() bool {
	return (f.rule == ReadFromNowhere || f.rule == SetFromNowhere) && f.end != 0
}

func (t *teller) see(e *history.Event) {
	op := &e.Op
	if op.Key != t.f.key {
		return
	}
	if t.ids[e.ID] {
		t.keep(numbered{e.ID, true, *op})
	}
	if !t.f.absent() {
		return
	}
	n := numbered{e.ID, true, *op}
	if value, wrote := writes(op); wrote && value == t.f.value && op.Call <= t.f.end {
		if t.writer.known && t.writer.id == e.ID {
			t.writer.op = *op
		} else if !e.Done {
			t.writer, t.first, t.last, t.replaced = n, numbered{}, numbered{}, numbered{}
		}
	}
	if !e.Done {
		return
	}
	if op.Outcome == history.Fail && (op.F == history.Write && op.Arg == t.f.value || op.F == history.CAS && op.Arg2 == t.f.value) {
		t.failed = n
		if t.writer.known && t.writer.id == e.ID {
			t.writer = numbered{}
		}
	}
	if op.F == history.CAS && op.Outcome == history.OK && op.Arg == t.f.value && (!t.replaced.known || op.Return < t.replaced.op.Return) {
		t.replaced = n
	}
	if value, saw := t.opts.observes(op); saw && value == t.f.value && op.Return >= t.writer.op.Call {
		if !t.first.known || op.Return < t.first.op.Return {
			t.first = n
		}
		if e.ID != t.f.op && (!t.last.known || op.Call > t.last.op.Call) {
			t.last = n
		}
	}
}

func (t *teller) keep(n numbered) {
	for i := range t.ops {
		if t.ops[i].id == n.id {
			t.ops[i] = n
			return
		}
	}
	t.ops = append(t.ops, n)
}

// tell gives the reason, and the numbers of the operations that show it.
func (t *teller) tell() (string, []int) {
	if t.f.absent() {
		for _, n := range []numbered{t.writer, t.first, t.replaced, t.failed} {
			if n.known {
				t.keep(n)
			}
		}
	}
	slices.SortFunc(t.ops, func(a, b numbered) int { return a.id - b.id })
	h := &history.History{Texts: t.texts}
	place := map[int]int32{nobody: noOp}
	for i, n := range t.ops {
		place[n.id] = int32(i)
		h.Ops = append(h.Ops, n.op)
	}
	z := zones{h: h, v: view{ops: h.Ops}}
	z.chained = slices.ContainsFunc(h.Ops, func(o history.Op) bool { return o.F == history.CAS })
	t.judge(&z, place)
	ids := make([]int, len(z.found.proof))
	for i, p := range z.found.proof {
		ids[i] = t.ops[p].id
	}
	return z.found.why, ids
}

func (t *teller) judge(z *zones, place map[int]int32) {
	f := t.f
	op, other := place[f.op], place[f.other]
	say := func(places []int32, format string, args ...any) {
		z.first(f.rule, places, func() string { return fmt.Sprintf(format, args...) })
	}
	switch f.rule {
	case ReadBeforeWrite:
		z.beforeWrite(int(op), &cluster{write: other})
	case ForwardOverlap, BackwardInside:
		z.contradict(f.a.cluster(place), f.b.cluster(place))
	case SetTwice:
		say([]int32{op, other}, "both %s and %s took effect, but the value was there once", z.tell(other), z.tell(op))
	case SetInCircle:
		say([]int32{op}, "%s took effect, but its value goes back to itself by compare-and-sets alone", z.tell(op))
	case ChainOrder:
		say([]int32{op, other}, "%s ended before %s was called, but depends on it", z.tell(op), z.tell(other))
	case SetFromNowhere:
		if !f.absent() {
			say([]int32{op, other}, "%s took effect, but %s had been reported as not done", z.tell(op), z.tell(other))
		} else if !t.writer.known {
			say([]int32{op}, "%s took effect, from a value that nobody wrote", z.tell(op))
		} else {
			w := place[t.writer.id]
			say([]int32{op, w}, "%s took effect, but the value of %s was in force no more", z.tell(op), z.tell(w))
		}
	case ReadFromNowhere:
		switch {
		case other != noOp:
			say([]int32{op, other}, "%s saw a value that nobody wrote: %s had been reported as not done", z.tell(op), z.tell(other))
		case !t.writer.known && f.value != t.opts.initial():
			z.fromNowhere(int(op), f.value)
		default:
			t.stale(z, place, op)
		}
	}
}

// stale tells of a read of a value that was there, but no longer.
func (t *teller) stale(z *zones, place map[int]int32, read int32) {
	o := z.v.at(int(read))
	seen := cluster{value: t.f.value, f: beginning, s: o.Call, write: noOp, first: noOp, last: read}
	if t.writer.known {
		seen.write = place[t.writer.id]
		seen.f, seen.first = t.writer.op.End(), seen.write
		if t.first.known && t.first.op.Return < seen.f {
			seen.f, seen.first = t.first.op.Return, place[t.first.id]
		}
	}
	set := place[t.replaced.id]
	switch other := t.f.b.cluster(place); {
	case t.replaced.known && t.replaced.op.Return < o.Call:
		z.first(ChainOrder, []int32{seen.write, set, read}, func() string {
			return fmt.Sprintf("%s saw a value that %s had replaced", z.tell(read), z.tell(set))
		})
	case other.f < seen.s && seen.f < other.s:
		z.contradict(&seen, other)
	default:
		z.first(ReadFromNowhere, []int32{seen.write, read}, func() string {
			return z.tell(read) + " saw a value that was in force no more"
		})
	}
}

// contradict tells of two chains each of which must come before the other.
func (z *zones) contradict(a, b *cluster) {
	switch {
	case a.forward() && b.forward():
		z.overlap(a, b)
	case a.forward():
		z.inside(b, a)
	default:
		z.inside(a, b)
	}
}

// cluster is the extent with the places that the operations have in a view.
func (e extent) cluster(place map[int]int32) *cluster {
	return &cluster{value: e.value, f: e.f, s: e.s, write: place[e.write], first: place[e.first], last: place[e.last]}
}
