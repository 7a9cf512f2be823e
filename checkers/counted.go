package checkers

import (
	"fmt"
	"slices"
	"sort"

	"github.com/assay-chaos/assay/harness/history"
)

// CheckCounted judges whether every read of a counter lies between the sum of the
// additions that certainly came before it and the sum of those that possibly did:
// of an addition that was acknowledged before the read was called it is certain,
// of one that was called before the read had ended, and did not fail, it is
// possible. It asks nothing of two reads together, so it is what an eventually
// consistent counter that loses nothing would break for being late, and a
// linearizable one never. Steps may be of any size, also below 0.
//
// Source: the counter checker of Jepsen (jepsen.checker/counter). O(n log n).
func CheckCounted(in Input, _ Budget) Result {
	res := Result{Claim: Counted, Key: -1}
	h := in.History
	if why := malformed(h); why != "" {
		res.Reason = why
		return res
	}
	least, most := history.Value(0), history.Value(0) // how far off reads were
	for _, k := range byKey(h.Ops) {
		sums, why := sumsOf(h, k)
		if why != "" {
			res.Verdict, res.Reason = Unknown, why
			return res
		}
		for i := range k.len() {
			o := k.at(i)
			n, saw := countOf(o, Options{})
			if o.F != history.Read || !saw {
				continue
			}
			res.Checked++
			low, high := sums.bounds(o)
			if low <= n && n <= high {
				continue
			}
			if res.Violations == 0 {
				res.Key, res.Ops = k.key, []int{k.index(i)}
				res.Reason = fmt.Sprintf("%s, which should be at least %s and at most %s", describe(h, k.index(i)), low, high)
			}
			res.Violations++
			least, most = max(least, low-n), max(most, n-high)
		}
	}
	switch {
	case res.Checked == 0:
		res.Reason = "no counter was read"
	case res.Violations > 0:
		res.Verdict = Broken
		res.Reason = fmt.Sprintf("%s of %s broken, first on %s: %s; at most %s too little and %s too much",
			count(res.Violations), plural(res.Checked, "read"), keyText(h, res.Key), res.Reason, least, most)
	default:
		res.Verdict = Held
		res.Reason = plural(res.Checked, "read") + ", all between the certain and the possible additions"
	}
	return res
}

// prefixSum is a sum of additions up to a time.
type prefixSum struct {
	at  int64
	sum history.Value
}

// sums are the running sums of a counter's additions: upward ones and downward
// ones, each by when they were called and by when they were acknowledged.
type sums struct{ upCalled, upDone, downCalled, downDone []prefixSum }

func sumsOf(h *history.History, k keyView) (s sums, why string) {
	add := func(to *[]prefixSum, at int64, v history.Value) { *to = append(*to, prefixSum{at, v}) }
	for i := range k.len() {
		o := k.at(i)
		switch {
		case o.F == history.Read || o.Outcome == history.Fail && o.F == history.Add:
			continue
		case o.F != history.Add:
			return s, fmt.Sprintf("operation %d is a %s: only additions and reads of counters can be judged", k.index(i), o.F)
		}
		called, done := &s.upCalled, &s.upDone
		if o.Arg < 0 {
			called, done = &s.downCalled, &s.downDone
		}
		add(called, o.Call, o.Arg)
		if o.Outcome == history.OK {
			add(done, o.Return, o.Arg)
		}
	}
	for _, l := range [][]prefixSum{s.upCalled, s.upDone, s.downCalled, s.downDone} {
		slices.SortStableFunc(l, func(a, b prefixSum) int { return compare(a.at, b.at) })
		for i := 1; i < len(l); i++ {
			l[i].sum += l[i-1].sum
		}
	}
	return s, ""
}

// bounds gives the least and the most that a read can see.
func (s *sums) bounds(read *history.Op) (low, high history.Value) {
	// before sums up what happened strictly before t; until includes t.
	before := func(l []prefixSum, t int64) history.Value {
		if n := sort.Search(len(l), func(i int) bool { return l[i].at >= t }); n > 0 {
			return l[n-1].sum
		}
		return 0
	}
	until := func(l []prefixSum, t int64) history.Value { return before(l, t+1) }
	low = before(s.upDone, read.Call) + until(s.downCalled, read.Return)
	high = until(s.upCalled, read.Return) + before(s.downDone, read.Call)
	return low, high
}
