package history

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// event is one line of a foreign history.
type event struct {
	line    int
	nemesis bool // no operation; process means nothing
	process int64
	typ     string // invoke, ok, fail or info
	f       string
	key     datum
	value   datum
	seen    datum // what a failed compare-and-set saw
	time    int64 // nanoseconds
	timed   bool  // time was given
	err     string
	node    int16
}

// builder pairs the events of a foreign history and records them.
type builder struct {
	r *Recorder
	// ties says that times are to be taken as they are; otherwise the order
	// of the events is the truth.
	ties   bool
	last   int64 // time of the event before
	events int
	timed  bool // of the first event
	open   map[int32]pending
	// values is the kind of the values so far, and where the first one
	// stands.
	values     kind
	valuesLine int
	nemeses    map[string]int // running fault of each name
	// lists are what reads saw that turned out to be reads of all, by
	// operation; collections are the keys of those.
	lists       map[int]Value
	collections map[int32]bool
}

// pending is an invocation that waits for its completion.
type pending struct {
	id, line int
	op       Op
	f        string // as the file calls it
	txn      Txn
}

// maxTime leaves room for the ticks that break ties.
const maxTime = 1 << 62

func newBuilder(to *Recorder, ties bool) *builder {
	return &builder{
		r:       to,
		ties:    ties,
		last:    -1,
		open:    make(map[int32]pending),
		nemeses: make(map[string]int),

		lists:       make(map[int]Value),
		collections: make(map[int32]bool),
	}
}

// history ends the import. A read tells only when it completes that it is one of
// all values, so they become such now: every read of a key of which one saw a
// list, but for those that saw a single value.
func (b *builder) history() *History {
	h := b.r.History()
	for i := range h.Ops {
		if o := &h.Ops[i]; o.F == Read && o.Out == Nil && b.collections[o.Key] {
			o.F = ReadAll
			if l, saw := b.lists[i]; saw {
				o.Out = l
			}
		}
	}
	return h
}

func (b *builder) add(e event) error {
	at, err := b.time(e)
	if err != nil {
		return err
	}
	if e.nemesis {
		b.nemesis(e, at)
		return nil
	}
	if e.process < 0 || e.process > math.MaxInt32 {
		return fmt.Errorf("process %d is out of range", e.process)
	}
	switch e.typ {
	case "invoke":
		err = b.invoke(e, at)
	case "ok":
		err = b.complete(e, OK, at)
	case "fail":
		err = b.complete(e, Fail, at)
	case "info":
		err = b.complete(e, Info, at)
	case "":
		err = errors.New("the event has no type (invoke, ok, fail or info)")
	default:
		err = fmt.Errorf("unknown type %q; there are invoke, ok, fail and info", short(e.typ))
	}
	if err == nil {
		err = b.r.err
	}
	if err == nil {
		err = b.r.sinkErr
	}
	return err
}

// time gives the event's instant.
func (b *builder) time(e event) (int64, error) {
	if e.timed && (e.time < 0 || e.time > maxTime) {
		return 0, fmt.Errorf("time %d is out of range", e.time)
	}
	if b.ties {
		if b.events == 0 {
			b.timed = e.timed
		}
		if e.timed != b.timed {
			return 0, errors.New("some events have a time and some have none; give it to all or to none")
		}
		if e.timed && e.time < b.last {
			return 0, fmt.Errorf("time %d is before that of the event above, %d; sort the events by time", e.time, b.last)
		}
	}
	b.events++
	switch {
	case b.ties && e.timed:
		b.last = e.time
	case e.timed:
		b.last = max(e.time, b.last+1)
	default:
		b.last++
	}
	return b.last, nil
}

var functions = map[string]F{
	"read": Read, "get": Read, "r": Read,
	"write": Write, "put": Write, "w": Write,
	"cas": CAS, "delete": Delete, "append": Append, "txn": Transact,
	"acquire": Acquire, "release": Release,
	"add": Add, "read-all": ReadAll, "transfer": Transfer,
}

