package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// Sets that grow and are read whole: what becomes of each element.
//
// Source: Jepsen's checker set-full (jepsen.checker/set-full). An element is
// known from when its add was acknowledged, or a read that saw it had ended,
// whichever was first. By the read of all that was called last among those that
// saw it, and the one among those that did not:
//
//   - stable: it is there, and stays: the last that saw it was called after the
//     last that did not. Its stable latency is how long it was still missed after
//     it was known.
//   - lost: it was known, and then it is gone: a read that was called after it
//     was known, and after every read that saw it, did not see it. Its lost
//     latency is how long it stayed after it was known.
//   - never read: neither; nobody can say.
//   - stale: stable, but missed by a read that was called after it was known.
//
// The original visits every element for each read. Here each read is visited
// once, from the last to the first: an element that all of the latest k reads saw
// was last missed by the one before them, so a counter for each element is
// enough. O(n log n) beside the lists themselves. It takes an element's adds
// together where it was added more than once, and leaves what was seen twice in
// one read to [NoDuplicates], and what nobody added to [NoPhantoms].

// SetElements counts what became of the elements of all sets.
type SetElements struct {
	Stable, Lost, NeverRead int
	// Stale are those of Stable that a read missed after they were known.
	Stale int
	// StableLatency is of the stable elements, LostLatency of the lost ones, in
	// milliseconds.
	StableLatency, LostLatency Figure
}

// elementFate is one element.
type elementFate struct {
	key          int32
	value        history.Value
	add          int   // the add that was acknowledged first, or called first; -1: seen, never added
	called       int64 // the first of its adds
	known        int64 // Never: it is not
	seen, missed int32 // the last reads that saw and missed it, by call; -1: none
	run          int32 // of the latest reads that saw it without a break
}

// setReads are the reads of all of one key by call, the latest first.
func setReads(h *history.History, k keyView) []int {
	var reads []int
	for i, n := 0, k.len(); i < n; i++ {
		if _, saw := seenList(h, k.at(i)); saw {
			reads = append(reads, k.index(i))
		}
	}
	slices.SortStableFunc(reads, func(a, b int) int {
		return cmp.Or(compare(h.Ops[b].Call, h.Ops[a].Call), b-a)
	})
	return reads
}

// fates follows the elements of one set, in the order of their adds.
func fates(h *history.History, k keyView) (all []elementFate, reads []int) {
	at := make(map[history.Value]int)
	for i, n := 0, k.len(); i < n; i++ {
		o := k.at(i)
		if o.F != history.Add || o.Outcome == history.Fail {
			continue
		}
		e, again := at[o.Arg]
		if !again {
			e = len(all)
			at[o.Arg] = e
			all = append(all, elementFate{key: k.key, value: o.Arg, add: k.index(i), called: o.Call, known: history.Never, seen: -1, missed: -1})
		}
		all[e].called = min(all[e].called, o.Call)
		if o.Outcome == history.OK && o.Return < all[e].known {
			all[e].known, all[e].add = o.Return, k.index(i)
		}
	}
	reads = setReads(h, k)
	for n, read := range reads {
		o := &h.Ops[read]
		list, _ := seenList(h, o)
		for _, v := range list {
			e, added := at[v]
			if !added || o.Return < all[e].called { // a phantom
				continue
			}
			f := &all[e]
			f.known = min(f.known, o.Return)
			if f.seen < 0 {
				f.seen = int32(n)
			}
			if f.run == int32(n) { // once a read, however often it stands there
				f.run++
			}
		}
	}
	for e := range all {
		// A read that had ended when the element's add was called could not
		// have seen it.
		if f := &all[e]; int(f.run) < len(reads) && h.Ops[reads[f.run]].Return >= f.called {
			f.missed = f.run
		}
	}
	return all, reads
}

func (f *elementFate) stable() bool { return f.seen >= 0 && (f.missed < 0 || f.seen < f.missed) }

