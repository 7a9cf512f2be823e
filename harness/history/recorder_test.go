package history

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestRecorderTellsTheRun(t *testing.T) {
	r := NewRecorder(nil)
	r.SetKeys([]string{"x", "y"})
	r.Phase(PhaseBefore, 0)
	a := r.Invoke(Op{F: Write, Key: 1, Arg: 7, Process: 0, Node: 2, Call: 10})
	b := r.Invoke(Op{F: Read, Key: 1, Process: 1, Node: -1, Call: 12, Out: 99})
	c := r.Invoke(Op{F: CAS, Key: 0, Arg: 1, Arg2: 2, Process: 2, Call: 12})
	r.Complete(b, 7, OK, 20, "")
	r.Complete(a, 0, OK, 21, "")
	r.Phase(PhaseFaults, 25)
	f := r.FaultStart("partition", "0 | 1 2", []int{0, 1, 2}, 26)
	r.Complete(c, Nil, Info, 30, "timeout")
	d := r.Invoke(Op{F: Write, Key: 0, Arg: 8, Process: 3, Call: 31})
	require.Equal(t, 3, d)

	require.Equal(t, Counts{Invoked: 4, OK: 2, Info: 1, Phase: PhaseFaults, InForce: []string{"partition 0 | 1 2"}}, r.Counts())

	r.FaultEffect(f, Proof{OK: true, At: 32, Evidence: "probe lost"})
	r.FaultRecovery(f, Proof{OK: true, At: 41, Evidence: "probe back"}, 40)
	require.Empty(t, r.Counts().InForce)
	require.NoError(t, r.Close(50))

	h := r.History()
	require.NoError(t, h.Validate())
	require.Equal(t, &History{
		Keys:   []string{"x", "y"},
		Errors: []string{"", "timeout"},
		Ops: []Op{
			{F: Write, Key: 1, Arg: 7, Out: Nil, Process: 0, Node: 2, Call: 10, Return: 21, Outcome: OK},
			{F: Read, Key: 1, Out: 7, Process: 1, Node: -1, Call: 12, Return: 20, Outcome: OK},
			{F: CAS, Key: 0, Arg: 1, Arg2: 2, Out: Nil, Process: 2, Call: 12, Return: 30, Outcome: Info, Err: 1},
			{F: Write, Key: 0, Arg: 8, Out: Nil, Process: 3, Call: 31, Return: Never, Outcome: Info},
		},
		Faults: []Fault{{Kind: "partition", Detail: "0 | 1 2", Nodes: []int{0, 1, 2}, Start: 26, End: 40,
			Effect:   Proof{OK: true, At: 32, Evidence: "probe lost"},
			Recovery: Proof{OK: true, At: 41, Evidence: "probe back"}}},
		Phases: []Phase{{PhaseBefore, 0, 25}, {PhaseFaults, 25, 50}},
	}, h)
	require.Same(t, h, r.History())
}

func TestRecorderSortsByCall(t *testing.T) {
	r := NewRecorder(nil)
	r.SetKeys([]string{"x"})
	r.Complete(r.Invoke(Op{F: Write, Arg: 1, Process: 0, Call: 10}), Nil, OK, 11, "")
	r.Complete(r.Invoke(Op{F: Write, Arg: 2, Process: 1, Call: 5}), Nil, OK, 12, "")
	r.Complete(r.Invoke(Op{F: Write, Arg: 3, Process: 2, Call: 5}), Nil, OK, 12, "")
	require.NoError(t, r.Close(20))
	var args []Value
	for _, o := range r.History().Ops {
		args = append(args, o.Arg)
	}
	require.Equal(t, []Value{2, 3, 1}, args, "by call, ties in recording order")
}

