package checkers

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// judged is a promise as it is tested here: a claim, of sessions with the order
// of versions that it takes as certain.
type judged struct {
	claim Claim
	order Order
}

func (j judged) verdict(in Input) Result {
	return JudgeOptions{Sessions: SessionOptions{Order: j.order}, Staleness: StalenessOptions{Age: 3}}.checker(j.claim)(in, Budget{})
}

// implications are which promise implies which: whatever breaks the weaker one
// also breaks the stronger.
//
// Sources: M. Herlihy and J. Wing, "Linearizability", TOPLAS 1990 (linearizable
// implies sequential, and regular by L. Lamport, "On interprocess communication",
// 1986); P. Viotti and M. Vukolić, "Consistency in non-transactional distributed
// storage systems", ACM Computing Surveys 49(1), 2016 (sequential implies the
// session guarantees). The others follow from the definitions:
//
//   - what a regular register may not do is see a value that a write acknowledged
//     before the read had replaced. A session's own acknowledged write, a write
//     seen and acknowledged, and a bound of age are cases of that.
//   - sequential consistency knows no real time, so it implies the session
//     guarantees only with the order that sessions alone make certain.
//   - a reader that sees an earlier write of one key than it has seen already has
//     gone back, so with one key monotonic reads imply monotonic writes.
var implications = []struct {
	strong, weak judged
	oneKey       bool // only where the history has one key
}{
	{strong: judged{claim: Linearizable}, weak: judged{claim: FreshReads}},
	{strong: judged{claim: Linearizable}, weak: judged{claim: Sequential}},
	{strong: judged{claim: Linearizable}, weak: judged{claim: NoDuplicates}},
	{strong: judged{claim: Linearizable}, weak: judged{claim: ReadYourWrites}},
	{strong: judged{claim: Linearizable}, weak: judged{claim: MonotonicReads}},
	{strong: judged{claim: Linearizable}, weak: judged{claim: MonotonicWrites}},
	{strong: judged{claim: Linearizable}, weak: judged{claim: WritesFollowReads}},
	{strong: judged{claim: Sequential}, weak: judged{claim: ReadYourWrites, order: SessionOrder}},
	{strong: judged{claim: Sequential}, weak: judged{claim: MonotonicReads, order: SessionOrder}},
	{strong: judged{claim: Sequential}, weak: judged{claim: MonotonicWrites, order: SessionOrder}, oneKey: true},
	{strong: judged{claim: Sequential}, weak: judged{claim: WritesFollowReads, order: SessionOrder}, oneKey: true},
	{strong: judged{claim: Sequential}, weak: judged{claim: NoDuplicates}},
	{strong: judged{claim: FreshReads}, weak: judged{claim: NoPhantoms}},
	{strong: judged{claim: FreshReads}, weak: judged{claim: NoComebacks}},
	{strong: judged{claim: FreshReads}, weak: judged{claim: NoResurrections}},
	{strong: judged{claim: FreshReads}, weak: judged{claim: ReadYourWrites}},
	{strong: judged{claim: FreshReads}, weak: judged{claim: BoundedStaleness}},
	{strong: judged{claim: ReadYourWrites}, weak: judged{claim: ReadYourWrites, order: SessionOrder}},
	{strong: judged{claim: MonotonicReads}, weak: judged{claim: MonotonicReads, order: SessionOrder}},
	{strong: judged{claim: MonotonicWrites}, weak: judged{claim: MonotonicWrites, order: SessionOrder}},
	{strong: judged{claim: WritesFollowReads}, weak: judged{claim: WritesFollowReads, order: SessionOrder}},
	{strong: judged{claim: MonotonicReads}, weak: judged{claim: MonotonicWrites}, oneKey: true},
}

// weak makes histories of registers that are kept by a few replicas, badly: a
// write reaches each of them after a delay of its own, and a read asks one. Some
// sessions stay with one replica, some links are slow, some deletes are there,
// and some things are changed afterwards.
type weak struct {
	*rand.Rand
	ops, keys int
	deletes   bool
	cas       bool
}

