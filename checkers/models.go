package checkers

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/assay-chaos/assay/harness/history"
)

// The names of the models.
const (
	ModelRegister      = "register"       // read, write, delete
	ModelCASRegister   = "cas-register"   // register with compare-and-set
	ModelKV            = "kv"             // texts: get (read), put (write), append, delete; absent reads as ""
	ModelMultiRegister = "multi-register" // transactions over several registers
	ModelMutex         = "mutex"          // acquire, release
	ModelSet           = "set"            // add, and read-all, which sees the elements in any order
	ModelList          = "list"           // add at the end, and read-all, which sees the elements in their order
	ModelCounter       = "counter"        // add, and read; it counts from 0
	ModelBank          = "bank"           // transfer, and read-all, which sees the balances
)

// Models lists what CheckModel knows.
func Models() []string {
	return []string{ModelRegister, ModelCASRegister, ModelKV, ModelMultiRegister, ModelMutex,
		ModelSet, ModelList, ModelCounter, ModelBank}
}

// model is a sequential specification over one partition of a history.
//
// Every operation that it steps over is complete: one of unknown outcome has
// its end at Never and known unset. To such an operation every step is legal
// that applies it where it can be applied and does nothing elsewhere: an
// operation that in truth never happened can always be placed after
// everything else, where what it does is seen by nobody.
type model struct {
	name string
	// perKey says that a history is linearizable iff each key's is.
	perKey bool
	// register says that tighten and the zone decision know its functions.
	register bool
	// convert prepares one operation; ok is false for one that says
	// nothing.
	convert func(h *history.History, o *history.Op, opts Options) (s step, ok bool, err error)
	initial func(opts Options) any
	// unknown is the state of which nothing is known: an excerpt of a
	// history starts with it.
	unknown func() any
	apply   func(state any, s *step) (bool, any)
	equal   func(a, b any) bool
	hash    func(state any) uint64
	// size is the heap, in bytes, of the state that the step made anew.
	size  func(s *step, state any) uint64
	print func(h *history.History, state any) string
}

// step is one operation as a model sees it. States that it leads to are made
// once, in after, and not at every try of the search.
type step struct {
	f     history.F
	known bool // the outcome is ok
	// arg and arg2 are the operation's, out is what it saw.
	arg, arg2, out history.Value
	text           string       // kv: the text written, appended or read
	list           history.List // what a read of all saw
	txn            []mop
	after          any
	op             int // place in History.Ops
	call, end      int64
}

// noSize is the size of states that belong to the steps.
func noSize(*step, any) uint64 { return 0 }

// errUnsupported is why a model cannot judge a history.
var errUnsupported = errors.New("not in the model")

func unsupported(name string, o *history.Op) error {
	return fmt.Errorf("%s is %w %s", o.F, errUnsupported, name)
}

// cell is a register's state.
type cell struct {
	value history.Value
	any   bool // nothing is known of it
}

func (c cell) String() string {
	if c.any {
		return "?"
	}
	return c.value.String()
}

func (c cell) hash() uint64 {
	x := uint64(c.value) * 0x9e3779b97f4a7c15
	if c.any {
		x++
	}
	return x ^ x>>29
}

// registerModel makes the register and, with cas, the cas-register.
func registerModel(name string, cas bool) *model {
	return &model{
		name:     name,
		perKey:   true,
		register: true,
		convert: func(_ *history.History, o *history.Op, opts Options) (step, bool, error) {
			s := step{f: o.F, known: o.Outcome == history.OK, arg: o.Arg, arg2: o.Arg2}
			if v, saw := opts.observes(o); saw && (o.F == history.Read || cas) {
				s.f, s.known, s.out, s.after = history.Read, true, v, cell{value: v}
				return s, true, nil
			}
			switch o.F {
			case history.Read:
				return s, false, nil
			case history.Write:
				s.after = cell{value: o.Arg}
			case history.Delete:
				s.f, s.arg, s.after = history.Write, history.Nil, cell{value: history.Nil}
			case history.CAS:
				if !cas {
					return s, false, unsupported(name, o)
				}
				if o.Outcome == history.Fail {
					return s, opts.FailedCAS == ObserveFailedCAS, nil
				}
				s.after = cell{value: o.Arg2}
				return s, true, nil
			default:
				return s, false, unsupported(name, o)
			}
			return s, o.Outcome != history.Fail, nil
		},
		initial: func(opts Options) any { return cell{value: opts.initial()} },
		unknown: func() any { return cell{any: true} },
		apply: func(state any, s *step) (bool, any) {
			c := state.(cell)
			switch s.f {
			case history.Read:
				return c.any || c.value == s.out, s.after
			case history.Write:
				return true, s.after
			}
			switch {
			case s.after == nil: // failed: it was another value
				return c.any || c.value != s.arg, state
			case s.known:
				return c.any || c.value == s.arg, s.after
			case !c.any && c.value == s.arg:
				return true, s.after
			}
			return true, state
		},
		equal: func(a, b any) bool { return a.(cell) == b.(cell) },
		hash:  func(a any) uint64 { return a.(cell).hash() },
		size:  noSize,
		print: func(_ *history.History, a any) string { return a.(cell).String() },
	}
}

