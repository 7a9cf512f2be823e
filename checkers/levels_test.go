package checkers

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// gathering makes small random histories of one set, list, counter or bank:
// concurrent, with many equal times, failed operations and unknown outcomes. They
// come from one that was really simulated; most have a few things changed
// afterwards.
type gathering struct {
	*rand.Rand
	model string
}

// initialBalances are those of the banks in the tests.
var initialBalances = history.List{3, 3, 3}

func (r gathering) options() Options { return Options{Model: r.model, Balances: initialBalances} }

func (r gathering) history() *history.History {
	h := &history.History{Keys: []string{"x"}}
	n := 2 + r.IntN(9)
	clocks := make([]int64, 1+r.IntN(4))
	spread, info, fail := 1+r.IntN(6), []float64{0, 0, 0.2, 0.5}[r.IntN(4)], []float64{0, 0, 0.15}[r.IntN(3)]
	reads := history.ReadAll
	if r.model == ModelCounter {
		reads = history.Read
	}
	for i := range n {
		p := r.IntN(len(clocks))
		o := history.Op{Process: int32(p), Call: clocks[p] + int64(r.IntN(3)) + 1, Out: history.Nil, F: reads}
		o.Return = o.Call + int64(r.IntN(spread+1))
		if r.IntN(2) == 0 {
			switch o.F = history.Add; r.model {
			case ModelBank:
				from := r.IntN(3)
				o.F, o.Arg, o.Arg2 = history.Transfer, history.Accounts(from, (from+1+r.IntN(2))%3), history.Value(1+r.IntN(2))
			case ModelCounter:
				o.Arg = 1
			default:
				o.Arg = history.Value(i + 1)
			}
		}
		clocks[p] = o.Return
		o.Outcome = history.OK
		switch x := r.Float64(); {
		case x < info && !o.F.ReadOnly():
			o.Outcome, o.Return = history.Info, history.Never
			clocks[p] = o.Call + 1
		case x < info+fail:
			o.Outcome = history.Fail
		}
		h.Ops = append(h.Ops, o)
	}
	r.simulate(h)
	for range []int{0, 1, 2, 3, 5}[r.IntN(5)] {
		r.spoil(h)
	}
	slices.SortStableFunc(h.Ops, func(a, b history.Op) int { return compare(a.Call, b.Call) })
	return h
}

