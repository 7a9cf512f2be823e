package results

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/history"
)

func op(f history.F, arg, arg2, out history.Value, call, ret int64) history.Op {
	return history.Op{F: f, Arg: arg, Arg2: arg2, Out: out, Call: call * ms, Return: ret * ms, Outcome: history.OK}
}

// violationOf is a run of a small history on one key that is broken by all of its
// operations, each of a process of its own.
func violationOf(h *history.History, reading checkers.Options) *Run {
	h.Keys = []string{"x"}
	r := checkers.Result{Claim: checkers.Linearizable, Verdict: checkers.Broken, Reason: "wrong"}
	for i := range h.Ops {
		h.Ops[i].Process, h.Ops[i].Node = int32(i), -1
		r.Minimal = append(r.Minimal, i)
	}
	return &Run{History: h, Reading: reading, Verdicts: &Verdicts{Verdict: checkers.Broken, Results: []checkers.Result{r}}}
}

// Every kind of violation has words.
func TestWhatIsWrong(t *testing.T) {
	const none = history.Nil
	cas := func(from, to history.Value, call, ret int64) history.Op {
		return op(history.CAS, from, to, none, call, ret)
	}
	for name, c := range map[string]struct {
		h       history.History
		reading checkers.Options
		want    string // of the last operation
		because []string
	}{
		"two compare-and-sets of one value": {
			h: history.History{Ops: []history.Op{write(9, 0, 1, history.OK), cas(9, 2, 5, 8), cas(9, 3, 6, 9)}},
			because: []string{"2 saw what 1 wrote, which 3 replaced, so 2 is before 3",
				"3 saw what 1 wrote, which 2 replaced, so 3 is before 2"},
		},
		"compare-and-sets in a circle": {
			h:       history.History{Ops: []history.Op{cas(1, 2, 0, 9), cas(2, 1, 0, 9)}},
			because: []string{"2 saw what 1 wrote, so 1 is before 2", "1 saw what 2 wrote, so 2 is before 1"},
		},
		"a compare-and-set of an old value": {
			h:    history.History{Ops: []history.Op{write(1, 0, 1, history.OK), write(2, 2, 3, history.OK), cas(1, 3, 9, 10)}},
			want: "process 2 changed from 1 to 3, although 2 had been acknowledged 6 ms earlier",
			because: []string{"2 had ended 6 ms before 3 began",
				"3 saw what 1 wrote, which 2 replaced, so 3 is before 2"},
		},
		"a compare-and-set from nowhere": {
			h:    history.History{Ops: []history.Op{cas(7, 8, 0, 1)}},
			want: "process 0 changed from 7 to 8, although no operation had written 7",
		},
		"a compare-and-set of its own value": {
			h:       history.History{Ops: []history.Op{cas(7, 7, 0, 1)}},
			want:    "process 0 changed from 7 to 7, although no other operation had written 7",
			because: []string{"1 saw what only it wrote itself"},
		},
		"two values in force at one time": {
			h: history.History{Ops: []history.Op{write(1, 0, 9, history.OK), write(2, 0, 9, history.OK),
				read(1, 10, 11), read(2, 10, 12), read(1, 14, 15), read(2, 14, 15)}},
			want:    "process 5 read 2, 3 ms after process 2 had read 1",
			because: []string{"1, which comes after 2, saw what 2 wrote"},
		},
		"a deleted value comes back": {
			h:    history.History{Ops: []history.Op{write(1, 0, 1, history.OK), op(history.Delete, none, none, none, 2, 3), read(1, 7, 8)}},
			want: "process 2 read 1, although it had been deleted 4 ms earlier",
		},
		"the initial value is no value from nowhere": {
			h:       history.History{Ops: []history.Op{write(1, 0, 1, history.OK), read(0, 4, 5)}},
			reading: checkers.Options{Initial: new(history.Value)},
			want:    "process 1 read 0, although 1 had been acknowledged 3 ms earlier",
			because: []string{"1 had ended 3 ms before 2 began", "2 saw the initial value, which 1 replaced, so 2 is before 1"},
		},
		"of unknown outcome, and seen": {
			h:       history.History{Ops: []history.Op{write(3, 0, 9, history.Info), read(3, 1, 2), write(0, 3, 4, history.OK), read(3, 6, 7)}},
			because: []string{"3 had ended 2 ms before 4 began", "4 saw what 1 wrote, which 3 replaced after 2 had seen it, so 4 is before 3"},
		},
		"written since": {
			h:    history.History{Ops: []history.Op{write(1, 0, 1, history.OK), read(1, 2, 3), write(2, 4, 9, history.OK), read(2, 6, 7)}},
			want: "process 3 read 2",
		},
		"a mutex held twice": {
			h:       history.History{Ops: []history.Op{op(history.Acquire, none, none, none, 0, 1), op(history.Acquire, none, none, none, 3, 4)}},
			want:    "process 1 acquired, although process 0 had done so 2 ms earlier and nobody released it since",
			because: []string{"1 had ended 2 ms before 2 began", "2 saw the initial value, which 1 replaced, so 2 is before 1"},
		},
		"a mutex let go twice": {
			h: history.History{Ops: []history.Op{op(history.Acquire, none, none, none, 0, 1),
				op(history.Release, none, none, none, 2, 3), op(history.Release, none, none, none, 5, 6)}},
			want: "process 2 released, although process 1 had done so 2 ms earlier and nobody acquired it since",
		},
		"an append is missing": {
			h: history.History{Texts: []string{"a", "b"}, Ops: []history.Op{op(history.Append, 0, none, none, 0, 1),
				op(history.Append, 1, none, none, 2, 3), op(history.Read, none, none, 0, 5, 6)}},
			reading: checkers.Options{Model: checkers.ModelKV},
			want:    `process 2 read "a", although "b" had been appended 2 ms earlier`,
		},
		"an element is missing": {
			h: history.History{Lists: []history.List{{1}}, Ops: []history.Op{op(history.Add, 1, none, none, 0, 1),
				op(history.Add, 2, none, none, 2, 3), op(history.ReadAll, none, none, 0, 5, 6)}},
			want: "process 2 read [1], although 2 had been added 2 ms earlier",
		},
		"an element from nowhere": {
			h:    history.History{Lists: []history.List{{1, 3}}, Ops: []history.Op{op(history.Add, 1, none, none, 0, 1), op(history.ReadAll, none, none, 0, 5, 6)}},
			want: "process 1 read [1 3], in which nobody had put 3",
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := violationOf(&c.h, c.reading)
			got := tell(run, &run.Verdicts.Results[0], 10, 10)
			if c.want != "" {
				require.Equal(t, c.want, got.Steps[len(got.Steps)-1].Text)
			}
			switch {
			case name == "two values in force at one time":
				require.NotEmpty(t, got.Because)
			case c.because != nil:
				require.Equal(t, c.because, got.Because)
			}
			// Where no step says what is wrong, the story says it below them.
			require.Equal(t, !got.Plain && len(got.Because) > 0, strings.Contains(Story(run), "no order explains that"))
			// Whatever can be told can be drawn.
			page, doc := draw(t, run)
			diagrams := all(doc, hasClass("diagram"))
			require.Len(t, diagrams, 1, page)
			require.Len(t, all(diagrams[0], hasClass("op")), len(c.h.Ops))
		})
	}
}

