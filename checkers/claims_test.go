package checkers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

func TestFreshReads(t *testing.T) {
	for _, c := range []struct {
		name, history string
		want          Verdict
		violations    int
		ops           []int
	}{
		{"current", "w1@1-2 r1@3-4 w2@5-6 r2@7-8", Held, 0, nil},
		{"overwritten", "w1@1-2 w2@3-4 r1@5-6", Broken, 1, []int{0, 1, 2}},
		{"overwritten, but the read began before that was complete", "w1@1-2 w2@3-4 r1@4-6", Held, 0, nil},
		{"writes were concurrent", "w1@1-3 w2@3-4 r1@5-6", Held, 0, nil},
		{"new, then old, during one write is regular", "w1@1-2 w2@3-10 r2@4-5 r1@6-7", Held, 0, nil},
		{"old write may still happen", "w1@1? w2@3-4 r1@5-6", Held, 0, nil},
		{"new write may not have happened", "w1@1-2 w2@3? r1@5-6", Held, 0, nil},
		{"new write failed", "w1@1-2 w2@3-4! r1@5-6", Held, 0, nil},
		{"absent after a write", "w1@1-2 rnil@3-4", Broken, 1, []int{0, 1}},
		{"absent after a delete", "w1@1-2 d@3-4 rnil@5-6", Held, 0, nil},
		{"deleted value is back", "w1@1-2 d@3-4 r1@5-6", Broken, 1, []int{0, 1, 2}},
		{"from nowhere", "w1@1-2 r7@3-4 r8@5-6", Broken, 2, []int{1}},
		{"from the future", "r1@1-2 w1@3-4", Broken, 1, []int{0, 1}},
		{"written again", "w1@1-2 w2@3-4 w1@5-6 r1@7-8", Held, 0, nil},
		{"cas writes", "w1@1-2 c1>2@3-4 r1@5-6", Broken, 1, []int{0, 1, 2}},
		{"failed cas reads", "w1@1-2 w2@3-4 c9>3=1@5-6!", Broken, 1, []int{0, 1, 2}},
		{"the earliest of those that overwrote it counts", "w1@1-2 w2@3-4 w3@3-5 r1@7-8", Broken, 1, []int{0, 1, 3}},
		{"keys apart", "w1@1-2/0 w2@3-4/1 r1@5-6/0", Held, 0, nil},
		{"no reads", "w1@1-2", Unknown, 0, nil},
		{"a mutex", "a@1-2", Unknown, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := FreshReadsWith(Options{})(Input{History: parse(t, c.history)}, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.Equal(t, c.violations, r.Violations, r.Reason)
			require.Equal(t, c.ops, r.Ops, r.Reason)
			require.Equal(t, FreshReads, r.Claim)
			require.NotEmpty(t, r.Reason)
		})
	}
}

func TestFreshReadsReason(t *testing.T) {
	h := parse(t, "w1@1000000-2000000 w2@3000000-4000000 r1@9000000-9500000 r1@14000000-15000000 r2@16000000-16000001")
	r := FreshReadsWith(Options{})(Input{History: h}, Budget{})
	require.Equal(t, `2 of 3 reads broken (21–94 %), first on key "k0": process 2's read of 1 (0.009000 s to 0.009500 s) saw an old value: process 1's write of 2 (0.003000 s to 0.004000 s) had completed 5ms earlier; the most stale by 10ms`, r.Reason)
}

// replicasOf makes final states of key 0: "nil" absent, "-" not read, "~"
// elsewhere.
func replicasOf(values ...string) [][]harness.Replica {
	rows := make([][]harness.Replica, len(values))
	for i, v := range values {
		var n int64
		switch v {
		case "-":
			continue
		case "nil":
			rows[i] = []harness.Replica{{}}
			continue
		case "~":
			rows[i] = []harness.Replica{{Elsewhere: true}}
			continue
		}
		fmt.Sscan(v, &n)
		rows[i] = []harness.Replica{{Present: true, Value: history.Value(n)}}
	}
	return rows
}

