package checkers

import (
	"container/heap"
	"math"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// Online judges the registers of a history while it is made, and says that one
// is broken at the first moment at which this is certain: when no way in which
// the run may go on could explain what was seen. It remembers only what the
// future can still depend on, so a history may be longer than memory.
//
// What it decides is what the zones and the chains decide (zone.go, chain.go),
// put in another way. A chain is a value with its reads, and what
// compare-and-sets made of it. Let f be the least end and s the greatest call
// in it. A chain with f before another one's s must come before that one. The
// zone conditions say: of no two chains must each come before the other. Since
// f can only fall and s can only rise while operations complete, a
// contradiction once found stays one.
//
// What may be forgotten: let no operation that is in flight or still to come be
// called before T. A chain G with f < T that must come before another chain H
// with f < T is dead: an operation on G that is called at T or later would have
// to come before H and after it. Nothing has to be remembered of G, for nothing
// will have to come before it: H.f is not before G.s (they would contradict each
// other), so G.s < T, and no chain that changes later has f before that. A value
// seen that is in no chain and was not called is a violation, whether it was
// dead or never there.
//
// So the state is what is in flight, the newest values of every key, and every
// write of unknown outcome that nobody has read, which may be read at any time
// later. A value may be written again as soon as the old one is dead.
type Online struct {
	opts Options
	cas  bool // compare-and-set is in the model
	// mine says which keys are judged; nil: all.
	mine func(key int32) bool
	// unread are the writes of unknown outcome whose values nobody will see, by
	// the order in which they end; see gaveUp.
	unread bits
	ends   int
	// lateness is by how much calls may be told out of order.
	lateness int64

	open    map[int]int64 // calls of what is in flight
	calls   int64         // the greatest call told
	late    int64         // by how much calls really were out of order
	bound   int64         // no operation that is still to be told is called earlier
	waiting completions   // completed, but a write called in time may still be told

	floorAt  int64 // T as it was computed last
	floorAge int   // events since

	// Keys that something happened to are swept some time later, so that one
	// that nothing happens to any more takes little. They are those since the
	// last sweep, and those before it.
	touched, aged []int32
	events        int
	// epoch is how many operations complete between two sweeps, spare how many
	// links a key may have before its dead are looked for.
	epoch, spare int

	registers []*liveKey // by key
	keys      int
	find      map[valueOf]int32
	live      []liveValue
	chains    []liveChain
	freeLive  []int32
	freeChain []int32
	path      []int32

	broken int // keys
	first  *offence
	lowest *offence // of the lowest key
}

type valueOf struct {
	key   int32
	value history.Value
}

// liveValue is a value that an operation may still see: a link of a chain, or
// loose, if nothing shows that its writer took effect.
type liveValue struct {
	value, from history.Value
	key         int32
	cas         bool // written by a compare-and-set, from from
	visiting    bool
	call, end   int64 // of the writer; the end is Never while it is not known
	// The reads: least end, greatest call, and whose they are.
	minEnd, maxCall         int64
	write, earliest, latest int
	chain, prev, next       int32
	// upTo is the greatest call of this link and those before, onward the
	// least end of this link and those behind.
	upTo, onward int64
}

const (
	none   int32 = -1
	nobody int   = -1
)

func (l *liveValue) f() (int64, int) {
	if l.minEnd < l.end {
		return l.minEnd, l.earliest
	}
	return l.end, l.write
}

func (l *liveValue) s() (int64, int) {
	if l.maxCall > l.call {
		return l.maxCall, l.latest
	}
	return l.call, l.write
}

// extent is what has to be known of a chain to compare it with others.
type extent struct {
	value history.Value // the first one
	f, s  int64
	// write, first and last are the numbers of operations, nobody for the
	// initial value.
	write, first, last int
}

type liveChain struct {
	extent
	head, tail int32
	at         int32 // place in the window
}

// liveKey is the state of one key.
type liveKey struct {
	key     int32
	ops     int
	links   int // of all chains
	limit   int // of links, before the dead are looked for
	window  []windowed
	spent   extent // of the dead chain with the greatest s, to tell of
	why     string // why it cannot be judged here
	broken  bool
	touched bool
}

// windowed is a chain, in the order in which they came to be. top is the
// greatest s of it and those before.
type windowed struct {
	chain int32
	top   int64
}

// offence is what makes a key broken.
type offence struct {
	rule Rule
	key  int32
	// op is the operation that showed it, and value what it saw, for the
	// rules about single values. other is another operation.
	op, other int
	value     history.Value
	// end is when op had shown it, for a value that was not there.
	end int64
	// a and b are the two chains of the rules about zones; b also the
	// chain that a value which was not there had to come after.
	a, b extent
}

// NewOnline starts to judge. Of the models only the two of registers can be
// judged so.
func NewOnline(opts Options) *Online {
	return &Online{
		opts:    opts,
		cas:     opts.Model != ModelRegister,
		open:    make(map[int]int64),
		calls:   beginning,
		bound:   beginning,
		floorAt: beginning,
		epoch:   4096,
		spare:   8,
		find:    make(map[valueOf]int32),
	}
}

// Broken says whether a key is broken, and which one was first.
func (o *Online) Broken() (key int32, broken bool) {
	if o.first == nil {
		return -1, false
	}
	return o.first.key, true
}

// See takes the next event of the history. Events come in the order in which
// they are recorded: the calls ascend, and an operation completes after it was
// invoked.
func (o *Online) See(e *history.Event) {
	needless := false
	if _, ok := gaveUp(e); ok {
		needless = o.unread.has(o.ends)
		o.ends++
	}
	if o.mine != nil && !o.mine(e.Op.Key) {
		if !e.Done {
			o.advance(e.Op.Call)
		}
		return
	}
	if e.Done {
		o.complete(e)
		if needless {
			o.takeBack(e)
		}
		return
	}
	o.advance(e.Op.Call)
	o.invoke(e)
}

// End says that nothing follows.
func (o *Online) End() {
	o.bound = math.MaxInt64
	o.release()
}

// advance moves the time before which every call has been told.
func (o *Online) advance(call int64) {
	if call < o.calls {
		o.late = max(o.late, o.calls-call)
		return
	}
	o.calls = call
	if bound := call - o.lateness; bound > o.bound {
		o.bound = bound
		o.release()
	}
}

func (o *Online) release() {
	for len(o.waiting) > 0 && o.waiting[0].Op.Return < o.bound {
		e := heap.Pop(&o.waiting).(history.Event)
		o.apply(&e)
	}
}

// floor is T.
func (o *Online) floor() int64 {
	o.floorAge++
	if o.floorAge <= len(o.open)/8 {
		return o.floorAt
	}
	o.floorAge = 0
	t := o.bound
	for _, call := range o.open {
		t = min(t, call)
	}
	o.floorAt = t
	return t
}

func (o *Online) register(key int32) *liveKey {
	for int(key) >= len(o.registers) {
		o.registers = append(o.registers, nil)
	}
	r := o.registers[key]
	if r == nil {
		r = &liveKey{key: key, limit: o.spare, spent: extent{s: beginning, write: nobody, first: nobody, last: nobody}}
		o.registers[key] = r
		o.keys++
		x := o.value(liveValue{key: key, value: o.opts.initial(), call: beginning, end: beginning, write: nobody})
		o.found(r, x)
	}
	return r
}

// judged says that the key has still to be judged.
func (r *liveKey) judged() bool { return !r.broken && r.why == "" }

func (o *Online) invoke(e *history.Event) {
	op := &e.Op
	r := o.register(op.Key)
	r.ops++
	if !r.judged() {
		return
	}
	l := liveValue{key: op.Key, call: op.Call, end: history.Never, write: e.ID}
	switch {
	case op.F == history.Read:
		o.open[e.ID] = op.Call
		return
	case op.F == history.Write:
		l.value = op.Arg
	case op.F == history.Delete:
		l.value = history.Nil
	case op.F == history.CAS && o.cas:
		l.value, l.from, l.cas = op.Arg2, op.Arg, true
	default:
		r.why = op.F.String() + " is not in the model"
		return
	}
	id := valueOf{op.Key, l.value}
	if _, known := o.find[id]; known {
		o.forget(r)
		if _, known = o.find[id]; known {
			r.why = l.value.String() + " was written again while it could still be seen"
			return
		}
	}
	o.open[e.ID] = op.Call
	o.value(l)
}

func (o *Online) complete(e *history.Event) {
	op := &e.Op
	r := o.register(op.Key)
	if !r.judged() {
		delete(o.open, e.ID)
		return
	}
	if op.Outcome == history.Fail {
		o.failed(r, e)
	}
	_, saw := o.opts.observes(op)
	switch {
	case !saw && (op.Outcome != history.OK || op.F == history.Read):
		delete(o.open, e.ID)
	case op.Return < o.bound:
		o.apply(e)
	default:
		heap.Push(&o.waiting, *e)
	}
}

// failed takes back what an operation would have written.
func (o *Online) failed(r *liveKey, e *history.Event) {
	op := &e.Op
	if op.F == history.CAS && op.Out == history.Nil && o.opts.FailedCAS == ObserveFailedCAS {
		r.why = "a failed compare-and-set says only what the value was not"
		return
	}
	l, taken := o.takeBack(e)
	if taken {
		return
	}
	seen := offence{rule: ReadFromNowhere, op: l.earliest, other: e.ID, value: l.value}
	if l.earliest == nobody {
		seen.rule, seen.op = SetFromNowhere, o.live[l.next].write
	}
	o.offend(r, seen)
}

// takeBack removes the value of an operation that did not write it, or need not
// have. It is false, with the value, where somebody has seen it.
func (o *Online) takeBack(e *history.Event) (*liveValue, bool) {
	op := e.Op
	op.Outcome = history.Info
	value, wrote := writes(&op)
	if !wrote {
		return nil, true
	}
	x, known := o.find[valueOf{op.Key, value}]
	if !known || o.live[x].write != e.ID {
		return nil, true
	}
	if l := &o.live[x]; l.chain != none {
		return l, false
	}
	o.drop(x)
	return nil, true
}

// apply takes what a completed operation tells.
func (o *Online) apply(e *history.Event) {
	op := &e.Op
	delete(o.open, e.ID)
	r := o.register(op.Key)
	if !r.judged() {
		return
	}
	if value, saw := o.opts.observes(op); saw {
		o.read(r, e.ID, op, value)
	} else {
		value, _ := writes(op)
		o.wrote(r, e.ID, op, value)
	}
	if r.links > r.limit {
		o.forget(r)
	}
	if !r.touched {
		r.touched = true
		o.touched = append(o.touched, r.key)
	}
	if o.events++; o.events%o.epoch == 0 {
		o.sweep()
	}
}

// sweep drops what is dead of the keys that were touched before the last sweep.
func (o *Online) sweep() {
	for _, key := range o.aged {
		r := o.registers[key]
		if r.judged() {
			o.forget(r)
		} else {
			for _, w := range r.window {
				o.dropChain(r, w.chain)
			}
			r.window = r.window[:0]
		}
		if cap(r.window) > 2*len(r.window)+2 {
			r.window = slices.Clone(r.window)
		}
	}
	for _, key := range o.touched {
		o.registers[key].touched = false
	}
	o.aged, o.touched = o.touched, o.aged[:0]
}

func (o *Online) read(r *liveKey, id int, op *history.Op, value history.Value) {
	x, known := o.find[valueOf{op.Key, value}]
	if !known {
		o.offend(r, offence{rule: ReadFromNowhere, op: id, other: nobody, value: value, end: op.Return, b: o.latest(r, op.Call)})
		return
	}
	l := &o.live[x]
	if op.Return < l.call {
		o.offend(r, offence{rule: ReadBeforeWrite, op: id, other: l.write, value: value})
		return
	}
	if op.Return < l.minEnd {
		l.minEnd, l.earliest = op.Return, id
	}
	if op.Call > l.maxCall {
		l.maxCall, l.latest = op.Call, id
	}
	if l.chain == none {
		o.settle(r, x, id)
		return
	}
	o.touch(r, x, id, op.Return, op.Call)
}

func (o *Online) wrote(r *liveKey, id int, op *history.Op, value history.Value) {
	x := o.find[valueOf{op.Key, value}] // while its writer is in flight it is not dead
	l := &o.live[x]
	l.end = op.Return
	if l.chain == none {
		o.settle(r, x, id)
		return
	}
	o.touch(r, x, id, op.Return, op.Call)
}

// settle is called when it is known that the writer of a loose value took
// effect, because of the operation id. So did the compare-and-sets that it
// builds on.
func (o *Online) settle(r *liveKey, x int32, id int) {
	o.path = o.path[:0]
	defer func() {
		for _, y := range o.path {
			o.live[y].visiting = false
		}
	}()
	for y := x; ; {
		o.path = append(o.path, y)
		l := &o.live[y]
		l.visiting = true
		if !l.cas {
			break
		}
		p, known := o.find[valueOf{l.key, l.from}]
		if !known {
			end, _ := o.live[x].f()
			o.offend(r, offence{rule: SetFromNowhere, op: l.write, other: id, value: l.from, end: end})
			return
		}
		if o.live[p].visiting {
			o.offend(r, offence{rule: SetInCircle, op: l.write, other: id, value: l.value})
			return
		}
		if o.live[p].chain != none {
			break
		}
		y = p
	}
	for i := len(o.path) - 1; i >= 0 && r.judged(); i-- {
		if y := o.path[i]; o.live[y].cas {
			o.join(r, y)
		} else {
			o.found(r, y)
		}
	}
}

// completions are completed operations by end.
type completions []history.Event

func (c completions) Len() int           { return len(c) }
func (c completions) Less(i, j int) bool { return c[i].Op.Return < c[j].Op.Return }
func (c completions) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *completions) Push(x any)        { *c = append(*c, x.(history.Event)) }
func (c *completions) Pop() any {
	old := *c
	e := old[len(old)-1]
	*c = old[:len(old)-1]
	return e
}
