package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// jsonEvent is one line.
type jsonEvent struct {
	Type    string          `json:"type"`
	Process *int64          `json:"process"`
	F       string          `json:"f"`
	Key     json.RawMessage `json:"key"`
	Value   json.RawMessage `json:"value"`
	Seen    json.RawMessage `json:"seen"`
	Time    *int64          `json:"time"`
	Node    *int16          `json:"node"`
	Error   string          `json:"error"`

	Version int      `json:"version"`
	Keys    []string `json:"keys"`
	Cut     string   `json:"cut"`

	Name     string     `json:"name"`
	Kind     string     `json:"kind"`
	Detail   string     `json:"detail"`
	Nodes    []int      `json:"nodes"`
	Start    *int64     `json:"start"`
	End      *int64     `json:"end"`
	Effect   *jsonProof `json:"effect"`
	Recovery *jsonProof `json:"recovery"`
}

type jsonProof struct {
	OK       bool   `json:"ok"`
	At       int64  `json:"at"`
	Evidence string `json:"evidence,omitempty"`
}

func (p *jsonProof) proof() Proof {
	if p == nil {
		return Proof{}
	}
	return Proof{OK: p.OK, At: p.At, Evidence: p.Evidence}
}

func importJSONL(r *bufio.Reader, to *Recorder) (*History, int, error) {
	skipBOM(r)
	in := lines{r: r}
	j := jsonImporter{b: newBuilder(to, true)}
	for {
		text, _, err := in.next()
		if err == io.EOF {
			h := j.b.history()
			if j.cut != "" {
				h.Cut = errors.New(j.cut)
			}
			return h, 0, nil
		}
		if err == nil && len(bytes.TrimSpace(text)) > 0 {
			err = j.add(text, in.line)
		}
		if err != nil {
			return nil, in.line, err
		}
	}
}

type jsonImporter struct {
	b    *builder
	any  bool // a line was read
	done bool // the end event was read
	cut  string
}

func (j *jsonImporter) add(text []byte, line int) error {
	var l jsonEvent
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w of an object", errCutOff)
	} else if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the object; every event has a line of its own")
	}
	first := !j.any
	j.any = true
	if j.done {
		return errors.New("an event after the end")
	}
	r := j.b.r
	switch l.Type {
	case "history":
		if !first {
			return errors.New("the history event is not on the first line")
		}
		if l.Version != 1 {
			return fmt.Errorf("version %d; this assay reads version 1", l.Version)
		}
		j.cut = l.Cut
		r.SetKeys(l.Keys)
	case "phase":
		if l.Start == nil {
			return errors.New("a phase without start")
		}
		r.Phase(l.Name, *l.Start)
	case "fault":
		if l.Start == nil {
			return errors.New("a fault without start")
		}
		id := r.FaultStart(l.Kind, l.Detail, l.Nodes, *l.Start)
		if l.Effect != nil {
			r.FaultEffect(id, l.Effect.proof())
		}
		if l.Recovery != nil || l.End != nil {
			end := Never
			if l.End != nil {
				end = *l.End
			}
			r.FaultRecovery(id, l.Recovery.proof(), end)
		}
	case "end":
		if l.Time == nil {
			return errors.New("an end without time")
		}
		r.Close(*l.Time)
		j.done = true
	default:
		e, err := l.event(line)
		if err != nil {
			return err
		}
		return j.b.add(e)
	}
	return r.err
}

// event gives an operation's line its meaning.
func (l *jsonEvent) event(line int) (event, error) {
	e := event{line: line, typ: l.Type, f: l.F, err: l.Error, node: -1}
	if l.Process == nil {
		return e, errors.New("the event has no process")
	}
	e.process = *l.Process
	if l.Time != nil {
		e.time, e.timed = *l.Time, true
	}
	if l.Node != nil {
		e.node = *l.Node
	}
	for _, f := range []struct {
		raw json.RawMessage
		to  *datum
	}{{l.Key, &e.key}, {l.Value, &e.value}, {l.Seen, &e.seen}} {
		if len(f.raw) == 0 {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(f.raw))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			return e, err
		}
		var err error
		if *f.to, err = jsonDatum(v, line); err != nil {
			return e, err
		}
	}
	return e, nil
}

