package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
)

// cluster is a few nodes in this process, on loopback.
type cluster struct {
	t     testing.TB
	log   io.Writer // nil: the test's
	nodes []*member
}

// member is one node and its disk.
type member struct {
	cfg    Config
	fs     *vfs.MemFS  // nil: a real directory
	broken atomic.Bool // fs does not sync any more
	node   *Node
	cancel context.CancelFunc
	served chan error
	client *client.Client
}

var errDisk = errors.New("injected: input/output error")

// startCluster starts n nodes. A crashable cluster keeps its data on a file
// system in memory that forgets what was not synced; otherwise it is on the
// real disk.
func startCluster(t testing.TB, n int, crashable bool, change func(*Config)) *cluster {
	return startLoggedCluster(t, n, crashable, nil, change)
}

// startLoggedCluster is startCluster with the nodes' log going to w.
func startLoggedCluster(t testing.TB, n int, crashable bool, w io.Writer, change func(*Config)) *cluster {
	c := &cluster{t: t, log: w}
	peers := make([]string, n)
	clients := make([]string, n)
	for i := range n {
		peers[i], clients[i] = freeAddr(t), freeAddr(t)
	}
	for i := range n {
		cfg := DefaultConfig()
		cfg.ID = i
		cfg.Peers = peers
		cfg.ListenPeer, cfg.ListenClient = peers[i], clients[i]
		if change != nil {
			change(&cfg)
		}
		m := &member{cfg: cfg, client: client.New(clients[i])}
		if crashable {
			m.fs = vfs.NewCrashableMem()
		} else {
			m.cfg.Dir = t.TempDir()
		}
		c.nodes = append(c.nodes, m)
		c.start(i)
	}
	t.Cleanup(func() {
		for i, m := range c.nodes {
			if m.node != nil {
				require.NoError(t, c.stop(i))
			}
			m.client.Close()
		}
	})
	return c
}

// freeAddr finds a port that nobody uses, on a loopback address of its own where
// that works without set-up. On 127.0.0.1 a port that was just given up, or
// whose node is down for a moment, could become the source port of some
// connection.
func freeAddr(t testing.TB) string {
	host := "127.0.0.1"
	if runtime.GOOS == "linux" {
		host = fmt.Sprintf("127.%d.%d.%d", 1+rand.N(254), rand.N(256), 1+rand.N(254))
	}
	l, err := net.Listen("tcp", host+":0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func (c *cluster) start(i int) {
	m := c.nodes[i]
	var fs vfs.FS
	if m.fs != nil {
		fs = errorfs.Wrap(m.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if m.broken.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
				return errDisk
			}
			return nil
		}))
	}
	log := slog.New(slog.NewTextHandler(testLog{c.t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if c.log != nil {
		log = slog.New(slog.NewTextHandler(c.log, nil))
	} else if _, ok := c.t.(*testing.B); ok {
		log = slog.New(slog.DiscardHandler)
	}
	node, err := open(m.cfg, log, fs)
	require.NoError(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	m.node, m.cancel, m.served = node, cancel, make(chan error, 1)
	go func() { m.served <- node.Serve(ctx) }()
}

// stop shuts a node down cleanly.
func (c *cluster) stop(i int) error {
	m := c.nodes[i]
	m.cancel()
	err := <-m.served
	m.node = nil
	return err
}

// crash takes the disk as a power failure would leave it, then gets rid of the
// node. Nothing it does after the disk was copied reaches the copy, but it
// could still answer: its connections are cut first.
func (c *cluster) crash(i int) {
	m := c.nodes[i]
	m.node.peerServer.Stop()
	_ = m.node.clientServer.Close()
	m.fs = m.fs.CrashClone(vfs.CrashCloneCfg{})
	m.cancel()
	<-m.served
	m.node = nil
}

// testLog writes a node's log into the test's.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p[:len(p)-1])
	return len(p), nil
}

var _ io.Writer = testLog{}

// within gives a context for one operation of a test.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func key(i int) string { return fmt.Sprintf("key-%d", i) }
