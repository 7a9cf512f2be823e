package history

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

// genText is a text that every format can hold.
var genText = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "a", `"`, `\`, "\n", "\x00", "é", "{}"}))

// genHistory draws a valid history as a recorder makes it: of one kind of
// values, with processes that do one thing at a time, with many ties.
func genHistory(t *rapid.T) *History {
	h := &History{Errors: []string{""}}
	h.Keys = rapid.SliceOfNDistinct(genText, 1, 4, rapid.ID[string]).Draw(t, "keys")
	if rapid.Bool().Draw(t, "textual") {
		h.Texts = rapid.SliceOfNDistinct(genText, 1, 4, rapid.ID[string]).Draw(t, "texts")
	}
	for _, e := range rapid.SliceOfNDistinct(genText, 0, 3, rapid.ID[string]).Draw(t, "errors") {
		if e != "" {
			h.Errors = append(h.Errors, e)
		}
	}
	value := func() Value {
		if len(h.Texts) > 0 {
			return Value(rapid.IntRange(0, len(h.Texts)-1).Draw(t, "text"))
		}
		return Value(rapid.Int64Range(int64(Nil)+1, 1<<63-1).Draw(t, "value"))
	}
	orNil := func() Value {
		if rapid.Bool().Draw(t, "nil") {
			return Nil
		}
		return value()
	}
	key := func() int32 { return int32(rapid.IntRange(0, len(h.Keys)-1).Draw(t, "key")) }
	now := int64(0)
	free := make([]int64, rapid.IntRange(1, 5).Draw(t, "processes")) // when the process is free again
	fs := []F{Read, Write, CAS, Delete, Transact, Acquire, Release, Add, ReadAll}
	if len(h.Texts) > 0 {
		fs = append(fs, Append)
	} else {
		fs = append(fs, Transfer)
	}
	for range rapid.IntRange(0, 20).Draw(t, "ops") {
		now += rapid.SampledFrom([]int64{0, 0, 1, 2, 1e6}).Draw(t, "wait")
		p := rapid.IntRange(0, len(free)-1).Draw(t, "process")
		if free[p] > now {
			continue
		}
		o := Op{F: rapid.SampledFrom(fs).Draw(t, "f"), Process: int32(p), Key: key(), Call: now, Return: Never, Out: Nil,
			Node: rapid.Int16Range(-1, 4).Draw(t, "node"), Outcome: Outcome(rapid.IntRange(0, 2).Draw(t, "outcome"))}
		txn := Txn{}
		switch o.F {
		case Write, Append, Add:
			o.Arg = value()
		case CAS:
			o.Arg, o.Arg2 = orNil(), value()
		case Transfer:
			from := rapid.IntRange(0, 1000).Draw(t, "from")
			o.Arg = Accounts(from, (from+rapid.IntRange(1, maxAccount).Draw(t, "to"))%(maxAccount+1))
			o.Arg2 = Value(rapid.Int64Range(1, 1<<62).Draw(t, "amount"))
		case Transact:
			for range rapid.IntRange(0, 3).Draw(t, "mops") {
				m := Mop{F: Read, Key: key(), Value: Nil}
				if rapid.Bool().Draw(t, "write") {
					m = Mop{F: Write, Key: key(), Value: value()}
				}
				txn = append(txn, m)
			}
			o.Arg = Value(len(h.Txns))
			h.Txns = append(h.Txns, txn)
		}
		if o.Outcome != Info || rapid.Bool().Draw(t, "returns") {
			o.Return = now + rapid.SampledFrom([]int64{0, 1, 2, 3, 1e9}).Draw(t, "takes")
			o.Err = uint16(rapid.IntRange(0, len(h.Errors)-1).Draw(t, "error"))
		}
		if hasOut(o.F, o.Outcome) {
			if o.Out = orNil(); o.F == ReadAll && o.Out != Nil {
				o.Out = Value(len(h.Lists))
				l := List{}
				for range rapid.IntRange(0, 4).Draw(t, "long") {
					l = append(l, orNil())
				}
				h.Lists = append(h.Lists, l)
			} else if o.F == Transact {
				out := slices.Clone(txn)
				for i := range out {
					if out[i].F == Read {
						out[i].Value = orNil()
					}
				}
				o.Out = Value(len(h.Txns))
				h.Txns = append(h.Txns, out)
			}
		}
		free[p] = o.Return
		h.Ops = append(h.Ops, o)
	}
	at := int64(0)
	for i := range rapid.IntRange(0, 3).Draw(t, "faults") {
		at += rapid.Int64Range(0, 5).Draw(t, "later")
		proof := func() Proof {
			return Proof{OK: rapid.Bool().Draw(t, "bit"), At: at, Evidence: genText.Draw(t, "evidence")}
		}
		f := Fault{ID: i, Kind: genText.Draw(t, "kind"), Detail: genText.Draw(t, "detail"), Start: at, End: Never,
			Nodes: rapid.SliceOfN(rapid.IntRange(0, 4), 0, 3).Draw(t, "nodes")}
		if len(f.Nodes) == 0 {
			f.Nodes = nil
		}
		if rapid.Bool().Draw(t, "proved") {
			f.Effect = proof()
		}
		if rapid.Bool().Draw(t, "healed") {
			f.End, f.Recovery = at+3, proof()
		}
		h.Faults = append(h.Faults, f)
	}
	at = 0
	for range rapid.IntRange(0, 3).Draw(t, "phases") {
		p := Phase{Name: genText.Draw(t, "phase"), Start: at}
		at += rapid.Int64Range(0, 50).Draw(t, "long")
		p.End = at
		h.Phases = append(h.Phases, p)
	}
	require.NoError(t, h.Validate())
	return h
}

func encode(t require.TestingT, h *History) []byte {
	var b bytes.Buffer
	require.NoError(t, Encode(&b, h))
	return b.Bytes()
}

func TestEncodeDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := genHistory(t)
		got, err := Decode(bytes.NewReader(encode(t, h)))
		require.NoError(t, err)
		require.Equal(t, h, got)
		require.Equal(t, h.Hash(), got.Hash())
	})
}

// Every change of a history changes its hash.
func TestHashSeesEverything(t *testing.T) {
	fresh := func() *History {
		return &History{
			Keys: []string{"x", "y"}, Texts: []string{"a", "b"}, Txns: []Txn{{{F: Read}}}, Errors: []string{"", "e"},
			Ops:    []Op{{}, {}},
			Faults: []Fault{{Nodes: []int{1}}},
			Phases: []Phase{{}},
		}
	}
	seen := map[[32]byte]int{fresh().Hash(): -1}
	for i, change := range []func(h *History){
		func(h *History) { h.Keys[1] = "z" },
		func(h *History) { h.Keys = []string{"xy"} },
		func(h *History) { h.Keys, h.Texts = h.Keys[:1], append([]string{"y"}, h.Texts...) },
		func(h *History) { h.Texts[1] = "c" },
		func(h *History) { h.Txns[0][0].F = Write },
		func(h *History) { h.Txns[0][0].Key = 1 },
		func(h *History) { h.Txns[0][0].Value = 1 },
		func(h *History) { h.Errors[1] = "f" },
		func(h *History) { h.Ops = h.Ops[:1] },
		func(h *History) { h.Ops[1].Call = 1 },
		func(h *History) { h.Ops[1].Return = 1 },
		func(h *History) { h.Ops[1].Arg = 1 },
		func(h *History) { h.Ops[1].Arg2 = 1 },
		func(h *History) { h.Ops[1].Out = 1 },
		func(h *History) { h.Ops[1].Process = 1 },
		func(h *History) { h.Ops[1].Key = 1 },
		func(h *History) { h.Ops[1].Node = 1 },
		func(h *History) { h.Ops[1].Err = 1 },
		func(h *History) { h.Ops[1].F = 1 },
		func(h *History) { h.Ops[1].Outcome = 1 },
		func(h *History) { h.Faults[0].ID = 1 },
		func(h *History) { h.Faults[0].Kind = "k" },
		func(h *History) { h.Faults[0].Detail = "d" },
		func(h *History) { h.Faults[0].Nodes[0] = 2 },
		func(h *History) { h.Faults[0].Start = 1 },
		func(h *History) { h.Faults[0].End = 1 },
		func(h *History) { h.Faults[0].Effect.OK = true },
		func(h *History) { h.Faults[0].Effect.At = 1 },
		func(h *History) { h.Faults[0].Recovery.Evidence = "e" },
		func(h *History) { h.Phases[0].Name = "p" },
		func(h *History) { h.Phases[0].Start = 1 },
		func(h *History) { h.Phases[0].End = 1 },
		func(h *History) { h.Cut = &CutError{} },
	} {
		h := fresh()
		change(h)
		sum := h.Hash()
		require.NotContains(t, seen, sum, "changes %d and %d", i, seen[sum])
		seen[sum] = i
	}
}

// A history of every kind of event, in small chunks.
func everything(w *bytes.Buffer) *History {
	r := NewRecorder(w, ChunkSize(24))
	r.SetKeys([]string{"x", "y"})
	r.Phase(PhaseBefore, 0)
	read := r.Txn(Txn{{F: Read, Key: 1, Value: Nil}, {F: Write, Value: 6}})
	a := r.Invoke(Op{F: Write, Arg: 5, Process: 1, Node: 3, Call: 1000})
	b := r.Invoke(Op{F: Transact, Arg: read, Process: 2, Node: -1, Call: 1500})
	f := r.FaultStart("kill", "node 1", []int{1}, 1600)
	r.FaultEffect(f, Proof{OK: true, At: 1700, Evidence: "gone"})
	r.Complete(b, r.Txn(Txn{{F: Read, Key: 1, Value: 4}, {F: Write, Value: 6}}), OK, 1800, "")
	r.Phase(PhaseFaults, 1850)
	r.Complete(a, Nil, Info, 1900, "timeout")
	r.Complete(r.Invoke(Op{F: CAS, Arg: 1, Arg2: 2, Call: 1950}), 7, Fail, 1999, "")
	r.FaultRecovery(f, Proof{OK: true, At: 2100, Evidence: "back"}, 2000)
	r.Invoke(Op{F: Read, Process: 4, Call: 2500})
	r.Close(3000)
	return r.History()
}

// The bytes of a file are a promise to files that exist.
func TestFormatStaysTheSame(t *testing.T) {
	var b bytes.Buffer
	h := everything(&b)
	if *update {
		require.NoError(t, os.WriteFile("testdata/format-1.hex", []byte(hex.Dump(b.Bytes())), 0o644))
	}
	want, err := os.ReadFile("testdata/format-1.hex")
	require.NoError(t, err)
	require.Equal(t, string(want), hex.Dump(b.Bytes()), "a change of the format needs a new version")
	got, err := Decode(&b)
	require.NoError(t, err)
	require.Equal(t, h, got)
}

func TestDecodeEveryCut(t *testing.T) {
	var b bytes.Buffer
	whole := everything(&b)
	ops, faults := 0, 0
	for n := range b.Len() {
		h, err := Decode(bytes.NewReader(b.Bytes()[:n]))
		if n < headerSize {
			require.Error(t, err, "%d bytes", n)
			continue
		}
		require.NoError(t, err, "%d bytes", n)
		var cut *CutError
		require.ErrorAs(t, h.Cut, &cut, "%d bytes", n)
		require.LessOrEqual(t, cut.Offset, int64(n))
		require.NoError(t, h.Validate())
		require.GreaterOrEqual(t, len(h.Ops), ops)
		require.GreaterOrEqual(t, len(h.Faults), faults)
		ops, faults = len(h.Ops), len(h.Faults)
		for i := range h.Ops {
			got, want := h.Ops[i], whole.Ops[i]
			if !got.completed() {
				want.Outcome, want.Return, want.Out, want.Err = Info, Never, Nil, 0
			}
			require.Equal(t, want, got)
		}
		again, err := Decode(bytes.NewReader(encode(t, h)))
		require.NoError(t, err)
		require.Error(t, again.Cut, "a cut history stays one")
		require.Equal(t, h.Hash(), again.Hash())
	}
	require.Equal(t, len(whole.Ops), ops)
}

// No flipped bit goes unnoticed, and what is read is what was written.
func TestDecodeEveryDamage(t *testing.T) {
	var b bytes.Buffer
	whole := everything(&b)
	for i := range b.Len() * 8 {
		damaged := bytes.Clone(b.Bytes())
		damaged[i/8] ^= 1 << (i % 8)
		h, err := Decode(bytes.NewReader(damaged))
		if i/8 < headerSize {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		require.Error(t, h.Cut, "bit %d", i)
		require.LessOrEqual(t, len(h.Ops), len(whole.Ops))
		for j := range h.Ops {
			require.Equal(t, whole.Ops[j].Call, h.Ops[j].Call)
		}
	}
}

func TestDecodeTails(t *testing.T) {
	var b bytes.Buffer
	everything(&b)
	for name, tail := range map[string][]byte{
		"zeros":    make([]byte, 4096),
		"the file": b.Bytes(),
		"a chunk":  b.Bytes()[headerSize:],
	} {
		h, err := Decode(bytes.NewReader(append(bytes.Clone(b.Bytes()), tail...)))
		require.NoError(t, err)
		require.Error(t, h.Cut, name)
		require.Len(t, h.Ops, 4, name)
	}
}

// file makes a file of one chunk with a right checksum.
func file(ops uint32, events func(e *encoder)) []byte {
	e := encoder{}
	events(&e)
	c := chunk{payload: e.buf, ops: ops}
	head := c.header()
	return append(append(appendHeader(nil), head[:]...), c.payload...)
}

// A checksum that is right does not make what is wrong right.
func TestDecodeHostile(t *testing.T) {
	num := func(e *encoder, tag byte, us ...uint64) {
		e.tag(tag)
		for _, u := range us {
			e.uint(u)
		}
	}
	read := &Op{F: Read, Call: 5}
	for name, c := range map[string]struct {
		ops    uint32
		events func(e *encoder)
		want   string
	}{
		"unknown event":       {0, func(e *encoder) { num(e, 99) }, "unknown event 99"},
		"key not defined":     {1, func(e *encoder) { e.invoke(read) }, "out of range"},
		"function":            {1, func(e *encoder) { e.key("x"); e.invoke(&Op{F: 77}) }, "unknown function f77"},
		"negative time":       {1, func(e *encoder) { e.key("x"); e.invoke(&Op{F: Read, Call: -1}) }, "called at -1"},
		"text not defined":    {1, func(e *encoder) { e.key("x"); e.text("a"); e.invoke(&Op{F: Write, Arg: 1}) }, "text 1"},
		"texts after numbers": {1, func(e *encoder) { e.key("x"); e.invoke(&Op{F: Write, Arg: 1}); e.text("a") }, "values are numbers"},
		"too many":            {1, func(e *encoder) { e.key("x"); e.invoke(read); e.invoke(read) }, "more than the 1"},
		"too few":             {1, func(e *encoder) { e.key("xxxxxx") }, "holds 0 invocations and states 1"},
		"completion of none":  {0, func(e *encoder) { e.next = 1; e.complete(0, Nil, OK, 5, 0) }, "not invoked"},
		"completed twice":     {1, func(e *encoder) { e.key("x"); e.invoke(read); e.complete(0, 1, OK, 5, 0); e.complete(0, 1, OK, 6, 0) }, "completed twice"},
		"outcome":             {1, func(e *encoder) { e.key("x"); e.invoke(read); e.complete(0, Nil, 3, 5, 0) }, "unknown outcome 3"},
		"before its call":     {1, func(e *encoder) { e.key("x"); e.invoke(read); e.complete(0, Nil, OK, 4, 0) }, "returned before"},
		"never ok":            {1, func(e *encoder) { e.key("x"); e.invoke(read); e.complete(0, Nil, OK, Never, 0) }, "never returned"},
		"error not defined":   {1, func(e *encoder) { e.key("x"); e.invoke(read); e.complete(0, Nil, OK, 5, 1) }, "out of range"},
		"output of a write":   {1, func(e *encoder) { e.key("x"); e.invoke(&Op{F: Write}); e.complete(0, 3, OK, 5, 0) }, "no output"},
		"fault not started":   {0, func(e *encoder) { e.effect(0, Proof{}) }, "not started"},
		"phase ends early":    {0, func(e *encoder) { e.phase("a", 5); e.phase("b", 4) }, `phase "a" ends before`},
		"after the end":       {0, func(e *encoder) { e.end(1); e.key("x") }, "after the end"},
		"long string":         {0, func(e *encoder) { num(e, evKey, 1<<40) }, "cut off inside"},
		"many nodes":          {0, func(e *encoder) { num(e, evFault, 0, 0, 0, 0, 1<<40) }, "cut off inside"},
		"many parts":          {0, func(e *encoder) { num(e, evTxn, 1<<62) }, "cut off inside"},
		"endless number":      {0, func(e *encoder) { e.tag(evEnd); e.buf = append(e.buf, bytes.Repeat([]byte{0xff}, 20)...) }, "cut off inside"},
		"transaction":         {0, func(e *encoder) { e.key("x"); e.txn(Txn{{F: Append}}) }, "cannot append"},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := Decode(bytes.NewReader(file(c.ops, c.events)))
			require.NoError(t, err)
			require.ErrorContains(t, h.Cut, c.want)
			require.NoError(t, h.Validate())
		})
	}
}

// A length or a count is a claim: what is not there is not allocated.
func TestDecodeAllocatesWhatIsThere(t *testing.T) {
	claim := func(size, ops uint32) []byte {
		b := appendHeader(nil)
		b = binary.LittleEndian.AppendUint32(b, size)
		b = binary.LittleEndian.AppendUint32(b, ops)
		return append(binary.LittleEndian.AppendUint32(b, 0), "some bytes"...)
	}
	for _, in := range [][]byte{claim(maxPayload, 1), claim(maxPayload, maxPayload/minInvoke), claim(100, 1<<31), claim(1<<32-1, 0)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		h, err := Decode(bytes.NewReader(in))
		runtime.ReadMemStats(&after)
		require.NoError(t, err)
		require.Error(t, h.Cut)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
	}
}

func TestFiles(t *testing.T) {
	var b bytes.Buffer
	h := everything(&b)
	path := filepath.Join(t.TempDir(), "history.assay")
	require.NoError(t, WriteFile(path, h))
	got, err := ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, h, got)
	got, err = ImportFile(path)
	require.NoError(t, err)
	require.Equal(t, h, got)
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file is left")

	h.Ops[0].Key = 99
	require.ErrorContains(t, WriteFile(path, h), "operation 0: key 99")
	_, err = ReadFile(path)
	require.NoError(t, err, "the file of before is still there")
	_, err = ReadFile(path + "x")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	everything(&b)
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()/2])
	f.Add(file(1, func(e *encoder) { e.key("x"); e.text("a"); e.invoke(&Op{F: Append}); e.end(9) }))
	f.Fuzz(func(t *testing.T, in []byte) {
		check := func(in []byte) {
			h, err := Decode(bytes.NewReader(in))
			if err != nil {
				return
			}
			require.NoError(t, h.Validate())
			again, err := Decode(bytes.NewReader(encode(t, h)))
			require.NoError(t, err)
			require.Equal(t, h.Hash(), again.Hash())
		}
		check(in)
		// The same as the events of a chunk, behind a right checksum.
		n := uint32(bytes.Count(in, []byte{evInvoke}))
		for ops := range min(n, 4) + 1 {
			if len(in) > 0 {
				check(file(ops, func(e *encoder) { e.buf = in }))
			}
		}
	})
}

// BenchmarkRead is one operation read from a file.
func BenchmarkRead(b *testing.B) {
	var w bytes.Buffer
	r := NewRecorder(&w)
	record(r, b.N)
	if err := r.Close(int64(b.N) * 3000); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(w.Len() / b.N))
	b.ResetTimer()
	h, err := Decode(&w)
	if err != nil || h.Cut != nil || len(h.Ops) != b.N {
		b.Fatal(err, h.Cut)
	}
}

// BenchmarkHash is one operation hashed.
func BenchmarkHash(b *testing.B) {
	r := NewRecorder(nil)
	record(r, b.N)
	h := r.History()
	b.ResetTimer()
	h.Hash()
}
