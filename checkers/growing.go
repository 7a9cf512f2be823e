package checkers

import (
	"fmt"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// What sessions see of sets and lists that grow, how soon, and what is left of
// them: the promises of registers for a collection, where each element is a write
// that nothing replaces.

// growing says whether a history is of sets and lists.
func growing(h *history.History) bool {
	if malformed(h) != "" {
		return false
	}
	kind, _ := kindOf(h)
	return kind == ofCollections
}

// perCollection judges each set or list of a history on its own.
func perCollection(h *history.History, judge func(k keyView) tally) []tally {
	keys := byKey(h.Ops)
	found := make([]tally, len(keys))
	inParallel(len(found), shares, func(i int) { found[i] = judge(keys[i]) })
	return found
}

// sessionsOfCollections makes a checker of what one client may rely on.
func sessionsOfCollections(h *history.History, claim Claim) Result {
	if why := sessionsOverlap(h); why != "" {
		return Result{Claim: claim, Key: -1, Reason: why}
	}
	if claim == ReadYourWrites {
		return together(h, claim, perCollection(h, func(k keyView) tally { return seenBefore(h, k, false, true) }),
			"read", "each of all that its session had added", "no session read what it had added to")
	}
	return together(h, claim, perCollection(h, func(k keyView) tally { return seenBefore(h, k, true, false) }),
		"read", "none without what its session had seen before", "no session read a key twice")
}

// seenBefore counts the reads that lack an element which their session had seen,
// or had added and been told so.
func seenBefore(h *history.History, k keyView, reads, adds bool) tally {
	t := tally{key: k.key}
	type session struct {
		known []history.Value // in the order in which they became so
		by    map[history.Value]int
	}
	sessions := make(map[int32]*session)
	for i := range k.len() {
		o := k.at(i)
		s := sessions[o.Process]
		if s == nil {
			s = &session{by: make(map[history.Value]int)}
			sessions[o.Process] = s
		}
		learn := func(v history.Value) {
			if _, knew := s.by[v]; !knew {
				s.known, s.by[v] = append(s.known, v), k.index(i)
			}
		}
		list, saw := seenList(h, o)
		switch {
		case saw:
			if len(s.known) > 0 {
				t.checked++
				if missed, found := lacks(list, s.known); found {
					t.add(k.key, func() ([]int, string) {
						at, by := k.index(i), s.by[missed]
						return []int{by, at}, fmt.Sprintf("%s does not see %s, which its session knew from %s", describe(h, at), missed, describe(h, by))
					})
				}
			}
			if reads {
				for _, v := range list {
					learn(v)
				}
			}
		case adds && o.F == history.Add && o.Outcome == history.OK:
			learn(o.Arg)
		}
	}
	return t
}

// lacks gives the first of some values that a list has not.
func lacks(list history.List, values []history.Value) (history.Value, bool) {
	has := make(map[history.Value]bool, len(list))
	for _, v := range list {
		has[v] = true
	}
	for _, v := range values {
		if !has[v] {
			return v, true
		}
	}
	return history.Nil, false
}

// recentAdds is how many of the latest additions each read is asked about.
const recentAdds = 16

// visibilityOfElements is the t-visibility of sets and lists: of each read and each
// of the latest additions that had been acknowledged before it began, whether it
// sees the element.
func visibilityOfElements(h *history.History) []Visibility {
	keys := byKey(h.Ops)
	found := make([][]sample, len(keys))
	inParallel(len(found), shares, func(i int) { found[i] = elementSamples(h, keys[i]) })
	return visibilityIn(found, nil)
}

func elementSamples(h *history.History, k keyView) (samples []sample) {
	var acked []*history.Op
	for i := range k.len() {
		if o := k.at(i); o.F == history.Add && o.Outcome == history.OK {
			acked = append(acked, o)
		}
	}
	slices.SortStableFunc(acked, func(a, b *history.Op) int { return compare(a.Return, b.Return) })
	for i := range k.len() {
		o := k.at(i)
		list, saw := seenList(h, o)
		if !saw {
			continue
		}
		n := firstAt(len(acked), func(a int) bool { return acked[a].Return >= o.Call })
		for _, a := range acked[max(n-recentAdds, 0):n] {
			samples = append(samples, sample{t: o.Call - a.Return, seen: slices.Contains(list, a.Arg)})
		}
	}
	return samples
}

// lostElements judges NoLostWrites of sets and lists: an acknowledged addition is
// lost if at the end no replica has the element. It also measures how soon
// elements were seen, see [MeasureVisibility] and [MeasureSets].
func lostElements(in Input) Result {
	h := in.History
	if finalSource(in) != atReplicas {
		return Result{Claim: NoLostWrites, Key: -1, Reason: "no replica was read to look for the elements in"}
	}
	found := perCollection(h, func(k keyView) tally {
		t := tally{key: k.key}
		held := make(map[history.Value]bool)
		for _, row := range in.Replicas {
			if k.key >= 0 && int(k.key) < len(row) {
				for _, v := range row[k.key].Values {
					held[v] = true
				}
			}
		}
		for i := range k.len() {
			o := k.at(i)
			if o.F != history.Add || o.Outcome != history.OK {
				continue
			}
			if t.checked++; !held[o.Arg] {
				t.add(k.key, func() ([]int, string) {
					at := k.index(i)
					return []int{at}, describe(h, at) + " was acknowledged, and at the end no replica has it"
				})
			}
		}
		return t
	})
	res := together(h, NoLostWrites, found, "acknowledged addition", "none missing at the replicas", "no addition was acknowledged")
	if missing := unread(in.Replicas); res.Verdict == Broken && missing > 0 {
		res.Verdict = Unknown
		res.Reason = fmt.Sprintf("%s could not be read; at the others: %s", plural(missing, "replica"), res.Reason)
	}
	if f := MeasureSets(h).StableLatency; f.N > 0 {
		res.Figures = append(res.Figures, f)
	}
	res.Visibility = visibilityOfElements(h)
	return res
}
