package sim

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
)

// arrival is a message as a node saw it.
type arrival struct {
	at       time.Duration
	from, to int
	msg      any
}

// recording makes nodes that note what arrives.
func recording(to *[]arrival) System {
	return toy{func(h Host) (Node, error) {
		return &puppet{receive: func(from int, msg any) {
			*to = append(*to, arrival{h.Now(), from, h.ID(), msg})
		}}, nil
	}}
}

func TestCutIsOneWay(t *testing.T) {
	var got []arrival
	cfg := still()
	cfg.System = recording(&got)
	w := newWorld(t, cfg)
	require.NoError(t, w.Cut(bg, "a", []harness.Link{{From: 0, To: 1}}, time.Minute))
	w.send(0, 1, "cut")
	w.send(1, 0, "back")
	w.send(0, 2, "aside")
	pass(t, w, 10*time.Millisecond)
	require.Equal(t, []arrival{{time.Millisecond, 1, 0, "back"}, {time.Millisecond, 0, 2, "aside"}}, got)
	require.EqualValues(t, 1, w.Stats().Cut)

	await(t, w, func(ctx context.Context) error {
		r, err := w.Probe(ctx, []harness.Link{{From: 0, To: 1}, {From: 1, To: 0}, {From: 2, To: 1}})
		require.Equal(t, []bool{false, true, true}, r)
		return err
	})
	require.NoError(t, w.Restore(bg, "a"))
	require.NoError(t, w.Restore(bg, "unknown"))
	w.send(0, 1, "open")
	pass(t, w, 10*time.Millisecond)
	require.Equal(t, "open", got[2].msg)
}

func TestCutTakesWhatIsOnTheWay(t *testing.T) {
	var got []arrival
	cfg := still()
	cfg.System = recording(&got)
	w := newWorld(t, cfg)
	w.send(0, 1, "on the way")
	require.NoError(t, w.Cut(bg, "a", []harness.Link{{From: 0, To: 1}}, time.Minute))
	pass(t, w, 10*time.Millisecond)
	require.Empty(t, got)
}

func TestCutsOverlap(t *testing.T) {
	w := newWorld(t, still())
	link := []harness.Link{{From: 0, To: 1}}
	open := func() bool {
		r, err := w.Probe(bg, link) // outside of a task: runs the world
		require.NoError(t, err)
		return r[0]
	}
	require.NoError(t, w.Cut(bg, "a", slices.Concat(link, link), time.Minute))
	require.NoError(t, w.Cut(bg, "b", link, 500*time.Millisecond))
	require.False(t, open())
	require.NoError(t, w.Restore(bg, "a"))
	require.False(t, open(), "b still cuts it")
	pass(t, w, time.Second)
	require.True(t, open(), "b's lease is over")

	// The second cut of one id replaces the first, and so does its lease.
	require.NoError(t, w.Cut(bg, "a", link, 100*time.Millisecond))
	require.NoError(t, w.Cut(bg, "a", link, 10*time.Second))
	pass(t, w, time.Second)
	require.False(t, open())
	require.NoError(t, w.Restore(bg, "a"))
	require.True(t, open())
}

func TestCutRefusesNonsense(t *testing.T) {
	w := newWorld(t, Config{})
	require.ErrorContains(t, w.Cut(bg, "a", []harness.Link{{From: 0, To: 1}, {From: 0, To: 3}}, time.Second), "link 0→3: the nodes are 0 to 2")
	require.Zero(t, w.links[w.linkIndex(0, 1)].cuts, "nothing is cut halfway")
	require.ErrorContains(t, w.Cut(bg, "a", []harness.Link{{From: 1, To: 1}}, time.Second), "no link to itself")
	require.ErrorContains(t, w.Cut(bg, "a", nil, 0), "lease")
	_, err := w.Probe(bg, []harness.Link{{From: 0, To: -1}})
	require.ErrorContains(t, err, "link 0→-1")
}

func TestLossAndDuplicates(t *testing.T) {
	var got []arrival
	w := newWorld(t, Config{System: recording(&got), Seed: 3, Net: NetConfig{Loss: 0.2, Duplicate: 0.1}})
	const n = 20_000
	for i := range n {
		w.send(0, 1, i)
	}
	pass(t, w, time.Minute)
	s := w.Stats()
	require.InEpsilon(t, 0.2*n, s.Lost, 0.05)
	require.InEpsilon(t, 0.1*0.8*n, s.Duplicated, 0.1)
	require.Equal(t, s.Sent+s.Duplicated, s.Delivered+s.Lost)
	require.Len(t, got, int(s.Delivered))
}

// disorder is how often a message is followed by one that was sent earlier.
func disorder(t *testing.T, net NetConfig) int {
	var got []arrival
	w := newWorld(t, Config{System: recording(&got), Seed: 4, Net: net})
	await(t, w, func(ctx context.Context) error {
		for i := range 1000 {
			w.send(0, 1, i)
			if err := w.Sleep(ctx, 100*time.Microsecond); err != nil {
				return err
			}
		}
		return w.Sleep(ctx, time.Minute)
	})
	require.Len(t, got, 1000)
	n := 0
	for i := 1; i < len(got); i++ {
		if got[i].msg.(int) < got[i-1].msg.(int) {
			n++
		}
	}
	return n
}

func TestOrder(t *testing.T) {
	require.Greater(t, disorder(t, NetConfig{}), 100)
	require.Zero(t, disorder(t, NetConfig{InOrder: true}))
	some := disorder(t, NetConfig{InOrder: true, Reorder: 0.05})
	require.Greater(t, some, 5)
	require.Less(t, some, 100)
}

func TestLinkLatency(t *testing.T) {
	var got []arrival
	cfg := still()
	cfg.System = recording(&got)
	cfg.Net.Links = []LinkLatency{{harness.Link{From: 0, To: 2}, exactly(70 * time.Millisecond)}}
	w := newWorld(t, cfg)
	w.send(0, 2, "far")
	w.send(2, 0, "near")
	pass(t, w, time.Second)
	require.Equal(t, []arrival{{time.Millisecond, 2, 0, "near"}, {70 * time.Millisecond, 0, 2, "far"}}, got)
}

func TestSendToNobodyFailsTheRun(t *testing.T) {
	for _, to := range []int{0, 3, -1} {
		w, err := New(Config{Nodes: 3, Seed: 77, System: toy{func(h Host) (Node, error) {
			return &puppet{request: func(uint64, any) { h.Send(to, "x") }}, nil
		}}})
		require.NoError(t, err)
		_, err = w.Call(bg, 0, "go")
		require.ErrorContains(t, err, "node 0 (incarnation 1): send to node")
		require.ErrorContains(t, err, "seed 77")
		require.NoError(t, w.Close(bg))
	}
}
