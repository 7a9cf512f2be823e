package checkers

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// The ends are the roots p of (x/n − p)² = z² p(1−p)/n: by bisection for the
// listed values, and put back into the equation for all others.
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		broken, runs int
		lo, hi       float64
	}{
		{0, 0, 0, 1},
		{0, 50, 0, 0.0713476},
		{50, 50, 0.9286524, 1},
		{1, 50, 0.0035393, 0.1049544},
		{5, 10, 0.2365931, 0.7634069},
	} {
		lo, hi := Wilson(c.broken, c.runs)
		require.InDelta(t, c.lo, lo, 1e-6, "%d of %d", c.broken, c.runs)
		require.InDelta(t, c.hi, hi, 1e-6, "%d of %d", c.broken, c.runs)
	}
	for runs := 1; runs < 60; runs++ {
		for broken := 0; broken <= runs; broken++ {
			p := float64(broken) / float64(runs)
			lo, hi := Wilson(broken, runs)
			require.True(t, 0 <= lo && lo <= p && p <= hi && hi <= 1)
			for _, end := range []float64{lo, hi} {
				if end > 0 && end < 1 {
					require.InDelta(t, z95, math.Abs(p-end)/math.Sqrt(end*(1-end)/float64(runs)), 1e-6)
				}
			}
		}
	}
}

// The band of Dvoretzky, Kiefer, Wolfowitz and Massart: 95 of 100 samples keep
// within it everywhere.
func TestFigures(t *testing.T) {
	f := figureOf("age", "ms", []int64{3e6, 1e6, 2e6}, 1e6)
	require.Equal(t, 2.0, f.Quantiles[0].Value)
	require.Equal(t, 3.0, f.Max)
	require.Equal(t, "age: p50 2 (1–3), p95 3 (1–3), p99 3 (1–3), max 3 ms, of 3", f.String())
	require.Equal(t, "age: nothing was measured", figureOf("age", "ms", nil, 1).String())
	r := rand.New(rand.NewPCG(3, 3))
	outside := 0
	const samples = 400
	for range samples {
		values := make([]int64, 300)
		for i := range values {
			values[i] = r.Int64N(1e9)
		}
		for _, q := range figureOf("uniform", "", values, 1e9).Quantiles {
			if q.Q < q.Low || q.Q > q.High && q.High < float64(values[299])/1e9 {
				outside++
				break
			}
		}
	}
	require.Less(t, outside, samples/20)
}

func TestRate(t *testing.T) {
	require.Equal(t, "12 of 430 reads broken (1.6–4.8 %)", rateOf(12, 430, "read").String())
	require.Equal(t, "0–0.004 %", rateOf(0, 100_000, "read").Interval())
	require.Equal(t, "100", percentDigits(1))
}

func TestStaleness(t *testing.T) {
	for _, c := range []struct {
		name, history string
		versions      []int64
		ages          []int64
	}{
		{"current", "w1@1-2 r1@3-4", []int64{0}, nil},
		{"one behind", "w1@1-2 w2@3-4 r1@9-10", []int64{1}, []int64{5}},
		{"two behind", "w1@1-2 w2@3-4 w3@5-6 r1@9-10", []int64{2}, []int64{5}},
		{"a concurrent write may be the older", "w1@1-4 w2@3-5 w3@6-7 r1@9-10", []int64{1}, []int64{2}},
		{"what was not acknowledged yet does not count", "w1@1-2 w2@3-20 r1@9-10", []int64{0}, nil},
		{"the initial value", "w1@1-2 w2@3-4 rnil@9-10", []int64{2}, []int64{7}},
		{"a delete", "w1@1-2 d@3-4 r1@9-10", []int64{1}, []int64{5}},
		{"two reads, the later first", "w1@1-2 w2@3-4 r1@9-10 r1@6-7", []int64{1, 1}, []int64{2, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &Input{History: parse(t, c.history)}.registers(Options{}).keys[0]
			var versions, ages []int64
			for _, l := range lagsOf(r) {
				versions = append(versions, l.versions)
				if l.age >= 0 {
					ages = append(ages, l.age)
				}
			}
			require.Equal(t, c.versions, versions)
			require.Equal(t, c.ages, ages)
		})
	}
	s, ok := MeasureStaleness(parse(t, "w1@1-2 w2@3-4 r1@9-10 r2@9-10"), Options{})
	require.True(t, ok)
	require.Equal(t, "1 of 2 reads broken (9.5–91 %)", s.Stale.String())
	_, ok = MeasureStaleness(parse(t, "a@1-2 l@3-4"), Options{})
	require.False(t, ok)
}

