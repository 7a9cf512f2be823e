package checkers

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// load describes a big history of one register: clients that are busy four
// fifths of the time, operations of 1 ms mean, half of those of unknown outcome
// never taking effect. It is linearizable by construction.
type load struct {
	seed         uint64
	ops, clients int
	info         float64 // part of the operations whose outcome is unknown
	cas          float64 // part that are compare-and-sets; failed ones tell what they saw
}

func (l load) history() *history.History {
	r := rand.New(rand.NewPCG(l.seed, 7))
	const mean = 1e6
	type event struct {
		at int64
		op int
	}
	ops := make([]history.Op, 0, l.ops)
	free := make([]int64, l.clients)
	process := make([]int32, l.clients)
	for c := range free {
		free[c], process[c] = int64(r.Float64()*mean), int32(c)
	}
	var events []event
	next := history.Value(1)
	for len(ops) < l.ops {
		c := 0
		for k := range free {
			if free[k] < free[c] {
				c = k
			}
		}
		o := history.Op{Call: free[c], Process: process[c], Node: int16(c % 3), Arg: history.Nil, Arg2: history.Nil, Out: history.Nil}
		switch x := r.Float64(); {
		case x < 0.5-l.cas/2:
			o.F = history.Read
		case x < 1-l.cas:
			o.F, o.Arg = history.Write, next
			next++
		default:
			o.F, o.Arg2 = history.CAS, next
			next++
		}
		if r.Float64() < l.info {
			o.Return = o.Call + 20*mean
			process[c] += int32(l.clients)
			if r.IntN(2) == 0 {
				events = append(events, event{at: o.Call + 1 + int64(r.ExpFloat64()*5*mean), op: len(ops)})
			}
		} else {
			o.Outcome = history.OK
			took := int64(mean * (0.05 + 0.95*r.ExpFloat64()))
			o.Return = o.Call + took
			events = append(events, event{at: o.Call + int64(r.Float64()*float64(took)), op: len(ops)})
		}
		free[c] = o.Return + 1 + int64(r.ExpFloat64()*0.25*mean)
		ops = append(ops, o)
	}
	slices.SortFunc(events, func(a, b event) int { return compare(a.at, b.at) })
	state, before := history.Nil, history.Nil
	for _, e := range events {
		switch o := &ops[e.op]; {
		case o.F == history.Read && o.Outcome == history.OK:
			o.Out = state
		case o.F == history.Write:
			before, state = state, o.Arg
		case o.F == history.CAS:
			if o.Arg = state; r.IntN(3) == 0 {
				o.Arg = before
			}
			switch {
			case o.Arg == state:
				before, state = state, o.Arg2
			case o.Outcome == history.OK:
				o.Outcome, o.Out = history.Fail, state
			}
		}
	}
	return &history.History{Ops: ops, Keys: []string{"x"}}
}

// spoilLate makes one read, near the end, see a value that was provably
// overwritten.
func spoilLate(t testing.TB, h *history.History) {
	for i := len(h.Ops) * 95 / 100; i < len(h.Ops); i++ {
		o := &h.Ops[i]
		if o.F != history.Read || o.Outcome != history.OK {
			continue
		}
		over := lastWriteBefore(h, i, o.Call)
		old := lastWriteBefore(h, over, h.Ops[over].Call)
		o.Out = h.Ops[old].Arg
		return
	}
	require.Fail(t, "no place for a stale read")
}

func lastWriteBefore(h *history.History, from int, t int64) int {
	for i := from - 1; ; i-- {
		if o := &h.Ops[i]; o.F == history.Write && o.Outcome == history.OK && o.Return < t {
			return i
		}
	}
}

// BenchmarkLinearizable is the figure of the zone decision: ten million
// operations of 50 clients on one key, one in a hundred of unknown outcome, in
// 2 s and 100 bytes an operation at most, the 56 of the history included.
// peak-MB is the heap that the check added.
func BenchmarkLinearizable(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000, 10_000_000} {
		h := load{seed: 1, ops: n, clients: 50, info: 0.01}.history()
		b.Run(fmt.Sprintf("zones/clients=50/ops=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := CheckModel(h, ModelRegister, Options{}, Budget{})
				require.Equal(b, Held, r.Verdict, r.Reason)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/operation")
			peak := added(func() { CheckModel(h, ModelRegister, Options{}, Budget{}) })
			b.ReportMetric(peak/1e6, "peak-MB")
			b.ReportMetric(peak/float64(n)+float64(unsafe.Sizeof(history.Op{})), "B/operation")
		})
	}
}

