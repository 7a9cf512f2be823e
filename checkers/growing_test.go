package checkers

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// one makes all operations those of one session.
func one(h *history.History) *history.History {
	for i := range h.Ops {
		h.Ops[i].Process = 0
	}
	return h
}

func TestSessionsOfCollections(t *testing.T) {
	for _, c := range []struct {
		name, history        string
		monotonic, ownWrites Verdict
	}{
		{"sees all", "+1@1-2 [1]@3-4 +2@5-6 [1,2]@7-8", Held, Held},
		{"goes back", "[1]@3-4 [2]@5-6", Broken, Unknown},
		{"does not see its own", "+1@1-2 [2]@3-4 [2]@5-6", Held, Broken},
		{"its own of unknown outcome", "+1@1? [2]@3-4 [2]@5-6", Held, Unknown},
		{"its own that failed", "+1@1-2! [2]@3-4 [2]@5-6", Held, Unknown},
		{"another key", "[1]@3-4 [2]@5-6/1", Unknown, Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := one(parseCollection(t, c.history))
			got := MonotonicReadsWith(SessionOptions{})(Input{History: h}, Budget{})
			require.Equal(t, c.monotonic, got.Verdict, got.Reason)
			got = ReadYourWritesWith(SessionOptions{})(Input{History: h}, Budget{})
			require.Equal(t, c.ownWrites, got.Verdict, got.Reason)
		})
	}
	h := parseCollection(t, "[1]@3-4 [2]@5-6 [1]@7-8 [1,2]@9-10")
	h.Ops[2].Process, h.Ops[3].Process = 0, 1
	got := MonotonicReadsWith(SessionOptions{})(Input{History: h}, Budget{})
	require.Equal(t, Held, got.Verdict, "two sessions see different things")
	h = one(parseCollection(t, "[1,3]@3-4 [3]@5-6"))
	got = MonotonicReadsWith(SessionOptions{})(Input{History: h}, Budget{})
	require.Contains(t, got.Reason, "does not see 1, which its session knew from")
	require.Equal(t, []int{0, 1}, got.Ops)
}

// tied says that a process began something at the instant at which it ended
// something else: in real time the two are concurrent, in its session they are not.
func tied(h *history.History) bool {
	ends := map[int32]int64{}
	for _, o := range h.Ops {
		if end, busy := ends[o.Process]; busy && o.Call <= end {
			return true
		}
		ends[o.Process] = o.Return
	}
	return false
}

// Whatever is linearizable keeps what sessions rely on.
func TestLinearizableSetsKeepSessions(t *testing.T) {
	r := gathering{rand.New(rand.NewPCG(5, 5)), ModelSet}
	broken := 0
	for range 10_000 {
		h := r.history()
		if tied(h) {
			continue
		}
		for _, check := range []Checker{MonotonicReadsWith(SessionOptions{}), ReadYourWritesWith(SessionOptions{})} {
			if got := check(Input{History: h}, Budget{}); got.Verdict == Broken {
				broken++
				require.Equal(t, Broken, CheckModel(h, ModelSet, Options{}, Budget{}).Verdict, "%s: %s", got.Reason, tellAll(h))
			}
		}
	}
	require.Greater(t, broken, 300)
}

func TestLostElementsAreLookedForAtReplicas(t *testing.T) {
	h := parseCollection(t, "+1@1-2 +2@3-4 +3@5? +4@5-6! [1]@7-8")
	holds := func(vs ...history.Value) []harness.Replica {
		return []harness.Replica{{Present: len(vs) > 0, Values: vs}}
	}
	for _, c := range []struct {
		name     string
		replicas [][]harness.Replica
		want     Verdict
		why      string
	}{
		{"all have all", [][]harness.Replica{holds(1, 2), holds(1, 2)}, Held, "2 acknowledged additions, none missing"},
		{"one has it", [][]harness.Replica{holds(1), holds(2)}, Held, ""},
		{"nobody has it", [][]harness.Replica{holds(1), holds(1, 3)}, Broken, "add of 2 (3 ns to 4 ns) was acknowledged, and at the end no replica has it"},
		{"who has it may be silent", [][]harness.Replica{holds(1), nil}, Unknown, "1 replica could not be read"},
		{"nobody was asked", nil, Unknown, "no replica was read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := NoLostWritesWith(DurabilityOptions{})(Input{History: h, Replicas: c.replicas}, Budget{})
			require.Equal(t, c.want, got.Verdict, got.Reason)
			require.Contains(t, got.Reason, c.why)
		})
	}
	require.NotPanics(t, func() {
		NoLostWritesWith(DurabilityOptions{})(Input{}, Budget{})
		MonotonicReadsWith(SessionOptions{})(Input{}, Budget{})
		MeasureVisibility(nil, Options{}, nil)
	})
}

func TestVisibilityOfElements(t *testing.T) {
	h := parseCollection(t, "+1@1-1000000 [1]@1100000-1100001 []@1100000-1100001 [1]@3000000-3000001")
	got := MeasureVisibility(h, Options{}, nil)
	require.Len(t, got, 2)
	require.Equal(t, []int{1, 2}, []int{got[0].Seen, got[0].Of}, "within 200 µs one of two reads saw it")
	require.Equal(t, []time.Duration{2 * time.Millisecond, 5 * time.Millisecond}, []time.Duration{got[1].From, max(got[1].To, 5*time.Millisecond)})
	require.Equal(t, []int{1, 1}, []int{got[1].Seen, got[1].Of})
}
