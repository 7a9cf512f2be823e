package checkers

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// minimized minimises a violation of a checker.
func minimized(t testing.TB, in Input, check Checker, opts Options) Minimal {
	t.Helper()
	r := check(in, Budget{Memory: 1 << 28})
	require.Equal(t, Broken, r.Verdict, r.Reason)
	m, err := Minimize(in, check, r, MinimizeOptions{Options: opts, Time: time.Minute})
	require.NoError(t, err)
	require.True(t, m.Complete)
	require.Equal(t, Broken, m.Result.Verdict)
	require.Equal(t, r.Claim, m.Result.Claim)
	require.Len(t, m.Input.History.Ops, len(m.Ops))
	require.NoError(t, m.Input.History.Validate())
	for i, p := range m.Ops {
		got, want := m.Input.History.Ops[i], in.History.Ops[p]
		require.Equal(t, in.History.KeyName(want.Key), m.Input.History.KeyName(got.Key))
		got.Key, want.Key = 0, 0
		require.Equal(t, want, got, "operations stay as they are")
	}
	return m
}

func TestMinimalViolations(t *testing.T) {
	for name, c := range map[string]struct {
		history string
		check   Checker
		opts    Options
		want    string
	}{
		"stale read": {
			"w1@1-2 r1@3-4 w2@5-6 r2@7-8 w3@7-9 r1@10-11 r3@12-13 w4@14-15",
			LinearizableWith(Options{}), Options{}, "w1@1-2 w2@5-6 r1@10-11",
		},
		"new, then old": {
			"w1@1-2 w2@3-20 r2@4-5 r1@6-7 r2@8-9 w3@10-11 r1@1-3",
			LinearizableWith(Options{}), Options{}, "w1@1-2 w2@3-20 r2@4-5 r1@6-7",
		},
		"from nowhere": {
			"w1@1-2 r1@3-4 r7@5-6 w2@7-8",
			LinearizableWith(Options{}), Options{}, "r7@5-6",
		},
		"a failed write is seen": {
			"w1@1-2 w7@2-3! r1@3-4 r7@5-6 w2@7-8",
			LinearizableWith(Options{}), Options{}, "w7@2-3! r7@5-6",
		},
		"seen before it is written": {
			"w1@1-2 r7@3-4 w7@5-6 r7@7-8",
			LinearizableWith(Options{}), Options{}, "r7@3-4 w7@5-6",
		},
		"the initial value comes back": {
			"w1@1-2 r1@3-4 w2@3-5 rnil@6-7",
			LinearizableWith(Options{}), Options{}, "w1@1-2 rnil@6-7",
		},
		"two compare-and-sets of one value": {
			"w1@1-2 w5@1-3 w9@4-5 c9>2@6-9 r2@6-10 c9>3@6-9 r3@11-12",
			LinearizableWith(Options{}), Options{}, "w9@4-5 c9>2@6-9 c9>3@6-9",
		},
		"compare-and-sets in a circle": {
			"w9@1-2 c1>2@3-9 c2>1@3-9 r9@3-4",
			LinearizableWith(Options{}), Options{}, "c1>2@3-9 c2>1@3-9",
		},
		"one of unknown outcome was seen": {
			"w1@1-2 c1>2@3? r2@6-7 r1@8-9 w4@1?",
			LinearizableWith(Options{}), Options{}, "w1@1-2 c1>2@3? r2@6-7 r1@8-9",
		},
		"values that come again": {
			"w1@1-2 w2@3-4 w1@5-6 r1@7-8 w2@9-10 w1@11-12 r2@13-14 r1@15-16",
			LinearizableWith(Options{}), Options{}, "w2@9-10 w1@11-12 r2@13-14",
		},
		"two hold the lock": {
			"a@1-2 l@3-4 a@5-6 l@7-8 a@9-10 a@11-12 l@13-14",
			LinearizableWith(Options{}), Options{}, "a@9-10 a@11-12",
		},
		"a mutex let go twice": {
			"a@1-2 l@3-4 a@5-6 l@7-8 l@9-10",
			LinearizableWith(Options{}), Options{}, "a@5-6 l@7-8 l@9-10",
		},
		"fresh reads": {
			"w1@1-2 r1@3-4 w2@5-6 r2@7-8 w3@7-9 r1@10-11 w8@1-2/1 r8@3-4/1",
			FreshReadsWith(Options{}), Options{}, "w1@1-2 w2@5-6 r1@10-11",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := parse(t, c.history)
			if strings.Contains(c.history, "a@") {
				c.opts.Model = ModelMutex
			}
			m := minimized(t, Input{History: h}, c.check, c.opts)
			words := strings.Fields(c.history)
			var got []string
			for _, p := range m.Ops {
				got = append(got, words[p])
			}
			require.Equal(t, c.want, strings.Join(got, " "))
		})
	}
}

