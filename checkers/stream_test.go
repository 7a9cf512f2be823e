package checkers

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/internal/synthetic"
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
	rec, file := recorded(t, h, events(h.Ops))
	var text bytes.Buffer
	require.NoError(t, history.ExportJSONL(&text, rec))
	return file, text.Bytes()
}

func recorded(t testing.TB, h *history.History, all []history.Event) (*history.History, []byte) {
	var buf bytes.Buffer
	rec := history.NewRecorder(&buf, history.ChunkSize(200))
	rec.SetKeys(h.Keys)
	ids := make(map[int]int)
	for _, e := range all {
		if !e.Done {
			ids[e.ID] = rec.Invoke(e.Op)
		} else {
			rec.Complete(ids[e.ID], e.Op.Out, e.Op.Outcome, e.Op.Return, "")
		}
	}
	require.NoError(t, rec.Close(1e9))
	return rec.History(), buf.Bytes()
}

// A recording may tell of calls a little out of order, if several goroutines
// write it. Then the stream knows less of what may still come.
func TestStreamOfCallsOutOfOrder(t *testing.T) {
	r := small{Rand: rand.New(rand.NewPCG(32, 1)), maxOps: 10, cas: true}
	disordered := 0
	for range 2_000 {
		h := manyKeys(r, 1)
		all := events(h.Ops)
		for range len(all) {
			i := r.IntN(len(all) - 1)
			if all[i].ID != all[i+1].ID { // an operation does not complete before it is invoked
				all[i], all[i+1] = all[i+1], all[i]
			}
		}
		whole, file := recorded(t, h, all)
		want := CheckModel(whole, "", Options{}, Budget{})
		got, _, err := CheckStream(stored(file), "history", Options{}, Budget{})
		require.NoError(t, err)
		require.Equal(t, want.Verdict, got.Verdict, "%s, but %s on %s", want.Reason, got.Reason, notation(whole.Ops))
		o := NewOnline(Options{})
		for i := range all {
			o.See(&all[i])
		}
		if o.late > 0 {
			disordered++
		}
	}
	require.Greater(t, disordered, 1_000)
}

// What is cut off is judged as far as it goes, and the cut is told.
func TestStreamOfACutFile(t *testing.T) {
	r := small{Rand: rand.New(rand.NewPCG(33, 1)), maxOps: 20}
	cuts := 0
	for range 300 {
		_, file := recorded(t, manyKeys(r, 2), events(manyKeys(r, 2).Ops))
		file = file[:12+r.IntN(len(file)-12)]
		whole, err := history.Decode(bytes.NewReader(file))
		require.NoError(t, err)
		want := CheckModel(whole, "", Options{}, Budget{})
		got, cut, err := CheckStream(stored(file), "history", Options{}, Budget{})
		require.NoError(t, err)
		require.Equal(t, whole.Cut, cut)
		require.Equal(t, want.Verdict, got.Verdict, "%s, but %s", want.Reason, got.Reason)
		if len(whole.Ops) > 0 {
			cuts++
		}
	}
	require.Greater(t, cuts, 50)

	_, _, err := CheckStream(stored([]byte("{\"type\":\"invoke\",\"process\":0,\"f\":\"read\"}\n{\"type\":\"ok\",\"process\":1}\n")), "bad", Options{}, Budget{})
	require.ErrorContains(t, err, "bad:2: ")
	res, _, err := CheckStream(stored([]byte("{}")), "kv", Options{Model: ModelKV}, Budget{})
	require.NoError(t, err)
	require.Equal(t, Unknown, res.Verdict)
	require.Equal(t, "the model kv cannot be judged as a stream", res.Reason)
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
		seen, often := map[Verdict]int{}, 0
		for i := range 600 {
			h := manyKeys(c.r, 1+i%3)
			want := CheckModel(h, c.opts.Model, c.opts, Budget{})
			file, lines := record(t, h)
			for _, form := range [][]byte{file, lines} {
				// With little room, several passes, and keys one by one.
				lim := []limits{{stateLimit, 1024, loadLimit}, {3_000, 1, 20}}[i%2]
				reads := 0
				source := func() (io.ReadCloser, error) {
					reads++
					return stored(form)()
				}
				got, cut, err := checkStream(source, "history", c.opts, Budget{}, lim)
				require.NoError(t, err)
				if reads > 5 {
					often++
				}
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
		require.Greater(t, often, 50)
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

// Writes of unknown outcome that nobody reads are no reason to give up, however
// many there are.
func TestStreamWithManyUnreadWrites(t *testing.T) {
	for _, stale := range []int{0, 35_000} {
		var file bytes.Buffer
		require.NoError(t, synthetic.Load{Seed: 3, Ops: 40_000, Clients: 10, Info: 0.3, Stale: stale}.Write(&file))
		whole, err := history.Decode(bytes.NewReader(file.Bytes()))
		require.NoError(t, err)
		want := CheckModel(whole, ModelRegister, Options{}, Budget{})
		require.Equal(t, map[bool]Verdict{true: Held, false: Broken}[stale == 0], want.Verdict)
		reads := 0
		source := func() (io.ReadCloser, error) {
			reads++
			return stored(file.Bytes())()
		}
		got, _, err := checkStream(source, "history", Options{Model: ModelRegister}, Budget{}, limits{300_000, 64, loadLimit})
		require.NoError(t, err)
		require.Equal(t, want.Verdict, got.Verdict, got.Reason)
		require.Greater(t, reads, 4, "once, until it was too much; twice for each part of the values; and again")
	}
}
