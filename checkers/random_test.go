package checkers

import (
	"math/rand/v2"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// small makes small random histories of one register: concurrent, with many
// equal times, failed operations and unknown outcomes. A third has read values
// at random, the others come from a register that was really simulated, half
// of them with one or two things changed afterwards.
type small struct {
	*rand.Rand
	maxOps int
	cas    bool // also compare-and-set
	blind  bool // failed compare-and-sets may not tell what they saw
	repeat bool // values may be written twice
}

func (r small) history() []history.Op {
	n := 2 + r.IntN(r.maxOps-1)
	clocks := make([]int64, 1+r.IntN(4))
	spread, gap := 1+r.IntN(6), r.IntN(3)
	info := []float64{0, 0, 0.15, 0.4}[r.IntN(4)]
	fail := []float64{0, 0, 0.15}[r.IntN(3)]
	next := history.Value(1)
	fresh := func() history.Value {
		if r.repeat && r.IntN(3) == 0 {
			return 1 + history.Value(r.IntN(3))
		}
		next++
		return next - 1
	}
	var ops []history.Op
	for range n {
		p := 0
		for k := range clocks {
			if clocks[k] < clocks[p] || clocks[k] == clocks[p] && r.IntN(2) == 0 {
				p = k
			}
		}
		o := history.Op{Process: int32(p), Call: clocks[p] + int64(r.IntN(gap+1)) + 1, Arg: history.Nil, Arg2: history.Nil, Out: history.Nil, Outcome: history.OK}
		o.Return = o.Call + int64(r.IntN(spread+1))
		switch x := r.Float64(); {
		case x < 0.5:
			o.F = history.Read
		case r.cas && x < 0.78:
			o.F, o.Arg2 = history.CAS, fresh()
		default:
			o.F, o.Arg = history.Write, fresh()
		}
		clocks[p] = o.Return
		switch x := r.Float64(); {
		case x < info:
			o.Outcome = history.Info
			if r.IntN(2) == 0 { // nobody gave up before the history's end
				o.Return = history.Never
			}
			clocks[p] = o.Call + 1
		case x < info+fail:
			o.Outcome = history.Fail
		}
		ops = append(ops, o)
	}
	switch r.IntN(3) {
	case 0:
		r.invent(ops)
	case 1:
		r.simulate(ops)
	default:
		r.simulate(ops)
		r.spoil(ops)
	}
	slices.SortStableFunc(ops, func(a, b history.Op) int { return compare(a.Call, b.Call) })
	if !r.repeat && r.IntN(4) == 0 {
		// Values that are not counted up are looked up in another way.
		for i := range ops {
			for _, v := range []*history.Value{&ops[i].Arg, &ops[i].Arg2, &ops[i].Out} {
				if *v != history.Nil {
					*v *= 0x1e3779b97f4a7c15
				}
			}
		}
	}
	return ops
}

// pick gives a value that somebody writes, or the initial one, or rarely one
// from nowhere.
func (r small) pick(ops []history.Op) history.Value {
	if r.IntN(40) == 0 {
		return 1000
	}
	o := &ops[r.IntN(len(ops))]
	switch o.F {
	case history.Write:
		return o.Arg
	case history.CAS:
		return o.Arg2
	}
	return history.Nil
}

func (r small) invent(ops []history.Op) {
	for i := range ops {
		switch o := &ops[i]; {
		case o.F == history.Read && o.Outcome == history.OK:
			o.Out = r.pick(ops)
		case o.F == history.CAS:
			o.Arg = r.pick(ops)
			if o.Outcome == history.Fail && !(r.blind && r.IntN(2) == 0) {
				o.Out = r.pick(ops)
			}
		}
	}
}

// simulate lets every operation take effect at an instant of its interval,
// those of unknown outcome perhaps later or never.
func (r small) simulate(ops []history.Op) {
	type instant struct {
		at float64
		op int
	}
	var order []instant
	for i := range ops {
		o := &ops[i]
		at := float64(o.Call) + r.Float64()*float64(o.Return-o.Call)
		if o.Outcome == history.Info {
			if at = float64(o.Call) + r.Float64()*12; r.IntN(2) == 0 {
				if o.F == history.CAS {
					o.Arg = r.pick(ops)
				}
				continue
			}
		}
		order = append(order, instant{at, i})
	}
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	slices.SortStableFunc(order, func(a, b instant) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	state := history.Nil
	for _, e := range order {
		switch o := &ops[e.op]; o.F {
		case history.Read:
			if o.Outcome == history.OK {
				o.Out = state
			}
		case history.Write:
			if o.Outcome != history.Fail {
				state = o.Arg
			}
		case history.CAS:
			if o.Arg = state; r.IntN(3) == 0 {
				o.Arg = r.pick(ops)
			}
			switch {
			case o.Outcome == history.Fail || o.Arg != state:
				if o.Outcome != history.Info {
					o.Outcome = history.Fail
					if !(r.blind && r.IntN(2) == 0) {
						o.Out = state
					}
				}
			default:
				state = o.Arg2
			}
		}
	}
}

func (r small) spoil(ops []history.Op) {
	for range 1 + r.IntN(2) {
		o := &ops[r.IntN(len(ops))]
		switch r.IntN(3) {
		case 0:
			if o.F == history.Read && o.Outcome == history.OK {
				o.Out = r.pick(ops)
			}
		case 1:
			by := int64(1 + r.IntN(4))
			o.Call += by
			if o.Return != history.Never {
				o.Return += by
			}
		default:
			if o.Return != history.Never && o.Return > o.Call {
				o.Return--
			}
		}
	}
}

// oracle decides by trying: a third opinion that shares no code with the
// checkers. It is exponential in the number of operations.
func oracle(ops []history.Op, opts Options) bool {
	type key struct {
		done  uint32
		state history.Value
	}
	dead := make(map[key]bool)
	var search func(done uint32, state history.Value) bool
	search = func(done uint32, state history.Value) bool {
		open := false // an operation that must still happen
		for i := range ops {
			open = open || done&(1<<i) == 0 && ops[i].Outcome == history.OK
			if ops[i].F == history.CAS && ops[i].Outcome == history.Fail {
				open = open || done&(1<<i) == 0
			}
		}
		if !open {
			return true
		}
		if dead[key{done, state}] {
			return false
		}
		for i := range ops {
			o := &ops[i]
			if done&(1<<i) != 0 || o.Outcome == history.Fail && o.F != history.CAS {
				continue
			}
			// Nothing that is still open may have ended before o began.
			first := true
			for k := range ops {
				p := &ops[k]
				if done&(1<<k) == 0 && k != i && p.Outcome != history.Info && (p.Outcome == history.OK || p.F == history.CAS) && p.Return < o.Call {
					first = false
				}
			}
			if !first {
				continue
			}
			next, legal := state, true
			switch {
			case o.F == history.Read && o.Outcome == history.OK:
				legal = o.Out == state
			case o.F == history.Write:
				next = o.Arg
			case o.F == history.CAS && o.Outcome == history.Fail:
				if o.Out != history.Nil {
					legal = o.Out == state
				} else if opts.FailedCAS == ObserveFailedCAS {
					legal = o.Arg != state
				}
			case o.F == history.CAS:
				if legal = o.Arg == state; legal {
					next = o.Arg2
				}
			}
			if legal && search(done|1<<i, next) {
				return true
			}
		}
		dead[key{done, state}] = true
		return false
	}
	return search(0, opts.initial())
}
