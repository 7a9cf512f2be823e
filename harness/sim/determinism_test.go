package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// gossip is a node that uses all of its host: it spreads what it is told, at
// random, writes it to its disk, and repeats itself by its timer.
type gossip struct {
	h       Host
	known   int
	syncs   uint64
	waiting []uint64 // requests to be answered when the disk has synced
}

func bootGossip(h Host) (Node, error) {
	g := &gossip{h: h, known: len(h.Disk().Read("log"))}
	h.WakeAt(h.Now() + 20*time.Millisecond)
	return g, nil
}

func (g *gossip) Receive(from int, msg any) {
	if n := msg.(int); n > g.known {
		g.known = n
		g.h.Disk().Append("log", []byte{byte(n)})
		g.h.Send(from, n)
	}
}

func (g *gossip) Request(id uint64, req any) {
	g.known += req.(int)
	g.h.Disk().Append("log", []byte{byte(g.known), byte(id)})
	g.syncs++
	g.h.Disk().Sync(g.syncs)
	g.waiting = append(g.waiting, id)
}

func (g *gossip) Wake() {
	to := g.h.Rand().IntN(g.h.Nodes())
	if to != g.h.ID() {
		g.h.Send(to, g.known)
	}
	g.h.Logf("%d knows %d at %d", g.h.ID(), g.known, g.h.Wall())
	g.h.WakeAt(g.h.Now() + time.Duration(g.h.Rand().Int64N(int64(10*time.Millisecond))))
}

func (g *gossip) Synced(uint64) {
	g.h.Reply(g.waiting[0], g.known)
	g.waiting = g.waiting[1:]
}

// chaosHash is the hash of everything that happens in 0.4 s with clients
// and all kinds of faults.
func chaosHash(t *testing.T, seed uint64, change func(*Config)) uint64 {
	hash := fnv.New64a()
	var line []byte
	cfg := Config{
		System: toy{bootGossip}, Nodes: 3, Seed: seed,
		Net: NetConfig{Loss: 0.05, Duplicate: 0.05, InOrder: true, Reorder: 0.2},
		Trace: func(e Event) {
			msg, _ := e.Msg.(int)
			line = line[:0]
			for _, n := range [...]int{int(e.At), int(e.Kind), e.Node, e.Peer, int(e.ID), msg} {
				line = binary.LittleEndian.AppendUint64(line, uint64(n))
			}
			hash.Write(append(line, e.Note...))
		},
	}
	if change != nil {
		change(&cfg)
	}
	w, err := New(cfg)
	require.NoError(t, err)
	w.Workers(6, func(ctx context.Context, worker int, op *history.Op) error {
		out, err := w.Call(ctx, worker%3, int(op.Arg))
		if err == nil {
			op.Out = history.Value(out.(int))
		}
		return err
	})
	w.Go(bg, func(ctx context.Context) {
		for i := 0; w.Sleep(ctx, 60*time.Millisecond) == nil; i++ {
			node := i % 3
			lease := 40 * time.Millisecond
			var err error
			switch i % 5 {
			case 0:
				err = w.Kill(ctx, node, lease)
			case 1:
				err = w.Cut(ctx, "c", []harness.Link{{From: node, To: (node + 1) % 3}}, lease)
			case 2:
				_, err = w.Probe(ctx, []harness.Link{{From: 0, To: 1}, {From: 1, To: 2}})
			case 3:
				err = w.Pause(ctx, node, lease)
			case 4:
				err = w.SetClock(ctx, node, harness.Clock{Offset: time.Second, Drift: 0.1}, lease)
			}
			if err != nil {
				fmt.Fprintln(hash, err)
			}
		}
	})
	ops := make([]history.Op, 6)
	idle := []int{0, 1, 2, 3, 4, 5}
	var buf []harness.Completion
	for w.Now() < int64(400*time.Millisecond) {
		for _, i := range idle {
			ops[i] = history.Op{Arg: 1}
			w.Invoke(i, 50*time.Millisecond, &ops[i])
		}
		idle = idle[:0]
		buf, err = w.Wait(bg, int64(400*time.Millisecond), buf[:0])
		require.NoError(t, err)
		for _, c := range buf {
			fmt.Fprintln(hash, c.Worker, c.At, c.Op.Out, c.Err)
			idle = append(idle, c.Worker)
		}
	}
	for i := range w.Nodes() {
		log, err := w.Log(bg, i)
		require.NoError(t, err)
		hash.Write(log)
		hash.Write(w.Disk(i).Read("log"))
	}
	stats := w.Stats()
	require.NotZero(t, stats.Delivered)
	require.NotZero(t, stats.Lost+stats.Cut+stats.Down)
	fmt.Fprintln(hash, stats)
	require.NoError(t, w.Close(bg))
	return hash.Sum64()
}

func TestSameSeedSameEvents(t *testing.T) {
	seen := map[uint64]uint64{}
	for seed := range uint64(100) {
		h := chaosHash(t, seed, nil)
		require.Equal(t, h, chaosHash(t, seed, nil), "seed %d: two runs differ", seed)
		if other, ok := seen[h]; ok {
			t.Fatalf("seeds %d and %d give the same run", seed, other)
		}
		seen[h] = seed
	}
}

// One thing more that is left to chance must not change the others.
func TestStreamsAreIndependent(t *testing.T) {
	arrivals := func(change func(w *World)) []int64 {
		var at []int64
		w := newWorld(t, Config{
			Seed: 7,
			System: toy{func(h Host) (Node, error) {
				return &puppet{
					request: func(uint64, any) {
						for range 50 {
							h.Send(1, "x")
						}
					},
					receive: func(int, any) { at = append(at, int64(h.Now())) },
				}, nil
			}},
		})
		if change != nil {
			change(w)
		}
		await(t, w, func(ctx context.Context) error {
			ctx, cancel := w.Timeout(ctx, time.Second)
			defer cancel()
			_, err := w.Call(ctx, 0, "go")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return nil
		})
		return at
	}
	plain := arrivals(nil)
	require.Len(t, plain, 50)
	require.Equal(t, plain, arrivals(func(w *World) {
		require.NoError(t, w.Kill(bg, 2, time.Minute))
		w.send(0, 2, "another link")
		w.machines[1].disk.Sync(1)
		w.probeRand.Uint64()
	}))
}
