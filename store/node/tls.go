package node

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/assay-chaos/assay/store/trust"
)

// identity is how connections of this node are made safe; nil means not at all.
type identity = trust.Identity

// loadIdentity reads the certificates that cfg names, if it names any.
func loadIdentity(cfg *Config) (*identity, error) {
	if !cfg.TLS.Enabled() {
		return nil, nil
	}
	return trust.Load(cfg.TLS)
}

// dialCredentials are those for dialling a peer.
func dialCredentials(id *identity, log *slog.Logger) credentials.TransportCredentials {
	if id == nil {
		return insecure.NewCredentials()
	}
	return &dialLog{TransportCredentials: credentials.NewTLS(id.Client()), log: log}
}

// acceptCredentials are those of the port for peers.
func acceptCredentials(id *identity) credentials.TransportCredentials {
	if id == nil {
		return insecure.NewCredentials()
	}
	return acceptLog{credentials.NewTLS(id.PeerServer())}
}

// checkPeerHost refuses a node that calls itself another: its certificate has to
// name the host of the node's address. Of a node without a known address it can
// only be said that the authority trusts it.
func checkPeerHost(ctx context.Context, cfg *Config, from int, addr string) error {
	if !cfg.TLS.Enabled() || addr == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err == nil {
		var state tls.ConnectionState
		if p, ok := grpcpeer.FromContext(ctx); ok {
			if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
				state = info.State
			}
		}
		err = trust.CheckHost(state, host)
	}
	if err != nil {
		return status.Errorf(codes.PermissionDenied, "the sender says it is node %d at %s, and its certificate does not: %v", from, addr, err)
	}
	return nil
}

// dialLog logs why a handshake with a peer failed, which gRPC keeps to itself.
// It dials again and again: one line for each cause.
type dialLog struct {
	credentials.TransportCredentials
	log *slog.Logger

	mu   sync.Mutex
	last string
}

func (c *dialLog) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, raw)
	text := ""
	if err != nil {
		text = err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if text != c.last && err != nil {
		c.log.Warn("TLS with peer failed", "error", err)
	}
	c.last = text
	return conn, info, err
}

func (c *dialLog) Clone() credentials.TransportCredentials {
	return &dialLog{TransportCredentials: c.TransportCredentials.Clone(), log: c.log}
}

// acceptLog logs why a handshake with a peer failed.
type acceptLog struct {
	credentials.TransportCredentials
}

func (c acceptLog) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	w, ok := raw.(*watchedConn)
	if !ok {
		return c.TransportCredentials.ServerHandshake(raw)
	}
	w.told.Store(true) // a handshake that fails closes the connection before it returns
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		w.tell(err)
	} else {
		w.told.Store(false)
	}
	return conn, info, err
}

func (c acceptLog) Clone() credentials.TransportCredentials {
	return acceptLog{c.TransportCredentials.Clone()}
}