func jsonDatum(v any, line int) (datum, error) {
	d := datum{line: line}
	switch v := v.(type) {
	case nil:
		d.kind = kindNil
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		if err != nil {
			return d, fmt.Errorf("number %s is no whole number of 64 bits", short(v.String()))
		}
		d.kind, d.num = kindInt, n
	case string:
		d.kind, d.text = kindText, v
	case []any:
		d.kind = kindList
		for _, item := range v {
			i, err := jsonDatum(item, line)
			if err != nil {
				return d, err
			}
			d.items = append(d.items, i)
		}
	case map[string]any:
		d.kind = kindMap
	default:
		d.kind, d.text = kindOther, fmt.Sprint(v)
	}
	return d, nil
}

// ExportJSONL writes the history as JSON lines: first the history's own line,
// phases and faults, then the operations' events by time. Nothing of an
// operation is lost; texts must be valid UTF-8.
//
// The format for people with histories from other tools: one event a line, each
// a JSON object. These two lines are a whole history:
//
//	{"type":"invoke","process":0,"f":"write","key":"x","value":3,"time":1000}
//	{"type":"ok","process":0,"f":"write","time":2500}
//
// The fields of an operation's event are
//
//	type     invoke; ok: happened; fail: certainly did not; info: nobody knows
//	process  a number; one operation at a time
//	f        read, write, cas, delete, append, txn, acquire, release, add, read-all,
//	         transfer (get and put are read and write)
//	key      a string or a number; without it the operation has the key ""
//	value    invoke: what is written, [from,to] of a cas, [from,to,amount] of
//	         a transfer between numbered accounts, the parts of a txn
//	         ([["read","x",null],["write","y",2]]); ok: what was read, the txn
//	         with its reads filled in, the list that a read-all
//	         saw ([1,2]). A whole number of 64 bits, a string, or
//	         null; a history has numbers or strings, not both
//	seen     the value that a failed cas saw
//	time     nanoseconds, ascending; equal times are concurrent. Without any
//	         times the order of the lines counts
//	node     the node the client talked to
//	error    a text, of a completion
//
// The other types stand once or a few times: history (first line, if at all),
// fault, phase and end. An unknown field is an error, because a misspelt one
// would be a silent loss.
//
//	{"type":"history","version":1,"keys":["x","y"]}      keys in their order
//	{"type":"phase","name":"before","start":0}
//	{"type":"fault","kind":"kill","detail":"node 1","nodes":[1],"start":10,"end":90,
//	 "effect":{"ok":true,"at":12,"evidence":"…"},"recovery":{…}}      on one line
//	{"type":"end","time":5000}                           ends the last phase
func ExportJSONL(w io.Writer, h *History) error {
	if err := exportable(h); err != nil {
		return fmt.Errorf("export JSON lines: %w", err)
	}
	order, err := timeline(h)
	if err != nil {
		return fmt.Errorf("export JSON lines: %w", err)
	}
	// Errors of b stick: Flush reports them.
	b := bufio.NewWriterSize(w, 64<<10)
	x := jsonExporter{h: h}
	b.Write(x.head())
	for i := range h.Phases {
		b.Write(x.phase(&h.Phases[i]))
	}
	for i := range h.Faults {
		b.Write(x.fault(&h.Faults[i]))
	}
	for _, m := range order {
		b.Write(x.op(m))
	}
	if n := len(h.Phases); n > 0 && h.Phases[n-1].End != Never {
		fmt.Fprintf(b, `{"type":"end","time":%d}`+"\n", h.Phases[n-1].End)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("export JSON lines: %w", err)
	}
	return nil
}

// jsonExporter writes lines; each is valid until the next.
type jsonExporter struct {
	h *History
	b []byte
}

// string appends a JSON string. Bytes that are no UTF-8 are replaced.
func (x *jsonExporter) string(s string) {
	// Marshal of a string has no error.
	q, _ := json.Marshal(s)
	x.b = append(x.b, q...)
}

func (x *jsonExporter) str(field, s string) {
	x.b = append(x.b, field...)
	x.string(s)
}

func (x *jsonExporter) int(field string, i int64) {
	x.b = append(x.b, field...)
	x.b = strconv.AppendInt(x.b, i, 10)
}

func (x *jsonExporter) begin(typ string) {
	x.b = append(x.b[:0], `{"type":"`...)
	x.b = append(append(x.b, typ...), '"')
}

func (x *jsonExporter) end() []byte {
	x.b = append(x.b, "}\n"...)
	return x.b
}

