package checkers

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// Histories of sets and banks are written as words like
//
//	+1@1-2      an add of 1, called at 1, ok at 2; "!" failed, "?" unknown
//	[1,2]@3-4   a read of all that saw 1 and 2
//
// "/k" at the end is the key. Operations stand in the order of their calls.
var collectionWord = regexp.MustCompile(`^(\+(\d+)|\[([-\d,]*)\])@(\d+)(?:-(\d+))?([!?]?)(?:/(\d+))?$`)

func parseCollection(t testing.TB, text string) *history.History {
	t.Helper()
	h := &history.History{Keys: []string{"k0", "k1"}}
	number := func(s string) (n int64) {
		_, _ = fmt.Sscan(s, &n)
		return n
	}
	for i, w := range strings.Fields(text) {
		m := collectionWord.FindStringSubmatch(w)
		require.NotNil(t, m, "not in the notation: %q", w)
		o := history.Op{F: history.ReadAll, Call: number(m[4]), Return: number(m[5]), Process: int32(i), Key: int32(number(m[7])),
			Arg: history.Nil, Arg2: history.Nil, Out: history.Nil, Outcome: map[string]history.Outcome{"": history.OK, "!": history.Fail, "?": history.Info}[m[6]]}
		if m[5] == "" {
			o.Return = history.Never
		}
		if m[2] != "" {
			o.F, o.Arg = history.Add, history.Value(number(m[2]))
		} else {
			l := history.List{}
			for _, e := range strings.Split(m[3], ",") {
				if e != "" {
					l = append(l, history.Value(number(e)))
				}
			}
			o.Out = history.Value(len(h.Lists))
			h.Lists = append(h.Lists, l)
		}
		h.Ops = append(h.Ops, o)
	}
	return h
}

func TestSets(t *testing.T) {
	for _, c := range []struct {
		name, history                  string
		stable, lost, neverRead, stale int
		want                           Verdict
	}{
		{"there", "+1@1-2 [1]@3-4", 1, 0, 0, 0, Held},
		{"seen before it was acknowledged", "+1@1-9 [1]@3-4 [1]@10-11", 1, 0, 0, 0, Held},
		{"missed before it was added", "[]@0-1 +1@2-3 [1]@4-5", 1, 0, 0, 0, Held},
		{"stale", "+1@1-2 []@3-4 [1]@5-6", 1, 0, 0, 1, Held},
		{"missed while it was added", "+1@1-4 []@3-5 [1]@6-7", 1, 0, 0, 0, Held},
		{"lost, though never seen", "+1@1-2 []@3-4", 0, 1, 0, 0, Broken},
		{"lost after it was seen", "+1@1-2 [1]@3-4 []@5-6", 0, 1, 0, 0, Broken},
		{"lost of unknown outcome, but seen", "+1@1? [1]@3-4 []@5-6", 0, 1, 0, 0, Broken},
		{"of unknown outcome, and never seen", "+1@1? []@3-4", 0, 0, 1, 0, Unknown},
		{"failed, and not there", "+1@1-2! []@3-4", 0, 0, 0, 0, Unknown},
		{"nobody read after it", "[]@1-2 +1@3-4", 0, 0, 1, 0, Unknown},
		{"one lost of three", "+1@1-2 +2@1-2 +3@1-2 [1,3]@3-4 [1,3,2]@5-6 [1,2]@7-8", 2, 1, 0, 1, Broken},
		{"keys apart", "+1@1-2/0 +2@1-2/1 [1]@3-4/0 [2]@3-4/1", 2, 0, 0, 0, Held},
		{"seen twice is seen once", "+1@1-2 [1,1]@3-4 []@5-6 [1]@7-8", 1, 0, 0, 1, Held},
		{"added again after it was lost", "+1@1-2 [1]@3-4 []@5-6 +1@7-8 [1]@9-10", 1, 0, 0, 1, Held},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := parseCollection(t, c.history)
			got := MeasureSets(h)
			require.Equal(t, []int{c.stable, c.lost, c.neverRead, c.stale}, []int{got.Stable, got.Lost, got.NeverRead, got.Stale})
			r := CheckSets(Input{History: h}, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			if c.want == Broken {
				require.NotEmpty(t, r.Ops)
			}
		})
	}
	r := CheckSets(Input{History: parseCollection(t, "+1@1000000-2000000 [1]@3000000-4000000 []@9000000-9500000")}, Budget{})
	require.Equal(t, `1 of 1 element broken (21–100 %), first on key "k0": process 0's add of 1 (0.001000 s to 0.002000 s) was seen by process 1's read of all: [1] (0.003000 s to 0.004000 s), and neither process 2's read of all: [] (0.009000 s to 0.009500 s) nor any later read sees it`, r.Reason)
	require.Equal(t, "lost after: p50 1, p95 1, p99 1, max 1 ms, of 1", r.Figures[0].String())
	require.Equal(t, Unknown, CheckSets(Input{History: parse(t, "w1@1-2 r1@3-4")}, Budget{}).Verdict)
}

