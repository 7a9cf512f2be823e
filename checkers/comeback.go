package checkers

import (
	"fmt"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// Values that come back. A value was replaced: another write that was called
// after all its writes had ended was acknowledged, and a read saw that write's
// value. If a later read sees the old value again, without a new write of it, it
// is back. A store that repeats a write it has already carried out, or takes an
// old record from a replica that was away, does so.
//
// This is stricter than being stale: what replaced the value was not only
// acknowledged but seen. So every regular register keeps it. O(n log n).
//
// no-resurrection is the case that users meet most: what replaced the value was a
// delete, and the key had been seen to be absent.

// NoComebacksWith judges whether values stay replaced, deletes aside.
func NoComebacksWith(opts Options) Checker {
	return comebackChecker(NoComebacks, opts, false)
}

// NoResurrectionsWith judges whether deleted values stay deleted.
func NoResurrectionsWith(opts Options) Checker {
	return comebackChecker(NoResurrections, opts, true)
}

func comebackChecker(claim Claim, opts Options, deletes bool) Checker {
	held, none := "none of a value that had been seen replaced", "no replaced value could have come back: none was seen replaced"
	if deletes {
		held, none = "none of a value that had been seen deleted", "no deleted value could have come back: none was seen deleted"
	}
	return func(in Input, _ Budget) Result {
		if why := unfitForRegisters(in.History); why != "" {
			return Result{Claim: claim, Key: -1, Reason: why}
		}
		index := in.registers(opts)
		found := make([]tally, len(index.keys))
		inParallel(len(found), shares, func(i int) { found[i] = comebacks(index.h, &index.keys[i], deletes) })
		return together(index.h, claim, found, "read", held, none)
	}
}

// replaced is a write that was acknowledged and seen.
type replaced struct {
	call  int64
	since int64 // it was acknowledged and seen
	write int32 // places in the view
	seen  int32
}

func comebacks(h *history.History, r *register, deletes bool) tally {
	var t tally
	all := replacements(r, deletes)
	if len(all) == 0 {
		return t
	}
	byCall := func(a, b replaced) int { return compare(a.call, b.call) }
	if !slices.IsSortedFunc(all, byCall) {
		slices.SortStableFunc(all, byCall)
	}
	earliest := all[0].since
	calls := make([]int64, len(all))
	for k := len(all) - 1; k >= 0; k-- {
		calls[k] = all[k].call
		earliest = min(earliest, all[k].since)
		if k+1 < len(all) && all[k+1].since < all[k].since {
			all[k].since, all[k].write, all[k].seen = all[k+1].since, all[k+1].write, all[k+1].seen
		}
	}
	for i, n := 0, r.len(); i < n; i++ {
		ver, saw := r.read(i)
		o := r.at(i)
		if !saw || o.Call <= earliest {
			continue
		}
		t.checked++
		v := &r.versions[ver]
		k := firstAt(len(calls), func(a int) bool { return calls[a] > v.last })
		if k == len(all) || all[k].since >= o.Call {
			continue
		}
		by := all[k]
		t.add(r.key, func() ([]int, string) {
			return r.proof(int32(i), by.write, by.seen, v.write), fmt.Sprintf("%s saw %s, which %s had replaced, as %s had seen",
				describe(h, r.index(i)), r.name(h, ver), describe(h, r.index(int(by.write))), describe(h, r.index(int(by.seen))))
		})
	}
	return t
}

// replacements lists the acknowledged writes that were seen: deletes, or all
// others.
func replacements(r *register, deletes bool) []replaced {
	if deletes {
		return seenDeletes(r)
	}
	// By version: the read of it that ended first.
	seen := make([]int32, len(r.versions))
	for v := range seen {
		seen[v] = -1
	}
	for i, n := 0, r.len(); i < n; i++ {
		if ver, saw := r.read(i); saw && (seen[ver] < 0 || r.at(i).Return < r.at(int(seen[ver])).Return) {
			seen[ver] = int32(i)
		}
	}
	var all []replaced
	for i, n := 0, r.len(); i < n; i++ {
		o := r.at(i)
		if !r.wrote(i) || o.Outcome != history.OK || o.F == history.Delete || r.versions[r.ver[i]].writes > 1 || seen[r.ver[i]] < 0 {
			continue
		}
		s := seen[r.ver[i]]
		all = append(all, replaced{call: o.Call, since: max(o.Return, r.at(int(s)).Return), write: int32(i), seen: s})
	}
	return all
}

// seenDeletes pairs each delete with the read that first saw the key absent after
// it was called. It may have seen an earlier delete: what counts is that the key
// was absent then.
func seenDeletes(r *register) []replaced {
	type absent struct {
		call, end int64
		read      int32
	}
	var reads []absent
	for i, n := 0, r.len(); i < n; i++ {
		if ver, saw := r.read(i); saw && r.versions[ver].value == history.Nil {
			reads = append(reads, absent{r.at(i).Call, r.at(i).Return, int32(i)})
		}
	}
	slices.SortStableFunc(reads, func(a, b absent) int { return compare(a.call, b.call) })
	for k := len(reads) - 2; k >= 0; k-- {
		if reads[k+1].end <= reads[k].end {
			reads[k].end, reads[k].read = reads[k+1].end, reads[k+1].read
		}
	}
	var all []replaced
	for i, n := 0, r.len(); i < n; i++ {
		o := r.at(i)
		if o.F != history.Delete || o.Outcome != history.OK {
			continue
		}
		k := firstAt(len(reads), func(a int) bool { return reads[a].call >= o.Call })
		if k < len(reads) {
			all = append(all, replaced{call: o.Call, since: max(o.Return, reads[k].end), write: int32(i), seen: reads[k].read})
		}
	}
	return all
}
