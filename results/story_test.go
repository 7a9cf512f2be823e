package results

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

func TestStoryGolden(t *testing.T) {
	failed := sampleRun(heldSample)
	failed.Verdicts = &Verdicts{Error: "node 3 did not start: exec format error"}
	for name, run := range map[string]*Run{
		"story-broken.txt":  sampleRun(brokenSample),
		"story-lost.txt":    sampleRun(sampleOptions{clients: 10, pause: 18 * time.Millisecond, lost: true}),
		"story-unknown.txt": sampleRun(heldSample),
		"story-failed.txt":  failed,
	} {
		t.Run(name, func(t *testing.T) {
			story := Story(run)
			golden(t, name, story)
			lines := strings.Split(strings.TrimSuffix(story, "\n"), "\n")
			require.LessOrEqual(t, len(lines), 30)
			require.Contains(t, lines[len(lines)-1], "--seed 42", "the command to replay comes last")
		})
	}
}

// told gives the sentences of a violation that is made of all operations of a
// small history on one key.
func told(h *history.History) []string {
	r := checkers.Result{Claim: checkers.Linearizable, Verdict: checkers.Broken}
	h.Keys = []string{"x"}
	for i := range h.Ops {
		h.Ops[i].Process, h.Ops[i].Node = int32(i), -1
		r.Ops = append(r.Ops, i)
	}
	var out []string
	t := tell(&Run{History: h}, &r, 10, 10)
	for _, s := range t.Steps {
		out = append(out, s.Text)
	}
	return out
}

func write(v history.Value, call, ret int64, o history.Outcome) history.Op {
	return history.Op{F: history.Write, Arg: v, Arg2: history.Nil, Out: history.Nil, Call: call * ms, Return: ret * ms, Outcome: o}
}

func read(v history.Value, call, ret int64) history.Op {
	return history.Op{F: history.Read, Arg: history.Nil, Arg2: history.Nil, Out: v, Call: call * ms, Return: ret * ms, Outcome: history.OK}
}

// A clause that says why is only there when the operations prove it.
func TestContradictions(t *testing.T) {
	const ok, fail, info = history.OK, history.Fail, history.Info
	for name, c := range map[string]struct {
		ops  []history.Op
		want string // of the last operation
	}{
		"older than an acknowledged write": {
			[]history.Op{write(1, 0, 1, ok), write(2, 2, 3, ok), read(1, 44, 45)},
			"process 2 read 1, although 2 had been acknowledged 41 ms earlier"},
		"the writes were concurrent, so their order is open": {
			[]history.Op{write(1, 0, 10, ok), write(2, 2, 3, ok), read(1, 44, 45)},
			"process 2 read 1"},
		"absent after a write": {
			[]history.Op{write(1, 0, 1, ok), read(history.Nil, 4, 5)},
			"process 1 read nothing, although 1 had been acknowledged 3 ms earlier"},
		"new then old, while the write is in flight": {
			[]history.Op{write(1, 0, 1, ok), write(2, 2, 50, ok), read(2, 3, 4), read(1, 6, 7)},
			"process 3 read 1, 2 ms after process 2 had read 2"},
		"from nowhere": {
			[]history.Op{write(1, 0, 1, ok), read(7, 4, 5)},
			"process 1 read 7, which no operation had written"},
		"from a failed write": {
			[]history.Op{write(1, 0, 1, fail), read(1, 4, 5)},
			"process 1 read 1, although writing it had failed"},
		"from the future": {
			[]history.Op{read(1, 0, 1), write(1, 4, 5, ok)},
			"process 1 wrote 1"},
		"the write may still come": {
			[]history.Op{write(1, 0, 1, ok), write(2, 2, 3, info), read(1, 44, 45)},
			"process 2 read 1"},
		"an unknown write of the old value may have come late": {
			[]history.Op{write(1, 0, 1, info), write(2, 2, 3, ok), read(1, 44, 45)},
			"process 2 read 1"},
		"touching intervals are concurrent": {
			[]history.Op{write(1, 0, 1, ok), write(2, 2, 3, ok), read(1, 3, 5)},
			"process 2 read 1"},
		"a value written twice says nothing": {
			[]history.Op{write(1, 0, 1, ok), write(2, 2, 3, ok), write(1, 2, 60, ok), read(1, 44, 45)},
			"process 3 read 1"},
	} {
		t.Run(name, func(t *testing.T) {
			got := told(&history.History{Ops: c.ops})
			require.Equal(t, c.want, got[len(got)-1])
		})
	}
	got := told(&history.History{Ops: []history.Op{read(1, 0, 1), write(1, 4, 5, ok)}})
	require.Equal(t, "process 0 read 1, 3 ms before anyone began to write it", got[0])
}

