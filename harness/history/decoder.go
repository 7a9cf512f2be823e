package history

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// decoder applies events to a history. A chunk's checksum guards against
// accidents, not against intent, so every field is checked.
type decoder struct {
	h       *History
	buf     []byte // what is left of the chunk
	last    int64  // the time read last
	sorted  bool   // the calls read so far do not go back
	numbers bool   // the values read so far are numbers
	ended   bool   // the end event was read
	err     error  // the first error in the event at hand

	// With a sink, operations go there and not into h.Ops.
	sink    *Sink
	sinkErr error
	n       int        // invocations so far
	open    map[int]Op // those that have not completed
}

var errShort = errors.New("an event is cut off inside a chunk")

// chunk applies the events of one chunk. At an error the history holds
// everything before the event that is wrong.
func (d *decoder) chunk(c *chunk) error {
	d.buf = c.payload
	before := d.n
	for len(d.buf) > 0 {
		if d.ended {
			return errors.New("there are events after the end event")
		}
		tag := d.buf[0]
		d.buf = d.buf[1:]
		if tag == evInvoke && d.n-before == int(c.ops) {
			return fmt.Errorf("a chunk holds more than the %d invocations it states", c.ops)
		}
		if d.event(tag); d.err != nil {
			return d.err
		}
	}
	if got := d.n - before; got != int(c.ops) {
		return fmt.Errorf("a chunk holds %d invocations and states %d", got, c.ops)
	}
	return nil
}

func (d *decoder) event(tag byte) {
	switch tag {
	case evKey:
		s := d.string()
		if d.err == nil && d.sink != nil {
			if d.sink.Key != nil {
				d.sink.Key(int32(len(d.h.Keys)), s)
			}
			s = ""
		}
		if d.err == nil {
			d.h.Keys = append(d.h.Keys, s)
		}
	case evText:
		s := d.string()
		if d.err == nil && d.numbers {
			d.err = errMixed
		}
		if d.err == nil && d.sink != nil {
			if d.sink.Text != nil {
				d.sink.Text(Value(len(d.h.Texts)), s)
			}
			s = ""
		}
		if d.err == nil {
			d.h.Texts = append(d.h.Texts, s)
		}
	case evTxn:
		d.txn()
	case evError:
		if s := d.string(); d.err == nil {
			d.h.Errors = append(d.h.Errors, s)
		}
	case evInvoke:
		d.invoke()
	case evComplete:
		d.complete()
	case evFault:
		d.fault()
	case evEffect:
		f, p := d.faultRef(), d.proof()
		if d.err == nil {
			f.Effect = p
		}
	case evRecovery:
		f, p, end := d.faultRef(), d.proof(), d.time()
		if d.err == nil {
			f.Recovery, f.End = p, end
		}
	case evPhase:
		if name, at := d.string(), d.time(); d.err == nil {
			if d.endPhase(at); d.err == nil {
				d.h.Phases = append(d.h.Phases, Phase{Name: name, Start: at, End: Never})
			}
		}
	case evList:
		d.list()
	case evEnd:
		if at := d.time(); d.err == nil {
			d.endPhase(at)
			d.ended = true
		}
	default:
		d.fail("unknown event %d", tag)
	}
}

func (d *decoder) endPhase(at int64) {
	n := len(d.h.Phases)
	if n == 0 {
		return
	}
	if at < d.h.Phases[n-1].Start {
		d.fail("phase %q ends before it starts", d.h.Phases[n-1].Name)
		return
	}
	d.h.Phases[n-1].End = at
}

func (d *decoder) invoke() {
	head := d.uint()
	var o Op
	o.Call = d.time()
	process, key, node := d.int(), d.uint(), d.int()
	if head&1 != 0 {
		o.Arg = Value(d.int())
	}
	if head&2 != 0 {
		o.Arg2 = Value(d.int())
	}
	if d.err != nil {
		return
	}
	if head>>2 > math.MaxUint8 || process != int64(int32(process)) || key >= uint64(len(d.h.Keys)) || node != int64(int16(node)) {
		d.fail("operation %d has a number out of range", d.n)
		return
	}
	o.F, o.Process, o.Key, o.Node = F(head>>2), int32(process), int32(key), int16(node)
	o.Return, o.Out = Never, Nil
	if err := d.h.validInvoke(&o); err != nil {
		d.fail("operation %d: %v", d.n, err)
		return
	}
	d.numbers = d.numbers || d.h.numeric(&o)
	d.n++
	if d.sink != nil {
		d.open[d.n-1] = o
		d.tell(&Event{ID: d.n - 1, Op: o})
		return
	}
	if n := len(d.h.Ops); n > 0 && d.h.Ops[n-1].Call > o.Call {
		d.sorted = false
	}
	d.h.Ops = append(d.h.Ops, o)
}

// tell gives the sink an event.
func (d *decoder) tell(e *Event) {
	if d.sinkErr = d.sink.Event(e); d.sinkErr != nil {
		d.err = d.sinkErr
	}
}

