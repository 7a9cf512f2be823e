package checkers

import (
	"fmt"

	"github.com/assay-chaos/assay/harness/history"
)

// NoDuplicatesWith judges whether no operation took effect twice, where that can
// be seen for certain:
//
//   - in a list (or a set that is told as one), an element stands in one read
//     more often than it was added. Adds that failed do not count, those of
//     unknown outcome count once each;
//   - of a register, two compare-and-sets took effect that both started from one
//     value, which was written once: it was taken twice. (Two locks were given,
//     one seat was sold to two.) One takes effect if it is ok or if its new
//     value was seen.
//
// A value of a register that is in force again without a new write is the matter
// of [NoComebacks]. Jepsen's set-full reports duplicates of elements the same
// way, but is blind to how often each was added. O(n) beside the lists.
func NoDuplicatesWith(opts Options) Checker {
	return func(in Input, _ Budget) Result {
		h := in.History
		if why := malformed(h); why != "" {
			return Result{Claim: NoDuplicates, Key: -1, Reason: why}
		}
		kind, why := kindOf(h)
		switch kind {
		case ofRegisters:
			index := in.registers(opts)
			found := make([]tally, len(index.keys))
			inParallel(len(found), shares, func(i int) { found[i] = takenTwice(h, &index.keys[i]) })
			return together(h, NoDuplicates, found, "compare-and-set", "no two of which started from one value", "no compare-and-set took effect")
		case ofCollections:
			keys := byKey(h.Ops)
			found := make([]tally, len(keys))
			inParallel(len(found), shares, func(i int) { found[i] = seenTwice(h, keys[i]) })
			return together(h, NoDuplicates, found, "element", "none of which was seen twice at once", "no element was seen")
		}
		return Result{Claim: NoDuplicates, Key: -1, Reason: why}
	}
}

// takenTwice counts the compare-and-sets that took effect, and those of them
// that started where another one had.
func takenTwice(h *history.History, r *register) tally {
	var t tally
	var first map[history.Value]int32 // by what it started from
	var written map[history.Value]int32
	seen := make([]bool, len(r.versions))
	for i, n := 0, r.len(); i < n; i++ {
		if ver, saw := r.read(i); saw {
			seen[ver] = true
		}
	}
	for i, n := 0, r.len(); i < n; i++ {
		o := r.at(i)
		if !r.wrote(i) || o.F != history.CAS || o.Outcome != history.OK && (!seen[r.ver[i]] || r.versions[r.ver[i]].writes > 1) {
			continue
		}
		if first == nil {
			first, written = make(map[history.Value]int32), make(map[history.Value]int32)
			for v := range r.versions {
				written[r.versions[v].value] = r.versions[v].writes
			}
			written[r.versions[initially].value]++
		}
		t.checked++
		if written[o.Arg] > 1 {
			continue // it may have been there twice
		}
		other, taken := first[o.Arg]
		if !taken {
			first[o.Arg] = int32(i)
			continue
		}
		t.add(r.key, func() ([]int, string) {
			return r.proof(other, int32(i)), fmt.Sprintf("%s and %s both took effect, on one value", describe(h, r.index(int(other))), describe(h, r.index(i)))
		})
	}
	return t
}

// seenTwice counts the elements that were seen, and those that stood in a read
// more often than they were added.
func seenTwice(h *history.History, k keyView) tally {
	var t tally
	type element struct {
		adds, now int32
		read      int32 // for which now counts
		twice     bool
	}
	known := make(map[history.Value]*element)
	get := func(v history.Value) *element {
		e := known[v]
		if e == nil {
			e = &element{read: -1}
			known[v] = e
		}
		return e
	}
	for i, n := 0, k.len(); i < n; i++ {
		if o := k.at(i); o.F == history.Add && o.Outcome != history.Fail {
			get(o.Arg).adds++
		}
	}
	for i, n := 0, k.len(); i < n; i++ {
		list, _ := seenList(h, k.at(i))
		for _, v := range list {
			e := get(v)
			if e.read < 0 {
				t.checked++
			}
			if e.read != int32(i) {
				e.read, e.now = int32(i), 0
			}
			// A stranger may stand once: it is a phantom, not a duplicate.
			if e.now++; e.now <= max(e.adds, 1) || e.twice {
				continue
			}
			e.twice = true
			t.add(k.key, func() ([]int, string) {
				at := k.index(i)
				return []int{at}, fmt.Sprintf("%s saw %s twice or more, and it was added %s", describe(h, at), v, times(int(e.adds)))
			})
		}
	}
	return t
}

func times(n int) string {
	switch n {
	case 0:
		return "by nobody"
	case 1:
		return "once"
	}
	return count(n) + " times"
}