func TestDeeds(t *testing.T) {
	h := &history.History{Keys: []string{"x", "y"}, Txns: []history.Txn{{{F: history.Read, Key: 0, Value: 3}, {F: history.Write, Key: 1, Value: 4}}}}
	for want, o := range map[string]history.Op{
		"changed from 1 to 2":                          {F: history.CAS, Arg: 1, Arg2: 2, Outcome: history.OK},
		"failed to change from 1 to 2":                 {F: history.CAS, Arg: 1, Arg2: 2, Out: history.Nil, Outcome: history.Fail},
		"tried to change from 1 to 2 and saw 7":        {F: history.CAS, Arg: 1, Arg2: 2, Out: 7, Outcome: history.Fail},
		"tried to change from 1 to 2, outcome unknown": {F: history.CAS, Arg: 1, Arg2: 2},
		"failed to delete":                             {F: history.Delete, Outcome: history.Fail},
		"did [r x 3, w y 4]":                           {F: history.Transact, Outcome: history.OK},
		"acquired":                                     {F: history.Acquire, Outcome: history.OK},
		"tried to do [r x 3, w y 4], outcome unknown":  {F: history.Transact},
		"tried to append text 9, outcome unknown":      {F: history.Append, Arg: 9},
		"failed to read":                               {F: history.Read, Outcome: history.Fail},
	} {
		texts := *h
		if o.F == history.Append {
			texts.Texts = []string{"a"}
		}
		require.Equal(t, want, deed(&texts, &o))
	}
	h.Texts = []string{"hello\n"}
	require.Equal(t, `wrote "hello\n"`, deed(h, &history.Op{F: history.Write, Outcome: history.OK}))
}

func TestEndStates(t *testing.T) {
	run := &Run{History: &history.History{Keys: []string{"x"}}, Replicas: &Replicas{States: [][]harness.Replica{
		{{Present: true, Value: 7}}, nil, {{}}}}}
	require.Equal(t, "At the end node 0 held 7, node 1 could not be read, node 2 held nothing.", endStates(run, 0))
	require.True(t, differ([][]harness.Replica{{{Present: true, Value: 7}}, nil, {{}}}, 0))
	require.False(t, differ([][]harness.Replica{{{Value: 7}}, nil, {{Value: history.Nil}}}, 0), "absent is absent")

	run.Replicas.States = [][]harness.Replica{{{Elsewhere: true}}, {{Present: true, Value: 7}}, {{}}, {{Present: true, Value: 7}}}
	require.Equal(t, "At the end node 1 held 7, node 2 held nothing, node 3 held 7.", endStates(run, 0))
	require.True(t, differ(run.Replicas.States, 0))
	row := replicaRowOf(run, 0)
	require.Equal(t, []replicaCell{{Elsewhere: true}, {Text: "7"}, {Text: "nothing", Odd: true}, {Text: "7"}}, row.Cells)
	run.Replicas.States[2][0].Elsewhere = true
	require.False(t, differ(run.Replicas.States, 0))
}

func TestWordsForNumbers(t *testing.T) {
	for want, n := range map[string]int{"0": 0, "999": 999, "1,000": 1000, "-1,234,567": -1234567, "-100": -100} {
		require.Equal(t, want, count(n))
	}
	for want, d := range map[string]time.Duration{"0 s": 0, "17 ns": 17, "1.5 µs": 1500, "41 ms": 41 * time.Millisecond, "1.2 s": 1204 * time.Millisecond, "30 s": 30 * time.Second, "120 s": 2 * time.Minute, "90 min": 90 * time.Minute} {
		require.Equal(t, want, span(d))
	}
	require.Equal(t, 3, decimalsFor([]int64{1 * ms, 2 * ms, 2 * ms}))
	require.Equal(t, 6, decimalsFor([]int64{1 * ms, 1*ms + 2000}))
	require.Equal(t, 9, decimalsFor([]int64{1, 2}))
	require.Equal(t, "> 99.99 %", okShare(999_999, 1_000_000))
	require.Equal(t, "100 %", okShare(5, 5))
	require.Equal(t, "< 0.01 %", okShare(1, 1_000_000))
	require.Equal(t, "0.00 %", okShare(0, 3))
}