func TestLostWrites(t *testing.T) {
	for _, c := range []struct {
		name, history string
		replicas      [][]harness.Replica
		want          Verdict
		violations    int
	}{
		{"there", "w1@1-2 w2@3-4", replicasOf("2", "2"), Held, 0},
		{"at one replica", "w1@1-2 w2@3-4", replicasOf("1", "2"), Held, 0},
		{"beaten by an older one", "w1@1-2 w2@3-4", replicasOf("1", "1"), Broken, 1},
		{"both gone", "w1@1-2 w2@3-4", replicasOf("nil", "nil"), Broken, 2},
		{"older ones are not missed", "w1@1-2 w2@3-4 w3@5-6", replicasOf("3"), Held, 0},
		{"concurrent one won", "w1@1-3 w2@3-4", replicasOf("1", "1"), Held, 0},
		{"unknown one won late", "w1@1? w2@3-4", replicasOf("1", "1"), Held, 0},
		{"unknown one is not missed", "w1@1-2 w2@3?", replicasOf("1", "1"), Held, 0},
		{"failed one is not missed", "w1@1-2 w2@3-4!", replicasOf("1", "1"), Held, 0},
		{"deleted", "w1@1-2 d@3-4", replicasOf("nil", "nil"), Held, 0},
		{"deleted at one replica", "w1@1-2 d@3-4", replicasOf("1", "nil"), Held, 0},
		{"deleted, perhaps", "w1@1-2 d@3?", replicasOf("nil", "nil"), Held, 0},
		{"deleted before", "d@1-2 w1@3-4", replicasOf("nil", "nil"), Broken, 1},
		{"deleted value is back", "w1@1-2 d@3-4", replicasOf("1", "1"), Broken, 1},
		{"value from nowhere", "w1@1-2", replicasOf("9", "9"), Broken, 1},
		{"cas lost", "w1@1-2 c1>2@3-4", replicasOf("1", "1"), Broken, 1},
		{"a replica could not be read", "w1@1-2 w2@3-4", replicasOf("1", "-"), Unknown, 1},
		{"a replica could not be read, but one has it", "w1@1-2 w2@3-4", replicasOf("2", "-"), Held, 0},
		{"gone from its replicas, another node is none", "w1@1-2", replicasOf("nil", "~", "nil"), Broken, 1},
		{"there, another node is no replica", "w1@1-2 d@3-4 w2@5-6", replicasOf("~", "2"), Held, 0},
		{"no node is a replica", "w1@1-2", replicasOf("~", "~"), Unknown, 0},
		{"nothing acknowledged", "w1@1? r1@3-4", replicasOf("1"), Unknown, 0},
		{"nothing to look in", "w1@1-2", nil, Unknown, 0},
		{"no replica could be read", "w1@1-2", replicasOf("-", "-"), Unknown, 0},
		{"key without a replica row", "w1@1-2/3", replicasOf("1"), Unknown, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NoLostWritesWith(DurabilityOptions{})(Input{History: parse(t, c.history), Replicas: c.replicas}, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.Equal(t, c.violations, r.Violations, r.Reason)
			require.NotEmpty(t, r.Reason)
		})
	}
}

func TestLostWritesByReads(t *testing.T) {
	for _, c := range []struct {
		name, history string
		overlap       bool
		want          Verdict
		violations    int
	}{
		// The recovery phase begins at 100.
		{"seen", "w1@1-2 w2@3-4 r2@110-111", false, Held, 0},
		{"older seen, then it", "w1@1-2 w2@3-4 r1@110-111 r2@112-113", false, Held, 0},
		{"only older seen", "w1@1-2 w2@3-4 r1@110-111 r1@112-113", false, Broken, 1},
		{"only older seen, but too early", "w1@1-2 w2@3-4 r1@10-11", false, Unknown, 0},
		{"written in the recovery, and only older seen", "w1@1-2 w2@103-104 r1@110-111", false, Broken, 1},
		{"newer seen", "w1@1-2 w2@3-4 w3@50? r3@110-111", false, Held, 0},
		{"overlapping quorums show it at once", "w1@1-2 w2@3-4 r1@10-11 r2@110-111", true, Broken, 1},
		{"overlapping quorums, the write not acknowledged yet", "w1@1-2 w2@3-14 r1@10-11 r2@110-111", true, Held, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := parse(t, c.history)
			h.Phases = []history.Phase{{Name: history.PhaseBefore, Start: 0, End: 100}, {Name: history.PhaseRecovery, Start: 100, End: 200}}
			r := NoLostWritesWith(DurabilityOptions{Overlap: c.overlap})(Input{History: h}, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.Equal(t, c.violations, r.Violations, r.Reason)
		})
	}
}