func (b *builder) invoke(e event, at int64) error {
	process := int32(e.process)
	if p, ok := b.open[process]; ok {
		return fmt.Errorf("process %d invokes %s while its %s of line %d has no completion", process, short(e.f), p.f, p.line)
	}
	f, ok := functions[e.f]
	if !ok {
		return fmt.Errorf("unknown function %q; there are read, write, cas, delete, append, get, put, txn, acquire, release, add, read-all and transfer", short(e.f))
	}
	key, err := e.key.name()
	if err != nil {
		return err
	}
	p := pending{line: e.line, f: e.f, op: Op{F: f, Process: process, Key: b.r.Key(key), Node: e.node, Call: at}}
	switch f {
	case Write, Add:
		p.op.Arg, err = b.written(e.value)
	case CAS:
		p.op.Arg, p.op.Arg2, err = b.pair(e.value)
	case Transfer:
		p.op.Arg, p.op.Arg2, err = b.transfer(e.value)
	case Append:
		if e.value.kind != kindText {
			return fmt.Errorf("append needs a text, not %v", e.value)
		}
		p.op.Arg, err = b.value(e.value)
	case Transact:
		if p.txn, err = b.txn(e.value); err == nil {
			p.op.Arg = b.r.Txn(p.txn)
		}
	case Read:
		// Some files name the value that the read will see, some do not.
		if e.value.kind == kindMap {
			err = fmt.Errorf("a read of %v; only single values and lists of them can be read", e.value)
		}
	}
	if err != nil {
		return err
	}
	p.id = b.r.Invoke(p.op)
	b.open[process] = p
	return nil
}

func (b *builder) complete(e event, outcome Outcome, at int64) error {
	process := int32(e.process)
	p, ok := b.open[process]
	if !ok {
		return fmt.Errorf("process %d completes %s, but has invoked nothing", process, short(e.f))
	}
	if e.f != p.f {
		return fmt.Errorf("process %d completes %s, but line %d invoked %s", process, short(e.f), p.line, p.f)
	}
	if key, err := e.key.name(); err != nil {
		return err
	} else if !e.key.isNil() && b.r.Key(key) != p.op.Key {
		return fmt.Errorf("process %d completes %s of key %q, but line %d invoked it on another key", process, p.f, short(key), p.line)
	}
	// ":fail :read :timed-out": the reason stands where the value would.
	if outcome != OK && e.value.kind == kindKeyword {
		if e.err == "" {
			e.err = e.value.text
		}
		e.value = datum{}
	}
	out, err := b.output(e, p, outcome)
	if err != nil {
		return err
	}
	delete(b.open, process)
	b.r.Complete(p.id, out, outcome, at, e.err)
	return nil
}

// output gives what a completion tells beyond its invocation, and refuses one
// that contradicts it.
func (b *builder) output(e event, p pending, outcome Outcome) (Value, error) {
	if !e.seen.isNil() {
		if p.op.F != CAS || outcome != Fail {
			return Nil, errors.New("only a cas that failed can tell the value it has seen")
		}
		if err := b.echo(e, p); err != nil {
			return Nil, err
		}
		return b.value(e.seen)
	}
	switch p.op.F {
	case Read:
		if k := e.value.kind; outcome == OK && (k == kindList || k == kindSet) {
			l, err := b.list(e.value)
			b.lists[p.id], b.collections[p.op.Key] = l, true
			return Nil, err
		}
		if outcome == OK {
			return b.value(e.value)
		}
	case ReadAll:
		if outcome == OK {
			return b.list(e.value)
		}
	case Transact:
		if outcome == OK {
			return b.answer(e, p)
		}
	case Write, CAS, Append, Add, Transfer:
		return Nil, b.echo(e, p)
	}
	return Nil, nil
}

// echo checks that a completion that repeats the arguments repeats the right
// ones.
func (b *builder) echo(e event, p pending) error {
	if e.value.isNil() {
		return nil
	}
	var arg, arg2 Value
	var err error
	switch p.op.F {
	case CAS:
		arg, arg2, err = b.pair(e.value)
	case Transfer:
		arg, arg2, err = b.transfer(e.value)
	default:
		arg, err = b.value(e.value)
	}
	if err == nil && (arg != p.op.Arg || arg2 != p.op.Arg2) {
		err = fmt.Errorf("process %d completes %s of %v, but line %d invoked it with another value", e.process, p.f, e.value, p.line)
	}
	return err
}

// answer gives the transaction with its reads filled in.
func (b *builder) answer(e event, p pending) (Value, error) {
	if e.value.isNil() {
		for _, m := range p.txn {
			if m.F == Read {
				return Nil, errors.New("a txn that is ok has no value, so nobody knows what it read")
			}
		}
		return p.op.Arg, nil
	}
	t, err := b.txn(e.value)
	if err != nil {
		return Nil, err
	}
	same := len(t) == len(p.txn)
	for i := 0; same && i < len(t); i++ {
		same = t[i].F == p.txn[i].F && t[i].Key == p.txn[i].Key && (t[i].F == Read || t[i].Value == p.txn[i].Value)
	}
	if !same {
		return Nil, fmt.Errorf("process %d completes a txn that is not the one of line %d", e.process, p.line)
	}
	return b.r.Txn(t), nil
}

