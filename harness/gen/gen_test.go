package gen_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/gen/gentest"
	"github.com/assay-chaos/assay/harness/history"
)

var (
	reads  = gen.Repeat(gen.Op{F: history.Read})
	writes = gen.Repeat(gen.Op{F: history.Write, Arg: 7})
	cas    = gen.Repeat(gen.Op{F: history.CAS})
)

// takes makes every operation last d and succeed.
func takes(d time.Duration) func(gen.Op) (time.Duration, history.Outcome) {
	return func(gen.Op) (time.Duration, history.Outcome) { return d, history.OK }
}

func play(t *testing.T, g gen.Generator, c gentest.Config) []gentest.Event {
	t.Helper()
	events, err := gentest.Play(g, c)
	require.NoError(t, err)
	return events
}

func count(events []gentest.Event, f history.F) int {
	n := 0
	for _, e := range events {
		if e.F == f {
			n++
		}
	}
	return n
}

// lines is a play as text.
func lines(events []gentest.Event) []string {
	var s []string
	for _, e := range events {
		s = append(s, e.String())
	}
	return s
}

func TestOneWorkerInTurn(t *testing.T) {
	once := func(f history.F) gen.Generator { return gen.Once(gen.Op{F: f}) }
	tests := []struct {
		name string
		g    gen.Generator
		want []string
	}{
		{"once", once(history.Read), []string{
			"0s w0 read k0",
		}},
		{"limit", gen.Limit(3, reads), []string{
			"0s w0 read k0", "10ms w0 read k0", "20ms w0 read k0",
		}},
		{"limit of zero", gen.Limit(0, reads), nil},
		{"time limit", gen.TimeLimit(25*time.Millisecond, reads), []string{
			"0s w0 read k0", "10ms w0 read k0", "20ms w0 read k0",
		}},
		{"delay longer than an operation", gen.Limit(3, gen.Delay(15*time.Millisecond, reads)), []string{
			"0s w0 read k0", "15ms w0 read k0", "30ms w0 read k0",
		}},
		{"time limit of what is delayed", gen.TimeLimit(30*time.Millisecond, gen.Delay(15*time.Millisecond, reads)), []string{
			"0s w0 read k0", "15ms w0 read k0",
		}},
		{"delay of what is time limited", gen.Delay(15*time.Millisecond, gen.TimeLimit(30*time.Millisecond, reads)), []string{
			"0s w0 read k0", "15ms w0 read k0",
		}},
		{"sequence", gen.Sequence(once(history.Read), gen.Limit(0, cas), once(history.Write)), []string{
			"0s w0 read k0", "10ms w0 write k0 0",
		}},
		{"unique values", gen.Limit(4, gen.Unique(gen.Sequence(once(history.Write), once(history.Read), once(history.CAS), writes))), []string{
			"0s w0 write k0 1", "10ms w0 read k0", "20ms w0 cas k0 0 2", "30ms w0 write k0 3",
		}},
		{"filter", gen.FilterF(gen.Sequence(once(history.Read), once(history.Write), once(history.Read)), history.Read), []string{
			"0s w0 read k0", "10ms w0 read k0",
		}},
		{"filter that lets nothing through", gen.FilterF(reads, history.Write), nil},
		{"keys", gen.Keys(3, 1, func(key int32) gen.Generator {
			return gen.Limit(2, gen.Unique(writes))
		}), []string{
			"0s w0 write k0 1", "10ms w0 write k0 2",
			"20ms w0 write k1 1", "30ms w0 write k1 2",
			"40ms w0 write k2 1", "50ms w0 write k2 2",
		}},
		{"func sees the time", gen.Limit(2, gen.Func(func(c gen.Context) gen.Op {
			return gen.Op{F: history.Write, Arg: history.Value(c.Time)}
		})), []string{
			"0s w0 write k0 0", "10ms w0 write k0 10000000",
		}},
		{"nothing at all", gen.Any(), nil},
		{"weight zero", gen.Mix(gen.Weight(0, reads)), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events := play(t, tt.g, gentest.Config{Outcome: takes(10 * time.Millisecond)})
			require.Equal(t, tt.want, lines(events))
		})
	}
}

func TestPhasesWaitForEverything(t *testing.T) {
	g := gen.Phases(
		gen.Limit(5, gen.Mix(gen.Weight(1, reads), gen.Weight(1, cas))),
		gen.Limit(3, writes))
	events := play(t, g, gentest.Config{Workers: 3, Outcome: func(op gen.Op) (time.Duration, history.Outcome) {
		return time.Duration(op.Worker+1) * time.Second, history.Info
	}})
	require.Len(t, events, 8)
	var end time.Duration
	for _, e := range events[:5] {
		require.NotEqual(t, history.Write, e.F)
		end = max(end, e.Return)
	}
	for _, e := range events[5:] {
		require.Equal(t, history.Write, e.F)
		require.GreaterOrEqual(t, e.Call, end)
	}
}

