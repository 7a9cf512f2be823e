package checkers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// view is a part of a history: its operations by index, in the order of the
// history, without copies.
type view struct {
	ops []history.Op
	idx []int32 // nil: all of ops
}

func (v view) len() int {
	if v.idx == nil {
		return len(v.ops)
	}
	return len(v.idx)
}

func (v view) at(i int) *history.Op { return &v.ops[v.index(i)] }

// index gives the place in History.Ops of the view's i-th operation.
func (v view) index(i int) int {
	if v.idx == nil {
		return i
	}
	return int(v.idx[i])
}

// keyView is what happened to one key.
type keyView struct {
	key int32
	view
}

// byKey splits operations by key, keys ascending. It costs 4 bytes an
// operation, and nothing where there is one key only.
func byKey(ops []history.Op) []keyView {
	if len(ops) == 0 {
		return nil
	}
	lo, hi := ops[0].Key, ops[0].Key
	for i := range ops {
		lo, hi = min(lo, ops[i].Key), max(hi, ops[i].Key)
	}
	if lo == hi {
		return []keyView{{key: lo, view: view{ops: ops}}}
	}
	idx := make([]int32, len(ops))
	span := int64(hi) - int64(lo) + 1
	if span > 4*int64(len(ops))+1024 {
		// Keys far apart, which no recorder makes: a table would be
		// larger than the history.
		for i := range idx {
			idx[i] = int32(i)
		}
		slices.SortStableFunc(idx, func(a, b int32) int { return compare(int64(ops[a].Key), int64(ops[b].Key)) })
	} else {
		start := make([]int32, span+1)
		for i := range ops {
			start[int64(ops[i].Key)-int64(lo)+1]++
		}
		for k := 1; k < len(start); k++ {
			start[k] += start[k-1]
		}
		for i := range ops {
			k := int64(ops[i].Key) - int64(lo)
			idx[start[k]] = int32(i)
			start[k]++
		}
	}
	var keys []keyView
	for from := 0; from < len(idx); {
		to := from + 1
		for to < len(idx) && ops[idx[to]].Key == ops[idx[from]].Key {
			to++
		}
		keys = append(keys, keyView{key: ops[idx[from]].Key, view: view{ops: ops, idx: idx[from:to:to]}})
		from = to
	}
	return keys
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// malformed says what makes a history unfit for judging, "" if nothing does.
func malformed(h *history.History) string {
	if h == nil {
		return "there is no history"
	}
	if len(h.Ops) >= 1<<31-1 {
		return fmt.Sprintf("%d operations are more than a checker can index", len(h.Ops))
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		if o.Outcome > history.Fail {
			return fmt.Sprintf("operation %d (%s) ended in a way that is neither ok, fail nor info: the history is damaged", i, o.F)
		}
		if o.Outcome != history.Info && o.Return < o.Call {
			return fmt.Sprintf("operation %d (%s) ends at %s, before it begins at %s: the history's clock is wrong", i, o.F, clock(o.Return), clock(o.Call))
		}
	}
	return ""
}

// values of the initial state, for the arithmetic of intervals.
const (
	beginning = -1 << 63 // before every operation
)

// clock prints a time of the history: "1.204312 s".
func clock(t int64) string {
	if t == history.Never {
		return "never"
	}
	if t == beginning {
		return "the beginning"
	}
	if t > -1000 && t < 1000 { // histories without a clock count events
		return strconv.FormatInt(t, 10) + " ns"
	}
	return strconv.FormatFloat(float64(t)/1e9, 'f', 6, 64) + " s"
}

// span prints a length of time, rounded to what is worth reading.
func span(ns int64) string {
	d := time.Duration(ns)
	switch {
	case d >= time.Second:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.String()
}

// describe tells one operation in words: "process 3 read 7 from 1.204 s to
// 1.206 s".
func describe(h *history.History, i int) string {
	o := &h.Ops[i]
	what := operationText(h, o)
	switch {
	case o.Outcome == history.Info:
		return fmt.Sprintf("process %d's %s called at %s, outcome unknown", o.Process, what, clock(o.Call))
	case o.Outcome == history.Fail:
		return fmt.Sprintf("process %d's failed %s (%s to %s)", o.Process, what, clock(o.Call), clock(o.Return))
	}
	return fmt.Sprintf("process %d's %s (%s to %s)", o.Process, what, clock(o.Call), clock(o.Return))
}

// operationText gives an operation as it stands in pages and reasons.
func operationText(h *history.History, o *history.Op) string {
	val := func(v history.Value) string {
		if len(h.Texts) > 0 && v != history.Nil {
			return strconv.Quote(textOf(h, v))
		}
		return v.String()
	}
	switch o.F {
	case history.Read:
		if o.Outcome != history.OK {
			return "read"
		}
		return "read of " + val(o.Out)
	case history.ReadAll:
		if o.Outcome != history.OK || o.Out == history.Nil || int64(o.Out) >= int64(len(h.Lists)) {
			return "read of all"
		}
		return "read of all: " + listText(h.Lists[o.Out], val)
	case history.Add:
		return "add of " + val(o.Arg)
	case history.Write:
		return "write of " + val(o.Arg)
	case history.Append:
		return "append of " + val(o.Arg)
	case history.CAS:
		s := "cas from " + val(o.Arg) + " to " + val(o.Arg2)
		if o.Outcome == history.Fail && o.Out != history.Nil {
			s += ", which saw " + val(o.Out)
		}
		return s
	case history.Transfer:
		from, to := o.Accounts()
		return fmt.Sprintf("transfer of %s from %d to %d", o.Arg2, from, to)
	case history.Transact:
		return "txn " + txnText(h, o)
	}
	return o.F.String()
}

// listText gives the values of a list, the first ones of a long one.
func listText(l history.List, val func(history.Value) string) string {
	const most = 8
	var words []string
	for i, v := range l {
		if i == most {
			words = append(words, fmt.Sprintf("… (%d in all)", len(l)))
			break
		}
		words = append(words, val(v))
	}
	return "[" + strings.Join(words, " ") + "]"
}

func textOf(h *history.History, v history.Value) string {
	if v < 0 || int64(v) >= int64(len(h.Texts)) {
		return ""
	}
	return h.Texts[v]
}

func txnText(h *history.History, o *history.Op) string {
	v := o.Out
	if o.Outcome != history.OK || v == history.Nil {
		v = o.Arg
	}
	if v < 0 || int64(v) >= int64(len(h.Txns)) {
		return "?"
	}
	s := ""
	for i, m := range h.Txns[v] {
		if i > 0 {
			s += ", "
		}
		if m.F == history.Read {
			s += "read " + h.KeyName(m.Key) + " = " + m.Value.String()
		} else {
			s += "write " + h.KeyName(m.Key) + " = " + m.Value.String()
		}
	}
	return "[" + s + "]"
}
