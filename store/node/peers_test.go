package node

import (
	"context"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

// streamOnce is one stream's life.
func streamOnce(ctx context.Context, p *peer) error {
	s, cancel, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	return p.use(s)
}

// Two nodes that are not set up alike do not talk, and say why.
func TestStreamOfAnotherSetUpIsRefused(t *testing.T) {
	c := startCluster(t, 2, true, nil)
	right := c.nodes[1].cfg.withDefaults()
	for _, test := range []struct {
		change func(*Config)
		to     int // its place in the sender's peers
		words  string
	}{
		{func(c *Config) { c.Cluster = "other" }, 0, `"other"`},
		{func(c *Config) { c.Peers = []string{c.Peers[1], c.Peers[0]}; c.ID = 0 }, 1, "in order of --id"},
		{func(c *Config) { c.ID = 0 }, 0, "check its --id"},
		{func(c *Config) { c.WriteBack = false }, 0, "write-back=false"},
		{func(c *Config) { c.Stamps = replica.WallClock }, 0, "stamps=wall"},
		{func(c *Config) { c.AntiEntropy = 0 }, 0, "anti-entropy=0s"},
	} {
		cfg := right
		test.change(&cfg)
		p, err := newPeer(&cfg, test.to, cfg.Peers[test.to], nil, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		err = streamOnce(within(t, 10*time.Second), p)
		require.NoError(t, p.conn.Close())
		require.Contains(t, []codes.Code{codes.PermissionDenied, codes.FailedPrecondition}, status.Code(err), "%v", err)
		require.ErrorContains(t, err, test.words)
	}
}

// A batch that is malformed ends its stream. The node goes on, and takes a new
// stream of the same peer.
func TestMalformedBatchEndsTheStream(t *testing.T) {
	log := new(logBuffer)
	c := startLoggedCluster(t, 2, true, log, nil)
	cfg := c.nodes[1].cfg.withDefaults()
	p, err := newPeer(&cfg, 0, cfg.Peers[0], nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer p.conn.Close()
	p.out.stage(replica.Message{Type: 99})
	p.out.flush()
	err = streamOnce(within(t, 10*time.Second), p)
	require.ErrorContains(t, err, "unknown type 99")
	log.await(t, "stream from peer closed", "unknown type 99")

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- streamOnce(ctx, p) }()
	p.out.stage(replica.Message{Type: replica.MsgQuery, Key: "k"})
	p.out.flush()
	_, err = c.nodes[0].client.Put(within(t, 10*time.Second), "k", []byte("v"))
	require.NoError(t, err)
	select {
	case err := <-ended:
		t.Fatalf("the good stream ended: %v", err)
	default:
	}
	cancel()
	require.Equal(t, codes.Canceled, status.Code(<-ended))
}

// A node whose disk fails refuses, says so, and does not take the others down.
func TestFailedDisk(t *testing.T) {
	c := startCluster(t, 3, true, func(c *Config) { c.Timeout = 300 * time.Millisecond })
	ctx := within(t, 20*time.Second)
	_, err := c.nodes[0].client.Put(ctx, "a", []byte("1"))
	require.NoError(t, err)
	c.nodes[0].breakDisk(syscall.EIO)

	// The others hold it: the write is done without this node's copy.
	_, err = c.nodes[0].client.Put(ctx, "a", []byte("2"))
	require.NoError(t, err)
	// From here on it counts as refused at every write.
	require.Eventually(t, func() bool {
		_, err := c.nodes[0].node.engine.Progress()
		return err != nil
	}, 10*time.Second, time.Millisecond)
	h, err := c.nodes[0].client.Health(ctx)
	require.NoError(t, err)
	require.False(t, h.Ready)
	require.Contains(t, h.Error, errDisk.Error())

	for _, m := range c.nodes[1:] {
		_, err := m.client.Put(ctx, "a", []byte("3"))
		require.NoError(t, err)
		got, err := m.client.Get(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, "3", string(got.Value))
	}

	// With one more away, two disks do not make a majority.
	c.crash(1)
	_, err = c.nodes[2].client.Put(ctx, "a", []byte("4"))
	var e *client.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, httpapi.CodeUnavailable, e.Code)
	require.ErrorIs(t, c.stop(0), errDisk)

}