func TestRecorderRefusesMisuse(t *testing.T) {
	write := Op{F: Write, Arg: 1, Call: 10}
	for _, c := range []struct {
		name string
		do   func(r *Recorder)
		want string
	}{
		{"unknown key", func(r *Recorder) { r.Invoke(Op{F: Read, Key: 1}) }, "key 1, but there are 1 keys"},
		{"negative key", func(r *Recorder) { r.Invoke(Op{F: Read, Key: -1}) }, "key -1"},
		{"unknown function", func(r *Recorder) { r.Invoke(Op{F: 99}) }, "unknown function f99"},
		{"negative time", func(r *Recorder) { r.Invoke(Op{F: Read, Call: -1}) }, "called at -1 ns"},
		{"unknown text", func(r *Recorder) { r.Invoke(Op{F: Append, Arg: 0}) }, "appends text 0"},
		{"unknown transaction", func(r *Recorder) { r.Invoke(Op{F: Transact, Arg: 3}) }, "transaction 3"},
		{"completed twice", func(r *Recorder) {
			id := r.Invoke(write)
			r.Complete(id, Nil, OK, 11, "")
			r.Complete(id, Nil, OK, 12, "")
		}, "operation 0, which is not in flight"},
		{"completed without invocation", func(r *Recorder) { r.Complete(0, Nil, OK, 1, "") }, "not in flight"},
		{"returns before its call", func(r *Recorder) { r.Complete(r.Invoke(write), Nil, OK, 9, "") }, "returned before that"},
		{"ok without return", func(r *Recorder) { r.Complete(r.Invoke(write), Nil, OK, Never, "") }, "never returned"},
		{"unknown fault", func(r *Recorder) { r.FaultEffect(0, Proof{}) }, "fault 0, which was not started"},
		{"phases backwards", func(r *Recorder) { r.Phase("a", 5); r.Phase("b", 4) }, `phase "b" starts before phase "a"`},
		{"after the end", func(r *Recorder) { r.Close(1); r.Invoke(write) }, "after the end"},
		{"text after numbers", func(r *Recorder) { r.Invoke(write); r.Text("a") }, "values are numbers"},
		{"number after texts", func(r *Recorder) { r.Text("a"); r.Invoke(write) }, "text 1, but there are 1 texts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewRecorder(nil)
			r.Key("x")
			c.do(r)
			require.ErrorContains(t, r.Flush(), c.want)
			require.ErrorContains(t, r.Close(100), c.want)
			require.NoError(t, r.History().Validate(), "what is left is sound")
		})
	}
}

func TestRecorderKeepsOutputsOnlyWhereThereAreSome(t *testing.T) {
	r := NewRecorder(nil)
	r.Key("x")
	for _, o := range []struct {
		f       F
		outcome Outcome
	}{{Write, OK}, {Read, Fail}, {Read, Info}, {CAS, OK}, {Read, OK}, {CAS, Fail}} {
		r.Complete(r.Invoke(Op{F: o.f, Arg: 1}), 5, o.outcome, 1, "")
	}
	require.NoError(t, r.Close(2))
	var outs []Value
	for _, o := range r.History().Ops {
		outs = append(outs, o.Out)
	}
	require.Equal(t, []Value{Nil, Nil, Nil, Nil, 5, 5}, outs)
}

func TestRecorderBoundsErrors(t *testing.T) {
	r := NewRecorder(nil)
	r.Key("x")
	for i := range 1<<16 + 10 {
		r.Complete(r.Invoke(Op{F: Read}), Nil, Fail, 1, fmt.Sprint("error ", i))
	}
	require.NoError(t, r.Close(1))
	h := r.History()
	require.Len(t, h.Errors, 1<<16)
	require.Equal(t, "error 65533", h.Error(&h.Ops[65533]))
	require.Equal(t, "(one more error than a history can tell apart)", h.Error(&h.Ops[65540]))
}

type brokenWriter struct{ after int }

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.after -= len(p); w.after < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

func TestRecorderReportsAFullDiskAndGoesOn(t *testing.T) {
	r := NewRecorder(&brokenWriter{after: 40})
	r.Key("x")
	require.NoError(t, r.Flush())
	for i := range 10 {
		r.Complete(r.Invoke(Op{F: Write, Arg: Value(i), Call: int64(i)}), Nil, OK, int64(i), "")
	}
	require.ErrorContains(t, r.Flush(), "the history file is incomplete: no space left on device")
	require.Error(t, r.Close(20))
	require.Len(t, r.History().Ops, 10)
}

