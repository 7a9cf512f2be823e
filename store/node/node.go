package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc"

	"github.com/assay-chaos/assay/store/engine"
	"github.com/assay-chaos/assay/store/replica"
)

// Run opens a node and serves till ctx is done, then shuts down cleanly: it
// answers the requests in flight and closes its disk. The caller turns signals
// into ctx. A nil logger means slog.Default().
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	n, err := Open(cfg, log)
	if err != nil {
		return err
	}
	return n.Serve(ctx)
}

// Node is one running node.
type Node struct {
	cfg    Config
	log    *slog.Logger
	boot   uint64
	engine *engine.Engine
	// placement is the core's; unlike the core it may be used by all.
	placement atomic.Pointer[replica.Placement]
	loop      *loop
	members   *roster // the others
	announced string  // the members that were last logged; the loop's

	peerListener, clientListener net.Listener
	peerServer                   *grpc.Server
	clientServer                 *http.Server
	streams                      streams
	budget                       budget
	received                     [replica.MaxNodes]atomic.Uint64 // messages, by node
	metrics                      *metrics
	metricsHandler               http.Handler
	stopping                     atomic.Bool
}

// Open starts a node on its disk and binds its addresses. Nobody is answered
// before Serve.
func Open(cfg Config, log *slog.Logger) (*Node, error) {
	return open(cfg, log, nil)
}

// open is Open on a file system of the caller's.
func open(cfg Config, log *slog.Logger, fs vfs.FS) (_ *Node, err error) {
	if log == nil {
		log = slog.Default()
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	log = log.With("node", cfg.ID)
	who, err := loadIdentity(&cfg)
	if err != nil {
		return nil, fmt.Errorf("node %d: %w", cfg.ID, err)
	}
	n := &Node{cfg: cfg, log: log, metrics: newMetrics()}
	n.members = &roster{cfg: &n.cfg, who: who, log: log}
	n.metricsHandler = n.metrics.handler()
	n.budget.maxRequests, n.budget.maxBytes = int64(cfg.MaxInFlight), cfg.MaxInFlightBytes
	defer func() {
		if err != nil {
			n.release()
		}
	}()

	n.engine, err = engine.Open(cfg.Dir, engine.Options{
		Fsync: cfg.Fsync,
		Owner: fmt.Sprintf("%s/%d", cfg.Cluster, cfg.ID),
		FS:    fs,
		Log:   log,
		Synced: func(took time.Duration) {
			n.metrics.syncs.Observe(took.Seconds())
		},
	})
	if err != nil {
		return nil, fmt.Errorf("node %d: %w", cfg.ID, err)
	}
	if n.boot, err = n.engine.NextBoot(); err != nil {
		return nil, fmt.Errorf("node %d: %w", cfg.ID, err)
	}
	core, err := replica.New(cfg.replica(), n.boot, n.engine)
	if err != nil {
		return nil, fmt.Errorf("node %d: %w", cfg.ID, err)
	}
	n.placement.Store(core.Placement())
	view := core.View()
	if err := n.members.set(view); err != nil {
		return nil, err
	}
	n.announced = view.String()
	n.loop = newLoop(core, n.engine, n.members, log)
	n.loop.viewed = func(v *replica.View) {
		n.placement.Store(core.Placement())
		n.announce(v)
	}
	n.peerServer = newPeerServer(&n.cfg, n.members, who, log, n.deliver)
	n.clientServer = &http.Server{
		Handler:  http.HandlerFunc(n.serveHTTP),
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	limitClients(n.clientServer, cfg.Timeout)
	watchClients(n.clientServer, log)
	n.metrics.watch(n)
	listen := net.ListenConfig{Control: quickRetransmit}
	if n.peerListener, err = listen.Listen(context.Background(), "tcp", cfg.ListenPeer); err != nil {
		return nil, fmt.Errorf("node %d: listen for peers (--listen-peer): %w", cfg.ID, err)
	}
	n.peerListener = &watchedListener{Listener: n.peerListener, what: "connection of a peer closed", log: log, stopping: &n.stopping}
	if n.clientListener, err = net.Listen("tcp", cfg.ListenClient); err != nil {
		return nil, fmt.Errorf("node %d: listen for clients (--listen-client): %w", cfg.ID, err)
	}
	if who != nil {
		n.clientListener = tls.NewListener(n.clientListener, who.Server())
	}
	return n, nil
}

// PeerAddr is the address at which the node listens for other nodes.
func (n *Node) PeerAddr() net.Addr { return n.peerListener.Addr() }

// ClientAddr is the address at which it listens for clients.
func (n *Node) ClientAddr() net.Addr { return n.clientListener.Addr() }

// Serve answers peers and clients till ctx is done or a listener fails, then
// shuts the node down. It is called once.
func (n *Node) Serve(ctx context.Context) error {
	n.log.Info("node serves",
		"cluster", n.cfg.Cluster, "boot", n.boot, "settings", n.cfg.settings(), "fsync", n.cfg.Fsync, "tls", n.cfg.TLS.Enabled(),
		"peers", n.PeerAddr().String(), "clients", n.ClientAddr().String(), "data", n.cfg.Dir)

	failed := make(chan error, 2)
	var servers sync.WaitGroup
	servers.Go(func() {
		if err := n.clientServer.Serve(n.clientListener); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("node %d: serve clients: %w", n.cfg.ID, err)
		}
	})
	servers.Go(func() {
		if err := n.peerServer.Serve(n.peerListener); err != nil {
			failed <- fmt.Errorf("node %d: serve peers: %w", n.cfg.ID, err)
		}
	})
	sending, stopSending := context.WithCancel(context.Background())
	n.members.start(sending)
	go n.loop.run()

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}

	// Clients first: what is in flight still needs the loop and the peers. No
	// request outlives the core's timeout by much.
	n.stopping.Store(true)
	grace, cancel := context.WithTimeout(context.Background(), n.cfg.Timeout+time.Second)
	defer cancel()
	if e := n.clientServer.Shutdown(grace); e != nil {
		n.log.Warn("clients did not leave in time", "error", e)
		_ = n.clientServer.Close() // Shutdown has told what there is to tell
	}
	if !n.streams.shutdown(grace) {
		n.log.Warn("clients' streams did not end in time")
	}
	close(n.loop.stop)
	<-n.loop.done
	stopSending()
	n.peerServer.Stop()
	n.members.close()
	servers.Wait()
	if e := n.engine.Close(); e != nil {
		err = errors.Join(err, fmt.Errorf("node %d: %w", n.cfg.ID, e))
	}
	n.log.Info("node stopped")
	return err
}

