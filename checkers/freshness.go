package checkers

import (
	"fmt"
	"slices"
	"sort"

	"github.com/assay-chaos/assay/harness/history"
)

// FreshReadsWith judges whether every read saw the last write that had
// completed before the read began, or a write concurrent with or later than
// that one, or one concurrent with the read: the condition of a regular
// register with several writers (Lamport, "On interprocess communication",
// 1986; for several writers Shao, Welch, Pierce and Lee, "Multiwriter
// consistency conditions for shared memory registers", 2011). Unlike
// linearizability it lets two reads during one write disagree on whether it
// happened. Of the several conditions of Shao et al. it is the weakest, MWReg:
// each read for itself has an order of the writes that explains it, and two reads
// need not agree on one. With a single writer all of them are Lamport's.
//
// A read is broken if it saw
//   - a value that nobody wrote, or whose only writes had failed;
//   - a value that was first written after the read had ended;
//   - a stale value: every write of it had completed before the call of
//     another write that itself had completed before the read began.
//
// A write of unknown outcome counts as one that may take effect at any time,
// and a value written twice by its latest write, so a history in which this is
// broken is never linearizable. O(n log n).
func FreshReadsWith(opts Options) Checker {
	return func(in Input, _ Budget) Result {
		res := Result{Claim: FreshReads, Key: -1}
		h := in.History
		if why := unfitForRegisters(h); why != "" {
			res.Reason = why
			return res
		}
		keys := byKey(h.Ops)
		found := make([]staleness, len(keys))
		inParallel(len(keys), shares, func(i int) { found[i] = readsOf(h, keys[i], opts) })
		var worst *staleness
		for i := range found {
			f := &found[i]
			res.Checked += f.reads
			res.Violations += f.violations
			if f.violations == 0 {
				continue
			}
			if res.Key < 0 {
				res.Key, res.Ops, res.Reason = keys[i].key, f.proof, f.why
			}
			if worst == nil || f.age > worst.age {
				worst = f
			}
		}
		if res.Checked > 0 {
			res.Rate = rateOf(res.Violations, res.Checked, "read")
		}
		switch {
		case res.Checked == 0:
			res.Reason = "there are no ok reads"
		case res.Violations == 0:
			res.Verdict = Held
			res.Reason = plural(res.Checked, "read") + ", each of a value that was current"
		default:
			res.Verdict = Broken
			res.Reason = fmt.Sprintf("%s, first on %s: %s", res.Rate, keyText(h, res.Key), res.Reason)
			if worst.age > 0 {
				res.Reason += "; the most stale by " + span(worst.age)
			}
		}
		return res
	}
}

// unfitForRegisters says why a history cannot be judged as one of registers.
func unfitForRegisters(h *history.History) string {
	if why := malformed(h); why != "" {
		return why
	}
	for i := range h.Ops {
		switch f := h.Ops[i].F; f {
		case history.Read, history.Write, history.CAS, history.Delete:
		default:
			return fmt.Sprintf("operation %d is a %s: only reads, writes, deletes and compare-and-sets of whole values can be judged", i, f)
		}
	}
	return ""
}

// writes gives the value that an operation may have left in the register.
func writes(o *history.Op) (history.Value, bool) {
	if o.Outcome == history.Fail {
		return history.Nil, false
	}
	switch o.F {
	case history.Write:
		return o.Arg, true
	case history.CAS:
		return o.Arg2, true
	case history.Delete:
		return history.Nil, true
	}
	return history.Nil, false
}

// origin is where a value comes from.
type origin struct {
	first int64 // least call of its writes
	last  int64 // greatest end of its writes; beginning for the initial value
	write int   // place in the history of the write with the greatest end, -1 for the initial value
}

// origins gives the origin of every value of a key, the initial one included.
func origins(v view, initial history.Value) map[history.Value]origin {
	from := map[history.Value]origin{initial: {first: beginning, last: beginning, write: -1}}
	for i, n := 0, v.len(); i < n; i++ {
		o := v.at(i)
		value, wrote := writes(o)
		if !wrote {
			continue
		}
		w, known := from[value]
		if !known {
			w = origin{first: o.Call, last: beginning}
		}
		w.first = min(w.first, o.Call)
		if end := o.End(); end > w.last {
			w.last, w.write = end, v.index(i)
		}
		from[value] = w
	}
	return from
}

