package history

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// encoder turns events into payload bytes. It checks nothing: see Recorder and
// Validate.
type encoder struct {
	buf  []byte // events of the open chunk
	ops  uint32 // invocations among them
	next int    // id of the next operation
	last int64  // the time written last
}

func (e *encoder) tag(t byte)      { e.buf = append(e.buf, t) }
func (e *encoder) uint(u uint64)   { e.buf = binary.AppendUvarint(e.buf, u) }
func (e *encoder) int(i int64)     { e.buf = binary.AppendVarint(e.buf, i) }
func (e *encoder) string(s string) { e.uint(uint64(len(s))); e.buf = append(e.buf, s...) }
func (e *encoder) time(t int64)    { e.int(t - e.last); e.last = t }
func (e *encoder) key(name string) { e.tag(evKey); e.string(name) }
func (e *encoder) text(s string)   { e.tag(evText); e.string(s) }
func (e *encoder) error(s string)  { e.tag(evError); e.string(s) }
func (e *encoder) end(at int64)    { e.tag(evEnd); e.time(at) }
func (e *encoder) bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (e *encoder) txn(t Txn) {
	e.tag(evTxn)
	e.uint(uint64(len(t)))
	for _, m := range t {
		e.uint(uint64(m.F))
		e.uint(uint64(m.Key))
		e.int(int64(m.Value))
	}
}

func (e *encoder) list(l List) {
	e.tag(evList)
	e.uint(uint64(len(l)))
	for _, v := range l {
		e.int(int64(v))
	}
}

func (e *encoder) invoke(o *Op) {
	e.tag(evInvoke)
	e.uint(uint64(o.F)<<2 | e.bit(o.Arg2 != 0)<<1 | e.bit(o.Arg != 0))
	e.time(o.Call)
	e.int(int64(o.Process))
	e.uint(uint64(o.Key))
	e.int(int64(o.Node))
	if o.Arg != 0 {
		e.int(int64(o.Arg))
	}
	if o.Arg2 != 0 {
		e.int(int64(o.Arg2))
	}
	e.ops++
	e.next++
}

func (e *encoder) complete(id int, out Value, outcome Outcome, at int64, err uint16) {
	e.tag(evComplete)
	e.uint(e.bit(err != 0)<<3 | e.bit(out != Nil)<<2 | uint64(outcome))
	e.uint(uint64(e.next - 1 - id))
	e.time(at)
	if out != Nil {
		e.int(int64(out))
	}
	if err != 0 {
		e.uint(uint64(err))
	}
}

func (e *encoder) fault(f *Fault) {
	e.tag(evFault)
	e.int(int64(f.ID))
	e.time(f.Start)
	e.string(f.Kind)
	e.string(f.Detail)
	e.uint(uint64(len(f.Nodes)))
	for _, n := range f.Nodes {
		e.int(int64(n))
	}
}

func (e *encoder) proof(p Proof) {
	e.uint(e.bit(p.OK))
	e.time(p.At)
	e.string(p.Evidence)
}

func (e *encoder) effect(fault int, p Proof) {
	e.tag(evEffect)
	e.uint(uint64(fault))
	e.proof(p)
}

func (e *encoder) recovery(fault int, p Proof, end int64) {
	e.tag(evRecovery)
	e.uint(uint64(fault))
	e.proof(p)
	e.time(end)
}

func (e *encoder) phase(name string, at int64) {
	e.tag(evPhase)
	e.string(name)
	e.time(at)
}

// seal ends the open chunk and gives it with a payload of exactly its size.
func (e *encoder) seal() chunk {
	c := chunk{payload: append(make([]byte, 0, len(e.buf)), e.buf...), ops: e.ops}
	e.buf, e.ops = e.buf[:0], 0
	return c
}

// writeTo writes the chunk as it stands in a file.
func (c *chunk) writeTo(w io.Writer) error {
	head := c.header()
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(c.payload)
	return err
}

// Encode writes a whole history in the file format. It refuses one that is not
// valid (see [History.Validate]).
func Encode(w io.Writer, h *History) error {
	if err := h.Validate(); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	b := bufio.NewWriterSize(w, 2*defaultChunkSize)
	// Errors of b stick: the last Flush reports them.
	b.Write(appendHeader(nil))
	var e encoder
	spill := func() {
		if len(e.buf) >= defaultChunkSize {
			c := chunk{payload: e.buf, ops: e.ops}
			c.writeTo(b)
			e.buf, e.ops = e.buf[:0], 0
		}
	}
	for _, k := range h.Keys {
		e.key(k)
		spill()
	}
	for _, s := range h.Texts {
		e.text(s)
		spill()
	}
	for _, t := range h.Txns {
		e.txn(t)
		spill()
	}
	for _, l := range h.Lists {
		e.list(l)
		spill()
	}
	for _, s := range h.Errors[min(1, len(h.Errors)):] {
		e.error(s)
		spill()
	}
	for i := range h.Faults {
		f := &h.Faults[i]
		e.fault(f)
		if f.Effect != (Proof{}) {
			e.effect(i, f.Effect)
		}
		if f.End != Never || f.Recovery != (Proof{}) {
			e.recovery(i, f.Recovery, f.End)
		}
		spill()
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		e.invoke(o)
		if o.completed() {
			e.complete(i, o.Out, o.Outcome, o.Return, o.Err)
		}
		spill()
	}
	end := h.End()
	for i := range h.Phases {
		e.phase(h.Phases[i].Name, h.Phases[i].Start)
		end = h.Phases[i].End
	}
	// A cut history stays one: without the end event its reader sees that.
	if h.Cut == nil {
		e.end(end)
	}
	if len(e.buf) > 0 {
		c := chunk{payload: e.buf, ops: e.ops}
		c.writeTo(b)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

// completed says that there is more to tell of the operation than its
// invocation.
func (o *Op) completed() bool {
	return o.Outcome != Info || o.Return != Never || o.Out != Nil || o.Err != 0
}

// WriteFile writes a whole history to a file, which appears complete or not at
// all.
func WriteFile(path string, h *History) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("write history %s: %w", path, err)
	}
	err = Encode(f, h)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write history %s: %w", path, err)
	}
	return nil
}
