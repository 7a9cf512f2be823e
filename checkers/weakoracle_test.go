package checkers

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// Oracles of the weaker promises: they try everything, from the definitions, and
// share nothing with the checkers.

// sequentialOracle tries every order of the operations of one key that agrees
// with the sessions.
func sequentialOracle(ops []history.Op) bool {
	type key struct {
		done  uint64
		state history.Value
	}
	dead := make(map[key]bool)
	must := func(o *history.Op) bool {
		return o.Outcome == history.OK || o.F == history.CAS && o.Outcome == history.Fail && o.Out != history.Nil
	}
	var search func(done uint64, state history.Value) bool
	search = func(done uint64, state history.Value) bool {
		open := false
		for i := range ops {
			open = open || done&(1<<i) == 0 && must(&ops[i])
		}
		if !open {
			return true
		}
		if dead[key{done, state}] {
			return false
		}
		dead[key{done, state}] = true
		for i := range ops {
			o := &ops[i]
			if done&(1<<i) != 0 || o.Outcome == history.Fail && !must(o) || o.F == history.Read && o.Outcome != history.OK {
				continue
			}
			// What its session did before it must be done; an operation of
			// unknown outcome may still come.
			ready := true
			for k := range i {
				ready = ready && (ops[k].Process != o.Process || done&(1<<k) != 0 || !must(&ops[k]))
			}
			next, legal := state, true
			switch {
			case o.F == history.Write:
				next = o.Arg
			case o.F == history.Read || o.Outcome == history.Fail:
				legal = state == o.Out
			case o.F == history.Delete:
				next = history.Nil
			default:
				legal, next = state == o.Arg, o.Arg2
			}
			if ready && legal && search(done|1<<i, next) {
				return true
			}
		}
		return false
	}
	return search(0, history.Nil)
}

func TestSequentialAgreesWithOracle(t *testing.T) {
	seen := map[Verdict]int{}
	for n := range 30_000 {
		r := weak{Rand: rand.New(rand.NewPCG(uint64(n), 5)), ops: 10, keys: 1, cas: n%2 == 0}
		h := r.history()
		if n%3 == 0 { // also such as are nearly linearizable
			h = &history.History{Ops: small{Rand: r.Rand, maxOps: 9, cas: n%2 == 0}.history(), Keys: []string{"x"}}
		}
		got := SequentialWith(Options{})(Input{History: h}, Budget{})
		if got.Verdict == Unknown {
			require.Contains(t, got.Reason, "overlap", "%s", notation(h.Ops))
			continue
		}
		seen[got.Verdict]++
		require.Equal(t, verdictOf(sequentialOracle(h.Ops)), got.Verdict, "%s: %s", notation(h.Ops), got.Reason)
		if got.Verdict == Broken && !r.cas {
			// What is given as proof is one on its own. (With compare-and-set
			// it may rest on what others saw of the values.)
			var proof []history.Op
			for _, i := range got.Ops {
				proof = append(proof, h.Ops[i])
			}
			require.False(t, sequentialOracle(proof), "the proof %s (%s) of %s", notation(proof), got.Reason, notation(h.Ops))
		}
	}
	require.Greater(t, seen[Held], 5_000)
	require.Greater(t, seen[Broken], 3_000)
}

// Values that are written again, and deletes, are searched.
func TestSequentialSearchAgreesWithOracle(t *testing.T) {
	seen := map[Verdict]int{}
	for n := range 10_000 {
		r := rand.New(rand.NewPCG(uint64(n), 15))
		h := weak{Rand: r, ops: 11, keys: 1, cas: n%2 == 0, deletes: true}.history()
		for i := range h.Ops { // few values
			for _, v := range []*history.Value{&h.Ops[i].Arg, &h.Ops[i].Arg2, &h.Ops[i].Out} {
				if *v != history.Nil && n%3 > 0 {
					*v = 1 + *v%3
				}
			}
		}
		got := searchSequential(h, &Input{History: h}.registers(Options{}).keys[0], Options{}, time.Time{})
		seen[got.verdict]++
		require.Equal(t, verdictOf(sequentialOracle(h.Ops)), got.verdict, "%s: %s", notation(h.Ops), got.why)
		if exact := sequential(h, &Input{History: h}.registers(Options{}).keys[0], Options{}); exact.verdict != Unknown {
			require.Equal(t, exact.verdict, got.verdict)
		}
	}
	require.Greater(t, seen[Held], 2_000)
	require.Greater(t, seen[Broken], 1_000)
}

