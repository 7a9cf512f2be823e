package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// What a connection may cost. A request that is too slow or too large is cut
// off, since a client that sends one byte a second holds memory as well as one
// that sends a megabyte.
const (
	headerTime     = 5 * time.Second  // for a request's headers
	bodyTime       = 10 * time.Second // for headers and body
	answerTime     = 10 * time.Second // for taking the answer
	idleTime       = 2 * time.Minute  // between two requests
	handshakeTime  = 5 * time.Second  // of a peer: TCP, TLS and HTTP/2
	maxHeaderBytes = 64 << 10
	maxPeerStreams = 4 // of one connection; a peer needs one
)

// limitClients sets the limits of the port for clients.
func limitClients(s *http.Server, request time.Duration) {
	s.ReadHeaderTimeout = headerTime
	s.ReadTimeout = bodyTime
	s.WriteTimeout = bodyTime + request + answerTime // net/http starts it with the request
	s.IdleTimeout = idleTime
	s.MaxHeaderBytes = maxHeaderBytes
}

// peerLimits are those of the port for peers.
func peerLimits() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxBatch),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.MaxConcurrentStreams(maxPeerStreams),
		grpc.ConnectionTimeout(handshakeTime),
	}
}

// budget is what requests in flight may take: a number of them, and bytes of
// what they bring or ask for.
type budget struct {
	maxRequests, maxBytes int64
	requests, bytes       atomic.Int64
}

// enter takes a place for a request, if there is one.
func (b *budget) enter() bool {
	if b.requests.Add(1) > b.maxRequests {
		b.requests.Add(-1)
		return false
	}
	return true
}

func (b *budget) leave() { b.requests.Add(-1) }

// reserve takes n bytes, if they are there.
func (b *budget) reserve(n int64) bool {
	if b.bytes.Add(n) > b.maxBytes {
		b.bytes.Add(-n)
		return false
	}
	return true
}

func (b *budget) release(n int64) { b.bytes.Add(-n) }

// bodySize is how many bytes a request may bring; one that does not say may
// bring all that are allowed.
func bodySize(r *http.Request, limit int64) int64 {
	if r.ContentLength >= 0 && r.ContentLength < limit {
		return r.ContentLength
	}
	return limit
}

// watchedListener logs the connections that this end had to close: what came
// on them was not what is spoken here, or nothing came.
type watchedListener struct {
	net.Listener
	what     string // of the line in the log
	log      *slog.Logger
	stopping *atomic.Bool
}

func (l *watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &watchedConn{Conn: conn, listener: l}, nil
}

// watchedConn remembers whether the other end has closed the connection.
type watchedConn struct {
	net.Conn
	listener *watchedListener

	ended atomic.Bool // by the other end, or the network
	told  atomic.Bool // why this end closes it, or somebody else will
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.note(err)
	return n, err
}

func (c *watchedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.note(err)
	return n, err
}

func (c *watchedConn) note(err error) {
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		return // a deadline is this end's decision
	}
	c.ended.Store(true)
}

func (c *watchedConn) Close() error {
	if !c.ended.Load() && !c.told.Swap(true) {
		c.tell(errors.New("what came on it is not what is spoken here, or nothing came in time"))
	}
	return c.Conn.Close()
}

func (c *watchedConn) tell(err error) {
	if !c.listener.stopping.Load() {
		c.listener.log.Warn(c.listener.what, "from", c.RemoteAddr().String(), "error", err)
	}
}

// watchClients makes a server for clients log the connections on which
// something came that is no request. net/http answers those itself, and tells
// nobody.
func watchClients(s *http.Server, log *slog.Logger) {
	type key struct{}
	var open sync.Map // net.Conn -> *atomic.Bool: bytes came, and no request yet
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		unread := new(atomic.Bool)
		open.Store(c, unread)
		return context.WithValue(ctx, key{}, unread)
	}
	s.ConnState = func(c net.Conn, state http.ConnState) {
		v, ok := open.Load(c)
		if !ok {
			return
		}
		unread := v.(*atomic.Bool)
		switch state {
		case http.StateActive:
			unread.Store(true)
		case http.StateClosed, http.StateHijacked:
			open.Delete(c)
			if unread.Load() {
				log.Warn("connection of a client closed: no whole request came on it", "from", c.RemoteAddr().String())
			}
		}
	}
	inner := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if unread, ok := r.Context().Value(key{}).(*atomic.Bool); ok {
			unread.Store(false)
		}
		inner.ServeHTTP(w, r)
	})
}