// Of many operations those are told that contradict each other; what they rest
// on is counted, and is no value from nowhere.
func TestLongViolations(t *testing.T) {
	h := &history.History{Ops: []history.Op{write(0, 0, 1, history.OK)}}
	for i := range int64(40) {
		h.Ops = append(h.Ops, op(history.CAS, history.Value(i), history.Value(i+1), history.Nil, 10*i+10, 10*i+11))
	}
	h.Ops = append(h.Ops, read(20, 900, 901))
	run := violationOf(h, checkers.Options{})
	got := tell(run, &run.Verdicts.Results[0], 8, 8)
	require.Equal(t, 39, got.More)
	var ops []int
	for _, s := range got.Steps {
		ops = append(ops, s.Op)
	}
	require.Equal(t, []int{20, 21, 41}, ops)
	require.Equal(t, "process 41 read 20, although 21 had been acknowledged 689 ms earlier", got.Steps[2].Text)
	require.Equal(t, []string{"2 had ended 689 ms before 3 began", "3 saw what 1 wrote, which 2 replaced, so 3 is before 2"}, got.Because)
	story := Story(run)
	require.Contains(t, story, "… and 39 operations that these rest on")
	_, doc := draw(t, run)
	require.Len(t, all(all(doc, hasClass("diagram"))[0], hasClass("op")), 3)

	// With no circle the last ones are told.
	h.Ops[len(h.Ops)-1].Out = 77
	got = tell(run, &run.Verdicts.Results[0], 8, 8)
	require.Len(t, got.Steps, 8)
	require.Empty(t, got.Because)
	for _, s := range got.Steps[:7] {
		require.NotContains(t, s.Text, "no operation had written")
	}
}

