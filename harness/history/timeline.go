package history

import (
	"cmp"
	"fmt"
	"slices"
)

// moment is one event of a history, in the sequence in which a file lists them.
type moment struct {
	time    int64
	index   int32 // of the operation or fault
	process int32 // to write
	kind    momentKind
}

type momentKind uint8

const (
	invokes momentKind = iota
	returns
	faultStarts
	faultEnds
)

// timeline lists calls and returns by time; events of one instant by operation,
// so that every process invokes after it completed.
func timeline(h *History) ([]moment, error) {
	ms := make([]moment, 0, 2*len(h.Ops))
	busy := make(map[int32]int)
	for i := range h.Ops {
		o := &h.Ops[i]
		if j, ok := busy[o.Process]; ok && h.Ops[j].Return > o.Call {
			return nil, fmt.Errorf("process %d invokes operation %d while its operation %d is in flight", o.Process, i, j)
		}
		busy[o.Process] = i
		ms = append(ms, moment{time: o.Call, index: int32(i), process: o.Process, kind: invokes})
		if o.Return != Never {
			ms = append(ms, moment{time: o.Return, index: int32(i), process: o.Process, kind: returns})
		}
	}
	slices.SortFunc(ms, func(a, b moment) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.index, b.index), cmp.Compare(a.kind, b.kind))
	})
	return ms, nil
}

// binds says that the operation's return is worth an ordering: something can
// be concluded from its having happened before something else.
func (o *Op) binds() bool { return o.Outcome == OK || o.Outcome == Fail && o.F == CAS }

// ednOrder lists the events so that their order alone says which operation
// precedes which: within an instant everything is invoked before anything
// returns. The exception is a process that does both. Its return must come
// first, which would put other returns of the instant before its invocation
// too; then the new operation gets a process number of its own.
func ednOrder(h *History) ([]moment, error) {
	ms, err := timeline(h)
	if err != nil {
		return nil, err
	}
	o := ednOrderer{h: h, own: make(map[int32]int32), prev: make(map[int32]int32)}
	for i := range h.Ops {
		o.fresh = max(o.fresh, int64(h.Ops[i].Process)+1)
	}
	out := make([]moment, 0, len(ms)+2*len(h.Faults))
	for len(ms) > 0 {
		n := 1
		for n < len(ms) && ms[n].time == ms[0].time {
			n++
		}
		out = o.instant(out, ms[:n])
		ms = ms[n:]
	}
	if o.fresh > 1<<31 {
		return nil, fmt.Errorf("the process numbers leave no room for new ones")
	}
	for i := range h.Faults {
		f := &h.Faults[i]
		out = append(out, moment{time: f.Start, index: int32(i), kind: faultStarts})
		if f.End != Never {
			out = append(out, moment{time: f.End, index: int32(i), kind: faultEnds})
		}
	}
	slices.SortStableFunc(out, func(a, b moment) int { return cmp.Compare(a.time, b.time) })
	return out, nil
}

type ednOrderer struct {
	h     *History
	own   map[int32]int32 // operation → process number of its own
	prev  map[int32]int32 // process → its latest operation
	fresh int64           // the next number that is nobody's
}

// instant appends the events of one instant.
func (o *ednOrderer) instant(out, ms []moment) []moment {
	t := ms[0].time
	binding := 0 // returns of operations from before that bind
	for _, m := range ms {
		if op := &o.h.Ops[m.index]; m.kind == returns && op.Call < t && op.binds() {
			binding++
		}
	}
	var classes [5][]moment
	for _, m := range ms {
		op := &o.h.Ops[m.index]
		class := 0
		switch {
		case m.kind == returns && op.Call == t:
			class = 4 // called in this instant
		case m.kind == returns && op.binds():
			class = 2
		case m.kind == returns:
			class = 0
		default:
			class = 1
			if q, ok := o.prev[op.Process]; ok && o.h.Ops[q].Return == t {
				before := &o.h.Ops[q]
				switch {
				case before.Call < t && !before.binds():
				case before.Call < t && binding == 1:
					class = 3
				default:
					o.own[m.index] = int32(o.fresh)
					o.fresh++
				}
			}
			o.prev[op.Process] = m.index
		}
		if p, ok := o.own[m.index]; ok {
			m.process = p
		}
		classes[class] = append(classes[class], m)
	}
	for _, c := range classes {
		out = append(out, c...)
	}
	return out
}