// BenchmarkLinearizableCAS is the same with a third of compare-and-sets, whose
// failures tell what they saw.
func BenchmarkLinearizableCAS(b *testing.B) {
	const n = 1_000_000
	h := load{seed: 2, ops: n, clients: 10, cas: 1. / 3}.history()
	b.ReportAllocs()
	for b.Loop() {
		r := CheckModel(h, ModelCASRegister, Options{}, Budget{})
		require.Equal(b, Held, r.Verdict, r.Reason)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/operation")
}

// BenchmarkManyKeys judges a million operations on a thousand keys by every
// checker of registers, one after the other.
func BenchmarkManyKeys(b *testing.B) {
	const n, keys = 1_000_000, 1_000
	h := load{seed: 1, ops: n, clients: 50, info: 0.01}.history()
	replicas := make([]harness.Replica, keys)
	h.Keys = make([]string, keys)
	// Ten of the values in turn go to each key, with the reads that saw them.
	for i := range h.Ops {
		o := &h.Ops[i]
		v := o.Arg
		if o.F == history.Read {
			if v = o.Out; v == history.Nil {
				v = 0
			}
		}
		o.Key = int32(v / 500 % keys)
		if o.F == history.Write && o.Outcome == history.OK {
			replicas[o.Key] = harness.Replica{Present: true, Value: v}
		}
	}
	in := Input{History: h, Replicas: [][]harness.Replica{replicas}}
	for b.Loop() {
		for _, c := range []Claim{Linearizable, FreshReads, NoLostWrites} {
			r := JudgeOptions{}.checker(c)(in, Budget{})
			require.NotEqual(b, Unknown, r.Verdict, r.Reason)
			if c == Linearizable {
				require.Equal(b, Held, r.Verdict, r.Reason)
			}
		}
	}
}

// BenchmarkOnline judges a million operations as they come.
func BenchmarkOnline(b *testing.B) {
	const n = 1_000_000
	all := events(load{seed: 1, ops: n, clients: 50, info: 0.01}.history().Ops)
	for b.Loop() {
		o := NewOnline(Options{})
		for i := range all {
			o.See(&all[i])
		}
		o.End()
		_, broken := o.Broken()
		require.False(b, broken)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/operation")
}

// BenchmarkPieces searches histories whose values repeat, cut at their quiescent
// points and, where that can be done, whole.
func BenchmarkPieces(b *testing.B) {
	m := registerModel(ModelRegister, false)
	for _, l := range []load{{seed: 8, ops: 10_000, clients: 3}, {seed: 8, ops: 10_000, clients: 5}, {seed: 8, ops: 100_000, clients: 5}} {
		h := repeated(l.history(), 7)
		b.Run(fmt.Sprintf("clients=%d/ops=%d", l.clients, l.ops), func(b *testing.B) {
			var cut, uncut time.Duration
			for b.Loop() {
				steps, err := prepare(h, whole(h), m, Options{})
				require.NoError(b, err)
				start := time.Now()
				out := searchPieces(m, steps, Options{}, start.Add(20*time.Second), 2<<30)
				cut += time.Since(start)
				require.Equal(b, Held, out.verdict, out.why)
				start = time.Now()
				if out := decide(m, steps, Options{}, start.Add(20*time.Second), 2<<30); out.verdict == Unknown {
					b.Logf("whole: %s", out.why)
				}
				uncut += time.Since(start)
			}
			b.ReportMetric(float64(cut.Nanoseconds())/float64(b.N), "pieces-ns")
			b.ReportMetric(float64(uncut.Nanoseconds())/float64(b.N), "whole-ns")
		})
	}
}

// BenchmarkFreshReads and the others judge a million operations on one key.
func BenchmarkFreshReads(b *testing.B)   { benchmarkClaim(b, FreshReads) }
func BenchmarkNoLostWrites(b *testing.B) { benchmarkClaim(b, NoLostWrites) }
func BenchmarkAvailable(b *testing.B)    { benchmarkClaim(b, Available) }
func BenchmarkTested(b *testing.B)       { benchmarkClaim(b, Tested) }

func benchmarkClaim(b *testing.B, c Claim) {
	in := Input{History: load{seed: 1, ops: 1_000_000, clients: 50}.history()}
	last := in.History.Ops[0]
	for _, o := range in.History.Ops {
		if o.F == history.Read && o.Call > last.Call {
			last = o
		}
	}
	in.Replicas = [][]harness.Replica{{{Present: true, Value: last.Out}}}
	check := JudgeOptions{}.checker(c)
	b.ReportAllocs()
	for b.Loop() {
		r := check(in, Budget{})
		require.Equal(b, Held, r.Verdict, r.Reason)
	}
}

// added measures the heap that f allocates with the collector off: an upper
// bound of what it holds at any time.
func added(f func()) float64 {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc - before.TotalAlloc)
}

// BenchmarkZonesBesidePorcupine compares both on sizes that Porcupine can
// finish; x-porcupine is how many times faster the zones are.
func BenchmarkZonesBesidePorcupine(b *testing.B) {
	m := registerModel(ModelRegister, false)
	for _, l := range []load{
		{seed: 1, ops: 1_000, clients: 5},
		{seed: 1, ops: 10_000, clients: 5},
		{seed: 1, ops: 10_000, clients: 10},
		{seed: 1, ops: 1_000, clients: 10, info: 0.01},
	} {
		h := l.history()
		b.Run(fmt.Sprintf("clients=%d/ops=%d/info=%g", l.clients, l.ops, l.info), func(b *testing.B) {
			var zones, search time.Duration
			for b.Loop() {
				start := time.Now()
				r := decideZones(h, whole(h), Options{})
				zones += time.Since(start)
				require.Equal(b, Held, r.verdict)
				start = time.Now()
				steps, err := prepare(h, whole(h), m, Options{})
				require.NoError(b, err)
				out := decide(m, steps, Options{}, start.Add(10*time.Second), 4<<30)
				search += time.Since(start)
				require.NotEqual(b, Broken, out.verdict)
				if out.verdict == Unknown {
					b.Logf("porcupine: %s", out.why)
				}
			}
			b.ReportMetric(float64(zones.Nanoseconds())/float64(b.N), "zones-ns")
			b.ReportMetric(float64(search.Nanoseconds())/float64(b.N), "porcupine-ns")
			b.ReportMetric(float64(search)/float64(zones), "x-porcupine")
		})
	}
}

// tour makes a history of many keys of which every session uses all: clients that
// go from key to key at random, operations of 1 ms mean. It is linearizable.
func tour(keys, ops, clients int) *history.History {
	h := &history.History{}
	r := rand.New(rand.NewPCG(9, 9))
	for k := range keys {
		h.Keys = append(h.Keys, fmt.Sprintf("k%d", k))
	}
	state := make([]history.Value, keys)
	for k := range state {
		state[k] = history.Nil
	}
	free := make([]int64, clients)
	next := history.Value(1)
	now := int64(0)
	for len(h.Ops) < ops {
		// Operations take effect one after the other, each a while before the
		// end of its interval.
		now += 1 + int64(r.ExpFloat64()*1e6/float64(clients))
		c := 0
		for i := range free {
			if free[i] < free[c] {
				c = i
			}
		}
		at := max(now, free[c])
		now = at
		o := history.Op{F: history.Read, Process: int32(c), Key: int32(r.IntN(keys)), Call: max(free[c], at-int64(r.ExpFloat64()*5e5)), Return: at + int64(r.ExpFloat64()*5e5), Arg: history.Nil, Arg2: history.Nil, Out: history.Nil, Outcome: history.OK}
		free[c] = o.Return + 1
		if r.IntN(2) == 0 {
			o.F, o.Arg = history.Write, next
			state[o.Key] = next
			next++
		} else {
			o.Out = state[o.Key]
		}
		h.Ops = append(h.Ops, o)
	}
	slices.SortStableFunc(h.Ops, func(a, b history.Op) int { return compare(a.Call, b.Call) })
	return h
}

// cpuTime is what the process has used, where the system tells.
var cpuTime = func() time.Duration { return 0 }

// BenchmarkRegisters judges a million operations on 1,000 keys with all checkers
// of registers together, as one Judge does. It is asked to take 3 s at most on
// two cores. On a machine that others use, cpu-s tells more than s.
func BenchmarkRegisters(b *testing.B) {
	h := tour(1000, 1_000_000, 50)
	in := Input{History: h, Replicas: [][]harness.Replica{make([]harness.Replica, len(h.Keys))}}
	claims := []Claim{Linearizable, FreshReads, NoLostWrites, Sequential, ReadYourWrites, MonotonicReads, MonotonicWrites, WritesFollowReads,
		BoundedStaleness, NoPhantoms, NoComebacks, NoResurrections, NoDuplicates}
	for i := range h.Ops {
		if o := &h.Ops[i]; o.F == history.Write {
			in.Replicas[0][o.Key] = harness.Replica{Present: true, Value: o.Arg}
		}
	}
	b.Run("all", func(b *testing.B) {
		spent := cpuTime()
		for b.Loop() {
			for _, r := range Judge(in, claims, Budget{}, JudgeOptions{}) {
				require.NotEqual(b, Broken, r.Verdict, r.Reason)
			}
		}
		b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
		b.ReportMetric((cpuTime()-spent).Seconds()/float64(b.N), "cpu-s")
	})
	for _, c := range claims {
		b.Run(string(c), func(b *testing.B) {
			for b.Loop() {
				require.NotEqual(b, Broken, JudgeOptions{}.checker(c)(in, Budget{}).Verdict)
			}
		})
	}
}