// overwriters is the ok writes of a key by call, each with the one that ended
// first of it and those after it.
type overwriters struct {
	calls []int64
	ends  []int64
	write []int // the one whose end it is
}

func overwritersOf(v view) overwriters {
	var ok []int32
	for i, n := 0, v.len(); i < n; i++ {
		o := v.at(i)
		if _, wrote := writes(o); wrote && o.Outcome == history.OK {
			ok = append(ok, int32(i))
		}
	}
	byCall := func(a, b int32) int { return compare(v.at(int(a)).Call, v.at(int(b)).Call) }
	if !slices.IsSortedFunc(ok, byCall) {
		slices.SortStableFunc(ok, byCall)
	}
	w := overwriters{calls: make([]int64, len(ok)), ends: make([]int64, len(ok)), write: make([]int, len(ok))}
	for k := len(ok) - 1; k >= 0; k-- {
		o := v.at(int(ok[k]))
		w.calls[k], w.ends[k], w.write[k] = o.Call, o.Return, v.index(int(ok[k]))
		if k+1 < len(ok) && w.ends[k+1] < o.Return {
			w.ends[k], w.write[k] = w.ends[k+1], w.write[k+1]
		}
	}
	return w
}

// after gives, of the writes called after t, the one that ended first, and
// that end; Never if there is none.
func (w *overwriters) after(t int64) (int, int64) {
	k := sort.Search(len(w.calls), func(i int) bool { return w.calls[i] > t })
	if k == len(w.calls) {
		return -1, history.Never
	}
	return w.write[k], w.ends[k]
}

// staleness is what was found of the reads of one key.
type staleness struct {
	reads, violations int
	proof             []int
	why               string
	age               int64 // of the most stale read, in ns
}

func readsOf(h *history.History, k keyView, opts Options) staleness {
	var s staleness
	from := origins(k.view, opts.initial())
	over := overwritersOf(k.view)
	for i, n := 0, k.len(); i < n; i++ {
		o := k.at(i)
		value, saw := opts.observes(o)
		if !saw {
			continue
		}
		s.reads++
		at := k.index(i)
		w, known := from[value]
		if !known {
			s.add(func() ([]int, string) {
				return []int{at}, describe(h, at) + " saw a value that nobody wrote" + failedWriter(h, k.view, value)
			})
			continue
		}
		if w.first > o.Return {
			s.add(func() ([]int, string) {
				return sorted(at, w.write), fmt.Sprintf("%s saw a value before it was written by %s", describe(h, at), describe(h, w.write))
			})
			continue
		}
		newer, end := over.after(w.last)
		if end >= o.Call {
			continue
		}
		age := o.Call - end
		s.age = max(s.age, age)
		s.add(func() ([]int, string) {
			why := fmt.Sprintf("%s saw an old value: %s had completed %s earlier", describe(h, at), describe(h, newer), span(age))
			if w.write < 0 {
				return sorted(at, newer), why
			}
			return sorted(at, newer, w.write), why
		})
	}
	return s
}

// add counts a violation; the first one is kept in full.
func (s *staleness) add(tell func() ([]int, string)) {
	s.violations++
	if s.violations == 1 {
		s.proof, s.why = tell()
	}
}

// failedWriter tells of a write of the value that was reported as failed.
func failedWriter(h *history.History, v view, value history.Value) string {
	for i, n := 0, v.len(); i < n; i++ {
		o := v.at(i)
		if o.Outcome == history.Fail && (o.F == history.Write && o.Arg == value || o.F == history.CAS && o.Arg2 == value) {
			return ": " + describe(h, v.index(i)) + " had been reported as not done"
		}
	}
	return ""
}

func sorted(places ...int) []int {
	slices.Sort(places)
	return slices.Compact(places)
}

// keyText names a key for people.
func keyText(h *history.History, k int32) string {
	if s := h.KeyName(k); s != "" {
		return fmt.Sprintf("key %q", s)
	}
	return fmt.Sprintf("key %d", k)
}
