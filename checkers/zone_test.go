package checkers

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// Each history needs one condition of the zone decision: with that condition
// altered as the name says, the decision would give the other verdict.
func TestZoneConditions(t *testing.T) {
	for _, c := range []struct {
		name    string
		history string
		want    Verdict
		rule    Rule
	}{
		{"plain", "w1@1-2 r1@3-4 w2@5-6 r2@7-8", Held, ""},
		{"nothing written", "rnil@1-2 rnil@3-4", Held, ""},

		{"read before write not looked at", "r1@1-2 w1@3-4", Broken, ReadBeforeWrite},
		{"read before write compared with <=", "r1@1-3 w1@3-4", Held, ""},
		{"value from nowhere let through", "w1@1-2 r7@3-4", Broken, ReadFromNowhere},
		{"initial value not known from others", "w1@1-9 rnil@2-3", Held, ""},

		{"forward zones not compared", "w1@1-10 w2@1-10 r1@2-3 r2@4-5 r1@6-7 r2@8-9", Broken, ForwardOverlap},
		{"forward zones compared with <=", "w1@1-5 r1@2-3 w2@1-5 r1@5-6 r2@3-5 r2@7-8", Held, ""},
		{"forward zone hidden by a shorter one", "w1@1-2 r1@20-21 w2@3-4 r2@6-7 w3@8-9 r3@11-12", Broken, ForwardOverlap},

		{"backward zone not looked at", "w1@1-2 w2@3-4 r1@5-6", Broken, BackwardInside},
		{"backward zone compared with <= at its start", "w1@1-3 w2@3-5 r1@6-7", Held, ""},
		{"backward zone compared with <= at its end", "w1@1-2 w2@3-5 r1@5-6", Held, ""},

		{"no cluster for the initial value", "w1@1-2 rnil@3-4", Broken, BackwardInside},
		{"initial value and a forward zone", "w1@1-2 r1@4-5 rnil@3-6", Broken, ForwardOverlap},
		{"initial value written at the first call", "w1@1-2 rnil@3-4 r1@5-6", Broken, ForwardOverlap},
		{"initial write concurrent with the first call", "w1@1-2 rnil@2-3", Held, ""},

		{"info write ends at its return", "w1@1-2? w2@3-4 r2@5-6 r1@7-8", Held, ""},
		{"info write never ends, but its reads do", "w1@1? r1@2-3 w2@4-5 r1@6-7", Broken, BackwardInside},
		{"info write dropped though it was read", "w1@1? r1@2-3", Held, ""},
		{"info write that nobody read kept at its call", "w1@1-2 w2@3? r1@4-5 r1@6-7", Held, ""},
		{"info write read before its call", "r1@1-2 w1@3?", Broken, ReadBeforeWrite},

		{"failed write kept", "w1@1-2 w2@3-4! r1@5-6", Held, ""},
		{"failed write read", "w1@1-2 w2@3-4! r2@5-6", Broken, ReadFromNowhere},
		{"info read kept as a read of nil", "w1@1-2 rnil@3?", Held, ""},
		{"failed read kept", "w1@1-2 rnil@3-4!", Held, ""},

		{"new, then old, during one write", "w1@1-2 w2@3-10 r2@4-5 r1@6-7", Broken, BackwardInside},
		{"failed cas that tells what it saw is a read", "w1@1-2 w2@3-4 c5>6=1@5-6!", Broken, BackwardInside},
		{"failed cas that tells nothing is none", "w1@1-2 c5>6@5-6!", Held, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := parse(t, c.history)
			require.Equal(t, c.want, verdictOf(oracle(h.Ops, Options{})), "the expectation itself")
			r := decideZones(h, whole(h), Options{})
			require.Equal(t, c.want, r.verdict, r.why)
			require.Equal(t, c.rule, r.rule, r.why)
			require.Equal(t, c.want == Broken, r.violations > 0)
			require.Equal(t, c.want == Broken, len(r.proof) > 0)
			require.Equal(t, c.want, byPorcupine(t, h, Options{}))
		})
	}
}

func TestZonesDoNotApply(t *testing.T) {
	for _, c := range []struct {
		history string
		opts    Options
		why     string
	}{
		{"w1@1-2 w1@3-4", Options{}, "1 was written twice"},
		{"w1@1-2 w1@3?", Options{}, "1 was written twice"},
		{"w0@1-2", Options{Initial: valuePtr(0)}, "the initial value 0 was written"},
		{"wnil@1-2", Options{}, "the initial value nil was written"},
		{"d@1-2", Options{}, "delete is not a read or a write"},
		{"c1>2@1-2", Options{}, "a compare-and-set may have taken effect"},
		{"c1>2@1-2!", Options{FailedCAS: ObserveFailedCAS}, "a failed compare-and-set says only what the value was not"},
	} {
		t.Run(c.history, func(t *testing.T) {
			h := parse(t, c.history)
			r := decideZones(h, whole(h), c.opts)
			require.Equal(t, Unknown, r.verdict)
			require.Equal(t, c.why, r.why)
		})
	}
}

