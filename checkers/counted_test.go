package checkers

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

func TestCounted(t *testing.T) {
	add := func(n history.Value, call, ret int64) history.Op {
		return history.Op{F: history.Add, Arg: n, Call: call, Return: ret, Outcome: history.OK}
	}
	read := func(n history.Value, call, ret int64) history.Op {
		return history.Op{F: history.Read, Out: n, Call: call, Return: ret, Outcome: history.OK}
	}
	as := func(o history.Op, outcome history.Outcome) history.Op { o.Outcome = outcome; return o }
	for _, c := range []struct {
		name string
		ops  []history.Op
		want Verdict
		why  string
	}{
		{"all seen", []history.Op{add(2, 1, 2), add(3, 3, 4), read(5, 5, 6)}, Held, "1 read, all between"},
		{"one lost", []history.Op{add(2, 1, 2), add(3, 3, 4), read(2, 5, 6)}, Broken, "at least 5 and at most 5; at most 3 too little and 0 too much"},
		{"too much", []history.Op{add(2, 1, 2), read(3, 5, 6)}, Broken, "0 too little and 1 too much"},
		{"not yet", []history.Op{add(2, 1, 5), read(0, 5, 6)}, Held, ""},
		{"already", []history.Op{add(2, 6, 9), read(2, 5, 6)}, Held, ""},
		{"too early", []history.Op{add(2, 7, 9), read(2, 5, 6)}, Broken, ""},
		{"unknown, seen", []history.Op{as(add(2, 1, 2), history.Info), read(2, 5, 6)}, Held, ""},
		{"unknown, not seen", []history.Op{as(add(2, 1, 2), history.Info), read(0, 5, 6)}, Held, ""},
		{"failed", []history.Op{as(add(2, 1, 2), history.Fail), read(2, 5, 6)}, Broken, ""},
		{"down, perhaps", []history.Op{add(5, 1, 2), as(add(-3, 3, 4), history.Info), read(2, 5, 6), read(5, 7, 8)}, Held, ""},
		{"down too far", []history.Op{add(5, 1, 2), add(-3, 3, 4), read(1, 5, 6)}, Broken, "at least 2 and at most 2"},
		{"absent is 0", []history.Op{read(history.Nil, 1, 2)}, Held, ""},
		{"nothing was read", []history.Op{add(1, 1, 2)}, Unknown, "no counter was read"},
		{"of registers", []history.Op{{F: history.Write, Call: 1, Return: 2, Outcome: history.OK}}, Unknown, "is a write"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := CheckCounted(Input{History: &history.History{Keys: []string{"n"}, Ops: c.ops}}, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.Contains(t, r.Reason, c.why)
		})
	}
}

// Whatever is linearizable is counted.
func TestLinearizableCountersAreCounted(t *testing.T) {
	r := gathering{rand.New(rand.NewPCG(3, 3)), ModelCounter}
	broken := 0
	for range 10_000 {
		h := r.history()
		c := CheckCounted(Input{History: h}, Budget{})
		if c.Verdict == Broken {
			broken++
			require.Equal(t, Broken, CheckModel(h, ModelCounter, Options{}, Budget{}).Verdict, "%s: %s", c.Reason, tellAll(h))
		}
	}
	require.Greater(t, broken, 500)
}
