package history

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// importEDN reads the EDN of Jepsen and Knossos: a list or a vector of maps, or
// maps one after another. Of a map the keys :process, :type, :f, :value, :key,
// :time, :error and our own :seen and :node count; others are left out.
func importEDN(r *bufio.Reader, to *Recorder) (*History, int, error) {
	skipBOM(r)
	e := newEDNReader(r)
	b := newBuilder(to, false)
	closing, opened := byte(0), 0
	c, err := e.space(0)
	if err == nil && (c == '[' || c == '(') {
		opened = e.line
		e.take()
		closing = ']'
		if c == '(' {
			closing = ')'
		}
	}
	for {
		c, err := e.space(0)
		if err == io.EOF && closing == 0 {
			return b.history(), 0, nil
		}
		if err == io.EOF {
			return nil, e.line, fmt.Errorf("%w: the list of line %d is not closed", errCutOff, opened)
		}
		if err != nil {
			return nil, e.line, err
		}
		if closing != 0 && c == closing {
			e.take()
			break
		}
		line := e.line
		d, err := e.next()
		if err != nil {
			return nil, e.line, cutOff(err)
		}
		ev, err := ednEvent(d)
		if err == nil {
			err = b.add(ev)
		}
		if err != nil {
			return nil, line, err
		}
	}
	if _, err := e.space(0); err == nil {
		return nil, e.line, fmt.Errorf("the list of line %d is closed, and something follows it", opened)
	} else if err != io.EOF {
		return nil, e.line, err
	}
	return b.history(), 0, nil
}

// ednEvent gives a map its meaning.
func ednEvent(d datum) (event, error) {
	e := event{line: d.line, node: -1}
	if d.kind != kindMap {
		return e, fmt.Errorf("an operation is a map like {:process 0, :type :invoke, :f :read, :value nil}, not %v", d)
	}
	var process, typ, f, failure, at, node datum
	for i := 0; i < len(d.items); i += 2 {
		if d.items[i].kind != kindKeyword {
			continue
		}
		var field *datum
		switch d.items[i].text {
		case "process":
			field = &process
		case "type":
			field = &typ
		case "f":
			field = &f
		case "value":
			field = &e.value
		case "key":
			field = &e.key
		case "time":
			field = &at
		case "error":
			field = &failure
		case "seen":
			field = &e.seen
		case "node":
			field = &node
		default:
			continue
		}
		if field.kind != kindAbsent {
			return e, fmt.Errorf("the map has :%s twice", d.items[i].text)
		}
		*field = d.items[i+1]
	}
	if err := e.who(process); err != nil {
		return e, err
	}
	var ok bool
	if e.typ, ok = typ.word(); !ok {
		return e, fmt.Errorf(":type is :invoke, :ok, :fail or :info, not %v", typ)
	}
	if e.f, ok = f.word(); !ok {
		return e, fmt.Errorf(":f is a keyword like :read, not %v", f)
	}
	if !at.isNil() {
		if at.kind != kindInt {
			return e, fmt.Errorf(":time is a number of nanoseconds, not %v", at)
		}
		e.time, e.timed = at.num, true
	}
	if !node.isNil() {
		if node.kind != kindInt || node.num != int64(int16(node.num)) {
			return e, fmt.Errorf(":node is a small number, not %v", node)
		}
		e.node = int16(node.num)
	}
	if !failure.isNil() {
		e.err = failure.text
		if _, ok := failure.word(); !ok {
			e.err = failure.String()
		}
	}
	return e, nil
}

// who sets the process, or that it is the nemesis.
func (e *event) who(d datum) error {
	switch {
	case d.kind == kindInt:
		e.process = d.num
	case d.kind == kindKeyword && d.text == "nemesis":
		e.nemesis = true
	default:
		return fmt.Errorf("a process is a number or :nemesis, not %v", d)
	}
	return nil
}

// ExportEDN writes the operations and faults as Jepsen does: a vector of maps,
// an event each. A compare-and-set that failed and told what it saw has that
// under :seen. A read of all is a :read of a vector, as of sets in Jepsen; where
// that could not be told from a read of one value it is :read-all. Texts must be
// valid UTF-8.
//
// What EDN cannot say is lost: phases, which nodes a fault is on and what proved
// it, the order of keys, and that times are equal.
//
// EDN histories have no ties, only an order. Events of one instant are written
// so that operations that overlap in our closed intervals overlap there too. An
// operation of a process whose previous one ended ok in the same instant as
// another operation did is written with a process number of its own, because
// otherwise it would seem to follow that other operation.
func ExportEDN(w io.Writer, h *History) error {
	if err := exportable(h); err != nil {
		return fmt.Errorf("export EDN: %w", err)
	}
	order, err := ednOrder(h)
	if err != nil {
		return fmt.Errorf("export EDN: %w", err)
	}
	b := bufio.NewWriterSize(w, 64<<10)
	var line []byte
	sep := "["
	lists := listed(h)
	for _, m := range order {
		b.WriteString(sep)
		line = appendEDN(line[:0], h, m, lists)
		// Errors of b stick: Flush reports them.
		b.Write(line)
		sep = "\n "
	}
	if sep == "[" {
		b.WriteString("[")
	}
	b.WriteString("]\n")
	if err := b.Flush(); err != nil {
		return fmt.Errorf("export EDN: %w", err)
	}
	return nil
}