func TestZonesKnowTheInitialValue(t *testing.T) {
	h := parse(t, "r5@1-2 w1@3-4 r1@5-6")
	require.Equal(t, Broken, decideZones(h, whole(h), Options{}).verdict)
	require.Equal(t, Held, decideZones(h, whole(h), Options{Initial: valuePtr(5)}).verdict)
	h = parse(t, "w1@1-2 rnil@3-4")
	require.Equal(t, Broken, decideZones(h, whole(h), Options{}).verdict)
	require.Equal(t, Held, decideZones(h, whole(h), Options{NilRead: NilAny}).verdict)
}

func TestReasonsAreSentences(t *testing.T) {
	for _, c := range []struct{ history, want string }{
		{"w1@1-2 w2@3-4 r1@5-6", `key "k0": 1 was in force when process 0's write of 1 (1 ns to 2 ns) ended, and still when process 2's read of 1 (5 ns to 6 ns) began; but in between 2 was in force: process 1's write of 2 (3 ns to 4 ns)`},
		{"w1@1-2 rnil@3-4", `key "k0": the initial value nil was still seen by process 1's read of nil (3 ns to 4 ns); but in between 1 was in force: process 0's write of 1 (1 ns to 2 ns)`},
		{"w1@1-2 w2@3-10 r2@4-5 r1@6-7", `key "k0": 1 was in force when process 0's write of 1 (1 ns to 2 ns) ended, and still when process 3's read of 1 (6 ns to 7 ns) began; but in between 2 was in force: process 1's write of 2 (3 ns to 10 ns), seen by process 2's read of 2 (4 ns to 5 ns)`},
		{"w2@1-2! r2@3-4", `key "k0": process 1's read of 2 (3 ns to 4 ns) saw a value that nobody wrote: process 0's failed write of 2 (1 ns to 2 ns) had been reported as not done`},
		{"w1@1-2 r1@3-4", `2 operations on 1 key`},
		{"w1@1-2 w1@3-4 r2@5-6", `key "k0": no order of the operations explains process 2's read of 2 (5 ns to 6 ns); without it the history up to then can be explained`},
	} {
		r := CheckModel(parse(t, c.history), "", Options{}, Budget{})
		require.Equal(t, c.want, r.Reason)
	}
}

func TestLowestBrokenKeyIsReported(t *testing.T) {
	text := ""
	for k := range 40 {
		text += fmt.Sprintf("w1@%d-%d/%d ", 10*k+1, 10*k+2, k)
	}
	h := parse(t, text+"r9@900-901/31 r9@900-901/17 r9@900-901/23")
	for range 20 {
		r := CheckModel(h, "", Options{}, Budget{})
		require.Equal(t, Broken, r.Verdict)
		require.Equal(t, int32(17), r.Key)
		require.Equal(t, []int{41}, r.Ops)
		require.Equal(t, 3, r.Violations)
		require.Equal(t, 43, r.Checked)
		require.Contains(t, r.Reason, "and 2 more keys are broken")
	}
}

func TestKeysFarApart(t *testing.T) {
	h := parse(t, "w1@1-2 r1@3-4 w2@5-6")
	h.Ops[0].Key, h.Ops[1].Key, h.Ops[2].Key = 1<<30, 1<<30, -7
	r := CheckModel(h, "", Options{}, Budget{})
	require.Equal(t, Held, r.Verdict, r.Reason)
	keys := byKey(h.Ops)
	require.Len(t, keys, 2)
	require.Equal(t, int32(-7), keys[0].key)
	require.Equal(t, []int32{0, 1}, keys[1].idx)
}

func TestMalformedHistoryIsNotJudged(t *testing.T) {
	require.Equal(t, Unknown, CheckModel(nil, "", Options{}, Budget{}).Verdict)
	require.Equal(t, Unknown, CheckModel(&history.History{}, "", Options{}, Budget{}).Verdict)
	r := CheckModel(parse(t, "w1@5-3"), "", Options{}, Budget{})
	require.Equal(t, Unknown, r.Verdict)
	require.Contains(t, r.Reason, "ends at 3 ns, before it begins at 5 ns")
}