// release frees what a failed Open had taken.
func (n *Node) release() {
	n.members.close()
	if n.peerListener != nil {
		_ = n.peerListener.Close()
	}
	if n.engine != nil {
		if err := n.engine.Close(); err != nil {
			n.log.Error("close after a failed start", "error", err)
		}
	}
}

// announce logs a view that has come into force.
func (n *Node) announce(v *replica.View) {
	me := slices.ContainsFunc(append(slices.Clone(v.Before), v.Members...), func(m replica.Member) bool { return int(m.ID) == n.cfg.ID })
	switch {
	case !me && v.Retired&(1<<n.cfg.ID) != 0:
		n.log.Warn("this node was removed from the cluster: it serves nobody; stop it, and add one with another id and an empty directory to come back", "epoch", v.Epoch, "members", v.String())
	case v.Before != nil:
		n.log.Info("the members are changing", "epoch", v.Epoch, "members", v.String())
	case v.String() == n.announced:
		n.log.Debug("a new epoch, with the same members", "epoch", v.Epoch)
	default:
		n.log.Info("the members have changed", "epoch", v.Epoch, "members", v.String())
	}
	n.announced = v.String()
}

// deliver hands a peer's batch to the loop.
func (n *Node) deliver(ctx context.Context, from replica.NodeID, batch []replica.Message) error {
	n.received[from].Add(uint64(len(batch)))
	select {
	case n.loop.peers <- inbound{from, batch}:
		return nil
	case <-n.loop.done:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errStopping ends what waits for a loop that has ended.
var errStopping = errors.New("the node is shutting down")
