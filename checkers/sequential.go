package checkers

import (
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// Sequential consistency of each key on its own: is there one order of all
// operations on the key in which every read sees the last write before it, and
// every session's operations stand in the session's order? Real time does not
// matter. (L. Lamport, "How to make a multiprocessor computer that correctly
// executes multiprocess programs", IEEE Transactions on Computers 28(9), 1979;
// of each location on its own it is called coherence, or cache consistency:
// J. Goodman, "Cache consistency and sequential consistency", 1989.)
//
// It says nothing about several keys together: sequential consistency, unlike
// linearizability, does not compose. To decide it for a whole history is
// NP-complete even where every value is written once (Gibbons and Korach,
// "Testing shared memories", SIAM Journal on Computing 26(4), 1997), but for one
// register whose values are written once it is not, and that is what is done
// here, in O(n) after the index:
//
// In such an order a write and the reads of its value stand together, up to the
// next write. So the order is one of values, and it exists iff no value has to be
// before itself: the initial value is before all others, and a session that used
// one value and then another puts the first before the second. A compare-and-set
// that took effect puts its new value right behind the old one: both are one
// block, in which sessions may not go back.
//
// Where a value was written twice, or deleted, the key is searched (seqsearch.go),
// and may stay undecided.

// seqEdge says that one block is before another, because a session used the
// first and then the second.
type seqEdge struct {
	to          int32
	first, then int32 // the operations, places in the view
}

// SequentialWith judges whether each key on its own is sequentially consistent.
// Its rate is that of keys.
func SequentialWith(opts Options) Checker {
	return func(in Input, b Budget) Result {
		res := Result{Claim: Sequential, Key: -1}
		if why := unfitForSessions(in.History); why != "" {
			res.Reason = why
			return res
		}
		index := in.registers(opts)
		found := make([]ruling, len(index.keys))
		var deadline time.Time
		if b.Time > 0 {
			deadline = time.Now().Add(b.Time)
		}
		inParallel(len(found), shares, func(i int) {
			if found[i] = sequential(index.h, &index.keys[i], opts); found[i].verdict == Unknown {
				found[i] = searchSequential(index.h, &index.keys[i], opts, deadline)
			}
		})
		return sequentially(index, found, res)
	}
}

func sequentially(index *registerIndex, found []ruling, res Result) Result {
	undecided, why := 0, ""
	for i := range found {
		f, r := &found[i], &index.keys[i]
		switch f.verdict {
		case Unknown:
			if undecided++; undecided == 1 {
				why = keyText(index.h, r.key) + ": " + f.why
			}
			continue
		case Broken:
			if res.Violations++; res.Violations == 1 {
				res.Key, res.Ops, res.Reason = r.key, f.proof, f.why
			}
		}
		res.Checked += r.len()
	}
	decided := len(found) - undecided
	if decided > 0 {
		res.Rate = rateOf(res.Violations, decided, "key")
	}
	switch {
	case res.Violations > 0:
		res.Verdict = Broken
		res.Reason = fmt.Sprintf("%s, first %s: %s", res.Rate, keyText(index.h, res.Key), res.Reason)
	case len(found) == 0:
		res.Reason = "there are no operations"
	case undecided > 0:
		res.Reason = fmt.Sprintf("%s; %s of %s were decided, and hold", why, count(decided), plural(len(found), "key"))
	default:
		res.Verdict = Held
		res.Reason = fmt.Sprintf("%s on %s, each of which has an order that all its sessions agree with", plural(res.Checked, "operation"), plural(len(found), "key"))
	}
	return res
}

// blocks are the values of a key in the order in which compare-and-sets tie them
// together.
type blocks struct {
	of    []int32 // by version: its block, which is its first version
	place []int32 // by version: its place in the block
	live  []bool  // by version: it took effect
	from  []int32 // by version: what its compare-and-set replaced; noLink
}

func sequential(h *history.History, r *register, opts Options) ruling {
	for v := range r.versions {
		if x := &r.versions[v]; x.writes > 1 || int32(v) == initially && x.writes > 0 {
			return notApplicable("%s was written more than once, or is also the initial value", x.value)
		}
	}
	for i, n := 0, r.len(); i < n; i++ {
		o := r.at(i)
		if opts.FailedCAS == ObserveFailedCAS && o.F == history.CAS && o.Outcome == history.Fail && o.Out == history.Nil {
			return notApplicable("a failed compare-and-set says only what the value was not")
		}
		if r.ver[i] == sawUnknown {
			return ruling{verdict: Broken, violations: 1, proof: []int{r.index(i)},
				why: describe(h, r.index(i)) + " saw a value that nobody wrote" + failedWriter(h, r.view, o.Out)}
		}
	}
	b, bad := tie(h, r)
	if bad != nil {
		return *bad
	}
	edges, bad := precedence(h, r, b)
	if bad != nil {
		return *bad
	}
	if cycle := shortCycle(edges); cycle != nil {
		return tellCycle(h, r, cycle)
	}
	return ruling{verdict: Held}
}

// tie makes the blocks.
func tie(h *history.History, r *register) (*blocks, *ruling) {
	n := len(r.versions)
	b := &blocks{of: make([]int32, n), place: make([]int32, n), live: make([]bool, n), from: make([]int32, n)}
	b.live[initially] = true
	for v := range n {
		b.from[v] = noLink
	}
	var byValue map[history.Value]int32
	for i, n := 0, r.len(); i < n; i++ {
		o := r.at(i)
		if v := r.ver[i]; v >= 0 && (o.Outcome == history.OK || !r.wrote(i)) {
			b.live[v] = true
		}
		if r.wrote(i) && o.F == history.CAS {
			if byValue == nil {
				byValue = make(map[history.Value]int32, n)
				for v := range r.versions {
					byValue[r.versions[v].value] = int32(v)
				}
			}
			b.from[r.ver[i]] = fromNothing
			if from, known := byValue[o.Arg]; known {
				b.from[r.ver[i]] = from
			}
		}
	}
	for v := range n {
		b.of[v] = int32(v)
	}
	if byValue == nil {
		return b, nil
	}
	// What a compare-and-set that took effect started from took effect too.
	for v := range n {
		for u := int32(v); b.live[u] && b.from[u] >= 0 && !b.live[b.from[u]]; u = b.from[u] {
			b.live[b.from[u]] = true
		}
	}
	next := make([]int32, n)
	for v := range next {
		next[v] = noLink
	}
	for v := range n {
		from := b.from[v]
		if !b.live[v] || from == noLink {
			continue
		}
		w := r.versions[v].write
		if from == fromNothing {
			return nil, &ruling{verdict: Broken, violations: 1, proof: r.proof(w), why: describe(h, r.index(int(w))) + " started from a value that nobody wrote"}
		}
		if next[from] != noLink {
			other := r.versions[next[from]].write
			return nil, &ruling{verdict: Broken, violations: 1, proof: r.proof(w, other),
				why: fmt.Sprintf("%s and %s started from the same value", describe(h, r.index(int(other))), describe(h, r.index(int(w))))}
		}
		next[from] = int32(v)
	}
	walked := make([]bool, n)
	for v := range n {
		if !b.live[v] || b.from[v] != noLink {
			continue
		}
		for u, k := int32(v), int32(0); u != noLink; u, k = next[u], k+1 {
			b.of[u], b.place[u], walked[u] = int32(v), k, true
		}
	}
	for v := range n {
		if b.live[v] && !walked[v] {
			w := r.versions[v].write
			return nil, &ruling{verdict: Broken, violations: 1, proof: r.proof(w, r.versions[b.from[v]].write),
				why: describe(h, r.index(int(w))) + " is one of a circle of compare-and-sets, each of which started from another's value"}
		}
	}
	return b, nil
}

// precedence gives, by block, the blocks that must come later.
func precedence(h *history.History, r *register, b *blocks) ([][]seqEdge, *ruling) {
	edges := make([][]seqEdge, len(r.versions))
	last := make([]int32, r.sessions) // the session's last operation that counts
	for s := range last {
		last[s] = -1
	}
	first := b.of[initially]
	for i, n := 0, r.len(); i < n; i++ {
		ver := r.ver[i]
		if ver < 0 || !b.live[ver] || !b.counts(r, i) {
			continue
		}
		s := r.session[i]
		before := last[s]
		last[s] = int32(i)
		if r.at(i).Outcome == history.Info {
			last[s] = before // it may take effect after what its session did later
		}
		if before < 0 {
			continue
		}
		old := r.ver[before]
		switch from, to := b.of[old], b.of[ver]; {
		case from == to:
			// In one block: no way back, and no read before its write.
			if b.place[ver] < b.place[old] || old == ver && r.wrote(i) {
				return nil, &ruling{verdict: Broken, violations: 1, proof: r.proof(before, int32(i), r.versions[old].write, r.versions[ver].write),
					why: fmt.Sprintf("%s comes before %s in its session, and must come after it", describe(h, r.index(int(before))), describe(h, r.index(i)))}
			}
		case to == first:
			return nil, &ruling{verdict: Broken, violations: 1, proof: r.proof(before, int32(i), r.versions[old].write),
				why: fmt.Sprintf("%s comes after %s in its session, and the initial value comes before all others", describe(h, r.index(i)), describe(h, r.index(int(before))))}
		case from != first:
			edges[from] = append(edges[from], seqEdge{to: to, first: before, then: int32(i)})
		}
	}
	return edges, nil
}

// counts says whether an operation has a place in the order: one of unknown
// outcome whose value nobody saw need not have happened.
func (b *blocks) counts(r *register, i int) bool {
	return !r.wrote(i) || b.live[r.ver[i]]
}

func tellCycle(h *history.History, r *register, cycle []seqEdge) ruling {
	f := ruling{verdict: Broken, violations: 1}
	text := ""
	for i, e := range cycle {
		f.proof = append(f.proof, r.index(int(e.first)), r.index(int(e.then)))
		for _, at := range []int32{e.first, e.then} {
			f.proof = append(f.proof, r.proof(r.versions[r.ver[at]].write)...)
		}
		if i < 3 {
			if i > 0 {
				text += "; but "
			}
			text += fmt.Sprintf("%s came before %s", describe(h, r.index(int(e.first))), describe(h, r.index(int(e.then))))
		}
	}
	if len(cycle) > 3 {
		text += fmt.Sprintf(" (and %s more steps that lead back to the first)", count(len(cycle)-3))
	}
	f.proof, f.why = sorted(f.proof...), "no order of the values suits all sessions: "+text
	return f
}