// A linearizable store whose replicas hold what a last read would see loses
// nothing.
func TestLostWritesIsSound(t *testing.T) {
	r := small{Rand: rand.New(rand.NewPCG(8, 1)), maxOps: 9, cas: true, repeat: true}
	broken := 0
	for range 15_000 {
		ops := r.history()
		last := history.Op{F: history.Read, Out: r.pick(ops), Arg: history.Nil, Outcome: history.OK, Call: 1000, Return: 1001}
		h := &history.History{Ops: append(ops, last)}
		final := harness.Replica{Present: last.Out != history.Nil, Value: last.Out}
		// The checker must not know the read itself.
		got := NoLostWritesWith(DurabilityOptions{})(Input{History: &history.History{Ops: ops}, Replicas: [][]harness.Replica{{final}, {final}}}, Budget{})
		h.Phases = []history.Phase{{Name: history.PhaseRecovery, Start: 1000, End: 2000}}
		byRead := NoLostWritesWith(DurabilityOptions{})(Input{History: h}, Budget{})
		require.Equal(t, got.Verdict, byRead.Verdict, "%s, finally %s: %s / %s", notation(ops), last.Out, got.Reason, byRead.Reason)
		if got.Verdict == Broken {
			broken++
			require.False(t, oracle(h.Ops, Options{}), "%s, finally %s: %s", notation(ops), last.Out, got.Reason)
		}
	}
	require.Greater(t, broken, 1_000)
}

func TestConverges(t *testing.T) {
	h := parse(t, "w1@1-2")
	for _, c := range []struct {
		name     string
		replicas [][]harness.Replica
		settled  time.Duration
		want     Verdict
	}{
		{"agree", replicasOf("1", "1", "1"), time.Second, Held},
		{"differ", replicasOf("1", "2", "1"), -1, Broken},
		{"one lacks it", replicasOf("1", "nil"), -1, Broken},
		{"one was not read", replicasOf("1", "-", "1"), -1, Unknown},
		{"one was not read, others differ", replicasOf("1", "-", "2"), -1, Broken},
		{"agreed too late", replicasOf("1", "1"), -1, Broken},
		{"hold nothing", replicasOf("nil", "nil"), 0, Unknown},
		{"one replica", replicasOf("1"), 0, Unknown},
		{"none read", replicasOf("-", "-"), 0, Unknown},
		{"none there", nil, 0, Unknown},
		{"two of four hold it", replicasOf("~", "1", "~", "1"), 0, Held},
		{"a replica lacks it", replicasOf("~", "1", "nil", "1"), -1, Broken},
		{"replicas differ, another is elsewhere", replicasOf("~", "1", "2"), -1, Broken},
		{"one replica, another is elsewhere", replicasOf("1", "~"), 0, Unknown},
		{"it is nobody's", replicasOf("~", "~"), 0, Unknown},
		{"rows of different length", [][]harness.Replica{{{Present: true, Value: 1}}, {}}, -1, Broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := CheckConverges(Input{History: h, Replicas: c.replicas, Settled: c.settled}, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.NotEmpty(t, r.Reason)
		})
	}
	r := CheckConverges(Input{History: h, Replicas: replicasOf("1", "1", "2"), Settled: -1}, Budget{})
	require.Equal(t, `replicas differ on 1 of 1 key, first on key "k0": node 0 holds 1 and node 2 holds 2`, r.Reason)
	r = CheckConverges(Input{History: h, Replicas: replicasOf("~", "1", "nil", "~"), Settled: -1}, Budget{})
	require.Equal(t, `replicas differ on 1 of 1 key, first on key "k0": node 1 holds 1 and node 2 holds nothing`, r.Reason)
	r = CheckConverges(Input{History: h, Replicas: replicasOf("~", "1", "1", "~"), Settled: time.Second}, Budget{})
	require.Equal(t, "2 replicas on 1 key agree, 1s after the clients had stopped", r.Reason)
	r = CheckConverges(Input{History: h, Replicas: replicasOf("~", "~"), Settled: time.Second}, Budget{})
	require.Equal(t, `every node says that key "k0" lives on another`, r.Reason)
}

