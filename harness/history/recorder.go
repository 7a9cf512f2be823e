package history

import (
	"fmt"
	"io"
	"math"
	"sync"
)

const defaultChunkSize = 64 << 10 // bytes

// Recorder records a run: operations, faults and phases as they happen. It is
// the only way a run writes a history, and safe for concurrent use.
//
// It keeps the encoded events of the file format in memory (about 20 bytes an
// operation) and, if it was given a writer, writes them there a chunk at a
// time. A crash loses at most the chunk since the last [Recorder.Flush].
//
// Misuse, for example completing an operation twice, is not recorded. The first
// such error, or the first error of the writer, is what Flush and Close return.
type Recorder struct {
	mu        sync.Mutex
	w         io.Writer
	chunkSize int
	writeOnly bool
	enc       encoder
	chunks    []chunk
	offset    int64 // where the next chunk begins in the file
	open      map[int]openOp
	keys      map[string]int32
	texts     map[string]Value
	errors    map[string]uint16
	tables    History // the tables and faults so far, to validate against
	numbers   bool    // the values so far are numbers
	counts    Counts
	latest    int64 // the greatest time seen
	closed    bool
	werr, err error
	history   *History

	// With a sink, events go there, and nothing is kept.
	sink    *Sink
	sinkErr error
	seen    map[int]Op // in flight
}

// openOp is what the recorder must know of an operation in flight.
type openOp struct {
	call int64
	f    F
}

// Option changes a recorder.
type Option func(*Recorder)

// ChunkSize makes the recorder write after about so many bytes instead of
// 64 KiB.
func ChunkSize(bytes int) Option {
	return func(r *Recorder) { r.chunkSize = max(1, bytes) }
}

// WriteOnly makes the recorder keep nothing in memory of what it has written.
// Its History is then empty: the file has to be read.
func WriteOnly() Option {
	return func(r *Recorder) { r.writeOnly = true }
}

// NewRecorder starts a recording. With a writer the recording is written there
// in the file format; nil keeps it in memory only. The recorder does not close
// the writer.
func NewRecorder(w io.Writer, opts ...Option) *Recorder {
	r := &Recorder{
		w:         w,
		chunkSize: defaultChunkSize,
		offset:    int64(headerSize),
		open:      make(map[int]openOp),
		keys:      make(map[string]int32),
		texts:     make(map[string]Value),
		errors:    make(map[string]uint16),
		tables:    History{Errors: []string{""}},
	}
	for _, o := range opts {
		o(r)
	}
	if w != nil {
		_, r.werr = w.Write(appendHeader(nil))
	}
	return r
}

// SetKeys names the keys 0, 1, … of the operations. Names are added in order;
// one that is there already keeps its index.
func (r *Recorder) SetKeys(names []string) {
	for _, n := range names {
		r.Key(n)
	}
}

// Key gives the index of a key's name, and adds it if it is new.
func (r *Recorder) Key(name string) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.keys[name]; ok {
		return k
	}
	if !r.writable("key", name) {
		return -1
	}
	k := int32(len(r.tables.Keys))
	r.keys[name] = k
	r.tables.Keys = append(r.tables.Keys, name)
	r.enc.key(name)
	r.spill()
	if r.sink != nil && r.sink.Key != nil {
		r.sink.Key(k, name)
	}
	return k
}

// Text gives the value that stands for a text, and adds it if it is new.
func (r *Recorder) Text(s string) Value {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.texts[s]; ok {
		return v
	}
	if !r.writable("text", s) {
		return Nil
	}
	if r.numbers {
		r.misuse("%v", errMixed)
		return Nil
	}
	v := Value(len(r.tables.Texts))
	r.texts[s] = v
	r.tables.Texts = append(r.tables.Texts, s)
	r.enc.text(s)
	r.spill()
	if r.sink != nil && r.sink.Text != nil {
		r.sink.Text(v, s)
	}
	return v
}

// Txn gives the value that stands for a transaction.
func (r *Recorder) Txn(t Txn) Value {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.writable("transaction", "") {
		return Nil
	}
	if err := r.tables.validTxn(t); err != nil {
		r.misuse("transaction: %v", err)
		return Nil
	}
	r.numbers = r.numbers || len(r.tables.Texts) == 0 && t.numeric()
	r.tables.Txns = append(r.tables.Txns, nil)
	r.enc.txn(t)
	r.spill()
	return Value(len(r.tables.Txns) - 1)
}