func (r weak) history() *history.History {
	const replicas = 3
	type arrival struct {
		at   int64
		to   int
		key  int32
		op   int
		call int64
	}
	n := 2 + r.IntN(r.ops-1)
	sessions := 1 + r.IntN(4)
	clock := make([]int64, sessions)
	sticky, late := r.IntN(2) == 0, 1+r.IntN(3)
	slow := int64([]int{0, 4, 30}[r.IntN(3)])
	h := &history.History{}
	for k := range r.keys {
		h.Keys = append(h.Keys, string(rune('x'+k)))
	}
	var arrivals []arrival
	next := history.Value(1)
	for len(h.Ops) < n {
		s := 0
		for k := range clock {
			if clock[k] < clock[s] || clock[k] == clock[s] && r.IntN(2) == 0 {
				s = k
			}
		}
		o := history.Op{Process: int32(s), Key: int32(r.IntN(r.keys)), Call: clock[s] + 1 + int64(r.IntN(3)), Arg: history.Nil, Arg2: history.Nil, Out: history.Nil, Outcome: history.OK, F: history.Read}
		o.Return = o.Call + int64(r.IntN(5))
		if r.IntN(2) == 0 {
			o.F, o.Arg = history.Write, next
			next++
			switch x := r.IntN(12); {
			case r.deletes && x < 2:
				o.F, o.Arg = history.Delete, history.Nil
			case r.cas && x < 4 && next > 2:
				o.F, o.Arg, o.Arg2 = history.CAS, 1+history.Value(r.IntN(int(next)-2)), o.Arg
			case x == 10:
				o.Outcome = history.Fail
			case x == 11:
				o.Outcome, o.Return = history.Info, o.Call+1
			}
			for to := range replicas {
				if o.Outcome != history.Fail && (o.Outcome == history.OK || r.IntN(2) == 0) {
					at := o.Call + r.Int64N(o.Return-o.Call+1)
					if r.IntN(3) < late {
						at += r.Int64N(slow + 1)
					}
					arrivals = append(arrivals, arrival{at: at, to: to, key: o.Key, op: len(h.Ops), call: o.Call})
				}
			}
		}
		clock[s] = o.Return
		h.Ops = append(h.Ops, o)
	}
	// Replicas keep what was called last, half of the time, or what came last.
	stamped := r.IntN(2) == 0
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return compare(a.at, b.at) })
	for i := range h.Ops {
		o := &h.Ops[i]
		if o.F != history.Read {
			continue
		}
		at, to := o.Call+r.Int64N(o.Return-o.Call+1), r.IntN(replicas)
		if sticky {
			to = int(o.Process) % replicas
		}
		best := int64(beginning)
		for _, a := range arrivals {
			if a.at > at || a.to != to || a.key != o.Key || stamped && a.call < best {
				continue
			}
			best = a.call
			o.Out, _ = writes(&h.Ops[a.op])
		}
		if r.IntN(25) == 0 {
			o.Out = history.Value(r.IntN(int(next) + 1))
		}
	}
	slices.SortStableFunc(h.Ops, func(a, b history.Op) int { return compare(a.Call, b.Call) })
	return h
}

// What breaks a weaker promise breaks every stronger one.
func TestLattice(t *testing.T) {
	const histories = 24_000
	broken := make([]int, len(implications)) // of the weaker one
	gap := make([]int, len(implications))    // the stronger one broken alone
	for n := range histories {
		r := weak{Rand: rand.New(rand.NewPCG(uint64(n), 77)), ops: 12 + 30*(n/2%4/3), keys: 1 + n%2, deletes: n%3 == 0, cas: n%3 == 1}
		in := Input{History: r.history()}
		verdicts := make(map[judged]Result)
		of := func(j judged) Result {
			if _, known := verdicts[j]; !known {
				verdicts[j] = j.verdict(in)
			}
			return verdicts[j]
		}
		for i, x := range implications {
			if x.oneKey && r.keys > 1 {
				continue
			}
			strong, weak := of(x.strong), of(x.weak)
			switch {
			case weak.Verdict == Broken:
				broken[i]++
				require.NotEqual(t, Held, strong.Verdict, "%s: %s is broken (%s), but %s holds", notation(in.History.Ops), x.weak.claim, weak.Reason, x.strong.claim)
			case strong.Verdict == Broken && weak.Verdict == Held:
				gap[i]++
			}
		}
	}
	for i, x := range implications {
		require.Greater(t, broken[i], 10, "%v was broken too seldom to say anything", x.weak)
		require.Positive(t, gap[i], "%v was never broken alone: is %v any weaker?", x.strong, x.weak)
	}
}