func (f *elementFate) lost(h *history.History, reads []int) bool {
	return !f.stable() && f.missed >= 0 && f.known != history.Never && f.known < h.Ops[reads[f.missed]].Call
}

// latency is how long after it was known the last read came that missed it, or
// for a lost one the last that saw it.
func (f *elementFate) latency(h *history.History, reads []int) int64 {
	last := f.missed
	if !f.stable() {
		last = f.seen
	}
	if last < 0 || f.known == history.Never {
		return 0
	}
	return max(h.Ops[reads[last]].Call-f.known, 0)
}

// setFates is one key's answer.
type setFates struct {
	SetElements
	tally
	stable, lost []int64 // latencies
}

func fatesOf(h *history.History, k keyView) setFates {
	var s setFates
	all, reads := fates(h, k)
	for e := range all {
		f := &all[e]
		switch late := f.latency(h, reads); {
		case f.stable():
			s.Stable++
			s.stable = append(s.stable, late)
			if late > 0 {
				s.Stale++
			}
		case f.lost(h, reads):
			s.Lost++
			s.lost = append(s.lost, late)
			s.add(k.key, func() ([]int, string) { return f.tell(h, reads) })
		default:
			s.NeverRead++
		}
	}
	s.checked = s.Stable + s.Lost
	return s
}

func (f *elementFate) tell(h *history.History, reads []int) ([]int, string) {
	missed := reads[f.missed]
	proof := []int{f.add, missed}
	known := fmt.Sprintf("%s was acknowledged", describe(h, f.add))
	if f.seen >= 0 {
		known = fmt.Sprintf("%s was seen by %s", describe(h, f.add), describe(h, reads[f.seen]))
		proof = append(proof, reads[f.seen])
	}
	return sorted(proof...), fmt.Sprintf("%s, and neither %s nor any later read sees it", known, describe(h, missed))
}

// MeasureSets counts what became of the elements of all sets in a history.
func MeasureSets(h *history.History) SetElements { return gather(setsOf(h)).SetElements }

func setsOf(h *history.History) []setFates {
	keys := byKey(h.Ops)
	found := make([]setFates, len(keys))
	inParallel(len(found), shares, func(i int) { found[i] = fatesOf(h, keys[i]) })
	return found
}

func gather(found []setFates) setFates {
	var all setFates
	for i := range found {
		f := &found[i]
		all.Stable, all.Lost, all.NeverRead, all.Stale = all.Stable+f.Stable, all.Lost+f.Lost, all.NeverRead+f.NeverRead, all.Stale+f.Stale
		all.stable, all.lost = append(all.stable, f.stable...), append(all.lost, f.lost...)
	}
	all.StableLatency = figureOf("stable after", "ms", all.stable, 1e6)
	all.LostLatency = figureOf("lost after", "ms", all.lost, 1e6)
	return all
}

// CheckSets judges whether no element of a set is lost once it is known to be
// there. Elements that are not seen at once do not break it: the result counts
// them, and tells how long they took.
func CheckSets(in Input, _ Budget) Result {
	h := in.History
	if why := malformed(h); why != "" {
		return Result{Claim: NoLostElements, Key: -1, Reason: why}
	}
	if kind, why := kindOf(h); kind != ofCollections {
		if why == "" {
			why = "the history is of registers: only sets and lists have elements"
		}
		return Result{Claim: NoLostElements, Key: -1, Reason: why}
	}
	found := setsOf(h)
	tallies := make([]tally, len(found))
	for i := range found {
		tallies[i] = found[i].tally
	}
	all := gather(found)
	res := together(h, NoLostElements, tallies, "element", fmt.Sprintf("none lost; %s never read, %s of the others missed by a read at first", count(all.NeverRead), count(all.Stale)),
		"no element's fate can be told: none was read, or missed, after it was known")
	for _, f := range []Figure{all.StableLatency, all.LostLatency} {
		if f.N > 0 {
			res.Figures = append(res.Figures, f)
		}
	}
	return res
}
