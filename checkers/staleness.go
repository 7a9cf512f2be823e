package checkers

import (
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// How stale reads were: distributions, not verdicts.
//
//   - k-staleness: how many versions behind a read was, at least. It counts the
//     writes that had been acknowledged before the read began and that began
//     after every write of the value it saw had ended. 0: it was current.
//   - Δ-staleness: for how long, at least, the value had been out of date when
//     the read began: since the first of those writes was acknowledged.
//
// Sources: P. Bailis et al., "Probabilistically bounded staleness for practical
// partial quorums", VLDB 2012 (k-staleness and t-visibility); W. Golab, X. Li and
// M. Shah, "Analyzing consistency properties for fun and profit", PODC 2011 (Δ).
// Both count only what is certain in real time, so they are lower bounds, and a
// regular register has 0 in both. O(n log n).

// Staleness is how stale the reads of a history were.
type Staleness struct {
	Reads int
	// Stale is how many were not current, with its interval.
	Stale *Rate
	// Versions is of all reads, Age of the stale ones in milliseconds.
	Versions, Age Figure
}

// MeasureStaleness measures all reads of a history of registers; false if it is
// of something else, or has no reads.
func MeasureStaleness(h *history.History, opts Options) (Staleness, bool) {
	if unfitForRegisters(h) != "" {
		return Staleness{}, false
	}
	s := stalenessOf(allLags(Input{History: h}.registers(opts)))
	return s, s.Reads > 0
}

// allLags measures the reads of each key.
func allLags(index *registerIndex) [][]lag {
	found := make([][]lag, len(index.keys))
	inParallel(len(found), shares, func(i int) { found[i] = lagsOf(&index.keys[i]) })
	return found
}

func stalenessOf(lags [][]lag) Staleness {
	var versions, age []int64
	for _, key := range lags {
		for i := range key {
			versions = append(versions, key[i].versions)
			if key[i].age >= 0 {
				age = append(age, key[i].age)
			}
		}
	}
	return Staleness{
		Reads: len(versions), Stale: rateOf(len(age), len(versions), "read"),
		Versions: figureOf("versions behind", "versions", versions, 1),
		Age:      figureOf("out of date for", "ms", age, 1e6),
	}
}

// lag is of one read.
type lag struct {
	call, last int64 // the read's call, and the end of the writes of what it saw
	age        int64 // how long that was out of date, in ns; -1: it was not
	versions   int64 // how many newer ones had been acknowledged
	read       int32 // its place in the view
}

// lagsOf measures the reads of a key, by call.
func lagsOf(r *register) []lag {
	over := overwritersOf(r.view)
	var lags []lag
	stale := 0
	for i, n := 0, r.len(); i < n; i++ {
		ver, saw := r.read(i)
		o := r.at(i)
		if !saw {
			continue
		}
		l := lag{call: o.Call, last: r.versions[ver].last, age: -1, read: int32(i)}
		if _, end := over.after(l.last); end < l.call {
			l.age = l.call - end
			stale++
		}
		lags = append(lags, l)
	}
	byCall := func(a, b lag) int { return compare(a.call, b.call) }
	if !slices.IsSortedFunc(lags, byCall) {
		slices.SortStableFunc(lags, byCall)
	}
	if stale > 0 {
		countVersions(r, over, lags)
	}
	return lags
}

// countVersions counts for each stale read the writes that were acknowledged
// before its call and called after last. It goes through reads by call and writes
// by return; those acknowledged so far are in a Fenwick tree by rank of call.
func countVersions(r *register, over overwriters, lags []lag) {
	type write struct{ call, end int64 }
	acked := make([]write, 0, len(over.calls))
	for i, n := 0, r.len(); i < n; i++ {
		if o := r.at(i); r.wrote(i) && o.Outcome == history.OK {
			acked = append(acked, write{o.Call, o.Return})
		}
	}
	slices.SortStableFunc(acked, func(a, b write) int { return compare(a.end, b.end) })
	calls := over.calls // ascending; equal ones are never told apart
	tree := make([]int64, len(calls)+1)
	next, in := 0, int64(0)
	for i := range lags {
		l := &lags[i]
		for ; next < len(acked) && acked[next].end < l.call; next++ {
			in++
			for k := firstAt(len(calls), func(a int) bool { return calls[a] >= acked[next].call }) + 1; k < len(tree); k += k & -k {
				tree[k]++
			}
		}
		if l.age < 0 {
			continue
		}
		older := int64(0)
		for k := firstAt(len(calls), func(a int) bool { return calls[a] > l.last }); k > 0; k -= k & -k {
			older += tree[k]
		}
		l.versions = in - older
	}
}
