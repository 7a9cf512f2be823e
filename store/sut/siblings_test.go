package sut

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/harness/sim"
	storenode "github.com/assay-chaos/assay/store/node"
)

// siblingsSession is what any client of a store with causal stamps does.
func siblingsSession(t *testing.T, ctx context.Context, a, b harness.Lister) {
	do := func(c harness.Client, f history.F, v history.Value) {
		require.NoError(t, c.Invoke(ctx, "k", &history.Op{F: f, Arg: v}))
	}
	read := func(c harness.Lister) history.List {
		l, err := c.InvokeAll(ctx, "k", &history.Op{F: history.ReadAll})
		require.NoError(t, err)
		return l
	}
	require.Nil(t, read(a))
	do(a, history.Delete, 0)
	do(a, history.Write, 1)
	do(b, history.Write, -2)
	require.Equal(t, history.List{-2, 1}, read(a))
	do(b, history.Write, 3) // it has read nothing
	do(a, history.Write, 4)
	require.Equal(t, history.List{3, 4}, read(b))
	do(b, history.Add, 5)
	require.Equal(t, history.List{3, 4, 5}, read(a))
	do(b, history.Delete, 0)
	require.Equal(t, history.List{5}, read(a))
	do(b, history.Write, 6)
	do(a, history.Delete, 0)
	require.Equal(t, history.List{6}, read(b))
	err := a.Invoke(ctx, "k", &history.Op{F: history.Read})
	require.True(t, harness.IsDefinite(err))
	require.ErrorContains(t, err, "use read-all")
}

func TestSiblingsInSim(t *testing.T) {
	session(t, profile(t, "causal-siblings", 3), sim.Config{Seed: 1}, func(ctx context.Context, w *sim.World, clients []harness.Client) {
		siblingsSession(t, ctx, clients[0].(harness.Lister), clients[2].(harness.Lister))
		held, err := inspectSim(w, 1, []string{"k", "other"})
		require.NoError(t, err)
		require.True(t, held[0].Present)
		require.Equal(t, history.List{6}, held[0].Values)
		require.False(t, held[1].Present)
	})
}

func TestSiblingsWithoutContainers(t *testing.T) {
	cfg := storenode.DefaultConfig()
	p := profile(t, "causal-siblings", 1)
	p.Configure(&cfg)
	cfg.Dir, cfg.ListenPeer, cfg.ListenClient = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	n, err := storenode.Open(cfg, nil)
	require.NoError(t, err)
	serving, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- n.Serve(serving) }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	addr := n.ClientAddr().String()
	a, b := openHTTP(addr, &p).(harness.Lister), openHTTP(addr, &p).(harness.Lister)
	siblingsSession(t, ctx, a, b)
	held, err := inspectHTTP(ctx, addr, []string{"k", "other"})
	require.NoError(t, err)
	require.Equal(t, history.List{6}, held[0].Values)
	require.False(t, held[1].Present)
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	stop()
	require.NoError(t, <-served)
}
