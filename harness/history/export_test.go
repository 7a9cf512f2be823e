package history

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// fact is an operation by meaning: without indices, which may differ between
// histories that say the same.
type fact struct {
	op            Op
	key, err      string
	arg, arg2, to string
}

func facts(h *History) []fact {
	say := func(v Value) string {
		if v == Nil || len(h.Texts) == 0 {
			return v.String()
		}
		return "text " + h.Texts[v]
	}
	var fs []fact
	for _, o := range h.Ops {
		f := fact{op: o, key: h.KeyName(o.Key), err: h.Error(&o)}
		switch {
		case o.F == Transact:
			f.arg = sayTxn(h, say, o.Arg)
			f.to = "nil"
			if o.Out != Nil {
				f.to = sayTxn(h, say, o.Out)
			}
		case o.F == ReadAll && o.Out != Nil:
			for _, v := range h.Lists[o.Out] {
				f.to += say(v) + "; "
			}
			f.to = "list " + f.to
		default:
			f.arg, f.arg2, f.to = say(o.Arg), say(o.Arg2), say(o.Out)
			if o.F != CAS && o.F != Transfer {
				f.arg2 = ""
			}
			if o.F != CAS && o.F != Transfer && o.F != Write && o.F != Append && o.F != Add {
				f.arg = ""
			}
		}
		f.op.Key, f.op.Err, f.op.Arg, f.op.Arg2, f.op.Out = 0, 0, 0, 0, 0
		fs = append(fs, f)
	}
	return fs
}

func sayTxn(h *History, say func(Value) string, v Value) string {
	var b strings.Builder
	for _, m := range h.Txns[v] {
		b.WriteString(m.F.String() + " " + h.KeyName(m.Key) + " " + say(m.Value) + "; ")
	}
	return b.String()
}

func TestJSONLinesLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := genHistory(t)
		var b bytes.Buffer
		require.NoError(t, ExportJSONL(&b, h))
		got, err := Import(&b, "h")
		require.NoError(t, err)
		require.NoError(t, got.Validate())
		require.Equal(t, facts(h), facts(got))
		require.Equal(t, h.Keys, got.Keys)
		require.Equal(t, h.Faults, got.Faults)
		require.Equal(t, h.Phases, got.Phases)
	})
}

// precedes lists who precedes whom among the operations of which something can
// be concluded, by the operations' indices.
func precedes(ops []Op) [][]bool {
	m := make([][]bool, len(ops))
	for i := range ops {
		m[i] = make([]bool, len(ops))
		for j := range ops {
			m[i][j] = ops[i].binds() && ops[i].End() < ops[j].Call
		}
	}
	return m
}

// EDN has no ties, and yet no precedence may come or go, except between
// operations of one process in one instant, where it is real.
func TestEDNKeepsPrecedence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := genHistory(t)
		var b bytes.Buffer
		require.NoError(t, ExportEDN(&b, h))
		got, err := Import(bytes.NewReader(b.Bytes()), "h")
		require.NoError(t, err, b.String())
		require.Len(t, got.Ops, len(h.Ops))

		// The import has them by invocation in the file: find them again by
		// what they are.
		order, err := ednOrder(h)
		require.NoError(t, err)
		var ops []Op
		var from []int
		for _, m := range order {
			if m.kind == invokes {
				from = append(from, int(m.index))
				ops = append(ops, h.Ops[m.index])
			}
		}
		before, after := precedes(ops), precedes(got.Ops)
		a, c := facts(&History{Ops: ops, Keys: h.Keys, Texts: h.Texts, Txns: h.Txns, Lists: h.Lists, Errors: h.Errors}), facts(got)
		for i := range ops {
			require.Equal(t, ops[i].Outcome, got.Ops[i].Outcome)
			a[i].op, c[i].op = Op{}, Op{}
			require.Equal(t, a[i], c[i])
			for j := range ops {
				if sequel := ops[i].Process == ops[j].Process && from[i] < from[j]; !sequel {
					require.Equal(t, before[i][j], after[i][j], "%d before %d in\n%s", from[i], from[j], b.String())
				}
			}
		}
	})
}

// Where no two events share an instant, EDN loses nothing of any operation.
func TestEDNLosesNothingOfOperations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := genHistory(t)
		order, err := timeline(h)
		require.NoError(t, err)
		for i, m := range order {
			if at := int64(1000 + 7*i); m.kind == invokes {
				h.Ops[m.index].Call = at
			} else {
				h.Ops[m.index].Return = at
			}
		}
		// In the order in which they are called now.
		slices.SortStableFunc(h.Ops, func(a, b Op) int { return int(a.Call - b.Call) })
		for _, f := range []Format{FormatEDN, FormatJSONL, FormatAssay, FormatEDN} {
			var b bytes.Buffer
			require.NoError(t, Export(&b, h, f))
			got, err := ImportAs(&b, "h", f)
			require.NoError(t, err)
			require.Equal(t, facts(h), facts(got), "%s", f)
			h = got
		}
	})
}