// jepsenSetFull is jepsen.checker/set-full as it is written there: events in the
// order of time, and every element visited for each read.
func jepsenSetFull(h *history.History) (stable, lost, neverRead int) {
	type element struct {
		value                   history.Value
		known, present, absent  int64
		isKnown, isSeen, isMiss bool
	}
	var elements []*element
	type event struct {
		at   int64
		op   int
		done bool
	}
	var events []event
	for i := range h.Ops {
		events = append(events, event{h.Ops[i].Call, i, false})
		if h.Ops[i].Outcome != history.Info {
			events = append(events, event{h.Ops[i].Return, i, true})
		}
	}
	// Closed intervals: a call at the instant of a return comes first.
	for i := range events {
		for k := i; k > 0 && (events[k].at < events[k-1].at || events[k].at == events[k-1].at && !events[k].done && events[k-1].done); k-- {
			events[k], events[k-1] = events[k-1], events[k]
		}
	}
	for _, e := range events {
		o := &h.Ops[e.op]
		switch {
		case o.F == history.Add && o.Outcome != history.Fail && !e.done:
			elements = append(elements, &element{value: o.Arg})
		case o.F == history.Add && o.Outcome == history.OK:
			for _, x := range elements {
				if x.value == o.Arg && !x.isKnown {
					x.known, x.isKnown = o.Return, true
				}
			}
		case o.F == history.ReadAll && e.done && o.Outcome == history.OK:
			for _, x := range elements {
				sees := false
				for _, v := range h.Lists[o.Out] {
					sees = sees || v == x.value
				}
				if sees {
					if !x.isKnown {
						x.known, x.isKnown = o.Return, true
					}
					if !x.isSeen || o.Call > x.present {
						x.present, x.isSeen = o.Call, true
					}
				} else if !x.isMiss || o.Call > x.absent {
					x.absent, x.isMiss = o.Call, true
				}
			}
		}
	}
	for _, x := range elements {
		switch {
		case x.isSeen && (!x.isMiss || x.absent < x.present):
			stable++
		case x.isKnown && x.isMiss && (!x.isSeen || x.present < x.absent) && x.known < x.absent:
			lost++
		default:
			neverRead++
		}
	}
	return stable, lost, neverRead
}

func TestSetsAgreeWithJepsen(t *testing.T) {
	losses := 0
	for n := range 10_000 {
		r := rand.New(rand.NewPCG(uint64(n), 11))
		h := &history.History{}
		next := history.Value(1)
		calls := r.Perm(60) // no two calls at one instant: the original goes by the order of events
		for i := range 2 + r.IntN(10) {
			o := history.Op{F: history.Add, Process: int32(i), Call: int64(calls[i]), Outcome: history.OK, Arg: next, Out: history.Nil}
			o.Return = o.Call + int64(r.IntN(8))
			if r.IntN(2) == 0 {
				o.F, o.Out = history.ReadAll, history.Value(len(h.Lists))
				l := history.List{}
				for v := history.Value(1); v < 8; v++ {
					if r.IntN(3) > 0 {
						l = append(l, v)
					}
				}
				h.Lists = append(h.Lists, l)
			} else {
				next++
				switch r.IntN(8) {
				case 0:
					o.Outcome = history.Fail
				case 1:
					o.Outcome = history.Info
				}
			}
			h.Ops = append(h.Ops, o)
		}
		stable, lost, neverRead := jepsenSetFull(h)
		got := MeasureSets(h)
		require.Equal(t, []int{stable, lost, neverRead}, []int{got.Stable, got.Lost, got.NeverRead}, "%+v", h)
		losses += lost
	}
	require.Greater(t, losses, 1_000)
}