// The search ends.
func TestSequentialSearchIsBounded(t *testing.T) {
	h := &history.History{Keys: []string{"x"}}
	for p := range 24 { // 24 sessions write the same two values and read a third
		for i, f := range []history.F{history.Write, history.Write, history.Read} {
			o := history.Op{F: f, Process: int32(p), Call: int64(10 * i), Return: int64(10*i + 5), Outcome: history.OK, Arg: history.Value(i), Out: history.Nil}
			if f == history.Read {
				o.Arg, o.Out = history.Nil, history.Value(p%3)
			}
			h.Ops = append(h.Ops, o)
		}
	}
	slices.SortStableFunc(h.Ops, func(a, b history.Op) int { return compare(a.Call, b.Call) })
	r := SequentialWith(Options{})(Input{History: h}, Budget{})
	require.Equal(t, Unknown, r.Verdict)
	require.Contains(t, r.Reason, "no order was found in 50,000 states")
}

// A read is regular if all writes and this read alone are linearizable.
func TestFreshReadsAgreeWithOracle(t *testing.T) {
	broken := 0
	for n := range 20_000 {
		ops := weak{Rand: rand.New(rand.NewPCG(uint64(n), 6)), ops: 9, keys: 1}.history().Ops
		want := 0
		for i := range ops {
			if ops[i].F != history.Read {
				continue
			}
			var alone []history.Op
			for k := range ops {
				if k == i || ops[k].F != history.Read {
					alone = append(alone, ops[k])
				}
			}
			if !oracle(alone, Options{}) {
				want++
			}
		}
		got := FreshReadsWith(Options{})(Input{History: &history.History{Ops: ops}}, Budget{})
		require.Equal(t, want, got.Violations, "%s: %s", notation(ops), got.Reason)
		broken += want
	}
	require.Greater(t, broken, 5_000)
}

// orders gives all orders of the versions of a key that agree with what is
// certain. Versions are values; the initial one is the first of each order.
func orders(ops []history.Op, key int32, order Order) [][]history.Value {
	var writes []history.Op
	var all [][]history.Value
	for _, o := range ops {
		if o.F == history.Write && o.Key == key && o.Outcome != history.Fail {
			writes = append(writes, o)
		}
	}
	before := func(a, b int) bool { // a is certainly the older
		x, y := &writes[a], &writes[b]
		if x.Outcome != history.OK {
			return false
		}
		if order == SessionOrder {
			return x.Process == y.Process && a < b
		}
		return x.Return < y.Call
	}
	var place func(so []history.Value, used uint)
	place = func(so []history.Value, used uint) {
		if len(so) == len(writes)+1 {
			all = append(all, append([]history.Value(nil), so...))
			return
		}
		for i := range writes {
			ready := used&(1<<i) == 0
			for k := range writes {
				ready = ready && (used&(1<<k) != 0 || k == i || !before(k, i))
			}
			if ready {
				place(append(so, writes[i].Arg), used|1<<i)
			}
		}
	}
	place([]history.Value{history.Nil}, 0)
	return all
}

// certainlyOlder says whether a is older than b in all orders.
func certainlyOlder(all [][]history.Value, a, b history.Value) bool {
	if a == b {
		return false
	}
	for _, so := range all {
		for _, v := range so {
			if v == b {
				return false
			}
			if v == a {
				break
			}
		}
	}
	return true
}

// sessionOracle counts the reads that break each guarantee, from what it says.
func sessionOracle(ops []history.Op, keys int, order Order) map[Claim]int {
	all := make([][][]history.Value, keys)
	for k := range all {
		all[k] = orders(ops, int32(k), order)
	}
	writer := func(v history.Value) int { // of a value that can have been read
		for i := range ops {
			if ops[i].F == history.Write && ops[i].Arg == v && ops[i].Outcome != history.Fail {
				return i
			}
		}
		return -1
	}
	legit := func(i int) bool {
		o := &ops[i]
		if o.F != history.Read || o.Outcome != history.OK {
			return false
		}
		if o.Out == history.Nil {
			return true
		}
		w := writer(o.Out)
		return w >= 0 && ops[w].Key == o.Key && ops[w].Call <= o.Return
	}
	got := map[Claim]int{}
	for i := range ops {
		r := &ops[i]
		if !legit(i) {
			continue
		}
		older := func(than history.Value) bool { return certainlyOlder(all[r.Key], r.Out, than) }
		var ryw, mr, mw, wfr bool
		for j := range i {
			if ops[j].Process != r.Process {
				continue
			}
			if ops[j].F == history.Write && ops[j].Key == r.Key && ops[j].Outcome == history.OK {
				ryw = ryw || older(ops[j].Arg)
			}
			if !legit(j) {
				continue
			}
			if ops[j].Key == r.Key {
				mr = mr || older(ops[j].Out)
			}
			w2 := writer(ops[j].Out)
			if w2 < 0 || ops[w2].Process == r.Process {
				continue
			}
			for k := range w2 + 1 {
				if ops[k].Process != ops[w2].Process || ops[k].Key != r.Key {
					continue
				}
				if ops[k].F == history.Write && ops[k].Outcome == history.OK && older(ops[k].Arg) {
					w := writer(r.Out)
					mw = mw || k < w2 || w >= 0 && ops[w].Process == ops[w2].Process
				}
				if k < w2 && legit(k) {
					wfr = wfr || older(ops[k].Out)
				}
			}
		}
		for c, broken := range map[Claim]bool{ReadYourWrites: ryw, MonotonicReads: mr, MonotonicWrites: mw, WritesFollowReads: wfr} {
			if broken {
				got[c]++
			}
		}
	}
	return got
}

