package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/assay-chaos/assay/store/replica"
)

// How long it takes to talk again after the network was away: a connection
// that is not acknowledged for peerSilence is given up, and a new one is tried
// every maxBackoff, for dialTimeout each. So the cluster is whole at most about
// dialTimeout + maxBackoff after the network is.
const (
	peerSilence = 2 * time.Second
	dialTimeout = 500 * time.Millisecond
	minBackoff  = 20 * time.Millisecond
	maxBackoff  = 500 * time.Millisecond
	window      = 1 << 20 // bytes in flight on one stream
)

// peer is the way to one other node.
type peer struct {
	id     replica.NodeID
	addr   string
	out    *outbox
	conn   *grpc.ClientConn
	header metadata.MD
	log    *slog.Logger
	quit   context.Context // the peer is left for good
	stop   context.CancelFunc

	sent, dropped atomic.Uint64 // messages
}

func newPeer(cfg *Config, id int, addr string, who *identity, log *slog.Logger) (*peer, error) {
	log = log.With("peer", id, "addr", addr)
	dialer := net.Dialer{Timeout: dialTimeout, Control: quickRetransmit}
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(dialCredentials(who, log)),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr)
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.WaitForReady(true)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: minBackoff, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxBackoff},
			MinConnectTimeout: dialTimeout,
		}),
		// On Linux, gRPC also makes Timeout the TCP user timeout: the kernel
		// gives up a connection whose data is not acknowledged that long.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: peerSilence, PermitWithoutStream: true}),
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(window),
		grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return nil, fmt.Errorf("node: peer %d at %s: %w", id, addr, err)
	}
	quit, end := context.WithCancel(context.Background())
	return &peer{
		quit: quit,
		stop: end,
		id:   replica.NodeID(id),
		addr: addr,
		out:  newOutbox(),
		conn: conn,
		header: metadata.Pairs(
			metaCluster, cfg.Cluster,
			metaFrom, strconv.Itoa(cfg.ID),
			metaTo, strconv.Itoa(id),
			metaSettings, cfg.settings(),
		),
		log: log,
	}, nil
}

// end leaves the peer for good.
func (p *peer) end() {
	p.stop()
	_ = p.conn.Close() // it can only say that it is closed already
}

// run sends what comes into the outbox until ctx is done, or end was called.
func (p *peer) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.quit, cancel)()
	wait, last := minBackoff, ""
	for {
		s, cancel, err := p.open(ctx)
		opened := time.Now()
		if err == nil {
			err = p.use(s)
			cancel()
		}
		if ctx.Err() != nil {
			return
		}
		// gRPC spaces out its dials, and opening waits for it. The wait here
		// is for streams that the peer refuses. Those come again and again:
		// one line for each cause.
		text := status.Convert(err).Message()
		if time.Since(opened) > maxBackoff {
			wait, last = minBackoff, ""
		}
		if text != last {
			p.log.Warn("stream to peer ended", "error", err)
			last = text
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, maxBackoff)
	}
}

// open opens a stream as soon as there is a connection. The peer can still
// refuse it.
func (p *peer) open(ctx context.Context) (grpc.ClientStream, context.CancelFunc, error) {
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(ctx, p.header))
	s, err := p.conn.NewStream(ctx, &streamDesc, fullMethod)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return s, cancel, nil
}

// use sends on a stream till it breaks.
func (p *peer) use(s grpc.ClientStream) error {
	// Nothing comes back on the stream but its end, with the reason.
	ended := make(chan error, 1)
	go func() {
		var nothing []replica.Message
		err := s.RecvMsg(&nothing)
		if err == nil || errors.Is(err, io.EOF) {
			err = status.Error(codes.Unavailable, "the peer ended the stream")
		}
		ended <- err
	}()
	var batch []replica.Message
	for {
		var dropped int
		batch, dropped = p.out.take(batch)
		if dropped > 0 {
			p.dropped.Add(uint64(dropped))
			p.log.Info("messages to peer dropped: it did not take them", "messages", dropped)
		}
		if len(batch) == 0 {
			select {
			case err := <-ended:
				return err
			case <-p.out.ready:
				continue
			}
		}
		if err := s.SendMsg(&batch); err != nil {
			if errors.Is(err, io.EOF) { // gRPC's word for: ask RecvMsg
				err = <-ended
			}
			return err
		}
		p.sent.Add(uint64(len(batch)))
		clear(batch)
	}
}

// newPeerServer makes the receiving side. Every stream hands its batches to
// deliver, which blocks while the loop is busy: that holds the sender back by
// flow control.
func newPeerServer(cfg *Config, members *roster, who *identity, log *slog.Logger, deliver func(ctx context.Context, from replica.NodeID, batch []replica.Message) error) *grpc.Server {
	s := grpc.NewServer(append(peerLimits(),
		grpc.Creds(acceptCredentials(who)),
		grpc.ForceServerCodecV2(codec{}),
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(window),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: peerSilence}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)...)
	handler := func(_ any, stream grpc.ServerStream) error {
		from, err := admit(cfg, members, stream.Context())
		if err != nil {
			log.Warn("stream from peer refused", "error", err)
			return err
		}
		for {
			var batch []replica.Message
			if err := stream.RecvMsg(&batch); err != nil {
				// gRPC ends the stream itself before it tells of a message that
				// is malformed or too large, so the context says nothing.
				if c := status.Code(err); errors.Is(err, io.EOF) || c == codes.Canceled || c == codes.Unavailable {
					return nil
				}
				log.Warn("stream from peer closed", "from", from, "error", err)
				return err
			}
			if err := deliver(stream.Context(), from, batch); err != nil {
				return err
			}
		}
	}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Streams:     []grpc.StreamDesc{{StreamName: methodName, Handler: handler, ClientStreams: true}},
	}, nil)
	return s
}

// admit checks a stream's metadata and gives the sender. Where members come and
// go it may be one that this node does not know yet, or not any more; the core
// tells them from the others.
func admit(cfg *Config, members *roster, ctx context.Context) (replica.NodeID, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	get := func(key string) string {
		if v := md.Get(key); len(v) == 1 {
			return v[0]
		}
		return ""
	}
	if c := get(metaCluster); c != cfg.Cluster {
		return 0, status.Errorf(codes.PermissionDenied, "node %d is of cluster %q, and the sender of %q: check --cluster and --peers", cfg.ID, cfg.Cluster, c)
	}
	if to := get(metaTo); to != strconv.Itoa(cfg.ID) {
		return 0, status.Errorf(codes.PermissionDenied, "this is node %d, and the sender looks for node %q: check that --peers is in order of --id", cfg.ID, to)
	}
	from, err := strconv.Atoi(get(metaFrom))
	nodes := len(cfg.Peers)
	if cfg.Gossip > 0 {
		nodes = replica.MaxNodes
	}
	if err != nil || from < 0 || from >= nodes || from == cfg.ID {
		return 0, status.Errorf(codes.PermissionDenied, "the sender says it is node %q, and there are %d nodes, this one is %d: check its --id", get(metaFrom), nodes, cfg.ID)
	}
	if err := checkPeerHost(ctx, cfg, from, members.addr(from)); err != nil {
		return 0, err
	}
	if s := get(metaSettings); s != cfg.settings() {
		return 0, status.Errorf(codes.FailedPrecondition, "node %d has the settings %q, and node %d has %q: all nodes must have the same", cfg.ID, cfg.settings(), from, s)
	}
	return replica.NodeID(from), nil
}
