package history

import (
	"errors"
	"fmt"
	"slices"
)

// maxText bounds one name or text, so that an event always fits a chunk.
const maxText = 1 << 28 // bytes

// Validate says what is wrong with a history that was put together by hand or
// by a program; nil if everything that reads histories can rely on it: calls
// ascend, every index leads somewhere, no operation returns before its call,
// outcome and output fit. Histories from a [Recorder], [Decode] or [Import] are
// valid.
func (h *History) Validate() error {
	for _, table := range [][]string{h.Keys, h.Texts, h.Errors} {
		for _, s := range table {
			if len(s) > maxText {
				return fmt.Errorf("a name or text of %d bytes; the limit is %d", len(s), maxText)
			}
		}
	}
	if len(h.Errors) > 0 && h.Errors[0] != "" {
		return fmt.Errorf("error 0 is %q; it must be empty, for operations without one", h.Errors[0])
	}
	for i, t := range h.Txns {
		if err := h.validTxn(t); err != nil {
			return fmt.Errorf("transaction %d: %w", i, err)
		}
	}
	for i, l := range h.Lists {
		if err := h.validList(l); err != nil {
			return fmt.Errorf("list %d: %w", i, err)
		}
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		err := h.validInvoke(o)
		if err == nil && o.completed() {
			err = h.validComplete(o)
		}
		if err == nil && i > 0 && h.Ops[i-1].Call > o.Call {
			err = errors.New("called before the operation in front of it")
		}
		if err != nil {
			return fmt.Errorf("operation %d: %w", i, err)
		}
	}
	for i := range h.Faults {
		if i > 0 && h.Faults[i-1].Start > h.Faults[i].Start {
			return fmt.Errorf("fault %d starts before the fault in front of it", i)
		}
	}
	for i := range h.Phases {
		p := &h.Phases[i]
		if p.Start > p.End {
			return fmt.Errorf("phase %q ends before it starts", p.Name)
		}
		if i > 0 && h.Phases[i-1].End != p.Start {
			return fmt.Errorf("phase %q does not start where phase %q ends", p.Name, h.Phases[i-1].Name)
		}
	}
	return nil
}

// validInvoke judges what is known of an operation when it is invoked.
func (h *History) validInvoke(o *Op) error {
	if o.Key < 0 || int(o.Key) >= len(h.Keys) {
		return fmt.Errorf("key %d, but there are %d keys", o.Key, len(h.Keys))
	}
	if o.Call < 0 || o.Call == Never {
		return fmt.Errorf("called at %d ns, which is no time of a run", o.Call)
	}
	switch o.F {
	case Read, ReadAll, Delete, Acquire, Release:
	case Write, Add:
		return h.validValue(o.Arg)
	case Transfer:
		from, to := o.Accounts()
		if o.Arg < 0 || from > maxAccount || from == to {
			return fmt.Errorf("transfers between accounts %d and %d; take two of 0 to %d", from, to, maxAccount)
		}
		if len(h.Texts) > 0 || o.Arg2 <= 0 {
			return fmt.Errorf("transfers %v; an amount is a number above 0", o.Arg2)
		}
	case CAS:
		if err := h.validValue(o.Arg); err != nil {
			return err
		}
		return h.validValue(o.Arg2)
	case Append:
		if o.Arg < 0 || int64(o.Arg) >= int64(len(h.Texts)) {
			return fmt.Errorf("appends text %v, but there are %d texts", o.Arg, len(h.Texts))
		}
	case Transact:
		if o.Arg < 0 || int64(o.Arg) >= int64(len(h.Txns)) {
			return fmt.Errorf("asks for transaction %v, but there are %d", o.Arg, len(h.Txns))
		}
	default:
		return fmt.Errorf("unknown function %v", o.F)
	}
	return nil
}

// validComplete judges what is known of an operation when it is completed.
func (h *History) validComplete(o *Op) error {
	switch {
	case o.Outcome > Fail:
		return fmt.Errorf("unknown outcome %d", o.Outcome)
	case o.Return < o.Call:
		return fmt.Errorf("called at %d ns, returned before that, at %d ns", o.Call, o.Return)
	case o.Return == Never && o.Outcome != Info:
		return fmt.Errorf("%v, but it never returned", o.Outcome)
	case int(o.Err) >= max(1, len(h.Errors)):
		return fmt.Errorf("error %d, but there are %d", o.Err, len(h.Errors))
	case o.Out == Nil && o.F == Transact && o.Outcome == OK:
		return errors.New("ok, but nobody knows what the transaction read")
	case o.Out == Nil:
		return nil
	case !hasOut(o.F, o.Outcome):
		return fmt.Errorf("%v: a %v has no output", o.Outcome, o.F)
	case o.F == ReadAll:
		if o.Out < 0 || int64(o.Out) >= int64(len(h.Lists)) {
			return fmt.Errorf("answers with list %v, but there are %d", o.Out, len(h.Lists))
		}
		return nil
	case o.F != Transact:
		return h.validValue(o.Out)
	case o.Out < 0 || int64(o.Out) >= int64(len(h.Txns)):
		return fmt.Errorf("answers with transaction %v, but there are %d", o.Out, len(h.Txns))
	}
	return nil
}

// hasOut says whether an operation that ended so can have an output.
func hasOut(f F, outcome Outcome) bool {
	switch f {
	case Read, ReadAll, Transact:
		return outcome == OK
	case CAS:
		return outcome == Fail
	}
	return false
}

// validValue judges a value of a read, a write or a compare-and-set. Where a
// history has texts, these values are texts.
func (h *History) validValue(v Value) error {
	if v != Nil && len(h.Texts) > 0 && (v < 0 || int64(v) >= int64(len(h.Texts))) {
		return fmt.Errorf("text %v, but there are %d texts", v, len(h.Texts))
	}
	return nil
}

// numeric says that the operation holds a value that is a number, in a history
// that has no texts so far. No text may follow, or the number would become one.
func (h *History) numeric(o *Op) bool {
	if len(h.Texts) > 0 {
		return false
	}
	return o.F == Write || o.F == Add || o.F == CAS || o.F == Transfer || o.F == Read && o.Out != Nil
}

func (t Txn) numeric() bool {
	return slices.ContainsFunc(t, func(m Mop) bool { return m.Value != Nil })
}

func (l List) numeric() bool {
	return slices.ContainsFunc(l, func(v Value) bool { return v != Nil })
}

func (h *History) validList(l List) error {
	for _, v := range l {
		if err := h.validValue(v); err != nil {
			return err
		}
	}
	return nil
}

var errMixed = errors.New("a text in a history whose values are numbers; a history has one kind of values")

func (h *History) validTxn(t Txn) error {
	for _, m := range t {
		if m.F != Read && m.F != Write {
			return fmt.Errorf("a transaction cannot %v, only read and write", m.F)
		}
		if m.Key < 0 || int(m.Key) >= len(h.Keys) {
			return fmt.Errorf("key %d, but there are %d keys", m.Key, len(h.Keys))
		}
		if err := h.validValue(m.Value); err != nil {
			return err
		}
	}
	return nil
}
