package checkers

import (
	"fmt"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// This file judges keys that can have several values at a time: a write replaces
// what its client had seen, and stands beside everything else (dotted version
// vectors; Preguiça et al., PODC 2012). A history is one of these if it reads all
// values (ReadAll) and writes whole ones (Write):
//
//	Write   replaces what the last ok ReadAll of its process and key before it saw;
//	        nothing if there is none
//	Add     replaces nothing
//	Delete  as a Write, without a value
//
// A write is accounted for by a set of values if its value is among them, or that
// of a write that has replaced it, or of one that has replaced that, and so on. A
// delete that may have happened accounts for what it has replaced.

// SeveralValues says whether the keys of a history can have several values at a
// time, so that they are no registers and no model of [Models] can draw them.
func SeveralValues(h *history.History) bool {
	if h == nil {
		return false
	}
	reads, writes := false, false
	for i := range h.Ops {
		switch h.Ops[i].F {
		case history.ReadAll:
			reads = true
		case history.Write:
			writes = true
		case history.Add, history.Delete:
		default:
			return false
		}
	}
	return reads && writes
}

// causes is what happened to one key with several values, by place in its view.
type causes struct {
	keyView
	h     *history.History
	by    map[history.Value]int // the write of a value
	over  map[int][]int         // the writes that a write or delete replaces
	twice int                   // the second write of a value; -1 if there is none
}

func causesOf(h *history.History, k keyView) *causes {
	c := &causes{keyView: k, h: h, by: make(map[history.Value]int), over: make(map[int][]int), twice: -1}
	last := make(map[int32]int) // ReadAll by process
	for i, n := 0, k.len(); i < n; i++ {
		o := k.at(i)
		switch {
		case o.F == history.ReadAll:
			if o.Outcome == history.OK {
				last[o.Process] = i
			}
			continue
		case o.Outcome == history.Fail:
			continue
		case o.F != history.Delete:
			if _, again := c.by[o.Arg]; again && c.twice < 0 {
				c.twice = i
			}
			c.by[o.Arg] = i
		}
		if read, ok := last[o.Process]; ok && o.F != history.Add { // a process does one thing at a time
			c.over[i] = c.writesOf(c.listOf(read))
		}
	}
	return c
}

// listOf gives what an ok ReadAll saw.
func (c *causes) listOf(i int) history.List {
	o := c.at(i)
	if o.Out < 0 || int64(o.Out) >= int64(len(c.h.Lists)) {
		return nil
	}
	return c.h.Lists[o.Out]
}

// writesOf gives the writes of values, without those from nowhere.
func (c *causes) writesOf(l history.List) []int {
	var all []int
	for _, v := range l {
		if w, ok := c.by[v]; ok {
			all = append(all, w)
		}
	}
	return all
}

// accounted gives the writes that a set of values accounts for, together with the
// deletes that were called no later than a time.
func (c *causes) accounted(seen history.List, until int64) map[int]bool {
	done := make(map[int]bool)
	open := c.writesOf(seen)
	for i := range c.over {
		if o := c.at(i); o.F == history.Delete && o.Call <= until {
			open = append(open, c.over[i]...)
		}
	}
	for len(open) > 0 {
		w := open[len(open)-1]
		open = open[:len(open)-1]
		if !done[w] {
			done[w] = true
			open = append(open, c.over[w]...)
		}
	}
	return done
}

// siblingsKept judges NoLostWrites: an acknowledged write is lost if all values
// that the replicas hold in the end do not account for it.
func siblingsKept(in Input) Result {
	res := Result{Claim: NoLostWrites, Key: -1}
	h := in.History
	if why := malformed(h); why != "" {
		res.Reason = why
		return res
	}
	missing := unread(in.Replicas)
	if missing == len(in.Replicas) {
		res.Reason = "the replicas were not there to look for the writes in"
		return res
	}
	why := ""
	for _, k := range byKey(h.Ops) {
		c := causesOf(h, k)
		if c.twice >= 0 {
			return twiceWritten(res, c)
		}
		var final history.List
		for _, row := range in.Replicas {
			if k.key >= 0 && int(k.key) < len(row) && row[k.key].Present && !row[k.key].Elsewhere {
				final = append(final, row[k.key].Values...)
			}
		}
		slices.Sort(final)
		final = slices.Compact(final)
		there := c.accounted(final, history.Never)
		for i, n := 0, k.len(); i < n; i++ {
			if !c.acknowledged(i) {
				continue
			}
			res.Checked++
			if there[i] {
				continue
			}
			if res.Violations++; res.Violations == 1 {
				res.Key, res.Ops = k.key, []int{k.index(i)}
				why = fmt.Sprintf("%s was acknowledged, and at the end the replicas that were read hold %s: neither it nor a write that has replaced it", describe(h, k.index(i)), listText(final, history.Value.String))
			}
		}
	}
	switch {
	case res.Checked == 0:
		res.Reason = "no write was acknowledged"
	case res.Violations > 0 && missing > 0:
		res.Reason = fmt.Sprintf("%s at the replicas that could be read, but %s could not be: %s", missingText(res.Violations), plural(missing, "replica"), why)
	case res.Violations > 0:
		res.Verdict = Broken
		res.Reason = fmt.Sprintf("%s of %s lost, first on %s: %s", count(res.Violations), plural(res.Checked, "acknowledged write"), keyText(h, res.Key), why)
	default:
		res.Verdict = Held
		res.Reason = fmt.Sprintf("%s, each at the replicas or replaced by a client that had seen it", plural(res.Checked, "acknowledged write"))
	}
	return res
}

func (c *causes) acknowledged(i int) bool {
	o := c.at(i)
	return o.Outcome == history.OK && (o.F == history.Write || o.F == history.Add)
}

func twiceWritten(res Result, c *causes) Result {
	res.Verdict, res.Key, res.Ops = Unknown, c.key, []int{c.index(c.twice)}
	res.Reason = fmt.Sprintf("%s: %s writes a value that was written before, so that nobody can tell them apart", keyText(c.h, c.key), describe(c.h, c.index(c.twice)))
	return res
}

// siblingsFresh judges FreshReads: what a read sees accounts for every write that
// was acknowledged before it began.
func siblingsFresh(in Input) Result {
	res := Result{Claim: FreshReads, Key: -1}
	h := in.History
	if why := malformed(h); why != "" {
		res.Reason = why
		return res
	}
	why := ""
	for _, k := range byKey(h.Ops) {
		c := causesOf(h, k)
		if c.twice >= 0 {
			return twiceWritten(res, c)
		}
		for i, n := 0, k.len(); i < n; i++ {
			read := c.at(i)
			if read.F != history.ReadAll || read.Outcome != history.OK {
				continue
			}
			res.Checked++
			seen := c.accounted(c.listOf(i), read.Return)
			for w := range i {
				if !c.acknowledged(w) || seen[w] || c.at(w).Return >= read.Call {
					continue
				}
				if res.Violations++; res.Violations == 1 {
					res.Key, res.Ops = k.key, sorted(k.index(w), k.index(i))
					why = fmt.Sprintf("%s saw neither the value of %s, which had completed %s earlier, nor a write that has replaced it", describe(h, k.index(i)), describe(h, k.index(w)), span(read.Call-c.at(w).Return))
				}
				break
			}
		}
	}
	switch {
	case res.Checked == 0:
		res.Reason = "there are no ok reads"
	case res.Violations == 0:
		res.Verdict = Held
		res.Reason = fmt.Sprintf("%s saw every write that had completed, or one that has replaced it", plural(res.Checked, "read"))
	default:
		res.Verdict = Broken
		res.Reason = fmt.Sprintf("%s of %s broken, first on %s: %s", count(res.Violations), plural(res.Checked, "read"), keyText(h, res.Key), why)
	}
	return res
}

// siblingsLinearizable judges Linearizable. A register has one value at a time, so
// a read that sees two of them is enough to break it; where none does, it is a
// register.
func siblingsLinearizable(in Input, opts Options, b Budget) Result {
	h := in.History
	if why := malformed(h); why != "" {
		return Result{Claim: Linearizable, Key: -1, Reason: why}
	}
	plain := *h
	plain.Ops = make([]history.Op, len(h.Ops))
	several, first := 0, -1
	for i := range h.Ops {
		o := h.Ops[i]
		switch o.F {
		case history.Add:
			o.F = history.Write
		case history.ReadAll:
			o.F = history.Read
			if o.Outcome != history.OK || o.Out == history.Nil {
				break
			}
			var list history.List
			if o.Out >= 0 && int64(o.Out) < int64(len(h.Lists)) {
				list = h.Lists[o.Out]
			}
			o.Out = history.Nil
			for _, v := range list {
				if o.Out != history.Nil && v != o.Out {
					if several++; first < 0 {
						first = i
					}
					break
				}
				o.Out = v
			}
		}
		plain.Ops[i] = o
	}
	if first < 0 {
		return CheckModel(&plain, opts.Model, opts, b)
	}
	return Result{
		Claim: Linearizable, Verdict: Broken, Checked: len(h.Ops), Violations: several,
		Key: h.Ops[first].Key, Ops: []int{first},
		Reason: fmt.Sprintf("%s: %s saw several values at once, and a register has one (and so did %s)", keyText(h, h.Ops[first].Key), describe(h, first), plural(several-1, "other read")),
	}
}