// textState is the text of one key; with any set, its known end only.
type textState struct {
	text string
	any  bool
}

var textSeed = maphash.MakeSeed()

func kvModel() *model {
	return &model{
		name:   ModelKV,
		perKey: true,
		convert: func(h *history.History, o *history.Op, opts Options) (step, bool, error) {
			s := step{f: o.F, known: o.Outcome == history.OK}
			v := o.Arg
			switch o.F {
			case history.Read:
				if !s.known || (o.Out == history.Nil && opts.NilRead == NilAny) {
					return s, false, nil
				}
				v = o.Out
			case history.Write, history.Append:
				if o.Outcome == history.Fail {
					return s, false, nil
				}
			case history.Delete:
				v = history.Nil
				s.f = history.Write
			default:
				return s, false, unsupported(ModelKV, o)
			}
			if v != history.Nil {
				if v < 0 || int64(v) >= int64(len(h.Texts)) {
					return s, false, fmt.Errorf("%s names text %s, and the history has %d texts", o.F, v, len(h.Texts))
				}
				s.text = h.Texts[v]
			}
			s.after = textState{text: s.text}
			return s, o.Outcome != history.Fail, nil
		},
		initial: func(Options) any { return textState{} },
		unknown: func() any { return textState{any: true} },
		apply: func(state any, s *step) (bool, any) {
			t := state.(textState)
			switch s.f {
			case history.Read:
				if t.any {
					return strings.HasSuffix(s.text, t.text), s.after
				}
				return t.text == s.text, state
			case history.Write:
				return true, s.after
			}
			return true, textState{text: t.text + s.text, any: t.any}
		},
		equal: func(a, b any) bool { return a.(textState) == b.(textState) },
		hash:  func(a any) uint64 { return maphash.String(textSeed, a.(textState).text) },
		size: func(s *step, a any) uint64 {
			if s.f != history.Append {
				return 0
			}
			return 32 + uint64(len(a.(textState).text))
		},
		print: func(_ *history.History, a any) string {
			t := a.(textState)
			if t.any {
				return fmt.Sprintf("…%q", t.text)
			}
			return fmt.Sprintf("%q", t.text)
		},
	}
}

// mop is one micro-operation of a transaction.
type mop struct {
	read  bool
	known bool // of a read: its value is
	key   int32
	value history.Value
}

// registers is the state of a multi-register: registers by key. It is never
// changed once made.
type registers struct {
	cells []cell
	base  cell // of the registers beyond cells
}

func (r registers) at(k int32) cell {
	if int(k) < len(r.cells) {
		return r.cells[k]
	}
	return r.base
}

// maxRegisters bounds the keys of a multi-register, whose whole state every
// step of the search may copy.
const maxRegisters = 4096

func multiRegisterModel() *model {
	return &model{
		name: ModelMultiRegister,
		convert: func(h *history.History, o *history.Op, opts Options) (step, bool, error) {
			s := step{f: o.F, known: o.Outcome == history.OK}
			switch o.F {
			case history.Transact:
			case history.Read:
				s.txn = []mop{{read: true, known: s.known, key: o.Key, value: o.Out}}
			case history.Write:
				s.txn = []mop{{key: o.Key, value: o.Arg}}
			default:
				return s, false, unsupported(ModelMultiRegister, o)
			}
			if o.F == history.Transact {
				v := o.Arg
				if s.known && o.Out != history.Nil {
					v = o.Out
				}
				if v < 0 || int64(v) >= int64(len(h.Txns)) {
					return s, false, fmt.Errorf("txn names transaction %s, and the history has %d of them", v, len(h.Txns))
				}
				// An ok transaction without output says nothing of its reads.
				filled := s.known && o.Out != history.Nil
				for _, m := range h.Txns[v] {
					if m.F != history.Read && m.F != history.Write {
						return s, false, fmt.Errorf("%s inside a txn is %w %s", m.F, errUnsupported, ModelMultiRegister)
					}
					s.txn = append(s.txn, mop{read: m.F == history.Read, known: filled, key: m.Key, value: m.Value})
				}
			}
			effect := false
			for i := range s.txn {
				m := &s.txn[i]
				if m.key < 0 || m.key >= maxRegisters {
					return s, false, fmt.Errorf("key %d is beyond the %d registers that one state may have", m.key, maxRegisters)
				}
				if m.read && m.value == history.Nil && opts.NilRead == NilAny {
					m.known = false
				}
				effect = effect || !m.read || m.known
			}
			return s, effect && o.Outcome != history.Fail, nil
		},
		initial: func(opts Options) any { return registers{base: cell{value: opts.initial()}} },
		unknown: func() any { return registers{base: cell{any: true}} },
		apply:   applyTxn,
		equal: func(a, b any) bool {
			x, y := a.(registers), b.(registers)
			for k := range int32(max(len(x.cells), len(y.cells))) {
				if x.at(k) != y.at(k) {
					return false
				}
			}
			return true
		},
		hash: func(a any) uint64 {
			r := a.(registers)
			x := uint64(0)
			for k, c := range r.cells {
				if c != r.base { // equal states may know of different numbers of registers
					x ^= c.hash() * (2*uint64(k) + 3)
				}
			}
			return x
		},
		size: func(_ *step, a any) uint64 { return 48 + 16*uint64(len(a.(registers).cells)) },
		print: func(h *history.History, a any) string {
			r := a.(registers)
			var parts []string
			for k, c := range r.cells {
				if c != r.base {
					parts = append(parts, h.KeyName(int32(k))+"="+c.String())
				}
			}
			return "{" + strings.Join(parts, " ") + "}, others " + r.base.String()
		},
	}
}