// Where the claim is about the replicas, who wrote what they hold stays.
func TestMinimalViolationsOfReplicas(t *testing.T) {
	h := parse(t, "w1@1-2/1 w2@3-4/1 r2@5-6/1 w3@5-9/1 w8@1-2/0 r3@10-11/1 w9@3-4/0")
	held := func(values ...history.Value) []harness.Replica {
		var row []harness.Replica
		for _, v := range values {
			row = append(row, harness.Replica{Present: true, Value: v})
		}
		return row
	}
	in := Input{History: h, Replicas: [][]harness.Replica{held(9, 1), nil, held(9, 1)}, Settled: 1}
	in.Replicas[1] = held(9, 1)
	m := minimized(t, in, NoLostWritesWith(DurabilityOptions{}), Options{})
	require.Equal(t, []int{0, 1}, m.Ops)
	require.Equal(t, []string{"k1"}, m.Input.History.Keys)
	require.Equal(t, [][]harness.Replica{held(1), held(1), held(1)}, m.Input.Replicas)

	in.Replicas[2] = held(9, 3)
	m = minimized(t, in, CheckConverges, Options{})
	require.Equal(t, []int{0, 3}, m.Ops)

	// A read tells of the loss by itself: then the replicas do not matter.
	h = parse(t, "w1@1-2 w2@3-4 r1@10-11 r2@10-12 w5@13-14")
	in = Input{History: h, Replicas: [][]harness.Replica{held(5), held(5)}}
	m = minimized(t, in, NoLostWritesWith(DurabilityOptions{Overlap: true}), Options{})
	require.Equal(t, []int{0, 1, 2}, m.Ops)
	require.Nil(t, m.Input.Replicas)
}

// The operations of models that only a search decides.
func TestMinimalViolationsOfOutsideHistories(t *testing.T) {
	for file, c := range map[string]struct {
		opts Options
		size int
	}{
		"etcd/etcd_000.log":                    {Options{Model: ModelCASRegister, FailedCAS: ObserveFailedCAS}, 3},
		"etcd/etcd_001.log":                    {Options{Model: ModelCASRegister, FailedCAS: ObserveFailedCAS}, 8},
		"etcd/etcd_010.log":                    {Options{Model: ModelCASRegister, FailedCAS: ObserveFailedCAS}, 5},
		"etcd/etcd_099.log":                    {Options{Model: ModelCASRegister, FailedCAS: ObserveFailedCAS}, 4},
		"knossos/bad/bad-analysis.edn":         {Options{Model: ModelCASRegister, Initial: valuePtr(0), NilRead: NilAny}, 1},
		"knossos/bad/rethink-fail-minimal.edn": {Options{Model: ModelCASRegister, Initial: valuePtr(0), NilRead: NilAny}, 1},
		"kv/c01-bad.txt":                       {Options{Model: ModelKV}, 3},
		"kv/c10-bad.txt":                       {Options{Model: ModelKV}, 5},
	} {
		t.Run(file, func(t *testing.T) {
			h, err := history.ImportFile("../harness/history/testdata/" + file)
			require.NoError(t, err)
			m := minimized(t, Input{History: h}, LinearizableWith(c.opts), c.opts)
			require.Len(t, m.Ops, c.size, "%v", m.Ops)
		})
	}
}

func TestMinimizeRefuses(t *testing.T) {
	h := parse(t, "w1@1-2 r1@3-4")
	check := LinearizableWith(Options{})
	_, err := Minimize(Input{History: h}, check, check(Input{History: h}, Budget{}), MinimizeOptions{})
	require.ErrorIs(t, err, ErrNotMinimizable)
	_, err = Minimize(Input{History: h}, AvailableWith(AvailabilityOptions{}), Result{Claim: Available, Verdict: Broken}, MinimizeOptions{})
	require.ErrorIs(t, err, ErrNotMinimizable)
	_, err = Minimize(Input{History: h}, check, Result{Claim: Linearizable, Verdict: Broken, Key: 0, Ops: []int{1}}, MinimizeOptions{})
	require.ErrorContains(t, err, "no part of 2 operations is found broken")

	// Without names a lost write is not looked for: a part in which nobody saw a
	// write shows nothing.
	h = parse(t, "w1@1-2 w2@3-4 r1@10-11 r2@10-12")
	lost := NoLostWritesWith(DurabilityOptions{Overlap: true})
	r := lost(Input{History: h}, Budget{})
	require.Equal(t, Broken, r.Verdict)
	r.Ops = nil
	_, err = Minimize(Input{History: h}, lost, r, MinimizeOptions{})
	require.ErrorContains(t, err, "no part of 4 operations is found broken")
}

