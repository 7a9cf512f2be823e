package checkers

import (
	"fmt"

	"github.com/assay-chaos/assay/harness/history"
)

// NoPhantomsWith judges whether every value that was seen had been written: that
// somebody wrote it, that not all its writers had been told that they failed, and
// that the first was called before the read had ended. It is the least that a
// store promises, safe registers aside; Jepsen's set-full calls such elements
// unexpected, and Bouajjani et al., "On verifying causal consistency", POPL 2017,
// reads from thin air.
//
// It knows registers, and sets and lists: there each element that a read-all saw
// counts. What replicas hold at the end counts too. O(n).
func NoPhantomsWith(opts Options) Checker {
	return func(in Input, _ Budget) Result {
		h := in.History
		if why := malformed(h); why != "" {
			return Result{Claim: NoPhantoms, Key: -1, Reason: why}
		}
		kind, why := kindOf(h)
		var found []tally
		switch kind {
		case ofRegisters:
			index := in.registers(opts)
			found = make([]tally, len(index.keys))
			inParallel(len(found), shares, func(i int) { found[i] = phantoms(in, index, &index.keys[i], opts) })
		case ofCollections:
			keys := byKey(h.Ops)
			found = make([]tally, len(keys))
			inParallel(len(found), shares, func(i int) { found[i] = phantomElements(h, keys[i]) })
		default:
			return Result{Claim: NoPhantoms, Key: -1, Reason: why}
		}
		return together(h, NoPhantoms, found, "seen value", "each written by somebody", "no value was seen")
	}
}

// The kinds of histories that are judged apart.
type kind uint8

const (
	ofNeither kind = iota
	ofRegisters
	ofCollections // sets and lists
)

// kindOf says what a history is of, or why it is of neither.
func kindOf(h *history.History) (kind, string) {
	why := unfitForRegisters(h)
	if why == "" {
		return ofRegisters, ""
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		switch o.F {
		case history.Add:
		case history.ReadAll:
			if o.Outcome == history.OK && o.Out != history.Nil && (o.Out < 0 || int64(o.Out) >= int64(len(h.Lists))) {
				return ofNeither, fmt.Sprintf("operation %d saw list %s, of %d: the history is damaged", i, o.Out, len(h.Lists))
			}
		default:
			return ofNeither, why
		}
	}
	return ofCollections, ""
}

// seenList gives what a read of all saw; false if it was no such read, or did
// not end well. A key that is absent is an empty list.
func seenList(h *history.History, o *history.Op) (history.List, bool) {
	if o.F != history.ReadAll || o.Outcome != history.OK {
		return nil, false
	}
	if o.Out == history.Nil {
		return nil, true
	}
	return h.Lists[o.Out], true
}

func phantoms(in Input, index *registerIndex, r *register, opts Options) tally {
	var t tally
	h := index.h
	for i, n := 0, r.len(); i < n; i++ {
		if r.ver[i] == sawUnknown {
			t.checked++
			t.add(r.key, func() ([]int, string) {
				saw, _ := opts.observes(r.at(i))
				return r.proof(int32(i)), describe(h, r.index(i)) + " saw a value that nobody wrote" + failedWriter(h, r.view, saw)
			})
			continue
		}
		if r.ver[i] == sawNothing || r.wrote(i) {
			continue
		}
		t.checked++
		if v := &r.versions[r.ver[i]]; v.first > r.at(i).Return {
			t.add(r.key, func() ([]int, string) {
				return r.proof(int32(i), v.write), fmt.Sprintf("%s saw a value before it was written by %s", describe(h, r.index(i)), describe(h, r.index(int(v.write))))
			})
		}
	}
	t.heldPhantoms(in, r, opts)
	return t
}

// heldPhantoms looks at what the replicas hold of a key at the end.
func (t *tally) heldPhantoms(in Input, r *register, opts Options) {
	var written map[history.Value]bool
	for node, row := range in.Replicas {
		if r.key < 0 || int(r.key) >= len(row) {
			continue
		}
		x := &row[r.key]
		if !x.Present || x.Elsewhere {
			continue
		}
		if written == nil {
			written = make(map[history.Value]bool, len(r.versions))
			for i := range r.versions {
				written[r.versions[i].value] = true
			}
		}
		values := x.Values
		if values == nil {
			values = history.List{x.Value}
		}
		for _, v := range values {
			t.checked++
			if !written[v] {
				t.add(r.key, func() ([]int, string) {
					return nil, fmt.Sprintf("node %d holds %s at the end, which nobody wrote%s", node, v, failedWriter(in.History, r.view, v))
				})
			}
		}
	}
}

func phantomElements(h *history.History, k keyView) tally {
	var t tally
	called := make(map[history.Value]int64)
	failed := make(map[history.Value]int32)
	for i, n := 0, k.len(); i < n; i++ {
		o := k.at(i)
		if o.F != history.Add {
			continue
		}
		if o.Outcome == history.Fail {
			failed[o.Arg] = int32(i)
			continue
		}
		if at, known := called[o.Arg]; !known || o.Call < at {
			called[o.Arg] = o.Call
		}
	}
	for i, n := 0, k.len(); i < n; i++ {
		o := k.at(i)
		list, _ := seenList(h, o)
		for _, e := range list {
			t.checked++
			if at, known := called[e]; known && at <= o.Return {
				continue
			}
			t.add(k.key, func() ([]int, string) {
				at := k.index(i)
				if _, known := called[e]; known {
					return []int{at}, fmt.Sprintf("%s saw %s before it was added", describe(h, at), e)
				}
				if f, known := failed[e]; known {
					return sorted(at, k.index(int(f))), fmt.Sprintf("%s saw %s: %s had been reported as not done", describe(h, at), e, describe(h, k.index(int(f))))
				}
				return []int{at}, fmt.Sprintf("%s saw %s, which nobody added", describe(h, at), e)
			})
		}
	}
	return t
}