// List gives the value that stands for a list of values. The list must not
// change any more.
func (r *Recorder) List(l List) Value {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.writable("list", "") {
		return Nil
	}
	if err := r.tables.validList(l); err != nil {
		r.misuse("list: %v", err)
		return Nil
	}
	r.numbers = r.numbers || len(r.tables.Texts) == 0 && l.numeric()
	r.tables.Lists = append(r.tables.Lists, nil)
	r.enc.list(l)
	r.spill()
	return Value(len(r.tables.Lists) - 1)
}

// Invoke records that an operation begins, and gives the id to complete it
// with. It takes Call, Process, Key, Node, F and the arguments from op.
// The id is -1 for an operation that cannot be recorded.
func (r *Recorder) Invoke(op Op) (id int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.writable("operation", "") {
		return -1
	}
	op.Return, op.Out, op.Outcome, op.Err = Never, Nil, Info, 0
	if err := r.tables.validInvoke(&op); err != nil {
		r.misuse("process %d invokes %v: %v", op.Process, op.F, err)
		return -1
	}
	id = r.enc.next
	r.enc.invoke(&op)
	r.open[id] = openOp{call: op.Call, f: op.F}
	r.numbers = r.numbers || r.tables.numeric(&op)
	r.counts.Invoked++
	r.latest = max(r.latest, op.Call)
	r.spill()
	if r.sink != nil {
		if r.seen == nil {
			r.seen = make(map[int]Op)
		}
		r.seen[id] = op
		r.tell(&Event{ID: id, Op: op})
	}
	return id
}

// Complete records how an operation ended: at the time at (nanoseconds), with
// the output, if its function has one and it ended so that there is one (a
// read of any kind or a transaction that is ok, a compare-and-set that failed), and the
// error text, "" for none. Of more than 65,534 different error texts the rest
// are recorded as one.
func (r *Recorder) Complete(id int, out Value, outcome Outcome, at int64, err string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.writable("completion", err) {
		return
	}
	o, ok := r.open[id]
	if !ok {
		r.misuse("completion of operation %d, which is not in flight", id)
		return
	}
	if !hasOut(o.f, outcome) {
		out = Nil
	}
	done := Op{F: o.f, Call: o.call, Return: at, Out: out, Outcome: outcome}
	if err := r.tables.validComplete(&done); err != nil {
		r.misuse("operation %d: %v", id, err)
		return
	}
	r.numbers = r.numbers || r.tables.numeric(&done)
	delete(r.open, id)
	r.enc.complete(id, out, outcome, at, r.errorIndex(err))
	switch outcome {
	case OK:
		r.counts.OK++
	case Fail:
		r.counts.Fail++
	default:
		r.counts.Info++
	}
	if at != Never {
		r.latest = max(r.latest, at)
	}
	r.spill()
	if r.sink != nil {
		op := r.seen[id]
		delete(r.seen, id)
		op.Outcome, op.Return, op.Out, op.Err = outcome, at, out, r.errorIndex(err)
		r.tell(&Event{ID: id, Done: true, Op: op})
	}
}

// tell gives the sink an event, unless it has refused one.
func (r *Recorder) tell(e *Event) {
	if r.sinkErr == nil {
		r.sinkErr = r.sink.Event(e)
	}
}

// errorIndex gives the index of an error text, and adds it if it is new.
func (r *Recorder) errorIndex(s string) uint16 {
	if s == "" {
		return 0
	}
	if i, ok := r.errors[s]; ok {
		return i
	}
	n := len(r.tables.Errors)
	if n > math.MaxUint16 {
		return math.MaxUint16
	}
	if n == math.MaxUint16 {
		s = "(one more error than a history can tell apart)"
	}
	r.errors[s] = uint16(n)
	r.tables.Errors = append(r.tables.Errors, s)
	r.enc.error(s)
	return uint16(n)
}

// FaultStart records that applying a fault begins, and gives its id.
func (r *Recorder) FaultStart(kind, detail string, nodes []int, at int64) (id int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.writable("fault", kind+detail) {
		return -1
	}
	id = len(r.tables.Faults)
	f := Fault{ID: id, Kind: kind, Detail: detail, Nodes: append([]int(nil), nodes...), Start: at, End: Never}
	r.tables.Faults = append(r.tables.Faults, f)
	r.enc.fault(&f)
	r.latest = max(r.latest, at)
	r.spill()
	return id
}

// FaultEffect records what was observed of a fault's taking effect.
func (r *Recorder) FaultEffect(id int, p Proof) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.writable("proof", p.Evidence) || !r.started(id) {
		return
	}
	r.tables.Faults[id].Effect = p
	r.enc.effect(id, p)
	r.latest = max(r.latest, p.At)
	r.spill()
}