// A closed part of a history that can be put in order can be put in order: what
// breaks a part was not made by leaving something out.
func TestClosedPartsAreSound(t *testing.T) {
	tested, smaller := 0, 0
	for seed := range uint64(60_000) {
		rng := rand.New(rand.NewPCG(seed, 11))
		s := small{Rand: rng, maxOps: 8, cas: seed%2 == 0, blind: seed%4 == 0, repeat: seed%3 == 0}
		h := &history.History{Keys: []string{"x"}, Ops: s.history()}
		opts := Options{FailedCAS: []FailedCAS{DropFailedCAS, ObserveFailedCAS}[rng.IntN(2)]}
		if !oracle(h.Ops, opts) {
			continue
		}
		set := opSet{}
		all := opSet{}
		for i := range h.Ops {
			all = append(all, int32(i))
			if rng.IntN(3) > 0 {
				set = append(set, int32(i))
			}
		}
		g := newGrounds(h, all, opts)
		require.Equal(t, all, g.closed(all), "a whole history is closed")
		for _, part := range []opSet{g.closed(set), g.grown(set)} {
			require.Equal(t, part, g.closed(part))
			tested++
			if len(part) > 0 && len(part) < len(all) {
				smaller++
			}
			require.True(t, oracle(pickOps(h.Ops, part), opts), "seed %d: of %s the part %s", seed, notation(h.Ops), notation(pickOps(h.Ops, part)))
		}
	}
	require.Greater(t, tested, 20_000)
	require.Greater(t, smaller, 10_000)
}

func pickOps(ops []history.Op, set opSet) []history.Op {
	var picked []history.Op
	for _, i := range set {
		picked = append(picked, ops[i])
	}
	return picked
}

// Whatever is broken becomes a part that is broken, and without any one of its
// operations it is not, or a value in it has lost its writer.
func TestMinimalPartsAreMinimal(t *testing.T) {
	found := 0
	for seed := range uint64(8_000) {
		rng := rand.New(rand.NewPCG(seed, 12))
		s := small{Rand: rng, maxOps: 14, cas: seed%2 == 0}
		h := &history.History{Keys: []string{"x"}, Ops: s.history()}
		check := LinearizableWith(Options{})
		if check(Input{History: h}, Budget{}).Verdict != Broken {
			continue
		}
		found++
		m := minimized(t, Input{History: h}, check, Options{})
		ops := m.Input.History.Ops
		require.False(t, oracle(ops, Options{}))
		for i := range ops {
			rest := slices.Delete(slices.Clone(ops), i, i+1)
			if orphaned(ops[i], rest) || len(rest) == 0 {
				continue
			}
			require.True(t, oracle(rest, Options{}), "seed %d: of %s the part %s needs no %s", seed, notation(h.Ops), notation(ops), notation(ops[i:i+1]))
		}
	}
	require.Greater(t, found, 2_000)
}

// orphaned says whether somebody saw the value that an operation wrote.
func orphaned(o history.Op, rest []history.Op) bool {
	o.Outcome = history.Info // one that had failed stays as an origin too
	value, wrote := writes(&o)
	return wrote && slices.ContainsFunc(rest, func(r history.Op) bool {
		switch r.F {
		case history.Read:
			return r.Outcome == history.OK && r.Out == value
		case history.CAS:
			return r.Outcome != history.Fail && r.Arg == value || r.Outcome == history.Fail && r.Out == value
		}
		return false
	})
}

// The same for the models that only a search decides: texts, transactions,
// mutexes.
func TestClosedPartsOfOtherModelsAreSound(t *testing.T) {
	for model, random := range map[string]func(*rand.Rand) *history.History{
		ModelKV: randomTexts, ModelMultiRegister: randomTxns, ModelMutex: randomLocks,
	} {
		t.Run(model, func(t *testing.T) {
			smaller := 0
			for seed := range uint64(1_500) {
				rng := rand.New(rand.NewPCG(seed, 13))
				h := random(rng)
				require.NoError(t, h.Validate())
				opts := Options{Model: model}
				require.Equal(t, Held, CheckModel(h, model, opts, Budget{}).Verdict, "the generator is right")
				all, set := opSet{}, opSet{}
				for i := range h.Ops {
					all = append(all, int32(i))
					if rng.IntN(4) > 0 {
						set = append(set, int32(i))
					}
				}
				g := newGrounds(h, all, opts)
				for _, part := range []opSet{g.closed(set), g.grown(set)} {
					if len(part) == 0 || len(part) == len(all) {
						continue
					}
					smaller++
					cut := *h
					cut.Ops = pickOps(h.Ops, part)
					r := CheckModel(&cut, model, opts, Budget{})
					require.Equal(t, Held, r.Verdict, "seed %d: %v: %s", seed, part, r.Reason)
				}
			}
			require.Greater(t, smaller, 1_000)
		})
	}
}

