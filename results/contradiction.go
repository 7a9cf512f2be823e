package results

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/history"
)

// place is a value of a key.
type place struct {
	key   int32
	value history.Value
}

// origin is who wrote a value, the initial state aside; those that failed only
// where nobody else did.
type origin []*history.Op

// before says that every write of the value was certainly over at a time.
func (o origin) before(t int64) bool {
	return !slices.ContainsFunc(o, func(w *history.Op) bool { return w.End() >= t })
}

// after says that every write of the value was called after a time.
func (o origin) after(t int64) bool {
	return !slices.ContainsFunc(o, func(w *history.Op) bool { return w.Call <= t })
}

// clauses says of single operations why it is wrong that they saw what they
// saw, as far as the other operations of a violation show it plainly. It only
// states what is certain: that one write preceded another is said only if it
// ended before the other was called.
type clauses struct {
	h       *history.History
	ops     []int // of the violation
	told    []int // those of them that the story tells, so that it can point at them
	origins map[place]origin
	initial history.Value
	texts   bool // values are texts that grow
}

// newClauses looks for the writers of all values that ops write or see: among
// all operations, or where ops are a whole of their own among these. A value that
// comes again elsewhere then has its one writer here.
func newClauses(run *Run, ops, told []int, whole bool) *clauses {
	h := run.History
	c := &clauses{h: h, ops: ops, told: told, origins: map[place]origin{}, initial: history.Nil}
	if run.Reading.Initial != nil {
		c.initial = *run.Reading.Initial
	}
	for _, i := range ops {
		o := &h.Ops[i]
		if v, ok := saw(o); ok {
			c.origins[place{o.Key, v}] = nil
		}
		if v, ok := written(o); ok {
			c.origins[place{o.Key, v}] = nil
		}
		c.texts = c.texts || o.F == history.Append
	}
	add := func(o *history.Op) {
		v, ok := written(o)
		if !ok {
			return
		}
		p := place{o.Key, v}
		switch was, wanted := c.origins[p]; {
		case !wanted, o.Outcome == history.Fail && len(was) > 0:
		case len(was) > 0 && was[0].Outcome == history.Fail:
			c.origins[p] = origin{o}
		default:
			c.origins[p] = append(was, o)
		}
	}
	if whole {
		for _, i := range ops {
			add(&h.Ops[i])
		}
		return c
	}
	for i := range h.Ops {
		add(&h.Ops[i])
	}
	return c
}

// saw is the value that an operation saw, also to change it.
func saw(o *history.Op) (history.Value, bool) {
	if o.F == history.CAS && o.Outcome == history.OK {
		return o.Arg, true
	}
	return observed(o)
}

// clause says what is wrong with an operation, "" if that is not plain.
func (c *clauses) clause(o *history.Op) string {
	switch {
	case o.Outcome == history.OK && (o.F == history.Acquire || o.F == history.Release):
		return c.lock(o)
	case o.Outcome == history.OK && o.F == history.ReadAll:
		return c.all(o)
	case o.Outcome == history.OK && o.F == history.Read && c.texts:
		return c.text(o)
	}
	v, ok := saw(o)
	if !ok {
		return ""
	}
	from := c.origins[place{o.Key, v}]
	it := "it"
	if o.F == history.CAS {
		it = valueText(c.h, v)
	}
	if v != c.initial {
		switch {
		case len(from) == 1 && from[0] == o:
			return ", although no other operation had written " + it
		case len(from) == 0 && o.F == history.CAS:
			return ", although no operation had written " + it
		case len(from) == 0 && v != history.Nil:
			return ", which no operation had written"
		case len(from) > 0 && from[0].Outcome == history.Fail:
			return fmt.Sprintf(", although writing %s had failed", it)
		case len(from) > 0 && from.after(o.Return):
			first := slices.MinFunc(from, func(a, b *history.Op) int { return cmp.Compare(a.Call, b.Call) })
			return fmt.Sprintf(", %s before anyone began to write %s", span(time.Duration(first.Call-o.Return)), it)
		}
	}
	acked := c.latest(o, func(p *history.Op) bool {
		w, ok := written(p)
		return ok && p.Outcome == history.OK && w != v && from.before(p.Call)
	})
	if acked != nil {
		ago := span(time.Duration(o.Call - acked.Return))
		if acked.F == history.Delete {
			return fmt.Sprintf(", although it had been deleted %s earlier", ago)
		}
		w, _ := written(acked)
		return fmt.Sprintf(", although %s had been acknowledged %s earlier", valueText(c.h, w), ago)
	}
	seen := c.latest(o, func(p *history.Op) bool {
		w, ok := observed(p)
		return ok && w != v && w != history.Nil
	})
	if seen == nil || len(from) > 1 || len(from) == 1 && (v == c.initial || from[0].Call > seen.Return) {
		return "" // it may have been written since
	}
	w, _ := observed(seen)
	return fmt.Sprintf(", %s after %s had read %s", span(time.Duration(o.Call-seen.Return)), who(seen, o), valueText(c.h, w))
}

// latest gives the operation on the same key that ended last before o began, of
// those that match.
func (c *clauses) latest(o *history.Op, match func(*history.Op) bool) *history.Op {
	var last *history.Op
	for _, j := range c.told {
		p := &c.h.Ops[j]
		if p.Key == o.Key && p.End() < o.Call && match(p) && (last == nil || last.Return < p.Return) {
			last = p
		}
	}
	return last
}

func who(p, o *history.Op) string {
	if p.Process == o.Process {
		return "it"
	}
	return fmt.Sprintf("process %d", p.Process)
}

