package checkers

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

func page(t *testing.T, h *history.History, key int32, ops []int, opts VisualizeOptions) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Visualize(&b, h, key, ops, opts))
	return b.String()
}

func TestVisualizeShowsFaultsAndViolation(t *testing.T) {
	h := parse(t, "w1@1-2 w2@3-4 r1@5-6 w9@1-3/1")
	h.Faults = []history.Fault{
		{ID: 7, Kind: "partition", Detail: "0 | 1 2", Start: 2, End: 5, Effect: history.Proof{OK: true, Evidence: "probe 0 to 1 dropped"}},
		{ID: 8, Kind: "kill", Start: 100, End: 200},
	}
	r := CheckModel(h, ModelRegister, Options{}, Budget{})
	require.Equal(t, Broken, r.Verdict)
	got := page(t, h, r.Key, r.Ops, VisualizeOptions{})
	require.Contains(t, got, "partition 0 | 1 2")
	require.Contains(t, got, "probe 0 to 1 dropped")
	require.Contains(t, got, `"violation 3"`)
	require.Contains(t, got, "fault 7: partition")
	require.Contains(t, got, "read of 1")
	require.NotContains(t, got, "write of 9", "another key")
	require.NotContains(t, got, ": kill", "another time")
	require.NotContains(t, got, "excerpt")
}

func TestVisualizeKeepsItsBounds(t *testing.T) {
	// 50 clients: Porcupine does not finish a thousand of their operations.
	h := load{seed: 3, ops: 100_000, clients: 50, info: 0.05}.history()
	spoilLate(t, h)
	r := CheckModel(h, ModelRegister, Options{}, Budget{})
	require.Equal(t, Broken, r.Verdict)
	start := time.Now()
	got := page(t, h, 0, r.Ops, VisualizeOptions{Operations: 60, Time: 300 * time.Millisecond})
	require.Less(t, time.Since(start), 10*time.Second)
	require.Less(t, len(got), 5<<20)
	require.Contains(t, got, "excerpt")
	for _, i := range r.Ops {
		require.Contains(t, got, operationText(h, &h.Ops[i]))
	}
}

func TestExcerptOfRegisterIsAProof(t *testing.T) {
	h := load{seed: 4, ops: 5_000, clients: 5, info: 0.01}.history()
	m := registerModel(ModelRegister, false)
	opts := VisualizeOptions{Operations: 40}
	cut := func(ops []int) []step {
		steps, err := prepare(h, whole(h), m, opts.Options)
		require.NoError(t, err)
		shown, fromUnknown := excerpt(h, whole(h), m, steps, ops, opts)
		require.False(t, fromUnknown)
		require.LessOrEqual(t, len(shown), 80)
		return shown
	}
	for _, at := range []int{100, 2_000, 4_900} {
		out := decide(m, tighten(cut([]int{at}), []any{m.initial(opts.Options)}), opts.Options, time.Now().Add(20*time.Second), 0)
		require.Equal(t, Held, out.verdict, "an excerpt of a linearizable history (%s)", out.why)
	}
	spoilLate(t, h)
	r := CheckModel(h, ModelRegister, Options{}, Budget{})
	out := decide(m, tighten(cut(r.Ops), []any{m.initial(opts.Options)}), opts.Options, time.Now().Add(20*time.Second), 0)
	require.Equal(t, Broken, out.verdict, out.why)
}

// An operation of unknown outcome reaches to the end of the page, so those that
// nobody saw are left out: they would be all there is to see.
func TestVisualizeLeavesOutWhatNobodySaw(t *testing.T) {
	h := parse(t, "w1@1-2 w2@3? w3@4? r3@5-6 r1@7-8")
	got := page(t, h, 0, []int{4}, VisualizeOptions{})
	require.False(t, strings.Contains(got, "write of 2"))
	require.True(t, strings.Contains(got, "write of 3 (outcome unknown)"))
	require.True(t, strings.Contains(got, "4 of 5 operations"))
}

func TestVisualizeEscapes(t *testing.T) {
	h := parse(t, "w1@1-2 r0@3-4")
	h.Keys = []string{"<script>alert(1)</script>"}
	h.Texts = []string{"<img src=x onerror=alert(1)>", "</script>"}
	h.Faults = []history.Fault{{Kind: "</script><b>", Start: 1, End: 4}}
	got := page(t, h, 0, []int{1}, VisualizeOptions{})
	require.NotContains(t, got, "<img src=x")
	require.NotContains(t, got, "<script>alert")
	require.Equal(t, strings.Count(got, "<script>"), strings.Count(got, "</script>"))
	require.True(t, strings.Contains(got, `\u0026lt;/script`), "the state stands in a tooltip as HTML")
}

func TestVisualizeRefuses(t *testing.T) {
	h := parse(t, "w1@1-2")
	var b bytes.Buffer
	require.ErrorContains(t, Visualize(&b, h, 0, []int{5}, VisualizeOptions{}), "no operation 5 among 1")
	require.ErrorContains(t, Visualize(&b, h, 0, nil, VisualizeOptions{Options: Options{Model: "queue"}}), `no model "queue"`)
	require.NoError(t, Visualize(&b, h, 3, nil, VisualizeOptions{}), "a key without operations is an empty page")
}