// laidOut gives operations their times around the instants at which they took
// effect, in the order of the slice; some are of unknown outcome.
func laidOut(rng *rand.Rand, ops []history.Op, effective func(i int) bool) []history.Op {
	for i := range ops {
		o := &ops[i]
		at := int64(100 + 10*i)
		o.Call, o.Return, o.Outcome, o.Process = at-int64(rng.IntN(25)), at+int64(rng.IntN(25)), history.OK, int32(i)
		if !effective(i) || rng.IntN(8) == 0 {
			o.Outcome, o.Return, o.Out = history.Info, history.Never, history.Nil
		}
	}
	slices.SortStableFunc(ops, func(a, b history.Op) int { return compare(a.Call, b.Call) })
	return ops
}

func randomTexts(rng *rand.Rand) *history.History {
	h := &history.History{Keys: []string{"x"}, Texts: []string{"", "a", "b", "ab"}}
	text := func(s string) history.Value {
		i := slices.Index(h.Texts, s)
		if i < 0 {
			i = len(h.Texts)
			h.Texts = append(h.Texts, s)
		}
		return history.Value(i)
	}
	state, unsure := "", map[int]bool{}
	var ops []history.Op
	for i := range 12 {
		o := history.Op{Arg: history.Nil, Arg2: history.Nil, Out: history.Nil}
		unsure[i] = rng.IntN(10) == 0
		next := state
		switch word := h.Texts[1+rng.IntN(3)]; rng.IntN(5) {
		case 0:
			o.F, o.Arg, next = history.Write, text(word), word
		case 1:
			o.F, o.Arg, next = history.Append, text(word), state+word
		case 2:
			o.F, next = history.Delete, ""
		default:
			o.F, o.Out = history.Read, text(state)
			if state == "" && rng.IntN(2) == 0 {
				o.Out = history.Nil
			}
		}
		if !unsure[i] {
			state = next
		}
		ops = append(ops, o)
	}
	h.Ops = laidOut(rng, ops, func(i int) bool { return !unsure[i] })
	return h
}

func randomTxns(rng *rand.Rand) *history.History {
	h := &history.History{Keys: []string{"x", "y"}}
	var state [2]history.Value
	state[0], state[1] = history.Nil, history.Nil
	unsure := map[int]bool{}
	var ops []history.Op
	for i := range 12 {
		unsure[i] = rng.IntN(10) == 0
		var asked, done history.Txn
		next := state
		for range 1 + rng.IntN(2) {
			m := history.Mop{F: history.Read, Key: int32(rng.IntN(2)), Value: history.Nil}
			if rng.IntN(2) == 0 {
				m.F, m.Value = history.Write, history.Value(rng.IntN(4))
				next[m.Key] = m.Value
			}
			asked = append(asked, m)
			if m.F == history.Read {
				m.Value = next[m.Key]
			}
			done = append(done, m)
		}
		h.Txns = append(h.Txns, asked, done)
		if !unsure[i] {
			state = next
		}
		ops = append(ops, history.Op{F: history.Transact, Arg: history.Value(2 * i), Arg2: history.Nil, Out: history.Value(2*i + 1)})
	}
	h.Ops = laidOut(rng, ops, func(i int) bool { return !unsure[i] })
	return h
}

func randomLocks(rng *rand.Rand) *history.History {
	h := &history.History{Keys: []string{"x"}}
	held, unsure := false, map[int]bool{}
	var ops []history.Op
	for i := range 12 {
		unsure[i] = rng.IntN(6) == 0
		o := history.Op{F: history.Acquire, Arg: history.Nil, Arg2: history.Nil, Out: history.Nil}
		if held {
			o.F = history.Release
		}
		if !unsure[i] {
			held = !held
		}
		ops = append(ops, o)
	}
	h.Ops = laidOut(rng, ops, func(i int) bool { return !unsure[i] })
	return h
}
