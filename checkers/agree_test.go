package checkers

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

func verdictOf(linearizable bool) Verdict {
	if linearizable {
		return Held
	}
	return Broken
}

// byPorcupine decides without any help: not tightened, no zones.
func byPorcupine(t testing.TB, h *history.History, opts Options) Verdict {
	m := registerModel(ModelCASRegister, true)
	steps, err := prepare(h, whole(h), m, opts)
	require.NoError(t, err)
	return decide(m, steps, opts, time.Time{}, 0).verdict
}

func byTightened(t testing.TB, h *history.History, opts Options) Verdict {
	m := registerModel(ModelCASRegister, true)
	steps, err := prepare(h, whole(h), m, opts)
	require.NoError(t, err)
	return decide(m, tighten(steps, []any{m.initial(opts)}), opts, time.Time{}, 0).verdict
}

func byPieces(t testing.TB, h *history.History, opts Options) Verdict {
	m := registerModel(ModelCASRegister, true)
	steps, err := prepare(h, whole(h), m, opts)
	require.NoError(t, err)
	return searchPieces(m, tighten(steps, []any{m.initial(opts)}), opts, time.Time{}, 0).verdict
}

// agree compares all opinions on one history.
func agree(t testing.TB, ops []history.Op, opts Options) (v Verdict, byZones bool) {
	h := &history.History{Ops: ops}
	want := verdictOf(oracle(ops, opts))
	require.Equal(t, want, byPorcupine(t, h, opts), "porcupine on %s", told(ops))
	require.Equal(t, want, byTightened(t, h, opts), "porcupine, tightened, on %s", told(ops))
	require.Equal(t, want, byPieces(t, h, opts), "porcupine, in pieces, on %s", told(ops))
	r := decideRegister(h, whole(h), registerModel(ModelCASRegister, true), opts)
	if r.verdict != Unknown {
		require.Equal(t, want, r.verdict, "zones (%s) on %s", r.why, told(ops))
	}
	for order, all := range map[string][]history.Event{"recorded": events(ops), "written": written(ops)} {
		online, o := byOnline(all, opts)
		if online == Unknown {
			require.False(t, r.verdict != Unknown && order == "recorded" && !anyFailed(ops), "%s: %s", o.registers[0].why, told(ops))
			continue
		}
		require.Equal(t, want, online, "online, as %s, on %s", order, told(ops))
	}
	if decideZones(h, whole(h), opts).verdict == Broken {
		// What is given as proof must be one on its own.
		var proof []history.Op
		for _, i := range r.proof {
			proof = append(proof, ops[i])
		}
		if r.rule != ReadFromNowhere {
			require.False(t, oracle(proof, opts), "the proof %s (%s) of %s", told(proof), r.why, told(ops))
		}
	}
	if fresh := FreshReadsWith(opts)(Input{History: h}, Budget{}); fresh.Verdict == Broken {
		require.Equal(t, Broken, want, "%s broken (%s), but linearizable: %s", fresh.Claim, fresh.Reason, told(ops))
	}
	durable := DurabilityOptions{Options: opts, Overlap: true}
	if lost := NoLostWritesWith(durable)(Input{History: h}, Budget{}); lost.Verdict == Broken {
		require.Equal(t, Broken, want, "%s broken (%s), but linearizable: %s", lost.Claim, lost.Reason, told(ops))
	}
	return want, r.verdict != Unknown
}

// told is a history in the notation, put into words only where a test fails.
type told []history.Op

func (t told) String() string { return notation(t) }

func anyFailed(ops []history.Op) bool {
	return slices.ContainsFunc(ops, func(o history.Op) bool { return o.Outcome == history.Fail })
}

// The decisions are compared on some 100,000 random histories in every run, and
// on as many as one likes with
//
//	go test ./checkers -run '^TestDecisionsAgree' -timeout 0 -histories 1000000 -seed 2
var (
	histories = flag.Int("histories", 100_000, "how many random histories the decisions are compared on")
	seed      = flag.Uint64("seed", 1, "of the random histories")
)

// share is a part of the histories, and a generator of its own for them.
func share(percent int, r small) (int, small) {
	r.Rand = rand.New(rand.NewPCG(*seed, uint64(percent)))
	return *histories * percent / 100, r
}

func TestDecisionsAgreeOnReadsAndWrites(t *testing.T) {
	n, r := share(50, small{maxOps: 10})
	seen := map[Verdict]int{}
	for range n {
		v, byZones := agree(t, r.history(), Options{})
		require.True(t, byZones)
		seen[v]++
	}
	require.Greater(t, seen[Held], n/6)
	require.Greater(t, seen[Broken], n/6)
}

func TestDecisionsAgreeOnRepeatedValues(t *testing.T) {
	n, r := share(10, small{maxOps: 9, repeat: true})
	searched := 0
	for range n {
		if _, byZones := agree(t, r.history(), Options{}); !byZones {
			searched++
		}
	}
	require.Greater(t, searched, n/10)
}

func TestDecisionsAgreeOnCompareAndSet(t *testing.T) {
	for _, opts := range []Options{{}, {FailedCAS: ObserveFailedCAS}} {
		n, r := share(20, small{maxOps: 9, cas: true, blind: opts.FailedCAS == ObserveFailedCAS})
		seen := map[Verdict]int{}
		searched := 0
		for range n {
			v, unsearched := agree(t, r.history(), opts)
			seen[v]++
			if !unsearched {
				searched++
			}
		}
		require.Greater(t, seen[Held], n/4)
		require.Greater(t, seen[Broken], n/4)
		require.Equal(t, r.blind, searched > 0)
	}
}

func FuzzZoneAgainstPorcupine(f *testing.F) {
	f.Add(uint64(1), uint64(1), false, false)
	f.Add(uint64(2), uint64(2), true, true)
	f.Fuzz(func(t *testing.T, seed, stream uint64, cas, repeat bool) {
		r := small{Rand: rand.New(rand.NewPCG(seed, stream)), maxOps: 12, cas: cas, repeat: repeat}
		agree(t, r.history(), Options{})
	})
}

func runGuarded(m porcupine.Model, steps []step) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(m, operations(steps), 0)
}