// Both parts wait for their own operations only: the completions must find
// their way back through the mix.
func TestPhasesWithinMix(t *testing.T) {
	p := func(f1, f2 history.F) gen.Generator {
		return gen.Phases(gen.Limit(40, gen.Repeat(gen.Op{F: f1})), gen.Limit(40, gen.Repeat(gen.Op{F: f2})))
	}
	g := gen.Mix(gen.Weight(1, p(history.Read, history.Write)), gen.Weight(1, p(history.Acquire, history.Release)))
	events := play(t, g, gentest.Config{Workers: 4, Outcome: func(op gen.Op) (time.Duration, history.Outcome) {
		return time.Duration(1+op.Worker) * time.Millisecond, history.OK
	}})
	require.Len(t, events, 160)
	var lastRead, firstWrite, lastAcquire, firstRelease time.Duration
	firstWrite, firstRelease = time.Hour, time.Hour
	for _, e := range events {
		switch e.F {
		case history.Read:
			lastRead = max(lastRead, e.Return)
		case history.Write:
			firstWrite = min(firstWrite, e.Call)
		case history.Acquire:
			lastAcquire = max(lastAcquire, e.Return)
		case history.Release:
			firstRelease = min(firstRelease, e.Call)
		}
	}
	require.LessOrEqual(t, lastRead, firstWrite)
	require.LessOrEqual(t, lastAcquire, firstRelease)
	require.Less(t, min(firstWrite, firstRelease), max(lastRead, lastAcquire), "the parts should not have waited for each other")
}

func TestMixKeepsTheWeights(t *testing.T) {
	g := gen.Mix(gen.Weight(8, reads), gen.Weight(2, gen.Mix(gen.Weight(1, writes), gen.Weight(1, cas))))
	events := play(t, g, gentest.Config{Workers: 5, Max: 20_000})
	// Standard deviations are below 60; the parts of the inner mix must not
	// depend on the outer one's choice.
	require.InDelta(t, 16_000, count(events, history.Read), 300)
	require.InDelta(t, 2_000, count(events, history.Write), 250)
	require.InDelta(t, 2_000, count(events, history.CAS), 250)
}

func TestMixGoesOnWithWhatIsLeft(t *testing.T) {
	g := gen.Mix(gen.Weight(100, gen.Limit(3, reads)), gen.Weight(1, gen.Limit(200, writes)))
	events := play(t, g, gentest.Config{})
	require.Equal(t, 3, count(events, history.Read))
	require.Equal(t, 200, count(events, history.Write))
}

func TestAnyTakesTheSoonest(t *testing.T) {
	g := gen.TimeLimit(time.Second, gen.Any(
		gen.Delay(100*time.Millisecond, reads),
		gen.Delay(30*time.Millisecond, writes)))
	events := play(t, g, gentest.Config{Workers: 10})
	require.Equal(t, 10, count(events, history.Read))
	require.Equal(t, 34, count(events, history.Write))
}

func TestRate(t *testing.T) {
	tests := []struct {
		name     string
		rate     float64
		latency  time.Duration
		workers  int
		min, max int
	}{
		{"slow", 100, time.Millisecond, 5, 850, 1150},
		{"many at once", 1000, 20 * time.Millisecond, 100, 9_600, 10_400},
		{"more than the workers can do", 1000, 100 * time.Millisecond, 10, 980, 1010},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events := play(t, gen.TimeLimit(10*time.Second, gen.Rate(tt.rate, reads)),
				gentest.Config{Workers: tt.workers, Outcome: takes(tt.latency), Max: 100_000})
			require.GreaterOrEqual(t, len(events), tt.min)
			require.LessOrEqual(t, len(events), tt.max)
		})
	}
}

// After a stall of a second the load goes on as before: the thousand
// operations that were missed do not follow in a burst.
func TestRateDoesNotBurst(t *testing.T) {
	g := gen.TimeLimit(2*time.Second, gen.Rate(1000, reads))
	stalled := false
	events := play(t, g, gentest.Config{Workers: 1, Outcome: func(op gen.Op) (time.Duration, history.Outcome) {
		if !stalled && op.Time > int64(500*time.Millisecond) {
			stalled = true
			return time.Second, history.OK
		}
		return 0, history.OK
	}})
	after := 0
	for _, e := range events {
		if e.Call > 1500*time.Millisecond && e.Call < 1600*time.Millisecond {
			after++
		}
	}
	require.InDelta(t, 110, after, 40)
	require.InDelta(t, 1010, len(events), 130)
}