func TestBoundedStaleness(t *testing.T) {
	h := parse(t, "w1@1-2 w2@3-4 w3@5-6 r1@9-10 r3@11-12")
	check := func(o StalenessOptions) Result {
		return BoundedStalenessWith(o)(Input{History: h}, Budget{})
	}
	r := check(StalenessOptions{Age: 5})
	require.Equal(t, Held, r.Verdict)
	require.Equal(t, "2 reads, none of a value out of date for more than 5ns; 1 read stale at all (9.5–91 %)", r.Reason)
	require.Equal(t, "versions behind: p50 0 (0–2), p95 2 (0–2), p99 2 (0–2), max 2 versions, of 2", r.Figures[0].String())
	require.Len(t, r.Visibility, 1)
	require.Equal(t, "0s–200µs: 50 % (9.45–90.54 %) of 2", r.Visibility[0].String())
	require.Equal(t, Broken, check(StalenessOptions{Age: 4}).Verdict)
	r = check(StalenessOptions{Age: 9, Versions: 1})
	require.Equal(t, Broken, r.Verdict)
	require.Equal(t, []int{0, 1, 3}, r.Ops)
	require.Contains(t, r.Reason, "saw a value that was out of date for 5ns, 2 versions behind: process 1's write of 2 (3 ns to 4 ns) had replaced it")
}

func TestVisibility(t *testing.T) {
	const ms = int64(time.Millisecond)
	h := &history.History{Keys: []string{"x"}}
	add := func(f history.F, v history.Value, call, end int64) {
		o := history.Op{F: f, Arg: v, Out: history.Nil, Call: call, Return: end, Outcome: history.OK}
		if f == history.Read {
			o.Arg, o.Out = history.Nil, v
		}
		h.Ops = append(h.Ops, o)
	}
	add(history.Read, history.Nil, 0, 1) // before any write: no sample
	add(history.Write, 1, 10*ms, 11*ms)
	add(history.Read, history.Nil, 11*ms+1, 12*ms) // t = 1 ns: not seen
	add(history.Read, 1, 14*ms, 15*ms)             // t = 3 ms: seen
	add(history.Write, 2, 16*ms, 30*ms)
	add(history.Read, 2, 20*ms, 21*ms) // t = 9 ms of the first: something newer
	got := MeasureVisibility(h, Options{}, nil)
	require.Len(t, got, 3)
	for i, want := range []Visibility{{From: 0, To: 200 * time.Microsecond, Seen: 0, Of: 1}, {From: 2 * time.Millisecond, To: 5 * time.Millisecond, Seen: 1, Of: 1}, {From: 5 * time.Millisecond, To: 10 * time.Millisecond, Seen: 1, Of: 1}} {
		require.Equal(t, want, Visibility{From: got[i].From, To: got[i].To, Seen: got[i].Seen, Of: got[i].Of})
		require.Negative(t, got[i].Predicted)
	}
}

func TestPBS(t *testing.T) {
	one := []int64{1000}
	model := func(n, r, w int) *PBS {
		return &PBS{N: n, R: r, W: w, Write: one, Ack: one, Read: one, Response: one, Seed: 1}
	}
	// Overlapping quorums always see it.
	require.Equal(t, 1.0, model(3, 2, 2).Visible([]int64{0}))
	require.Equal(t, 1.0, model(3, 1, 3).Visible([]int64{0}))
	// R = W = 1: the writer acknowledges by itself at once, and a read that
	// begins then asks its own coordinator first: it is seen if both are one
	// node, and by all when the write has arrived.
	require.InDelta(t, 1./3, model(3, 1, 1).Visible([]int64{0}), 0.02)
	require.InDelta(t, 1./3, model(3, 1, 1).Visible([]int64{999}), 0.02)
	require.Equal(t, 1.0, model(3, 1, 1).Visible([]int64{1000}))
	require.InDelta(t, 2./3, model(3, 1, 1).Visible([]int64{0, 1000}), 0.02)
	// Time on disk before the acknowledgement is time for the write to arrive.
	slow := model(3, 1, 1)
	slow.Disk = one
	require.Equal(t, 1.0, slow.Visible([]int64{0}))
	// So are the ways to the client and back.
	far := model(3, 1, 1)
	far.Client = []int64{500}
	require.Equal(t, 1.0, far.Visible([]int64{0}))
	// With delays of 1 to 2 ms the write arrives within that.
	spread := model(3, 1, 1)
	spread.Write = nil
	for d := range int64(1001) {
		spread.Write = append(spread.Write, 1000+d)
	}
	require.InDelta(t, 1./3+2./3*0.5, spread.Visible([]int64{1500}), 0.02)
	require.Equal(t, spread.Visible([]int64{1500}), spread.Visible([]int64{1500}))

	require.Negative(t, (&PBS{N: 3, R: 1, W: 1}).Visible([]int64{0}))
	require.Error(t, model(3, 4, 1).Validate())
	require.Nil(t, PBSFromLatencies(parse(t, "r1@1-2"), 3, 1, 1))
	p := PBSFromLatencies(parse(t, "w1@1-5 r1@6-8 r1@9-10!"), 3, 1, 1)
	require.Equal(t, []int64{2}, p.Write)
	require.Equal(t, []int64{1}, p.Response)
}