// run makes a run of three seconds, one a phase, on three nodes: a write and
// a read, overlapping, every 10 ms, each of 4 ms.
func run() *history.History {
	const ms = int64(time.Millisecond)
	h := &history.History{
		Keys: []string{"x"},
		Phases: []history.Phase{
			{Name: history.PhaseBefore, Start: 0, End: 1000 * ms},
			{Name: history.PhaseFaults, Start: 1000 * ms, End: 2000 * ms},
			{Name: history.PhaseRecovery, Start: 2000 * ms, End: 3000 * ms},
		},
		Faults: []history.Fault{{ID: 1, Kind: "kill", Detail: "node 2", Start: 1000 * ms, End: 1900 * ms,
			Effect: history.Proof{OK: true, Evidence: "the process is gone"}, Recovery: history.Proof{OK: true, Evidence: "a new process runs"}}},
	}
	for i := range int64(300) {
		v := history.Value(i + 1)
		w := history.Op{F: history.Write, Arg: v, Out: history.Nil, Call: i * 10 * ms, Return: (i*10 + 4) * ms, Outcome: history.OK, Process: 0, Node: int16(i % 3)}
		r := history.Op{F: history.Read, Arg: history.Nil, Out: v, Call: (i*10 + 1) * ms, Return: (i*10 + 5) * ms, Outcome: history.OK, Process: 1, Node: int16(i % 3)}
		h.Ops = append(h.Ops, w, r)
	}
	return h
}

func TestAvailabilityByPhase(t *testing.T) {
	h := run()
	for i := range h.Ops {
		if o := &h.Ops[i]; o.Node == 2 && o.Call >= h.Phases[1].Start && o.Call < h.Phases[1].End {
			o.Outcome = history.Fail
			if o.F == history.Write {
				o.Outcome = history.Info
			}
		}
	}
	h.Ops[0].Return = h.Ops[0].Call + int64(50*time.Millisecond)
	rows := AvailabilityByPhase(h, true)
	require.Len(t, rows, 12)
	before := rows[0]
	require.Equal(t, Availability{Phase: "before", Node: -1, OK: 200, P50: 4 * time.Millisecond, P95: 4 * time.Millisecond, P99: 4 * time.Millisecond, Max: 50 * time.Millisecond}, before)
	faults := rows[4]
	require.Equal(t, history.PhaseFaults, faults.Phase)
	require.Equal(t, 200, faults.Total())
	require.Equal(t, 33, faults.Fail)
	require.Equal(t, 33, faults.Info)
	require.InDelta(t, 0.67, faults.Ratio(), 0.001)
	dead := rows[7]
	require.Equal(t, 2, dead.Node)
	require.Zero(t, dead.OK)
	require.Zero(t, dead.P99)

	in := Input{History: h}
	require.Equal(t, Broken, AvailableWith(AvailabilityOptions{})(in, Budget{}).Verdict)
	r := AvailableWith(AvailabilityOptions{MinRatio: map[string]float64{history.PhaseFaults: 0.66}})(in, Budget{})
	require.Equal(t, Held, r.Verdict, r.Reason)
	require.Equal(t, "ok by phase: before 100.0 %, faults 67.0 %, recovery 100.0 %", r.Reason)
	r = AvailableWith(AvailabilityOptions{MinOps: 1000})(in, Budget{})
	require.Equal(t, Unknown, r.Verdict)
}

func TestQuantileIsNearestRank(t *testing.T) {
	require.Equal(t, time.Duration(0), quantile(nil, 0.5))
	l := []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	require.Equal(t, time.Duration(5), quantile(l, 0.5))
	require.Equal(t, time.Duration(10), quantile(l, 0.95))
	require.Equal(t, time.Duration(10), quantile(l, 1))
	require.Equal(t, time.Duration(1), quantile(l, 0))
}

func TestRecovers(t *testing.T) {
	change := func(f func(o *history.Op) bool, outcome history.Outcome) *history.History {
		h := run()
		for i := range h.Ops {
			if o := &h.Ops[i]; o.Call >= h.Phases[2].Start && f(o) {
				o.Outcome = outcome
			}
		}
		return h
	}
	check := func(h *history.History) Result {
		return RecoversWith(RecoveryOptions{Within: 500 * time.Millisecond})(Input{History: h}, Budget{})
	}
	r := check(run())
	require.Equal(t, Held, r.Verdict, r.Reason)
	require.Equal(t, "every node served every kind of operation within 25ms after healing", r.Reason)

	r = check(change(func(o *history.Op) bool { return o.Node == 2 && o.F == history.Write }, history.Info))
	require.Equal(t, Broken, r.Verdict)
	require.Contains(t, r.Reason, "no write at node 2 was ok within 500ms after healing")
	require.Contains(t, r.Reason, "never was until the end")
	require.Len(t, r.Ops, 1)

	r = check(change(func(o *history.Op) bool { return o.Node == 1 && o.Call < 2_700_000_000 }, history.Fail))
	require.Equal(t, Broken, r.Verdict, "too late")
	require.Contains(t, r.Reason, "one first was after 7")

	h := run()
	h.Phases = h.Phases[:2]
	require.Equal(t, Unknown, check(h).Verdict)

	h = run()
	kept := h.Ops[:0]
	for _, o := range h.Ops {
		if o.Node != 1 || o.Call < h.Phases[2].Start {
			kept = append(kept, o)
		}
	}
	h.Ops = kept
	r = check(h)
	require.Equal(t, Unknown, r.Verdict, "node 1 was not tried")
	require.Contains(t, r.Reason, "only 0 read operations at node 1")
}