func TestCollectionValues(t *testing.T) {
	for _, c := range []struct {
		claim         Claim
		name, history string
		want          Verdict
	}{
		{NoDuplicates, "once each", "+1@1-2 +2@1-2 [1,2]@3-4", Held},
		{NoDuplicates, "twice", "+1@1-2 [1,1]@3-4", Broken},
		{NoDuplicates, "twice in two reads is no harm", "+1@1-2 [1]@3-4 [1]@5-6", Held},
		{NoDuplicates, "added twice", "+1@1-2 +1@1-2 [1,1]@3-4", Held},
		{NoDuplicates, "added twice, but one failed", "+1@1-2 +1@1-2! [1,1]@3-4", Broken},
		{NoDuplicates, "perhaps added twice", "+1@1-2 +1@1? [1,1]@3-4", Held},
		{NoDuplicates, "nothing seen", "+1@1-2 []@3-4", Unknown},
		{NoPhantoms, "added", "+1@1-2 [1]@3-4", Held},
		{NoPhantoms, "added by nobody", "+1@1-2 [1,2]@3-4", Broken},
		{NoPhantoms, "its add failed", "+1@1-2! [1]@3-4", Broken},
		{NoPhantoms, "seen too early", "[1]@1-2 +1@3-4", Broken},
		{NoPhantoms, "another key's", "+1@1-2/0 [1]@3-4/1", Broken},
	} {
		t.Run(string(c.claim)+" "+c.name, func(t *testing.T) {
			r := JudgeOptions{}.checker(c.claim)(Input{History: parseCollection(t, c.history)}, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.NotEmpty(t, r.Reason)
		})
	}
}

func TestPhantomsAtReplicas(t *testing.T) {
	h := parse(t, "w1@1-2 w2@3-4! r1@5-6")
	check := func(values ...string) Result {
		return NoPhantomsWith(Options{})(Input{History: h, Replicas: replicasOf(values...)}, Budget{})
	}
	require.Equal(t, Held, check("1", "1", "nil", "~", "-").Verdict)
	r := check("1", "2")
	require.Equal(t, Broken, r.Verdict)
	require.Equal(t, `1 of 3 seen values broken (6.1–79 %), first on key "k0": node 1 holds 2 at the end, which nobody wrote: process 1's failed write of 2 (3 ns to 4 ns) had been reported as not done`, r.Reason)
}

func TestBank(t *testing.T) {
	for _, c := range []struct {
		name, history string
		opts          BankOptions
		want          Verdict
		violations    int
	}{
		{"conserved", "[50,50]@1-2 [40,60]@3-4 [0,100]@5-6", BankOptions{}, Held, 0},
		{"one read saw half a transfer", "[50,50]@1-2 [40,50]@3-4 [40,60]@5-6", BankOptions{}, Broken, 1},
		{"as expected", "[50,50]@1-2", BankOptions{Total: 100}, Held, 0},
		{"all wrong", "[50,60]@1-2 [60,50]@3-4", BankOptions{Total: 100}, Broken, 2},
		{"below zero", "[50,50]@1-2 [-10,110]@3-4", BankOptions{}, Broken, 1},
		{"below zero, and allowed", "[50,50]@1-2 [-10,110]@3-4", BankOptions{Overdraft: true}, Held, 0},
		{"the first of two totals is right", "[50,50]@1-2 [60,50]@3-4", BankOptions{}, Broken, 1},
		{"an empty bank is not opened yet", "[]@1-2 [50,50]@3-4", BankOptions{}, Held, 0},
		{"two banks", "[50,50]@1-2/0 [5,5]@1-2/1", BankOptions{}, Held, 0},
		{"nothing read", "[]@1-2", BankOptions{}, Unknown, 0},
		{"a set", "+1@1-2 [1]@3-4", BankOptions{}, Unknown, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := BankWith(c.opts)(Input{History: parseCollection(t, c.history)}, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.Equal(t, c.violations, r.Violations, r.Reason)
		})
	}
	r := BankWith(BankOptions{})(Input{History: parseCollection(t, "[50,50]@1-2 [40,50]@3-4 [40,60]@5-6")}, Budget{})
	require.Equal(t, `1 of 3 reads broken (6.1–79 %), first on key "k0": process 1's read of all: [40 50] (3 ns to 4 ns), which are 90 in all and should be 100`, r.Reason)
}