func TestRecorderIsSafeForConcurrentUse(t *testing.T) {
	var file bytes.Buffer
	r := NewRecorder(&file, ChunkSize(100))
	r.SetKeys([]string{"x"})
	var wg sync.WaitGroup
	for p := range int32(8) {
		wg.Go(func() {
			for i := range int64(200) {
				id := r.Invoke(Op{F: Write, Arg: Value(i), Process: p, Call: 2 * i})
				if i%50 == 0 {
					r.Counts()
					r.FaultRecovery(r.FaultStart("kill", "0", []int{0}, i), Proof{}, i+1)
				}
				r.Complete(id, Nil, OK, 2*i+1, "")
			}
		})
	}
	wg.Wait()
	require.NoError(t, r.Close(1000))
	h := r.History()
	require.NoError(t, h.Validate())
	require.Len(t, h.Ops, 1600)
	got, err := Decode(&file)
	require.NoError(t, err)
	require.Equal(t, h.Hash(), got.Hash())
}

func TestHistoryEndsTheRecording(t *testing.T) {
	var file bytes.Buffer
	r := NewRecorder(&file)
	r.Key("x")
	r.Phase(PhaseBefore, 1)
	r.Complete(r.Invoke(Op{F: Read, Call: 5}), Nil, OK, 9, "")
	h := r.History()
	require.Equal(t, []Phase{{PhaseBefore, 1, 9}}, h.Phases, "at the last event")
	require.NoError(t, r.Close(100))
	got, err := Decode(&file)
	require.NoError(t, err)
	require.Equal(t, h, got)
	require.Equal(t, -1, r.Invoke(Op{F: Read}))
	require.ErrorContains(t, r.Flush(), "after the end of the recording")
}

// A register history takes at most 64 bytes an operation, all included, while
// it is recorded and afterwards.
func TestMemory(t *testing.T) {
	require.EqualValues(t, 56, unsafe.Sizeof(Op{}))
	const n = 200_000
	r := NewRecorder(nil)
	before := heap()
	record(r, n)
	require.Less(t, heap()-before, int64(64*n))
	h := r.History()
	require.Less(t, heap()-before, int64(64*n))
	require.Len(t, h.Ops, n)
	runtime.KeepAlive(r)
}

// discard is a writer that costs nothing but is no io.Discard shortcut.
type discard struct{ n int }

func (d *discard) Write(p []byte) (int, error) { d.n += len(p); return len(p), nil }

// record records n register operations of 16 processes that are a microsecond
// apart and take some 40 µs.
func record(r *Recorder, n int) {
	const processes = 16
	r.SetKeys([]string{"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"})
	var ids [processes]int
	for i := range n + processes {
		at := int64(i) * 2500
		p := i % processes
		if i >= processes {
			r.Complete(ids[p], Value(i), OK, at+500, "")
		}
		if i < n {
			ids[p] = r.Invoke(Op{F: Read + F(i&1), Arg: Value(i), Process: int32(p), Node: int16(p % 5), Key: int32(i % 8), Call: at + 1000})
		}
	}
}

// BenchmarkRecord is one operation, invocation and completion, with the file
// writer on. B/op-recording and B/op-history are heap in use per operation
// while recording and when the history is there.
func BenchmarkRecord(b *testing.B) {
	w := &discard{}
	r := NewRecorder(w)
	before := heap()
	b.ResetTimer()
	record(r, b.N)
	b.StopTimer()
	b.ReportMetric(float64(heap()-before)/float64(b.N), "B/op-recording")
	h := r.History()
	b.ReportMetric(float64(heap()-before)/float64(b.N), "B/op-history")
	b.ReportMetric(float64(w.n)/float64(b.N), "B/op-file")
	runtime.KeepAlive(h)
	runtime.KeepAlive(r)
}

// BenchmarkHistory is the assembly of the recorded operations.
func BenchmarkHistory(b *testing.B) {
	r := NewRecorder(nil)
	record(r, b.N)
	b.ResetTimer()
	if len(r.History().Ops) != b.N {
		b.Fatal("operations lost")
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