// lock tells of a mutex that was taken or let go twice.
func (c *clauses) lock(o *history.Op) string {
	before := c.latest(o, func(p *history.Op) bool { return p.F == o.F && p.Outcome == history.OK })
	if before == nil {
		return ""
	}
	between := slices.ContainsFunc(c.ops, func(j int) bool {
		p := &c.h.Ops[j]
		return p.Key == o.Key && p.F != o.F && p.Outcome != history.Fail && p.End() >= before.Call && p.Call <= o.Return
	})
	if between {
		return ""
	}
	ago, undone := span(time.Duration(o.Call-before.Return)), "released it since"
	if o.F == history.Release {
		undone = "acquired it since"
	}
	return fmt.Sprintf(", although %s had done so %s earlier and nobody %s", who(before, o), ago, undone)
}

// text tells of a read that lacks what had been appended before it.
func (c *clauses) text(o *history.Op) string {
	replaced := slices.ContainsFunc(c.ops, func(j int) bool {
		p := &c.h.Ops[j]
		return p.Key == o.Key && (p.F == history.Write || p.F == history.Delete)
	})
	if replaced {
		return ""
	}
	missing := c.latest(o, func(p *history.Op) bool {
		return p.F == history.Append && p.Outcome == history.OK && !strings.Contains(rawText(c.h, o.Out), rawText(c.h, p.Arg))
	})
	if missing == nil {
		return ""
	}
	return fmt.Sprintf(", although %s had been appended %s earlier", valueText(c.h, missing.Arg), span(time.Duration(o.Call-missing.Return)))
}

// all tells of a read of a collection that lacks what had been added before it,
// or has what nobody added.
func (c *clauses) all(o *history.Op) string {
	if slices.ContainsFunc(c.h.Ops, func(p history.Op) bool { return p.F == history.Transfer && p.Key == o.Key }) {
		return "" // of a bank: balances are no elements, and nobody adds them
	}
	var list history.List
	if o.Out >= 0 && int64(o.Out) < int64(len(c.h.Lists)) {
		list = c.h.Lists[o.Out]
	}
	for _, v := range list {
		added := slices.ContainsFunc(c.ops, func(j int) bool {
			p := &c.h.Ops[j]
			w, wrote := written(p)
			return p.Key == o.Key && (p.F == history.Add && p.Arg == v || wrote && w == v)
		})
		if !added {
			return fmt.Sprintf(", in which nobody had put %s", valueText(c.h, v))
		}
	}
	missing := c.latest(o, func(p *history.Op) bool {
		return p.F == history.Add && p.Outcome == history.OK && !slices.Contains(list, p.Arg)
	})
	if missing == nil {
		return ""
	}
	return fmt.Sprintf(", although %s had been added %s earlier", valueText(c.h, missing.Arg), span(time.Duration(o.Call-missing.Return)))
}

// explain puts the circle into words, where all of it is among the steps.
func (t *telling) explain(h *history.History) {
	number := map[int]int{checkers.Initially: 0}
	for i, s := range t.Steps {
		number[s.Op] = i + 1
	}
	for _, o := range t.Circle {
		_, before := number[o.Before]
		_, after := number[o.After]
		_, writer := number[o.Writer]
		_, reader := number[o.Reader]
		inferred := o.Why == checkers.Replaced || o.Why == checkers.Hidden
		if !before || !after || inferred && !(writer && reader) {
			t.Circle, t.Because = nil, nil
			return
		}
		t.Because = append(t.Because, because(h, &o, number))
	}
}

// because says why one operation comes before another.
func because(h *history.History, o *checkers.Precedence, number map[int]int) string {
	name := func(op int) string {
		if op == checkers.Initially {
			return "the start"
		}
		return fmt.Sprint(number[op])
	}
	seen := func() string {
		if o.Writer == checkers.Initially {
			return "the initial value"
		}
		return "what " + name(o.Writer) + " wrote"
	}
	switch o.Why {
	case checkers.EndedBefore:
		if o.Before == checkers.Initially {
			return fmt.Sprintf("the start is before %s", name(o.After))
		}
		gap := span(time.Duration(h.Ops[o.After].Call - h.Ops[o.Before].Return))
		return fmt.Sprintf("%s had ended %s before %s began", name(o.Before), gap, name(o.After))
	case checkers.ReadsFrom:
		if o.Before == o.After {
			return fmt.Sprintf("%s saw what only it wrote itself", name(o.After))
		}
		return fmt.Sprintf("%s saw what %s wrote, so %[2]s is before %[1]s", name(o.After), name(o.Before))
	case checkers.Replaced:
		after := ""
		if by := seenBefore(h, o, number); by > 0 {
			after = fmt.Sprintf(" after %d had seen it", by)
		}
		return fmt.Sprintf("%s saw %s, which %s replaced%s, so %[1]s is before %[3]s", name(o.Before), seen(), name(o.After), after)
	}
	return fmt.Sprintf("%s, which comes after %s, saw %s, so %[2]s is before %s", name(o.Reader), name(o.Before), seen(), name(o.After))
}

// seenBefore gives the number of an operation that shows that a value was there
// before the operation that replaced it began, 0 where its write itself does.
func seenBefore(h *history.History, o *checkers.Precedence, number map[int]int) int {
	if o.Writer == checkers.Initially || h.Ops[o.Writer].End() < h.Ops[o.After].Call {
		return 0
	}
	w := &h.Ops[o.Writer]
	value, _ := written(w)
	first := 0
	for i, n := range number {
		if i == checkers.Initially {
			continue
		}
		p := &h.Ops[i]
		if v, ok := saw(p); ok && v == value && p.Key == w.Key && p.End() < h.Ops[o.After].Call && (first == 0 || n < first) {
			first = n
		}
	}
	return first
}