func TestTested(t *testing.T) {
	check := func(h *history.History, opts TestedOptions) Result {
		return TestedWith(opts)(Input{History: h}, Budget{})
	}
	r := check(run(), TestedOptions{MinFaults: 1})
	require.Equal(t, Held, r.Verdict, r.Reason)
	require.Equal(t, "600 operations ok, 1 fault that took effect and healed", r.Reason)

	for _, c := range []struct {
		name   string
		change func(h *history.History)
		opts   TestedOptions
		why    string
	}{
		{"cut off", func(h *history.History) { h.Cut = errors.New("damaged at byte 17") }, TestedOptions{}, "the history is cut off: damaged at byte 17"},
		{"empty", func(h *history.History) { h.Ops = nil }, TestedOptions{}, "there are no operations"},
		{"fault did not bite", func(h *history.History) {
			h.Faults[0].Effect = history.Proof{Evidence: "the pid is the same"}
		}, TestedOptions{}, "fault 1 (kill node 2) was not seen to take effect: the pid is the same"},
		{"fault not healed", func(h *history.History) { h.Faults[0].Recovery = history.Proof{} }, TestedOptions{}, "fault 1 (kill node 2) was not seen to be healed: no observation"},
		{"no fault", func(h *history.History) { h.Faults = nil }, TestedOptions{MinFaults: 1}, "0 faults happened, and 1 were asked for"},
		{"no writes during faults", func(h *history.History) {
			for i := range h.Ops {
				if o := &h.Ops[i]; o.F == history.Write && o.Call >= h.Phases[1].Start && o.Call < h.Phases[1].End {
					o.Outcome = history.Info
				}
			}
		}, TestedOptions{}, `only 0 ok write operations in phase "faults", fewer than 5`},
		{"too few", func(*history.History) {}, TestedOptions{MinOK: 101}, `only 100 ok read operations in phase "before", fewer than 101`},
		{"a kind that never came", func(*history.History) {}, TestedOptions{Kinds: []history.F{history.CAS}}, `only 0 ok cas operations in phase "before", fewer than 5`},
		{"one at a time", func(h *history.History) {
			for i := range h.Ops {
				h.Ops[i].Return = h.Ops[i].Call
			}
		}, TestedOptions{}, "only 0 operations overlapped another on the same key, fewer than 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := run()
			c.change(h)
			r := check(h, c.opts)
			require.Equal(t, Unknown, r.Verdict)
			require.Contains(t, r.Reason, c.why)
		})
	}

	h := run()
	h.Phases = nil
	require.Equal(t, Held, check(h, TestedOptions{}).Verdict, "an imported history has no phases")
}

func TestJudge(t *testing.T) {
	claims := []Claim{Linearizable, FreshReads, NoLostWrites, Converges, Available, Recovers}
	in := Input{History: run(), Replicas: replicasOf("300", "300", "300")}
	results := Judge(in, claims, Budget{}, JudgeOptions{})
	require.Len(t, results, 7)
	require.Equal(t, Tested, results[0].Claim)
	for i, r := range results {
		require.Equal(t, Held, r.Verdict, "%s: %s", r.Claim, r.Reason)
		if i > 0 {
			require.Equal(t, claims[i-1], r.Claim)
		}
	}
	require.Equal(t, Held, Overall(results))

	// What did not test anything holds nothing, and still breaks.
	in.History.Faults[0].Effect.OK = false
	in.Replicas = replicasOf("299", "299", "299")
	results = Judge(in, []Claim{Tested, Linearizable, NoLostWrites, "faster"}, Budget{}, JudgeOptions{})
	require.Len(t, results, 4)
	require.Equal(t, Unknown, results[0].Verdict)
	require.Equal(t, Unknown, results[1].Verdict)
	require.Contains(t, results[1].Reason, "the run did not test enough: fault 1")
	require.Equal(t, Broken, results[2].Verdict)
	require.Equal(t, Unknown, results[3].Verdict)
	require.Contains(t, results[3].Reason, `no checker for the claim "faster"`)
	require.Equal(t, Broken, Overall(results))
	require.Equal(t, Unknown, Overall(nil))
}