// simulate lets every operation take effect at an instant of its interval, those
// of unknown outcome perhaps later or never.
func (r gathering) simulate(h *history.History) {
	type instant struct {
		at float64
		op int
	}
	var order []instant
	for i, o := range h.Ops {
		at := float64(o.Call) + r.Float64()*float64(o.Return-o.Call)
		if o.Outcome == history.Info {
			if at = float64(o.Call) + r.Float64()*12; r.IntN(2) == 0 {
				continue
			}
		}
		if o.Outcome != history.Fail {
			order = append(order, instant{at, i})
		}
	}
	slices.SortStableFunc(order, func(a, b instant) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	state, n := history.List{}, history.Value(0)
	if r.model == ModelBank {
		state = slices.Clone(initialBalances)
	}
	for _, e := range order {
		switch o := &h.Ops[e.op]; o.F {
		case history.Add:
			state = append(state, o.Arg)
			n += o.Arg
		case history.Transfer:
			from, to := o.Accounts()
			if state[from] < o.Arg2 {
				o.Outcome = history.Fail
				o.Return = min(o.Return, o.Call+5)
				continue
			}
			state[from] -= o.Arg2
			state[to] += o.Arg2
		case history.Read:
			o.Out = n
		case history.ReadAll:
			seen := slices.Clone(state)
			if r.model == ModelSet {
				r.Shuffle(len(seen), func(i, j int) { seen[i], seen[j] = seen[j], seen[i] })
			}
			o.Out = history.Value(len(h.Lists))
			h.Lists = append(h.Lists, seen)
			if len(seen) == 0 && r.IntN(2) == 0 {
				o.Out = history.Nil
			}
		}
	}
}

func (r gathering) spoil(h *history.History) {
	o := &h.Ops[r.IntN(len(h.Ops))]
	switch r.IntN(4) {
	case 0:
		by := int64(2 + r.IntN(8))
		o.Call += by
		if o.Return != history.Never {
			o.Return += by
		}
	case 1:
		if o.Return != history.Never && o.Return > o.Call {
			o.Return--
		}
	case 2:
		if o.F == history.Read && o.Outcome == history.OK {
			o.Out += history.Value(r.IntN(3) - 1)
		}
	}
	if len(h.Lists) == 0 {
		return
	}
	l := h.Lists[r.IntN(len(h.Lists))]
	if len(l) < 2 {
		return
	}
	i, j := r.IntN(len(l)), r.IntN(len(l))
	switch r.IntN(6) {
	case 0:
		l[i], l[j] = l[j], l[i]
	case 1:
		l[i] = l[j]
	case 2:
		l[i]++
	}
}

// tellAll is for messages of failing tests.
func tellAll(h *history.History) string {
	var b strings.Builder
	for i, o := range h.Ops {
		fmt.Fprintf(&b, "\n%s %s %d-%d", operationText(h, &h.Ops[i]), o.Outcome, o.Call, o.End())
	}
	return b.String()
}

// tryAll decides by trying every order: an opinion that shares no code with the
// checkers.
func tryAll(h *history.History, model string) bool {
	dead := map[string]bool{}
	var search func(done uint32, state history.List, n history.Value) bool
	search = func(done uint32, state history.List, n history.Value) bool {
		name := fmt.Sprint(done, state, n)
		if dead[name] {
			return false
		}
		open := false
		for i := range h.Ops {
			open = open || done&(1<<i) == 0 && h.Ops[i].Outcome == history.OK
		}
		if !open {
			return true
		}
		for i := range h.Ops {
			o := &h.Ops[i]
			if done&(1<<i) != 0 || o.Outcome == history.Fail {
				continue
			}
			first := true
			for k := range h.Ops {
				p := &h.Ops[k]
				first = first && !(done&(1<<k) == 0 && k != i && p.Outcome == history.OK && p.Return < o.Call)
			}
			if !first {
				continue
			}
			next, m := slices.Clone(state), n
			switch o.F {
			case history.Add:
				next, m = append(next, o.Arg), n+o.Arg
				if model == ModelSet {
					slices.Sort(next)
				}
			case history.Transfer:
				from, to := o.Accounts()
				if next[from] < o.Arg2 {
					continue
				}
				next[from] -= o.Arg2
				next[to] += o.Arg2
			case history.Read:
				if o.Out != n {
					continue
				}
			case history.ReadAll:
				var seen history.List
				if o.Out != history.Nil {
					seen = slices.Clone(h.Lists[o.Out])
				}
				if model == ModelSet {
					slices.Sort(seen)
					seen = slices.Compact(seen)
				}
				if !slices.Equal(seen, state) {
					continue
				}
			}
			if search(done|1<<i, next, m) {
				return true
			}
		}
		dead[name] = true
		return false
	}
	var start history.List
	if model == ModelBank {
		start = initialBalances
	}
	return search(0, start, 0)
}

// The decisions agree with Porcupine and with trying all orders.
func TestCollectionDecisionsAgree(t *testing.T) {
	for _, model := range []string{ModelSet, ModelList, ModelCounter, ModelBank} {
		t.Run(model, func(t *testing.T) {
			r := gathering{rand.New(rand.NewPCG(9, 7)), model}
			seen, direct := map[Verdict]int{}, 0
			for range 15_000 {
				h := r.history()
				opts := r.options()
				m, err := modelFor(h, opts)
				require.NoError(t, err)
				require.Equal(t, model, m.name)
				want := verdictOf(tryAll(h, model))
				steps, err := prepare(h, whole(h), m, opts)
				require.NoError(t, err)
				require.Equal(t, want, decide(m, steps, opts, time.Time{}, 0).verdict, "porcupine on %s", tellAll(h))
				if got := decideDirectly(h, whole(h), m, opts); got.verdict != Unknown {
					direct++
					require.Equal(t, want, got.verdict, "%s: %s on %s", got.rule, got.why, tellAll(h))
					require.Equal(t, want == Broken, len(got.proof) > 0, "%s", got.why)
				}
				require.Equal(t, want, CheckModel(h, model, opts, Budget{}).Verdict)
				seen[want]++
			}
			require.Greater(t, seen[Held], 3000)
			require.Greater(t, seen[Broken], 2000)
			if model != ModelBank {
				require.Greater(t, direct, 14_000)
			}
		})
	}
}

// Each rule is needed, and says what is wrong.
func TestCollectionRules(t *testing.T) {
	list := func(vs ...history.Value) history.List { return vs }
	add := func(e history.Value, call, ret int64) history.Op {
		return history.Op{F: history.Add, Arg: e, Call: call, Return: ret, Outcome: history.OK}
	}
	lists := []history.List{list(), list(1), list(1, 2), list(2, 1), list(2), list(1, 1), list(9)}
	all := func(n int, call, ret int64) history.Op {
		return history.Op{F: history.ReadAll, Out: history.Value(n), Call: call, Return: ret, Outcome: history.OK}
	}
	count := func(n history.Value, call, ret int64) history.Op {
		return history.Op{F: history.Read, Out: n, Call: call, Return: ret, Outcome: history.OK}
	}
	info := func(o history.Op) history.Op { o.Outcome, o.Return = history.Info, history.Never; return o }
	failed := func(o history.Op) history.Op { o.Outcome = history.Fail; return o }
	for _, c := range []struct {
		name, model string
		ops         []history.Op
		want        Verdict
		rule        Rule
	}{
		{"in order", ModelList, []history.Op{add(1, 1, 2), add(2, 3, 4), all(2, 5, 6)}, Held, ""},
		{"in the wrong order", ModelList, []history.Op{add(1, 1, 2), add(2, 3, 4), all(3, 5, 6)}, Broken, LevelOrder},
		{"a set has no order", ModelSet, []history.Op{add(1, 1, 2), add(2, 3, 4), all(3, 5, 6)}, Held, ""},
		{"two orders", ModelList, []history.Op{add(1, 1, 9), add(2, 1, 9), all(2, 5, 6), all(3, 7, 8)}, Broken, NoOneOrder},
		{"lost", ModelList, []history.Op{add(1, 1, 2), add(2, 3, 4), all(1, 5, 6)}, Broken, LevelOrder},
		{"lost from a set", ModelSet, []history.Op{add(1, 1, 2), add(2, 3, 4), all(4, 5, 6)}, Broken, LevelOrder},
		{"each lacks one", ModelSet, []history.Op{add(1, 1, 9), add(2, 1, 9), all(1, 5, 6), all(4, 5, 6)}, Broken, NoOneOrder},
		{"new, then old", ModelSet, []history.Op{add(1, 1, 9), all(1, 2, 3), all(0, 4, 5)}, Broken, LevelOrder},
		{"unknown, and never seen", ModelList, []history.Op{add(1, 1, 2), info(add(2, 3, 4)), all(1, 5, 6)}, Held, ""},
		{"unknown, and late", ModelList, []history.Op{add(1, 1, 2), info(add(2, 3, 4)), all(1, 5, 6), all(2, 7, 8)}, Held, ""},
		{"failed, and seen", ModelList, []history.Op{failed(add(1, 1, 2)), all(1, 5, 6)}, Broken, SeenFromNowhere},
		{"from nowhere", ModelSet, []history.Op{all(6, 5, 6)}, Broken, SeenFromNowhere},
		{"twice in a list", ModelList, []history.Op{add(1, 1, 2), all(5, 5, 6)}, Broken, SeenTwice},
		{"twice in a set", ModelSet, []history.Op{add(1, 1, 2), all(5, 5, 6)}, Held, ""},
		{"counted", ModelCounter, []history.Op{add(1, 1, 2), add(1, 3, 4), count(2, 5, 6)}, Held, ""},
		{"an increment lost", ModelCounter, []history.Op{add(1, 1, 2), add(1, 3, 4), count(1, 5, 6)}, Broken, LevelOrder},
		{"counted too much", ModelCounter, []history.Op{add(1, 1, 2), count(2, 5, 6)}, Broken, TooMany},
		{"went back", ModelCounter, []history.Op{add(1, 1, 9), count(1, 2, 3), count(0, 4, 5)}, Broken, LevelOrder},
		{"below 0", ModelCounter, []history.Op{count(-1, 2, 3)}, Broken, SeenFromNowhere},
		{"unknown increments", ModelCounter, []history.Op{info(add(1, 1, 2)), info(add(1, 1, 2)), count(1, 5, 6), count(2, 7, 8)}, Held, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &history.History{Keys: []string{"x"}, Ops: c.ops, Lists: lists}
			for i := range h.Ops {
				h.Ops[i].Process = int32(i)
			}
			r := decideDirectly(h, whole(h), mustModel(t, c.model), Options{})
			require.Equal(t, c.want, r.verdict, r.why)
			require.Equal(t, c.rule, r.rule, r.why)
		})
	}
}