// The diagram has a bar for each operation with its number, an arrow for each
// order, and says all of it in words.
func TestDiagram(t *testing.T) {
	run := violationOf(&history.History{Ops: []history.Op{write(1, 0, 1, history.OK), write(2, 2, 50, history.Info), read(2, 3, 4), read(1, 6, 7)}}, checkers.Options{})
	run.History.Faults = []history.Fault{{Kind: "pause", Detail: "n1", Start: 5 * ms, End: 8 * ms, Effect: history.Proof{OK: true}}, {Kind: "kill", Start: 90 * ms, End: 95 * ms}}
	_, doc := draw(t, run)
	d := all(doc, hasClass("diagram"))[0]
	require.Len(t, all(d, hasClass("arrow")), 4, "three of the circle, and who saw what was replaced")
	require.Len(t, all(d, hasClass("arrow-letter")), 3)
	require.Len(t, all(d, hasClass("fault")), 1, "what is in force meanwhile")
	require.Len(t, all(d, hasClass("bar", "write", "info")), 1)
	title, desc := text(all(d, isTag("title"))[0]), text(all(d, isTag("desc"))[0])
	require.Equal(t, "The 4 operations of the violation of linearizable", title)
	for _, s := range []string{"4 bars in 4 lanes", "2: process 1 tried to write 2, outcome unknown", "4: process 3 read 1, 2 ms after process 2 had read 2",
		"3 saw what 2 wrote, so 2 is before 3; 3 had ended 2 ms before 4 began; 4 saw what 1 wrote, which 2 replaced, so 4 is before 2"} {
		require.Contains(t, desc, s)
	}

	// Too many operations are listed, not drawn.
	long := &history.History{}
	for i := range int64(40) {
		long.Ops = append(long.Ops, write(history.Value(i), 10*i, 10*i+1, history.OK))
	}
	_, doc = draw(t, violationOf(long, checkers.Options{}))
	require.Empty(t, all(doc, hasClass("diagram")))
}

// What stands in the run directory as the smallest violation is judged the same.
func TestCounterexampleFiles(t *testing.T) {
	run := sampleRun(brokenSample)
	run.Verdicts.Results[0].Minimal = run.Verdicts.Results[0].Ops
	d := store(t, t.TempDir(), run)
	got, err := Load(d.Path())
	require.NoError(t, err)
	require.Equal(t, []string{"counterexample-linearizable.jsonl"}, got.Counterexamples)
	page, err := os.ReadFile(d.PagePath())
	require.NoError(t, err)
	require.Equal(t, 2, bytes.Count(page, []byte(`href="counterexample-linearizable.jsonl"`)))
	h, err := history.ImportFile(filepath.Join(d.Path(), "counterexample-linearizable.jsonl"))
	require.NoError(t, err)
	require.Len(t, h.Ops, len(run.Verdicts.Results[0].Ops))
	require.Equal(t, checkers.Broken, checkers.CheckModel(h, checkers.ModelRegister, checkers.Options{}, checkers.Budget{}).Verdict)

	// Names that no text can hold are kept in our own format.
	run.History.Keys[h0(run)] = "\xff"
	d = store(t, t.TempDir(), run)
	got, err = Load(d.Path())
	require.NoError(t, err)
	require.Equal(t, []string{"counterexample-linearizable.assay"}, got.Counterexamples)
	h, err = history.ImportFile(filepath.Join(d.Path(), got.Counterexamples[0]))
	require.NoError(t, err)
	require.Equal(t, []string{"\xff"}, h.Keys)
}

// h0 is the key of the first violation of a run.
func h0(run *Run) int32 { return run.Verdicts.Results[0].Key }