// A set is read in EDN as Jepsen reads it, and comes back as what it was; where a
// key is read in both ways the words differ.
func TestEDNReadsOfAll(t *testing.T) {
	set := &History{Keys: []string{"s"}, Lists: []List{{1, 2}}, Ops: []Op{
		{F: ReadAll, Process: 0, Node: -1, Call: 0, Return: 1, Out: Nil, Outcome: OK},
		{F: Add, Arg: 1, Process: 0, Node: -1, Call: 2, Return: 3, Out: Nil, Outcome: OK},
		{F: ReadAll, Process: 0, Node: -1, Call: 4, Return: 5, Out: 0, Outcome: OK},
		{F: ReadAll, Process: 0, Node: -1, Call: 6, Return: 7, Out: Nil, Outcome: Fail},
	}}
	both := *set
	both.Ops = append(slices.Clone(set.Ops), Op{F: Read, Process: 0, Node: -1, Call: 8, Return: 9, Out: 3, Outcome: OK})
	for h, word := range map[*History]string{set: ":f :read, :value [1 2]", &both: ":f :read-all, :value [1 2]"} {
		var b bytes.Buffer
		require.NoError(t, ExportEDN(&b, h))
		require.Contains(t, b.String(), word)
		require.Equal(t, facts(h), facts(importText(t, b.String())))
	}
}

func TestFormats(t *testing.T) {
	for name, want := range map[string]Format{"a.assay": FormatAssay, "b/A.JSONL": FormatJSONL, "x.ndjson": FormatJSONL, "y.edn": FormatEDN, "z.log": FormatLog} {
		got, ok := FormatOf(name)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	_, ok := FormatOf("history.txt")
	require.False(t, ok)
	h := &History{Keys: []string{"x"}, Phases: []Phase{{"a", 0, 9}}, Faults: []Fault{{Kind: "kill"}}, Ops: []Op{
		{F: Read, Process: 0, Call: 1, Return: 1, Out: Nil, Outcome: OK}}}
	require.Len(t, Lost(h, FormatEDN), 3)
	require.Empty(t, Lost(h, FormatJSONL))
	require.ErrorContains(t, Export(nil, h, FormatLog), "write edn")
	require.ErrorContains(t, Export(nil, h, "xml"), `unknown format "xml"`)
	_, err := ImportAs(strings.NewReader("[]"), "h", "xml")
	require.ErrorContains(t, err, `h:1: unknown format "xml"`)
	_, err = ImportAs(strings.NewReader("[]"), "h", FormatJSONL)
	require.Error(t, err)
}

func TestExportGolden(t *testing.T) {
	var file bytes.Buffer
	h := everything(&file)
	for name, export := range map[string]func(*bytes.Buffer) error{
		"testdata/export.jsonl": func(b *bytes.Buffer) error { return ExportJSONL(b, h) },
		"testdata/export.edn":   func(b *bytes.Buffer) error { return ExportEDN(b, h) },
	} {
		var b bytes.Buffer
		require.NoError(t, export(&b))
		if *update {
			require.NoError(t, os.WriteFile(name, b.Bytes(), 0o644))
		}
		want, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, string(want), b.String())
	}
}

func TestExportOfOutsideHistories(t *testing.T) {
	for name := range outside {
		h, err := ImportFile("testdata/" + name)
		require.NoError(t, err)
		for _, export := range []func(*bytes.Buffer) error{
			func(b *bytes.Buffer) error { return ExportEDN(b, h) },
			func(b *bytes.Buffer) error { return ExportJSONL(b, h) },
		} {
			var b bytes.Buffer
			require.NoError(t, export(&b))
			got, err := Import(&b, name)
			require.NoError(t, err)
			require.Equal(t, facts(h), facts(got), name)
		}
	}
}

func TestExportRefuses(t *testing.T) {
	op := Op{F: Write, Arg: 1, Return: 5, Out: Nil, Outcome: OK}
	for name, c := range map[string]struct {
		h    History
		want string
	}{
		"no UTF-8":        {History{Keys: []string{"\xff"}}, "no UTF-8"},
		"not valid":       {History{Ops: []Op{op}}, "key 0, but there are 0 keys"},
		"write of nil":    {History{Keys: []string{"x"}, Ops: []Op{{F: Write, Arg: Nil, Return: 5, Out: Nil}}}, "writes nil"},
		"two in flight":   {History{Keys: []string{"x"}, Ops: []Op{op, op}}, "process 0 invokes operation 1 while its operation 0 is in flight"},
		"time backwards":  {History{Keys: []string{"x"}, Ops: []Op{{F: Read, Call: 3, Return: 3, Out: Nil}, op}}, "called before"},
		"unsorted faults": {History{Faults: []Fault{{Start: 3}, {Start: 2}}}, "fault 1 starts before"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			require.ErrorContains(t, ExportJSONL(&b, &c.h), c.want)
			require.ErrorContains(t, ExportEDN(&b, &c.h), c.want)
		})
	}
}