func TestReserve(t *testing.T) {
	g := gen.Limit(400, gen.Reserve(reads, gen.Workers(2, writes), gen.Workers(1, gen.Reserve(cas, gen.Workers(7, cas)))))
	events := play(t, g, gentest.Config{Workers: 5, Outcome: takes(time.Millisecond)})
	for _, e := range events {
		switch e.F {
		case history.Write:
			require.Less(t, e.Worker, 2)
		case history.CAS:
			require.Equal(t, 2, e.Worker)
		case history.Read:
			require.GreaterOrEqual(t, e.Worker, 3)
		}
	}
	require.Equal(t, 160, count(events, history.Write))
	require.Equal(t, 80, count(events, history.CAS))
	require.Equal(t, 160, count(events, history.Read))
}

func TestReserveMoreThanThereAre(t *testing.T) {
	g := gen.Reserve(gen.Limit(1, reads), gen.Workers(10, gen.Limit(4, writes)))
	_, err := gentest.Play(g, gentest.Config{Workers: 2})
	require.ErrorContains(t, err, "pending, but no operation is in flight", "nobody is left for the reads, and that must not pass unnoticed")
}

func TestEachWorker(t *testing.T) {
	each := gen.EachWorker(func(worker int) gen.Generator {
		return gen.Phases(
			gen.Limit(2, gen.Repeat(gen.Op{F: history.Write, Key: int32(worker)})),
			gen.Limit(1, gen.Repeat(gen.Op{F: history.Read, Key: int32(worker)})))
	})
	for name, g := range map[string]gen.Generator{
		"all":     each,
		"reserve": gen.Reserve(each, gen.Workers(2, each)),
	} {
		t.Run(name, func(t *testing.T) {
			events := play(t, g, gentest.Config{Workers: 4, Outcome: func(op gen.Op) (time.Duration, history.Outcome) {
				return time.Duration(op.Worker+1) * time.Millisecond, history.OK
			}})
			require.Len(t, events, 12)
			for _, e := range events {
				require.Equal(t, int(e.Key), e.Worker)
			}
			require.Equal(t, 8, count(events, history.Write))
		})
	}
}

func TestKeysInUse(t *testing.T) {
	const n, atOnce, each = 20, 4, 10
	g := gen.Keys(n, atOnce, func(int32) gen.Generator { return gen.Limit(each, reads) })
	events := play(t, g, gentest.Config{Workers: 6, Outcome: takes(time.Millisecond)})
	require.Len(t, events, n*each)
	first, last := map[int32]int{}, map[int32]int{}
	for i, e := range events {
		if _, seen := first[e.Key]; !seen {
			first[e.Key] = i
		}
		last[e.Key] = i
	}
	require.Len(t, first, n)
	for i := range events {
		inUse := 0
		for k := range first {
			if first[k] <= i && i <= last[k] {
				inUse++
			}
		}
		require.LessOrEqual(t, inUse, atOnce)
	}
}

// A user's generator may be of a type that cannot be compared.
type funcGen func(c gen.Context) gen.Op

func (f funcGen) Next(c gen.Context) (gen.Op, gen.State, gen.Generator) {
	if c.Idle.Empty() {
		return gen.Op{}, gen.Pending, f
	}
	op := f(c)
	op.Worker, op.Time = c.Idle.First(), c.Time
	return op, gen.Ready, f
}

func (f funcGen) Update(gen.Context, gen.Completion) gen.Generator { return f }

func TestUncomparableGenerator(t *testing.T) {
	f := funcGen(func(gen.Context) gen.Op { return gen.Op{F: history.Read} })
	g := gen.Limit(20, gen.Any(f, gen.Mix(gen.Weight(1, f)), gen.Phases(f), gen.Keys(2, 2, func(int32) gen.Generator { return f })))
	require.Len(t, play(t, g, gentest.Config{Workers: 3, Outcome: takes(time.Second)}), 20)
}

func TestPendingForEver(t *testing.T) {
	_, err := gentest.Play(gen.Reserve(nil, gen.Workers(0, reads)), gentest.Config{})
	require.ErrorContains(t, err, "it would wait for ever")
}

func Example() {
	reads := gen.Repeat(gen.Op{F: history.Read})
	writes := gen.Unique(gen.Repeat(gen.Op{F: history.Write}))
	load := gen.Mix(gen.Weight(1, reads), gen.Weight(1, writes))

	events, err := gentest.Play(gen.TimeLimit(time.Second, gen.Delay(200*time.Millisecond, load)), gentest.Config{Workers: 3, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range events {
		fmt.Println(e)
	}
	// Output:
	// 0s w1 write k0 1
	// 200ms w1 write k0 2
	// 400ms w2 write k0 3
	// 600ms w0 write k0 4
	// 800ms w2 read k0
}
