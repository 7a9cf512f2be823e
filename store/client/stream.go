package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assay-chaos/assay/store/httpapi"
)

// NewStream makes a client like New that keeps one connection, on which any
// number of operations are in progress at a time. It costs both ends much less
// than HTTP. What is known after an error is the same, with one difference: when
// the connection breaks, all operations in progress fail at once. A node that
// wants to see certificates takes no streams from here: use [NewTLS].
func NewStream(addr string) *Client {
	return &Client{addr: addr, scheme: "http", transport: &streamTransport{addr: addr}}
}

const (
	streamBuffer = 64 << 10
	streamQueue  = 64 // frames that wait to be written
)

// streamTransport sends requests over a stream. It dials when there is a
// request, and again after the connection broke; it never sends one twice.
type streamTransport struct {
	addr string

	mu   sync.Mutex
	dial chan struct{} // closed when the dial in progress has ended
	conn *streamConn   // nil: none, or one that is not to be used any more
}

// RoundTrip implements [http.RoundTripper]. It calls the GotConn hook before
// anything of the request can leave, as [http.Transport] does.
func (t *streamTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	c, err := t.connect(ctx)
	if err != nil {
		return nil, err
	}
	f := &httpapi.Frame{Method: r.Method, Path: r.URL.RequestURI(), Header: r.Header, Body: body}
	a, err := c.do(ctx, f, func() {
		if hooks := httptrace.ContextClientTrace(ctx); hooks != nil && hooks.GotConn != nil {
			hooks.GotConn(httptrace.GotConnInfo{Conn: c.conn, Reused: true})
		}
	})
	if err != nil {
		t.doubt(c)
		return nil, err
	}
	header := a.Header
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		StatusCode: a.Status, Status: fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status)),
		Header: header, Body: io.NopCloser(bytes.NewReader(a.Body)), ContentLength: int64(len(a.Body)), Request: r,
	}, nil
}

// readBody reads a request's body, whose length the client always knows, and
// closes it as a RoundTripper has to.
func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body := make([]byte, max(r.ContentLength, 0))
	_, err := io.ReadFull(r.Body, body)
	return body, errors.Join(err, r.Body.Close())
}

// CloseIdleConnections closes the connection. What is in progress fails.
func (t *streamTransport) CloseIdleConnections() {
	t.mu.Lock()
	c := t.conn
	t.conn = nil
	t.mu.Unlock()
	if c != nil {
		c.close(net.ErrClosed)
	}
}

// connect gives the connection, which it opens if there is none. Of those who
// need one at a time one dials, and the others wait; each for as long as its
// own ctx allows.
func (t *streamTransport) connect(ctx context.Context) (*streamConn, error) {
	for {
		t.mu.Lock()
		if c := t.conn; c != nil && !c.isDone() {
			t.mu.Unlock()
			return c, nil
		}
		if wait := t.dial; wait != nil {
			t.mu.Unlock()
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		dialing := make(chan struct{})
		t.dial, t.conn = dialing, nil
		t.mu.Unlock()

		c, err := openStream(ctx, t.addr)
		t.mu.Lock()
		t.dial = nil
		if err == nil {
			t.conn = c
		}
		t.mu.Unlock()
		close(dialing)
		return c, err
	}
}

// doubt is called after a request failed. If nothing comes back on a connection
// it may lead nowhere, and the next request uses a new one. What is in progress
// on the old one may still be answered.
func (t *streamTransport) doubt(c *streamConn) {
	if !c.retire() {
		return
	}
	t.mu.Lock()
	if t.conn == c {
		t.conn = nil
	}
	t.mu.Unlock()
}

// streamConn is one connection.
type streamConn struct {
	conn   net.Conn
	out    chan []byte   // to the writer
	done   chan struct{} // closed when the connection is over
	lastID atomic.Uint64

	mu      sync.Mutex
	err     error // why it is over
	waiting map[uint64]chan *httpapi.Frame
	retired bool
	mute    bool // a request was sent, and no answer to any has come since
}

// openStream dials, and asks for a stream.
func openStream(ctx context.Context, addr string) (_ *streamConn, err error) {
	dialer := net.Dialer{KeepAlive: 10 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", httpapi.PathStream, addr, httpapi.StreamProtocol)
	in := bufio.NewReaderSize(conn, streamBuffer)
	resp, err := http.ReadResponse(in, nil)
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("open stream: the node answered %s: it may be older than this client; use HTTP", resp.Status)
	}
	c := &streamConn{
		conn: conn, out: make(chan []byte, streamQueue), done: make(chan struct{}),
		waiting: make(map[uint64]chan *httpapi.Frame),
	}
	go c.read(in)
	go c.write()
	return c, nil
}

// do sends one request, after calling leaves, and waits for the answer.
func (c *streamConn) do(ctx context.Context, f *httpapi.Frame, leaves func()) (*httpapi.Frame, error) {
	f.ID = c.lastID.Add(1)
	data, err := f.Append(nil)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	answer := make(chan *httpapi.Frame, 1)
	if err := c.enter(f.ID, answer); err != nil {
		return nil, err
	}
	defer c.leave(f.ID)
	leaves()
	select {
	case c.out <- data:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.done:
		return nil, c.cause()
	}
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.done:
	}
	select {
	case a := <-answer: // it was the last thing that came
		return a, nil
	default:
		return nil, c.cause()
	}
}

// enter makes a request's answer go to a channel.
func (c *streamConn) enter(id uint64, answer chan *httpapi.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.waiting[id] = answer
	c.mute = true
	return nil
}

// leave forgets a request. Its answer, if it still comes, is dropped.
func (c *streamConn) leave(id uint64) {
	c.mu.Lock()
	delete(c.waiting, id)
	idle := c.retired && len(c.waiting) == 0
	c.mu.Unlock()
	if idle {
		c.close(net.ErrClosed)
	}
}

// read hands out answers till the connection ends.
func (c *streamConn) read(in *bufio.Reader) {
	for {
		f, err := httpapi.ReadFrame(in, httpapi.MaxFrame)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // for whoever waits for an answer
			}
			c.close(err)
			return
		}
		c.mu.Lock()
		answer := c.waiting[f.ID]
		delete(c.waiting, f.ID)
		c.mute = false
		c.mu.Unlock()
		if answer != nil {
			answer <- f // has room for the one answer
		}
	}
}

// write sends what is there at once.
func (c *streamConn) write() {
	w := bufio.NewWriterSize(c.conn, streamBuffer)
	for {
		var data []byte
		select {
		case data = <-c.out:
		default:
			// Others may be about to add to it.
			runtime.Gosched()
			select {
			case data = <-c.out:
			default:
				if err := w.Flush(); err != nil {
					c.close(err)
					return
				}
				select {
				case data = <-c.out:
				case <-c.done:
					return
				}
			}
		}
		if _, err := w.Write(data); err != nil {
			c.close(err)
			return
		}
	}
}

func (c *streamConn) close(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	c.conn.Close()
}

// retire says whether the connection shall not be used any more. It is closed
// when nobody waits on it.
func (c *streamConn) retire() bool {
	c.mu.Lock()
	if !c.mute && c.err == nil {
		c.mu.Unlock()
		return false
	}
	c.retired = true
	idle := len(c.waiting) == 0
	c.mu.Unlock()
	if idle {
		c.close(net.ErrClosed)
	}
	return true
}

func (c *streamConn) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *streamConn) isDone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}
