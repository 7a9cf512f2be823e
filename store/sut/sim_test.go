package sut

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/harness/sim"
)

func profile(t testing.TB, name string, nodes int) Profile {
	p, err := ProfileByName(name)
	require.NoError(t, err)
	return p.For(nodes)
}

// session runs f as a task in a simulated cluster with a client for each node.
func session(t testing.TB, p Profile, cfg sim.Config, f func(ctx context.Context, w *sim.World, clients []harness.Client)) {
	s := New(p)
	cfg.System, cfg.Nodes = s, p.N
	w, err := sim.New(cfg)
	require.NoError(t, err)
	ctx := context.Background()
	require.NoError(t, w.Await(ctx, func(ctx context.Context) error {
		var clients []harness.Client
		for i := range w.Nodes() {
			c, err := s.Open(ctx, w, i)
			if err != nil {
				return err
			}
			clients = append(clients, c)
		}
		f(ctx, w, clients)
		return nil
	}))
	require.NoError(t, w.Close(ctx))
}

func write(v history.Value) *history.Op { return &history.Op{F: history.Write, Arg: v} }

func TestClientInSim(t *testing.T) {
	session(t, profile(t, "abd", 3), sim.Config{Seed: 1}, func(ctx context.Context, w *sim.World, clients []harness.Client) {
		read := &history.Op{F: history.Read}
		require.NoError(t, clients[0].Invoke(ctx, "k", read))
		require.Equal(t, history.Nil, read.Out)

		require.NoError(t, clients[1].Invoke(ctx, "k", write(-42)))
		require.NoError(t, clients[2].Invoke(ctx, "k", read))
		require.Equal(t, history.Value(-42), read.Out)

		require.NoError(t, clients[2].Invoke(ctx, "k", &history.Op{F: history.Delete}))
		require.NoError(t, clients[0].Invoke(ctx, "k", read))
		require.Equal(t, history.Nil, read.Out)

		err := clients[0].Invoke(ctx, "k", &history.Op{F: history.CAS})
		require.True(t, harness.IsDefinite(err))
		require.ErrorContains(t, err, "use a keyspace with CASPaxos")
		err = clients[0].Invoke(ctx, "", read)
		require.True(t, harness.IsDefinite(err))
		require.ErrorContains(t, err, "the key is empty")
	})
}

// What was acknowledged survives when all nodes lose power at once; without
// fsync it need not.
func TestPowerLoss(t *testing.T) {
	lost := func(name string) (lost int) {
		for seed := range uint64(20) {
			session(t, profile(t, name, 3), sim.Config{Seed: seed}, func(ctx context.Context, w *sim.World, clients []harness.Client) {
				for v := range history.Value(20) {
					require.NoError(t, clients[v%3].Invoke(ctx, "k", write(v)))
				}
				for i := range 3 {
					require.NoError(t, w.Kill(ctx, i, time.Minute))
				}
				for i := range 3 {
					require.NoError(t, w.Start(ctx, i))
				}
				read := &history.Op{F: history.Read}
				require.NoError(t, clients[0].Invoke(ctx, "k", read))
				if read.Out != 19 {
					lost++
				}
			})
		}
		return lost
	}
	require.Zero(t, lost("abd"))
	require.NotZero(t, lost("abd-nofsync"))
}

// Errors say what is known: nothing was done, or perhaps it was.
func TestErrorsInSim(t *testing.T) {
	session(t, profile(t, "abd", 3), sim.Config{Seed: 3}, func(ctx context.Context, w *sim.World, clients []harness.Client) {
		require.NoError(t, clients[0].Invoke(ctx, "k", write(1)))

		require.NoError(t, w.Kill(ctx, 1, time.Minute))
		require.True(t, harness.IsDefinite(clients[1].Invoke(ctx, "k", write(2))), "the node is down")
		require.NoError(t, clients[0].Invoke(ctx, "k", write(3)), "a majority is up")

		require.NoError(t, w.Kill(ctx, 2, time.Minute))
		err := clients[0].Invoke(ctx, "k", write(4))
		require.True(t, harness.IsDefinite(err), "no majority told its stamps: %v", err)

		require.NoError(t, w.Start(ctx, 1))
		require.NoError(t, clients[1].Invoke(ctx, "k", write(5)))
		short, cancel := w.Timeout(ctx, time.Millisecond/10)
		defer cancel()
		err = clients[0].Invoke(short, "k", write(6))
		require.Error(t, err)
		require.False(t, harness.IsDefinite(err), "the request was sent: %v", err)
	})
}

func TestInspectInSim(t *testing.T) {
	p := profile(t, "abd", 3)
	s := New(p)
	session(t, p, sim.Config{Seed: 4}, func(ctx context.Context, w *sim.World, clients []harness.Client) {
		require.NoError(t, w.Kill(ctx, 2, time.Minute))
		require.NoError(t, clients[0].Invoke(ctx, "a", write(7)))
		require.NoError(t, clients[0].Invoke(ctx, "b", write(8)))
		require.NoError(t, clients[1].Invoke(ctx, "b", &history.Op{F: history.Delete}))

		_, err := s.Inspect(ctx, w, 2, []string{"a"})
		require.ErrorContains(t, err, "node 2: its process is down")
		_, err = s.Inspect(ctx, w, 3, []string{"a"})
		require.Error(t, err)
		require.NoError(t, w.Start(ctx, 2))

		keys := []string{"a", "b", "c"}
		got, err := s.Inspect(ctx, w, 0, keys)
		require.NoError(t, err)
		require.Equal(t, []harness.Replica{{Present: true, Value: 7, Stamp: "1.0.1.1"}, {Stamp: "3.1.1.1"}, {}}, got)
		_, err = s.Inspect(ctx, w, 2, keys)
		require.NoError(t, err)
	})
}

func TestBootsInSim(t *testing.T) {
	p := profile(t, "abd", 3)
	session(t, p, sim.Config{Seed: 5}, func(ctx context.Context, w *sim.World, clients []harness.Client) {
		for boot := uint64(1); boot <= 5; boot++ {
			require.NoError(t, clients[0].Invoke(ctx, "k", write(1)))
			require.Equal(t, boot, w.Node(0).(*node).log.boot)
			require.NoError(t, w.Kill(ctx, 0, time.Minute))
			require.NoError(t, w.Start(ctx, 0))
		}
	})
	p.W = 7
	_, err := sim.New(sim.Config{System: New(p), Nodes: 3})
	require.ErrorContains(t, err, "W is 7: a write can wait for 1 to 3 replicas")
}
