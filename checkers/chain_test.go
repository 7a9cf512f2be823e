package checkers

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Each history needs one condition of the chain decision.
func TestChainConditions(t *testing.T) {
	for _, c := range []struct {
		name    string
		history string
		want    Verdict
		rule    Rule
	}{
		{"plain", "w1@1-2 c1>2@3-4 c2>3@5-6 r3@7-8", Held, ""},
		{"from the initial value", "r0@1-2 c0>1@3-4 r1@5-6", Held, ""},
		{"replaced twice", "w1@1-2 c1>2@3-4 c1>3@3-4", Broken, SetTwice},
		{"replaced twice, one of them perhaps", "w1@1-2 c1>2@3-4 c1>3@3?", Held, ""},
		{"replaced twice, both seen", "w1@1-2 c1>2@3? c1>3@3? r2@5-6 r3@7-8", Broken, SetTwice},
		{"the unknown one happened since another builds on it", "w1@1-2 c1>2@3? c2>3@5-6 c1>4@7-8", Broken, SetTwice},
		{"from nowhere", "c9>1@1-2", Broken, SetFromNowhere},
		{"from nowhere, perhaps", "c9>1@1? r0@2-3", Held, ""},
		{"from nowhere, and seen", "c9>1@1? r1@2-3", Broken, SetFromNowhere},
		{"in a circle", "c1>2@1-2 c2>1@1-2", Broken, SetInCircle},
		{"in a circle, beside a chain", "w5@1-2 c1>2@1-2 c2>1@1-2 c1>3@3-4", Broken, SetTwice},
		{"read of a value that nobody wrote", "w1@1-2 r7@3-4", Broken, ReadFromNowhere},
		{"read before its compare-and-set", "w1@1-2 r2@3-4 c1>2@5-6", Broken, ChainOrder},
		{"compare-and-set before the value was there", "c1>2@1-2 w1@3-4", Broken, ChainOrder},
		{"read of the replaced value", "w1@1-2 c1>2@3-4 r1@5-6", Broken, ChainOrder},
		{"read of the replaced value, at the same time", "w1@1-2 c1>2@3-5 r1@5-6", Held, ""},
		{"reads of one value are in no order", "w1@1-9 c1>2@1-9 r1@1-9 r2@1-9", Held, ""},
		{"a write inside a chain", "w1@1-2 w5@3-4 c1>2@5-6", Broken, BackwardInside},
		{"a write beside a chain", "w1@1-2 w5@3-6 c1>2@5-6", Held, ""},
		{"two chains that overlap", "w1@1-20 w2@1-20 r1@2-3 r2@4-5 c1>3@6-7 c2>4@8-9", Broken, ForwardOverlap},
		{"initial value replaced, and there", "c0>1@1-2 r0@3-4", Broken, ChainOrder},
		{"initial value overwritten before it was replaced", "w5@1-2 c0>1@3-4", Broken, BackwardInside},
		{"failed, having seen the value", "w1@1-2 c5>6=1@3-4! c1>2@5-6", Held, ""},
		{"failed, having seen the replaced value", "w1@1-2 c1>2@3-4 c5>6=1@5-6!", Broken, ChainOrder},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := parse(t, c.history)
			opts := Options{Initial: valuePtr(0)}
			require.Equal(t, c.want, verdictOf(oracle(h.Ops, opts)), "the expectation itself")
			r := decideChains(h, whole(h), opts)
			require.Equal(t, c.want, r.verdict, r.why)
			require.Equal(t, c.rule, r.rule, r.why)
			require.Equal(t, c.want == Broken, len(r.proof) > 0)
			require.Equal(t, c.want, byPorcupine(t, h, opts))
		})
	}
}

func TestChainsDoNotApply(t *testing.T) {
	for _, c := range []struct {
		history string
		opts    Options
	}{
		{"c1>2@1-2 w2@3-4", Options{}},
		{"c1>1@1-2", Options{Initial: valuePtr(1)}},
		{"c1>2@1-2 d@3-4", Options{}},
		{"c1>2@1-2 c1>2@1-2!", Options{FailedCAS: ObserveFailedCAS}},
	} {
		h := parse(t, c.history)
		r := decideChains(h, whole(h), c.opts)
		require.Equal(t, Unknown, r.verdict, c.history)
		require.NotEmpty(t, r.why)
	}
}