func (b *builder) txn(d datum) (Txn, error) {
	if d.kind != kindList {
		return nil, fmt.Errorf("a txn is a list like [[:read :x nil] [:write :y 2]], not %v", d)
	}
	t := make(Txn, 0, len(d.items))
	for _, m := range d.items {
		if m.kind != kindList || len(m.items) != 3 {
			return nil, fmt.Errorf("a part of a txn is a list like [:write :y 2], not %v", m)
		}
		word, _ := m.items[0].word()
		f := functions[word]
		if f != Read && f != Write {
			return nil, fmt.Errorf("a part of a txn is a read or a write, not %v", m.items[0])
		}
		key, err := m.items[1].name()
		if err != nil {
			return nil, err
		}
		var v Value
		if f == Write {
			v, err = b.written(m.items[2])
		} else {
			v, err = b.value(m.items[2])
		}
		if err != nil {
			return nil, err
		}
		t = append(t, Mop{F: f, Key: b.r.Key(key), Value: v})
	}
	return t, nil
}

// list gives the values that were seen together, Nil if there was nothing.
func (b *builder) list(d datum) (Value, error) {
	if d.isNil() {
		return Nil, nil
	}
	if d.kind != kindList && d.kind != kindSet {
		return Nil, fmt.Errorf("read-all sees a list like [1 2], not %v", d)
	}
	l := make(List, 0, len(d.items))
	for _, item := range d.items {
		v, err := b.value(item)
		if err != nil {
			return Nil, err
		}
		l = append(l, v)
	}
	return b.r.List(l), nil
}

// pair gives the values of a compare-and-set. It may expect nothing to be
// there, but not leave nothing.
func (b *builder) pair(d datum) (from, to Value, err error) {
	if d.kind != kindList || len(d.items) != 2 {
		return Nil, Nil, fmt.Errorf("cas needs two values like [1 2], not %v", d)
	}
	if from, err = b.value(d.items[0]); err != nil {
		return Nil, Nil, err
	}
	to, err = b.written(d.items[1])
	return from, to, err
}

// transfer gives the accounts and the amount of a transfer.
func (b *builder) transfer(d datum) (accounts, amount Value, err error) {
	if d.kind != kindList || len(d.items) != 3 {
		return Nil, Nil, fmt.Errorf("a transfer is a list [from to amount] of numbers, not %v", d)
	}
	var n [3]Value
	for i := range n {
		if d.items[i].kind != kindInt {
			return Nil, Nil, fmt.Errorf("a transfer is a list [from to amount] of numbers, not %v", d)
		}
		if n[i], err = b.value(d.items[i]); err != nil {
			return Nil, Nil, err
		}
		if i < 2 && (n[i] < 0 || n[i] > maxAccount) {
			return Nil, Nil, fmt.Errorf("account %v; the accounts are 0 to %d", n[i], maxAccount)
		}
	}
	return Accounts(int(n[0]), int(n[1])), n[2], nil
}

// written gives a value that is written, so is one.
func (b *builder) written(d datum) (Value, error) {
	if d.isNil() {
		return Nil, errors.New("a write of no value")
	}
	return b.value(d)
}

// value gives a number, a text's index, or Nil.
func (b *builder) value(d datum) (Value, error) {
	switch d.kind {
	case kindAbsent, kindNil:
		return Nil, nil
	case kindInt, kindText:
	default:
		return Nil, fmt.Errorf("%v is no value; a value is a number of 64 bits, a text or nil", d)
	}
	if b.values == kindAbsent {
		b.values, b.valuesLine = d.kind, d.line
	}
	if b.values != d.kind {
		return Nil, fmt.Errorf("value %v is of another kind than the one of line %d; a history's values are all numbers or all texts", d, b.valuesLine)
	}
	if d.kind == kindText {
		return b.r.Text(d.text), nil
	}
	if Value(d.num) == Nil {
		return Nil, fmt.Errorf("value %v is out of range", d)
	}
	return Value(d.num), nil
}

// nemesis makes faults of what a nemesis reports. It reports twice, when it
// begins and when it is done: the second report of a start is what it says of
// the effect, the last one of a stop is the end.
func (b *builder) nemesis(e event, at int64) {
	verb, name, _ := strings.Cut(e.f, "-")
	if name == "" {
		name = "nemesis"
	}
	said := ""
	if !e.value.isNil() {
		said = e.value.String()
	}
	id, known := b.nemeses[name]
	switch {
	case verb == "start" && !known:
		b.nemeses[name] = b.r.FaultStart(name, said, nil, at)
	case verb == "start" && b.r.tables.Faults[id].End != Never:
		b.nemeses[name] = b.r.FaultStart(name, said, nil, at)
	case verb == "start" && b.r.tables.Faults[id].Effect == Proof{}:
		b.r.FaultEffect(id, Proof{At: at, Evidence: said})
	case verb == "stop" && known:
		b.r.FaultRecovery(id, Proof{At: at, Evidence: said}, at)
	}
}