func TestSessionsAgreeWithOracle(t *testing.T) {
	for _, order := range []Order{RealTime, SessionOrder} {
		broken := map[Claim]int{}
		for n := range 12_000 {
			keys := 1 + n%2
			h := weak{Rand: rand.New(rand.NewPCG(uint64(n), 7)), ops: 9 + 4*(n/2%2), keys: keys}.history()
			want := sessionOracle(h.Ops, keys, order)
			for _, c := range []Claim{ReadYourWrites, MonotonicReads, MonotonicWrites, WritesFollowReads} {
				got := judged{claim: c, order: order}.verdict(Input{History: h})
				require.Equal(t, want[c], got.Violations, "%s by %s: %s: %s", c, order, notation(h.Ops), got.Reason)
				broken[c] += want[c]
			}
		}
		for c, n := range broken {
			require.Greater(t, n, 3, "%s by %s", c, order)
		}
		require.Len(t, broken, 4)
	}
}

// The staleness of each read, counted by looking at every write.
func TestStalenessAgreesWithOracle(t *testing.T) {
	for n := range 5_000 {
		h := weak{Rand: rand.New(rand.NewPCG(uint64(n), 8)), ops: 14, keys: 1, deletes: n%2 == 0}.history()
		r := &Input{History: h}.registers(Options{}).keys[0]
		for _, l := range lagsOf(r) {
			versions, since := int64(0), int64(history.Never)
			for i := range h.Ops {
				if o := &h.Ops[i]; !o.F.ReadOnly() && o.Outcome == history.OK && o.Call > l.last && o.Return < l.call {
					versions++
					since = min(since, o.Return)
				}
			}
			require.Equal(t, versions, l.versions, notation(h.Ops))
			if versions == 0 {
				require.Negative(t, l.age)
			} else {
				require.Equal(t, l.call-since, l.age)
			}
		}
	}
}

// Values that come back, by looking at every write and every read.
func TestComebacksAgreeWithOracle(t *testing.T) {
	broken := map[bool]int{}
	for n := range 10_000 {
		h := weak{Rand: rand.New(rand.NewPCG(uint64(n), 9)), ops: 14, keys: 1, deletes: true}.history()
		ops := h.Ops
		lastEnd := func(v history.Value, upTo *history.Op) (int64, bool) {
			last, first := int64(beginning), int64(history.Never)
			if v == history.Nil {
				first = beginning
			}
			for i := range ops {
				if w, wrote := writes(&ops[i]); wrote && w == v {
					last, first = max(last, ops[i].End()), min(first, ops[i].Call)
				}
			}
			return last, first <= upTo.Return
		}
		for _, deletes := range []bool{false, true} {
			want := 0
			for i := range ops {
				if ops[i].F != history.Read {
					continue
				}
				last, real := lastEnd(ops[i].Out, &ops[i])
				back := false
				for u := range ops {
					w, wrote := writes(&ops[u])
					if !wrote || (ops[u].F == history.Delete) != deletes || ops[u].Outcome != history.OK || ops[u].Call <= last || ops[u].Return >= ops[i].Call {
						continue
					}
					for s := range ops {
						if ops[s].F != history.Read || ops[s].Out != w || ops[s].Return >= ops[i].Call || deletes && ops[s].Call < ops[u].Call {
							continue
						}
						_, real := lastEnd(w, &ops[s])
						back = back || real
					}
				}
				if back && real {
					want++
				}
			}
			got := comebacks(h, &Input{History: h}.registers(Options{}).keys[0], deletes)
			require.Equal(t, want, got.violations, "%s: %s", notation(ops), got.why)
			broken[deletes] += want
		}
	}
	require.Greater(t, broken[false], 300)
	require.Greater(t, broken[true], 50)
}