func FuzzImport(f *testing.F) {
	for _, s := range []string{
		"[{:process 0, :type :invoke, :f :cas, :value [1 2]} ; c\n {:process 0, :type :fail, :f :cas, :seen 3, :error \"x\", :time 9}]",
		"{:process 0 :type :invoke :f :txn :value [[:read :x nil] [:w y 2]]} #_ 3 #tag {:process :nemesis :type :info :f :start}",
		"{:process 0 :type :invoke :f :add :value 1}{:process 0 :type :ok :f :add}{:process 0 :type :invoke :f :read}{:process 0 :type :ok :f :read :value #{1 2}}",
		"INFO  jepsen.util - 3\t:invoke\t:append\t\"a\\n\\u0041\"\nINFO  jepsen.util - 3\t:info\t:append\t:timed-out\n",
		`{"type":"history","version":1,"keys":["x"]}` + "\n" + `{"type":"invoke","process":3,"f":"write","value":1,"time":5}` + "\n" + `{"type":"ok","process":3,"f":"write","time":6}`,
		`{"type":"fault","kind":"kill","start":3,"end":2}` + "\n" + `{"type":"phase","name":"a","start":3}` + "\n" + `{"type":"end","time":9}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := Import(bytes.NewReader(in), "h")
		if err != nil {
			var ie *ImportError
			require.ErrorAs(t, err, &ie)
			require.GreaterOrEqual(t, ie.Line, 1)
			require.LessOrEqual(t, ie.Line, bytes.Count(in, []byte("\n"))+1)
			return
		}
		require.NoError(t, h.Validate())
		if slices.ContainsFunc(h.Ops, func(o Op) bool { return o.Process > 1<<30 }) || exportable(h) != nil {
			return
		}
		var b bytes.Buffer
		if _, err := timeline(h); err != nil {
			return // from a file of our own, which holds what was recorded
		}
		require.NoError(t, ExportJSONL(&b, h))
		got, err := Import(bytes.NewReader(b.Bytes()), "h")
		require.NoError(t, err)
		require.Equal(t, facts(h), facts(got))
		b.Reset()
		require.NoError(t, ExportEDN(&b, h))
		_, err = Import(&b, "h")
		require.NoError(t, err)
	})
}

// BenchmarkImportEDN is one operation, two maps, of a large history.
func BenchmarkImportEDN(b *testing.B) {
	r := NewRecorder(nil)
	record(r, b.N)
	var w bytes.Buffer
	if err := ExportEDN(&w, r.History()); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(w.Len() / b.N))
	b.ResetTimer()
	if _, err := Import(&w, "h"); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkImportJSONL is one operation, two lines.
func BenchmarkImportJSONL(b *testing.B) {
	r := NewRecorder(nil)
	record(r, b.N)
	var w bytes.Buffer
	if err := ExportJSONL(&w, r.History()); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(w.Len() / b.N))
	b.ResetTimer()
	if _, err := Import(&w, "h"); err != nil {
		b.Fatal(err)
	}
}

// Two processes whose operations return in one instant, and who go on in it:
// all four overlap, and no order of events with two process numbers says so.
func TestEDNGivesAProcessOfItsOwn(t *testing.T) {
	h := &History{Keys: []string{""}, Ops: []Op{
		{F: Write, Arg: 1, Process: 0, Node: -1, Call: 0, Return: 5, Out: Nil, Outcome: OK},
		{F: Write, Arg: 2, Process: 1, Node: -1, Call: 0, Return: 5, Out: Nil, Outcome: OK},
		{F: Write, Arg: 3, Process: 0, Node: -1, Call: 5, Return: 9, Out: Nil, Outcome: OK},
		{F: Write, Arg: 4, Process: 1, Node: -1, Call: 5, Return: 9, Out: Nil, Outcome: OK},
	}}
	var b bytes.Buffer
	require.NoError(t, ExportEDN(&b, h))
	got := importText(t, b.String())
	for i := range got.Ops {
		for j := range got.Ops {
			require.GreaterOrEqual(t, got.Ops[i].End(), got.Ops[j].Call, "%d must not precede %d in\n%s", i, j, b.String())
		}
	}
	require.EqualValues(t, 2, got.Ops[2].Process)
	// Alone, the process keeps its number: its own order is real.
	h.Ops = []Op{h.Ops[0], h.Ops[2]}
	b.Reset()
	require.NoError(t, ExportEDN(&b, h))
	got = importText(t, b.String())
	require.Zero(t, got.Ops[1].Process)
}