func (x *jsonExporter) head() []byte {
	x.begin("history")
	x.int(`,"version":`, 1)
	x.b = append(x.b, `,"keys":[`...)
	for i, k := range x.h.Keys {
		if i > 0 {
			x.b = append(x.b, ',')
		}
		x.string(k)
	}
	x.b = append(x.b, ']')
	if x.h.Cut != nil {
		x.str(`,"cut":`, x.h.Cut.Error())
	}
	return x.end()
}

func (x *jsonExporter) phase(p *Phase) []byte {
	x.begin("phase")
	x.str(`,"name":`, p.Name)
	x.int(`,"start":`, p.Start)
	return x.end()
}

func (x *jsonExporter) fault(f *Fault) []byte {
	x.begin("fault")
	x.str(`,"kind":`, f.Kind)
	x.str(`,"detail":`, f.Detail)
	x.b = append(x.b, `,"nodes":[`...)
	for i, n := range f.Nodes {
		if i > 0 {
			x.b = append(x.b, ',')
		}
		x.b = strconv.AppendInt(x.b, int64(n), 10)
	}
	x.b = append(x.b, ']')
	x.int(`,"start":`, f.Start)
	if f.End != Never {
		x.int(`,"end":`, f.End)
	}
	x.proof(`,"effect":`, f.Effect)
	x.proof(`,"recovery":`, f.Recovery)
	return x.end()
}

func (x *jsonExporter) proof(field string, p Proof) {
	if p == (Proof{}) {
		return
	}
	x.b = fmt.Appendf(x.b, `%s{"ok":%t,"at":%d,"evidence":`, field, p.OK, p.At)
	x.string(p.Evidence)
	x.b = append(x.b, '}')
}

func (x *jsonExporter) op(m moment) []byte {
	o := &x.h.Ops[m.index]
	if m.kind == invokes {
		x.begin("invoke")
	} else {
		x.begin(o.Outcome.String())
	}
	x.int(`,"time":`, m.time)
	x.int(`,"process":`, int64(o.Process))
	x.str(`,"f":`, o.F.String())
	if m.kind == returns {
		switch {
		case o.Out == Nil && !(o.F == Read && o.Outcome == OK):
		case o.F == CAS:
			x.value(`,"seen":`, o.Out)
		case o.F == Transact:
			x.txn(`,"value":`, o.Out)
		case o.F == ReadAll:
			x.list(`,"value":`, o.Out)
		default:
			x.value(`,"value":`, o.Out)
		}
		if o.Err != 0 {
			x.str(`,"error":`, x.h.Error(o))
		}
		return x.end()
	}
	// Without a key an event has the key "".
	if name := x.h.KeyName(o.Key); name != "" {
		x.str(`,"key":`, name)
	}
	switch o.F {
	case Write, Append, Add:
		x.value(`,"value":`, o.Arg)
	case CAS:
		x.value(`,"value":[`, o.Arg)
		x.value(",", o.Arg2)
		x.b = append(x.b, ']')
	case Transfer:
		from, to := o.Accounts()
		x.int(`,"value":[`, int64(from))
		x.int(",", int64(to))
		x.value(",", o.Arg2)
		x.b = append(x.b, ']')
	case Transact:
		x.txn(`,"value":`, o.Arg)
	}
	if o.Node != -1 {
		x.int(`,"node":`, int64(o.Node))
	}
	return x.end()
}

func (x *jsonExporter) value(field string, v Value) {
	x.b = append(x.b, field...)
	switch {
	case v == Nil:
		x.b = append(x.b, "null"...)
	case len(x.h.Texts) > 0:
		x.string(x.h.Texts[v])
	default:
		x.b = strconv.AppendInt(x.b, int64(v), 10)
	}
}

func (x *jsonExporter) list(field string, l Value) {
	x.b = append(x.b, field...)
	sep := "["
	for _, v := range x.h.Lists[l] {
		x.value(sep, v)
		sep = ","
	}
	if sep == "[" {
		x.b = append(x.b, '[')
	}
	x.b = append(x.b, ']')
}

func (x *jsonExporter) txn(field string, t Value) {
	x.b = append(append(x.b, field...), '[')
	for i, m := range x.h.Txns[t] {
		if i > 0 {
			x.b = append(x.b, ',')
		}
		x.str("[", m.F.String())
		x.str(",", x.h.KeyName(m.Key))
		x.value(",", m.Value)
		x.b = append(x.b, ']')
	}
	x.b = append(x.b, ']')
}