func applyTxn(state any, s *step) (bool, any) {
	r := state.(registers)
	mine := false
	set := func(k int32, c cell) {
		if !mine {
			mine = true
			r.cells = slices.Clone(r.cells)
		}
		for int(k) >= len(r.cells) {
			r.cells = append(r.cells, r.base)
		}
		r.cells[k] = c
	}
	for i := range s.txn {
		m := &s.txn[i]
		switch c := r.at(m.key); {
		case !m.read:
			set(m.key, cell{value: m.value})
		case !m.known:
		case c.any:
			set(m.key, cell{value: m.value})
		case c.value != m.value:
			return false, state
		}
	}
	if !mine {
		return true, state
	}
	return true, r
}

// lock is the state of a mutex.
type lock uint8

const (
	lockFree lock = iota
	lockHeld
	lockAny
)

func mutexModel() *model {
	return &model{
		name:   ModelMutex,
		perKey: true,
		convert: func(_ *history.History, o *history.Op, _ Options) (step, bool, error) {
			s := step{f: o.F, known: o.Outcome == history.OK}
			switch o.F {
			case history.Acquire:
				s.after = lockHeld
			case history.Release:
				s.after = lockFree
			default:
				return s, false, unsupported(ModelMutex, o)
			}
			return s, o.Outcome != history.Fail, nil
		},
		initial: func(Options) any { return lockFree },
		unknown: func() any { return lockAny },
		apply: func(state any, s *step) (bool, any) {
			l := state.(lock)
			switch {
			case l == s.after.(lock): // already so
				return !s.known, state
			case l == lockAny && !s.known:
				return true, state
			}
			return true, s.after
		},
		equal: func(a, b any) bool { return a.(lock) == b.(lock) },
		hash:  func(a any) uint64 { return uint64(a.(lock)) },
		size:  noSize,
		print: func(_ *history.History, a any) string {
			return [...]string{lockFree: "free", lockHeld: "held", lockAny: "?"}[a.(lock)]
		},
	}
}

// modelFor chooses the model that was asked for, or else by what occurs.
func modelFor(h *history.History, opts Options) (*model, error) {
	switch opts.FailedCAS {
	case "", DropFailedCAS, ObserveFailedCAS:
	default:
		return nil, fmt.Errorf("failed-cas %q is neither %q nor %q", opts.FailedCAS, ObserveFailedCAS, DropFailedCAS)
	}
	switch opts.NilRead {
	case "", NilAbsent, NilAny:
	default:
		return nil, fmt.Errorf("nil-read %q is neither %q nor %q", opts.NilRead, NilAbsent, NilAny)
	}
	name := opts.Model
	if name == "" {
		name = guessModel(h)
	}
	switch name {
	case ModelRegister:
		return registerModel(name, false), nil
	case ModelCASRegister:
		return registerModel(name, true), nil
	case ModelKV:
		return kvModel(), nil
	case ModelMultiRegister:
		return multiRegisterModel(), nil
	case ModelMutex:
		return mutexModel(), nil
	case ModelSet:
		return setModel(), nil
	case ModelList:
		return listModel(), nil
	case ModelCounter:
		return counterModel(), nil
	case ModelBank:
		return bankModel(), nil
	}
	return nil, fmt.Errorf("there is no model %q; there are %s", name, strings.Join(Models(), ", "))
}

func guessModel(h *history.History) string {
	if len(h.Texts) > 0 {
		return ModelKV
	}
	adds := false
	for i := range h.Ops {
		switch h.Ops[i].F {
		case history.Transfer:
			return ModelBank
		case history.ReadAll:
			return guessAll(h)
		case history.Add:
			adds = true
		case history.Append:
			return ModelKV
		case history.Transact:
			return ModelMultiRegister
		case history.Acquire, history.Release:
			return ModelMutex
		}
	}
	if adds {
		return ModelCounter
	}
	return ModelCASRegister
}

// guessAll guesses for a history with reads of all. A list cannot be told from a
// set; what is linearizable as a list is so as a set.
func guessAll(h *history.History) string {
	for i := range h.Ops {
		if h.Ops[i].F == history.Transfer {
			return ModelBank
		}
	}
	return ModelSet
}
