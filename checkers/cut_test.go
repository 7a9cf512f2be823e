package checkers

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

func TestPieces(t *testing.T) {
	for _, c := range []struct {
		history string
		want    []int // operations in each piece
	}{
		{"w1@1-2", []int{1}},
		{"w1@1-2 w2@3-4 r2@5-6", []int{1, 1, 1}},
		{"w1@1-2 w2@2-4 r2@5-6", []int{2, 1}}, // equal times are concurrent
		{"w1@1-9 w2@2-4 r2@5-6 r1@10-11", []int{3, 1}},
		{"w1@1-2 w2@3? r2@5-6 r2@7-8", []int{1, 3}}, // nothing is quiet behind an open end
	} {
		h := parse(t, c.history)
		steps, err := prepare(h, whole(h), registerModel(ModelRegister, false), Options{})
		require.NoError(t, err)
		var got []int
		for _, p := range pieces(steps) {
			got = append(got, len(p))
		}
		require.Equal(t, c.want, got, c.history)
	}
}

// Where one of two concurrent writes may be last, both states are carried on.
func TestAllEndStatesAreCarriedOn(t *testing.T) {
	m := registerModel(ModelRegister, false)
	for text, want := range map[string][]any{
		"w1@1-2 w2@1-2":               {cell{value: 1}, cell{value: 2}},
		"w1@1-2 w2@1-4 r2@3-4":        {cell{value: 2}},
		"w1@1-2 w2@1-4 r1@3-4":        {cell{value: 1}, cell{value: 2}},
		"w1@1-2 w2@3-4 r1@5-6":        nil,
		"w1@1-2 w2@1-2 rnil@1-2":      {cell{value: 1}, cell{value: 2}},
		"w1@1-2 r1@1-2 w1@3-4":        {cell{value: 1}},
		"w1@1-1 w2@3-5 w3@3-5 w4@5-5": {cell{value: 2}, cell{value: 3}, cell{value: 4}},
	} {
		h := parse(t, text)
		steps, err := prepare(h, whole(h), m, Options{})
		require.NoError(t, err)
		ends, ok := endStates(m, steps, []any{m.initial(Options{})}, time.Time{}, 0)
		require.True(t, ok)
		require.ElementsMatch(t, want, ends, text)
	}
}

// The cut changes no verdict of the other models.
func TestPiecesAgreeOnOtherModels(t *testing.T) {
	r := small{Rand: rand.New(rand.NewPCG(41, 1)), maxOps: 8, repeat: true}
	for _, name := range []string{ModelKV, ModelMutex, ModelMultiRegister} {
		seen := map[Verdict]int{}
		cut := 0
		for range 4_000 {
			h := &history.History{Ops: r.history(), Texts: []string{"", "a", "b", "aa", "ab", "ba"}, Keys: []string{"x"}}
			for i := range h.Ops {
				o := &h.Ops[i]
				switch {
				case name == ModelMutex:
					o.F = []history.F{history.Acquire, history.Release}[r.IntN(2)]
				case name == ModelMultiRegister:
				case o.F == history.Write:
					o.F = []history.F{history.Write, history.Append, history.Append, history.Delete}[r.IntN(4)]
					o.Arg = history.Value(1 + r.IntN(2))
				case o.Outcome == history.OK:
					o.Out = history.Value(r.IntN(6))
				}
			}
			m, err := modelFor(h, Options{Model: name})
			require.NoError(t, err)
			steps, err := prepare(h, whole(h), m, Options{})
			require.NoError(t, err)
			want := decide(m, steps, Options{}, time.Time{}, 0).verdict
			require.Equal(t, want, searchPieces(m, steps, Options{}, time.Time{}, 0).verdict, "%s: %s", name, notation(h.Ops))
			seen[want]++
			if len(steps) > 0 && len(pieces(steps)) > 1 {
				cut++
			}
		}
		require.Greater(t, seen[Held], 200, name)
		require.Greater(t, seen[Broken], 200, name)
		require.Greater(t, cut, 1_000, name)
	}
}

// repeated makes the values of a history repeat, so that only a search helps.
func repeated(h *history.History, values history.Value) *history.History {
	for i := range h.Ops {
		for _, v := range []*history.Value{&h.Ops[i].Arg, &h.Ops[i].Out} {
			if *v != history.Nil {
				*v %= values
			}
		}
	}
	return h
}

// A long history that is quiet now and then takes memory for its longest piece.
func TestPiecesSaveTheSquare(t *testing.T) {
	h := repeated(load{seed: 8, ops: 50_000, clients: 3}.history(), 7)
	budget := Budget{Memory: 64 << 20}
	r := CheckModel(h, ModelRegister, Options{}, budget)
	require.Equal(t, Held, r.Verdict, r.Reason)
	m := registerModel(ModelRegister, false)
	steps, err := prepare(h, whole(h), m, Options{})
	require.NoError(t, err)
	require.Equal(t, Unknown, decide(m, steps, Options{}, time.Time{}, budget.Memory).verdict, "uncut it does not fit")

	// One value that cannot have been there is found in its piece.
	at := len(h.Ops) * 9 / 10
	for h.Ops[at].F != history.Read {
		at++
	}
	h.Ops[at].Out = 77
	r = CheckModel(h, ModelRegister, Options{}, budget)
	require.Equal(t, Broken, r.Verdict, r.Reason)
	require.Equal(t, []int{at}, r.Ops)
}

// A piece that is too hard leaves what was established before it.
func TestUnknownTellsWhatWasEstablished(t *testing.T) {
	h := repeated(load{seed: 8, ops: 1_000, clients: 2}.history(), 7)
	quiet := h.Ops[len(h.Ops)-1].Return + 1e9
	hard := repeated(load{seed: 9, ops: 3_000, clients: 20}.history(), 7)
	for _, o := range hard.Ops {
		if o.F == history.Read && o.Out == history.Nil {
			continue // before its first write
		}
		o.Call, o.Return = o.Call+quiet, o.Return+quiet
		h.Ops = append(h.Ops, o)
	}
	start := time.Now()
	r := CheckModel(h, ModelRegister, Options{}, Budget{Time: 2 * time.Second, Memory: 16 << 20})
	require.Equal(t, Unknown, r.Verdict, r.Reason)
	require.Regexp(t, `the first 1,\d\d\d operations, up to \d+\.\d+ s, can be ordered`, r.Reason)
	require.Less(t, time.Since(start), 3*time.Second)
}
