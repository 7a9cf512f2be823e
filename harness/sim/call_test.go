package sim

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
)

func TestCall(t *testing.T) {
	w := newWorld(t, still())
	r, err := w.Call(bg, 2, "hello") // outside of a task: runs the world
	require.NoError(t, err)
	require.Equal(t, "hello", r)
	require.Equal(t, 2*time.Millisecond, time.Duration(w.Now()))
	require.EqualValues(t, 1, w.Stats().Calls)
}

// What a client knows of a request to a node that answers after a second, and
// that is killed perhaps.
func TestCallErrors(t *testing.T) {
	cfg := still()
	var served int
	cfg.System = toy{func(h Host) (Node, error) {
		var id uint64
		return &puppet{
			request: func(i uint64, _ any) { served++; id = i; h.WakeAt(h.Now() + time.Second) },
			wake:    func() { h.Reply(id, "late"); h.Reply(id, "twice"); h.Reply(12345<<32, "nobody") },
		}, nil
	}}
	for _, c := range []struct {
		name     string
		kill     time.Duration // after the call; 0: not
		timeout  time.Duration
		at       time.Duration // when the client knows
		is       error
		definite bool
		served   int
	}{
		{name: "answered", timeout: time.Minute, at: 1002 * time.Millisecond, served: 1},
		{name: "down when the request arrives", kill: 500 * time.Microsecond, timeout: time.Minute, at: 2 * time.Millisecond, is: ErrRefused, definite: true},
		{name: "dies with the request", kill: 100 * time.Millisecond, timeout: time.Minute, at: 101 * time.Millisecond, is: ErrReset, served: 1},
		{name: "timeout", timeout: 10 * time.Millisecond, at: 10 * time.Millisecond, is: context.DeadlineExceeded, served: 1},
		{name: "timeout on the way", timeout: 500 * time.Microsecond, at: 500 * time.Microsecond, is: context.DeadlineExceeded, served: 1},
		{name: "not sent", timeout: -1, is: context.DeadlineExceeded, definite: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			served = 0
			w := newWorld(t, cfg)
			await(t, w, func(ctx context.Context) error {
				if c.kill > 0 {
					w.Go(ctx, func(ctx context.Context) {
						require.NoError(t, w.Sleep(ctx, c.kill))
						require.NoError(t, w.Kill(ctx, 0, time.Hour))
					})
				}
				ctx, cancel := w.Timeout(ctx, c.timeout)
				defer cancel()
				r, err := w.Call(ctx, 0, "x")
				require.Equal(t, c.at, time.Duration(w.Now()))
				require.Equal(t, c.definite, harness.IsDefinite(err))
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
					require.ErrorContains(t, err, "node 0")
				} else {
					require.NoError(t, err)
					require.Equal(t, "late", r)
				}
				return nil
			})
			pass(t, w, 2*time.Second)
			require.Equal(t, c.served, served, "a request that was sent may be carried out, whatever the client thinks")
			require.Len(t, w.freeCalls, len(w.calls), "no call is left over")
		})
	}
}

// Slots of calls are used again; an old id must not answer a new call.
func TestOldReplyIsIgnored(t *testing.T) {
	var ids []uint64
	var host Host
	cfg := still()
	cfg.Nodes = 1
	cfg.System = toy{func(h Host) (Node, error) {
		host = h
		return &puppet{request: func(id uint64, req any) {
			ids = append(ids, id)
			if req == "answer" {
				h.Reply(id, "first")
			}
		}}, nil
	}}
	w := newWorld(t, cfg)
	_, err := w.Call(bg, 0, "answer")
	require.NoError(t, err)
	w.Go(bg, func(ctx context.Context) {
		require.NoError(t, w.Sleep(ctx, 10*time.Millisecond))
		host.Reply(ids[0], "stale")
		require.NoError(t, w.Sleep(ctx, 10*time.Millisecond))
		host.Reply(ids[1], "right")
	})
	r, err := w.Call(bg, 0, "wait")
	require.NoError(t, err)
	require.Equal(t, "right", r)
	require.Equal(t, ids[0]&slotMask, ids[1]&slotMask, "the same slot")
}