// opened gives an operation that can complete.
func (d *decoder) opened(id int) (Op, bool) {
	if d.sink != nil {
		o, ok := d.open[id]
		return o, ok
	}
	return d.h.Ops[id], !d.h.Ops[id].completed()
}

func (d *decoder) complete() {
	head, back, at := d.uint(), d.uint(), d.time()
	out, errno := Nil, uint64(0)
	if head&4 != 0 {
		out = Value(d.int())
	}
	if head&8 != 0 {
		errno = d.uint()
	}
	if d.err != nil {
		return
	}
	if back >= uint64(d.n) {
		d.fail("completion of an operation that was not invoked")
		return
	}
	id := d.n - 1 - int(back)
	o, ok := d.opened(id)
	if !ok {
		d.fail("operation %d is completed twice", id)
		return
	}
	if head > 15 || errno >= uint64(len(d.h.Errors)) {
		d.fail("the completion of operation %d has a number out of range", id)
		return
	}
	o.Outcome, o.Return, o.Out, o.Err = Outcome(head&3), at, out, uint16(errno)
	if err := d.h.validComplete(&o); err != nil {
		d.fail("operation %d: %v", id, err)
		return
	}
	d.numbers = d.numbers || d.h.numeric(&o)
	switch {
	case d.sink == nil:
		d.h.Ops[id] = o
	case o.completed():
		delete(d.open, id)
		d.tell(&Event{ID: id, Done: true, Op: o})
	}
}

func (d *decoder) txn() {
	n := d.count(3)
	t := make(Txn, 0, n)
	for range n {
		f, key, value := d.uint(), d.uint(), d.int()
		if d.err != nil {
			return
		}
		if f > math.MaxUint8 || key >= uint64(len(d.h.Keys)) {
			d.fail("transaction %d has a number out of range", len(d.h.Txns))
			return
		}
		t = append(t, Mop{F: F(f), Key: int32(key), Value: Value(value)})
	}
	if d.err != nil {
		return
	}
	if err := d.h.validTxn(t); err != nil {
		d.fail("transaction %d: %v", len(d.h.Txns), err)
		return
	}
	d.numbers = d.numbers || len(d.h.Texts) == 0 && t.numeric()
	d.h.Txns = append(d.h.Txns, t)
}

func (d *decoder) list() {
	n := d.count(1)
	l := make(List, 0, n)
	for range n {
		l = append(l, Value(d.int()))
	}
	if d.err != nil {
		return
	}
	if err := d.h.validList(l); err != nil {
		d.fail("list %d: %v", len(d.h.Lists), err)
		return
	}
	d.numbers = d.numbers || len(d.h.Texts) == 0 && l.numeric()
	d.h.Lists = append(d.h.Lists, l)
}

func (d *decoder) fault() {
	f := Fault{ID: int(d.int()), Start: d.time(), Kind: d.string(), Detail: d.string(), End: Never}
	n := d.count(1)
	for range n {
		f.Nodes = append(f.Nodes, int(d.int()))
	}
	if d.err == nil {
		d.h.Faults = append(d.h.Faults, f)
	}
}

func (d *decoder) faultRef() *Fault {
	i := d.uint()
	if d.err == nil && i >= uint64(len(d.h.Faults)) {
		d.fail("proof for a fault that was not started")
	}
	if d.err != nil {
		return nil
	}
	return &d.h.Faults[i]
}

func (d *decoder) proof() Proof {
	return Proof{OK: d.uint() != 0, At: d.time(), Evidence: d.string()}
}

// finish brings operations and faults into the order that History promises.
func (d *decoder) finish() {
	if !d.sorted {
		slices.SortStableFunc(d.h.Ops, func(a, b Op) int { return cmp.Compare(a.Call, b.Call) })
	}
	slices.SortStableFunc(d.h.Faults, func(a, b Fault) int { return cmp.Compare(a.Start, b.Start) })
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

func (d *decoder) uint() uint64 {
	u, n := binary.Uvarint(d.buf)
	if n <= 0 {
		d.short()
		return 0
	}
	d.buf = d.buf[n:]
	return u
}

func (d *decoder) int() int64 {
	i, n := binary.Varint(d.buf)
	if n <= 0 {
		d.short()
		return 0
	}
	d.buf = d.buf[n:]
	return i
}

func (d *decoder) short() {
	if d.err == nil {
		d.err = errShort
	}
	d.buf = nil
}

func (d *decoder) time() int64 {
	d.last += d.int()
	return d.last
}

func (d *decoder) string() string {
	n := d.count(1)
	s := string(d.buf[:n])
	d.buf = d.buf[n:]
	return s
}

// count reads a number of things of at least size bytes each, which must fit
// into what is left of the chunk.
func (d *decoder) count(size int) int {
	n := d.uint()
	if d.err == nil && n > uint64(len(d.buf)/size) {
		d.short()
	}
	if d.err != nil {
		return 0
	}
	return int(n)
}