// listed gives the keys whose reads all are of lists, one of which is there to
// show it. Jepsen has no other word for these than :read.
func listed(h *History) map[int32]bool {
	lists, single := make(map[int32]bool), make(map[int32]bool)
	for i := range h.Ops {
		switch o := &h.Ops[i]; {
		case o.F == Read:
			single[o.Key] = true
		case o.F == ReadAll && o.Outcome == OK && o.Out != Nil:
			lists[o.Key] = true
		}
	}
	for k := range single {
		delete(lists, k)
	}
	return lists
}

func appendEDN(b []byte, h *History, m moment, lists map[int32]bool) []byte {
	if m.kind >= faultStarts {
		f := &h.Faults[m.index]
		verb, said := "start-", strings.TrimSpace(f.Detail+" "+f.Effect.Evidence)
		if m.kind == faultEnds {
			verb, said = "stop-", f.Recovery.Evidence
		}
		b = append(b, "{:process :nemesis, :type :info, :f :"...)
		b = append(b, verb+keyword(f.Kind)...)
		b = append(b, ", :value "...)
		b = appendEDNText(b, said)
		b = append(b, ", :time "...)
		return append(strconv.AppendInt(b, max(0, m.time), 10), '}')
	}
	o := &h.Ops[m.index]
	b = append(b, "{:process "...)
	b = strconv.AppendInt(b, int64(m.process), 10)
	b = append(b, ", :type :"...)
	if m.kind == invokes {
		b = append(b, "invoke"...)
	} else {
		b = append(b, o.Outcome.String()...)
	}
	b = append(b, ", :f :"...)
	f := o.F
	if f == ReadAll && lists[o.Key] {
		f = Read
	}
	b = append(b, f.String()...)
	b = append(b, ", :value "...)
	switch {
	case o.F == Read && m.kind == returns:
		b = appendEDNValue(b, h, o.Out)
	case o.F == ReadAll && m.kind == returns && o.Out != Nil:
		b = appendEDNList(b, h, h.Lists[o.Out])
	case o.F == Write || o.F == Append || o.F == Add:
		b = appendEDNValue(b, h, o.Arg)
	case o.F == CAS:
		b = append(b, '[')
		b = appendEDNValue(b, h, o.Arg)
		b = append(b, ' ')
		b = appendEDNValue(b, h, o.Arg2)
		b = append(b, ']')
	case o.F == Transfer:
		from, to := o.Accounts()
		b = appendEDNList(b, h, List{Value(from), Value(to), o.Arg2})
	case o.F == Transact:
		t := o.Arg
		if m.kind == returns && o.Out != Nil {
			t = o.Out
		}
		b = appendEDNTxn(b, h, h.Txns[t])
	default:
		b = append(b, "nil"...)
	}
	if m.kind == returns && o.F == CAS && o.Out != Nil {
		b = append(b, ", :seen "...)
		b = appendEDNValue(b, h, o.Out)
	}
	if name := h.KeyName(o.Key); name != "" {
		b = append(b, ", :key "...)
		b = appendEDNText(b, name)
	}
	if o.Node != -1 {
		b = append(b, ", :node "...)
		b = strconv.AppendInt(b, int64(o.Node), 10)
	}
	if m.kind == returns && o.Err != 0 {
		b = append(b, ", :error "...)
		b = appendEDNText(b, h.Error(o))
	}
	b = append(b, ", :time "...)
	return append(strconv.AppendInt(b, m.time, 10), '}')
}

func appendEDNList(b []byte, h *History, l List) []byte {
	b = append(b, '[')
	for i, v := range l {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendEDNValue(b, h, v)
	}
	return append(b, ']')
}

func appendEDNTxn(b []byte, h *History, t Txn) []byte {
	b = append(b, '[')
	for i, m := range t {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, "[:"...)
		b = append(b, m.F.String()...)
		b = append(b, ' ')
		b = appendEDNText(b, h.KeyName(m.Key))
		b = append(b, ' ')
		b = appendEDNValue(b, h, m.Value)
		b = append(b, ']')
	}
	return append(b, ']')
}

func appendEDNValue(b []byte, h *History, v Value) []byte {
	switch {
	case v == Nil:
		return append(b, "nil"...)
	case len(h.Texts) > 0:
		return appendEDNText(b, h.Texts[v])
	}
	return strconv.AppendInt(b, int64(v), 10)
}

func appendEDNText(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r < ' ':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// keyword makes a word that can stand in an EDN keyword.
func keyword(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (delimiter(byte(r)) || badControl(byte(r))) {
			return '-'
		}
		return r
	}, strings.ToValidUTF8(s, "-"))
}

// exportable says whether text formats can hold the history.
func exportable(h *History) error {
	if err := h.Validate(); err != nil {
		return err
	}
	for _, table := range [][]string{h.Keys, h.Texts} {
		for _, s := range table {
			if !utf8.ValidString(s) {
				return fmt.Errorf("%q is no UTF-8 text; only assay's own format can hold it", short(s))
			}
		}
	}
	// Writing nothing is not a value anywhere else.
	for i := range h.Ops {
		if o := &h.Ops[i]; (o.F == Write || o.F == Add) && o.Arg == Nil || o.F == CAS && o.Arg2 == Nil {
			return errors.New("operation " + strconv.Itoa(i) + " writes nil, which no other format can say; use a delete")
		}
	}
	return nil
}