// FaultRecovery records that a fault was healed completely at the time end, and
// what was observed of that.
func (r *Recorder) FaultRecovery(id int, p Proof, end int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.writable("proof", p.Evidence) || !r.started(id) {
		return
	}
	f := &r.tables.Faults[id]
	f.Recovery, f.End = p, end
	r.enc.recovery(id, p, end)
	r.latest = max(r.latest, p.At)
	if end != Never {
		r.latest = max(r.latest, end)
	}
	r.spill()
}

func (r *Recorder) started(id int) bool {
	if id < 0 || id >= len(r.tables.Faults) {
		r.misuse("proof for fault %d, which was not started", id)
		return false
	}
	return true
}

// Phase records that a phase begins, which ends the one before.
func (r *Recorder) Phase(name string, at int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.writable("phase", name) {
		return
	}
	if n := len(r.tables.Phases); n > 0 && at < r.tables.Phases[n-1].Start {
		r.misuse("phase %q starts before phase %q", name, r.tables.Phases[n-1].Name)
		return
	}
	r.tables.Phases = append(r.tables.Phases, Phase{Name: name, Start: at})
	r.counts.Phase = name
	r.enc.phase(name, at)
	r.latest = max(r.latest, at)
	r.spill()
}

// Counts is how far a recording has come.
type Counts struct {
	Invoked, OK, Fail, Info int
	// Phase is the current one, "" before the first.
	Phase string
	// InForce are the faults that were started and not healed, as
	// "kind detail".
	InForce []string
}

// Counts tells how far the recording has come.
func (r *Recorder) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts
	for i := range r.tables.Faults {
		if f := &r.tables.Faults[i]; f.End == Never {
			c.InForce = append(c.InForce, f.Kind+" "+f.Detail)
		}
	}
	return c
}

// Flush writes what was recorded so far, so that a crash of this process does
// not lose it. Its error is the first one of the recording.
func (r *Recorder) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seal()
	return r.firstError()
}

// Close ends the recording, and its last phase, at the given time (nanoseconds)
// and flushes it. Operations still in flight stay Info without return. Its
// error is the first one of the recording.
func (r *Recorder) Close(at int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close(at)
	return r.firstError()
}

func (r *Recorder) close(at int64) {
	if r.closed {
		return
	}
	if n := len(r.tables.Phases); n > 0 && at < r.tables.Phases[n-1].Start {
		r.misuse("the recording closes before its last phase starts")
		at = r.latest
	}
	r.enc.end(at)
	r.seal()
	r.closed = true
}

// History gives the recorded history, the same one every time. It ends the
// recording, at the time of its last event, if Close did not.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.history == nil && (r.sink != nil || r.writeOnly) {
		r.close(r.latest)
		r.history = &History{}
	}
	if r.history == nil {
		r.close(r.latest)
		r.history = assemble(r.chunks, nil)
		// The history has its own.
		r.chunks, r.texts, r.tables.Texts, r.tables.Txns, r.tables.Lists = nil, nil, nil, nil, nil
	}
	return r.history
}

func (r *Recorder) firstError() error {
	if r.werr != nil {
		return fmt.Errorf("the history file is incomplete: %w", r.werr)
	}
	if r.err != nil {
		return fmt.Errorf("history recorder: %w", r.err)
	}
	return nil
}

// writable says whether the recording takes something more.
func (r *Recorder) writable(what, text string) bool {
	if r.closed {
		r.misuse("%s after the end of the recording", what)
		return false
	}
	if len(text) > maxText {
		r.misuse("%s of %d bytes; the limit is %d", what, len(text), maxText)
		return false
	}
	return true
}

func (r *Recorder) misuse(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *Recorder) spill() {
	if r.sink != nil {
		r.enc.buf, r.enc.ops = r.enc.buf[:0], 0
		return
	}
	if len(r.enc.buf) >= r.chunkSize {
		r.seal()
	}
}

// seal ends the open chunk, keeps it and writes it. After an error nothing more
// is written: a gap would make the rest useless.
func (r *Recorder) seal() {
	if len(r.enc.buf) == 0 {
		return
	}
	c := r.enc.seal()
	c.offset = r.offset
	r.offset += chunkHeaderSize + int64(len(c.payload))
	if !r.writeOnly {
		r.chunks = append(r.chunks, c)
	}
	if r.w != nil && r.werr == nil {
		r.werr = c.writeTo(r.w)
	}
}
