package checkers

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

func stored(file []byte) Source {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(file)), nil }
}

// manyKeys spreads several small histories over keys of one.
func manyKeys(r small, keys int) *history.History {
	h := &history.History{Errors: []string{""}}
	for k := range keys {
		h.Keys = append(h.Keys, string(rune('a'+k)))
		for _, o := range r.history() {
			o.Key = int32(k)
			h.Ops = append(h.Ops, o)
		}
	}
	ids := make([]int, len(h.Ops))
	sortByCall(h.Ops, ids)
	for i := range h.Ops {
		h.Ops[i].Process = int32(i)
	}
	return h
}

// record writes a history as a run does, JSON lines as somebody else would.
func record(t testing.TB, h *history.History) (file, lines []byte) {
	var buf bytes.Buffer
	rec := history.NewRecorder(&buf, history.ChunkSize(200))
	rec.SetKeys(h.Keys)
	ids := make(map[int]int)
	for _, e := range events(h.Ops) {
		if !e.Done {
			ids[e.ID] = rec.Invoke(e.Op)
		} else {
			rec.Complete(ids[e.ID], e.Op.Out, e.Op.Outcome, e.Op.Return, "")
		}
	}
	require.NoError(t, rec.Close(1e9))
	var text bytes.Buffer
	require.NoError(t, history.ExportJSONL(&text, rec.History()))
	return buf.Bytes(), text.Bytes()
}

func TestStreamAgrees(t *testing.T) {
	for _, c := range []struct {
		r    small
		opts Options
	}{
		{small{maxOps: 8}, Options{Model: ModelRegister}},
		{small{maxOps: 8, cas: true}, Options{}},
		{small{maxOps: 7, repeat: true}, Options{Model: ModelCASRegister}},
		{small{maxOps: 7, cas: true, blind: true}, Options{Model: ModelCASRegister, FailedCAS: ObserveFailedCAS}},
	} {
		c.r.Rand = rand.New(rand.NewPCG(31, 1))
		seen := map[Verdict]int{}
		for i := range 600 {
			h := manyKeys(c.r, 1+i%3)
			want := CheckModel(h, c.opts.Model, c.opts, Budget{})
			file, lines := record(t, h)
			for _, form := range [][]byte{file, lines} {
				// With little room, several passes, and keys one by one.
				lim := []limits{{stateLimit, loadLimit}, {1, 1}}[i%2]
				if lim.state == 1 {
					lim.state, lim.load = 1500, 20
				}
				got, cut, err := checkStream(stored(form), "history", c.opts, Budget{}, lim)
				require.NoError(t, err)
				require.NoError(t, cut)
				require.Equal(t, want.Verdict, got.Verdict, "%s, but %s on %s", want.Reason, got.Reason, notation(h.Ops))
				if want.Verdict == Broken {
					// A key that needs a search is not searched if another is broken.
					if !c.r.repeat && !c.r.blind {
						require.Equal(t, want.Key, got.Key, notation(h.Ops))
					}
					require.False(t, oracle(only(h, got.Key), c.opts), "key %d of %s", got.Key, notation(h.Ops))
					require.NotEmpty(t, got.Ops, notation(h.Ops))
					proves(t, h, got, c.opts)
				} else {
					require.Equal(t, len(h.Ops), got.Checked)
				}
			}
			seen[want.Verdict]++
		}
		require.Greater(t, seen[Held], 60)
		require.Greater(t, seen[Broken], 120)
	}
}

func only(h *history.History, key int32) (ops []history.Op) {
	for _, o := range h.Ops {
		if o.Key == key {
			ops = append(ops, o)
		}
	}
	return ops
}

// proves says that the operations given as proof contradict each other on their
// own, where no compare-and-set and no operation from nowhere is among them.
func proves(t *testing.T, h *history.History, r Result, opts Options) {
	var proof []history.Op
	for _, i := range r.Ops {
		require.Equal(t, r.Key, h.Ops[i].Key)
		if h.Ops[i].F == history.CAS {
			return
		}
		proof = append(proof, h.Ops[i])
	}
	if len(proof) > 1 {
		require.False(t, oracle(proof, opts), "%s proves nothing: %s, of %s", notation(proof), r.Reason, notation(h.Ops))
	}
}
