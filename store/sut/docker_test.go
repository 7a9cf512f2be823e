package sut

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/harness/history"
	storenode "github.com/assay-chaos/assay/store/node"
	"github.com/assay-chaos/assay/store/replica"
)

// The command line of every profile's nodes is one that a node accepts, and
// carries all of the profile.
func TestContainersAreConfigured(t *testing.T) {
	for _, p := range Profiles() {
		for _, nodes := range []int{1, 3, 5} {
			p := p.For(nodes)
			peers := make([]docker.Peer, nodes)
			addr := netip.MustParseAddr("10.1.2.3")
			for i := range peers {
				peers[i] = docker.Peer{Node: i, Addr: addr}
				addr = addr.Next()
			}
			c := New(p).Container(nodes-1, peers)
			require.Equal(t, "/data", c.DataDir)
			require.Equal(t, []int{7801}, c.Ports)

			var got storenode.Config
			flags := pflag.NewFlagSet("node", pflag.ContinueOnError)
			got.RegisterFlags(flags)
			require.NoError(t, flags.Parse(c.Cmd))
			require.NoError(t, got.Validate(), p.Name)
			require.Equal(t, "10.1.2.3:7800", got.Peers[0])
			require.Equal(t, nodes-1, got.ID)
			require.Equal(t, p.config(nodes-1, nodes).R, got.R)
			require.Equal(t, []any{p.Protocol, p.N, p.R, p.W, p.Stamps, p.WriteBack, p.Fsync, p.ReadRepair, p.AntiEntropy, p.Sloppy, p.Timeout, p.Retry},
				[]any{got.Protocol, got.N, got.R, got.W, got.Stamps, got.WriteBack, got.Fsync, got.ReadRepair, got.AntiEntropy, got.Sloppy, got.Timeout, got.Retry}, p.Name)
		}
	}
}

// Compare-and-sets over HTTP, against a real node in this process.
func TestCASWithoutContainers(t *testing.T) {
	cfg := storenode.DefaultConfig()
	cfg.Protocol = replica.CASPaxos
	cfg.Dir, cfg.ListenPeer, cfg.ListenClient = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	n, err := storenode.Open(cfg, nil)
	require.NoError(t, err)
	serving, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- n.Serve(serving) }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := openHTTP(n.ClientAddr().String(), &Profile{})
	for _, x := range []struct {
		arg, arg2, out history.Value
		fails          bool
	}{
		{1, 2, history.Nil, true},
		{history.Nil, 1, history.Nil, false},
		{1, 2, history.Nil, false},
		{1, 3, 2, true},
	} {
		op := history.Op{F: history.CAS, Arg: x.arg, Arg2: x.arg2, Out: history.Nil}
		err := c.Invoke(ctx, "k", &op)
		require.Equal(t, x.fails, err != nil, "%v", err)
		require.Equal(t, x.fails, harness.IsDefinite(err))
		require.Equal(t, x.out, op.Out)
	}
	stop()
	require.NoError(t, <-served)
	require.NoError(t, c.Close())
}

// The client, the inspection and the clock, against a real node in this
// process.
func TestRealNodeWithoutContainers(t *testing.T) {
	cfg := storenode.DefaultConfig()
	cfg.Dir, cfg.ListenPeer, cfg.ListenClient = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	n, err := storenode.Open(cfg, nil)
	require.NoError(t, err)
	serving, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- n.Serve(serving) }()
	addr := n.ClientAddr().String()
	p, err := ProfileByName("abd")
	require.NoError(t, err)
	s := New(p)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, s.Ready(ctx, addr))
	wall, err := s.Wall(ctx, addr)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), wall, 5*time.Second)

	c := openHTTP(addr, &Profile{})
	defer c.Close()
	invoke := func(op history.Op) (history.Value, error) {
		err := c.Invoke(ctx, "k", &op)
		return op.Out, err
	}
	out, err := invoke(history.Op{F: history.Read})
	require.NoError(t, err)
	require.Equal(t, history.Nil, out)
	_, err = invoke(history.Op{F: history.Write, Arg: -42})
	require.NoError(t, err)
	out, err = invoke(history.Op{F: history.Read})
	require.NoError(t, err)
	require.Equal(t, history.Value(-42), out)
	_, err = invoke(history.Op{F: history.CAS})
	require.ErrorContains(t, err, "use a keyspace with CASPaxos")
	require.True(t, harness.IsDefinite(err))
	replicas, err := inspectHTTP(ctx, addr, []string{"other", "k"})
	require.NoError(t, err)
	require.False(t, replicas[0].Present)
	require.Equal(t, harness.Replica{Present: true, Value: -42, Stamp: replicas[1].Stamp}, replicas[1])
	_, err = invoke(history.Op{F: history.Delete})
	require.NoError(t, err)
	out, err = invoke(history.Op{F: history.Read})
	require.NoError(t, err)
	require.Equal(t, history.Nil, out)

	stop()
	require.NoError(t, <-served)
	require.NoError(t, c.Close()) // drops the connection, so that the next write finds nobody
	_, err = invoke(history.Op{F: history.Write, Arg: 1})
	require.ErrorContains(t, err, "refused")
	require.True(t, harness.IsDefinite(err))
	require.Error(t, s.Ready(ctx, addr))
}