func mustModel(t *testing.T, name string) *model {
	t.Helper()
	m, err := modelFor(&history.History{}, Options{Model: name})
	require.NoError(t, err)
	return m
}

// What the direct decisions do not apply to is searched.
func TestCollectionsBeyondTheDirectDecision(t *testing.T) {
	h := &history.History{Keys: []string{"x"}, Ops: []history.Op{
		{F: history.Add, Arg: 2, Call: 1, Return: 2, Outcome: history.OK},
		{F: history.Add, Arg: 5, Call: 1, Return: 2, Outcome: history.OK, Process: 1},
		{F: history.Read, Out: 7, Call: 3, Return: 4, Outcome: history.OK, Process: 2},
	}}
	r := CheckModel(h, "", Options{}, Budget{})
	require.Equal(t, Held, r.Verdict, r.Reason)
	require.Contains(t, r.Reason, "decided by search")
	h.Ops[2].Out = 6
	require.Equal(t, Broken, CheckModel(h, "", Options{}, Budget{}).Verdict)
}

// Of a bank whose initial balances nobody knows, the first read tells them.
func TestBankOfUnknownBeginning(t *testing.T) {
	transfer := history.Op{F: history.Transfer, Arg: history.Accounts(0, 1), Arg2: 2, Call: 3, Return: 4, Outcome: history.OK, Process: 1}
	h := &history.History{Keys: []string{"x"}, Lists: []history.List{{5, 5}, {3, 7}, {3, 8}}, Ops: []history.Op{
		{F: history.ReadAll, Out: 0, Call: 1, Return: 2, Outcome: history.OK},
		transfer,
		{F: history.ReadAll, Out: 1, Call: 5, Return: 6, Outcome: history.OK, Process: 2},
	}}
	require.Equal(t, Held, CheckModel(h, "", Options{}, Budget{}).Verdict)
	h.Ops[2].Out = 2
	require.Equal(t, Broken, CheckModel(h, "", Options{}, Budget{}).Verdict)
}
