package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assay-chaos/assay/store/httpapi"
)

// Bounds of a stream.
const (
	streamBuffer = 64 << 10
	// maxRequest bounds a request's frame, in bytes: the longest body, and
	// room for the rest.
	maxRequest = maxQuestion + 1<<20
	// streamSilence is how long a client may take over the rest of a frame
	// that it began, and over taking its answers.
	streamSilence = 10 * time.Second
)

// stream is one client's connection that carries frames, see httpapi. One
// goroutine reads. Every request in progress has a worker, which calls the
// handler that answers HTTP requests too, and writes the answer. Workers are
// kept for the next request.
type stream struct {
	conn    net.Conn
	handler http.HandlerFunc
	log     *slog.Logger
	work    chan *httpapi.Frame
	workers sync.WaitGroup
	started int // workers; the reader's
	most    int // workers there may be; with all of them busy the reader waits

	writing atomic.Int32 // workers that are about to write or do
	mu      sync.Mutex
	out     *bufio.Writer
}

// streams are those of one node, so that it can end them.
type streams struct {
	mu      sync.Mutex
	all     map[*stream]struct{}
	running sync.WaitGroup
	closed  bool
}

// serveStream turns a connection into a stream and serves it to its end.
func (n *Node) serveStream(w http.ResponseWriter, r *http.Request) {
	hijacker, ok := w.(http.Hijacker)
	if !ok || r.Method != http.MethodGet || !strings.EqualFold(r.Header.Get("Upgrade"), httpapi.StreamProtocol) {
		refuse(w, httpapi.CodeInvalid, fmt.Sprintf("this path makes a connection a stream: GET it with Connection: Upgrade and Upgrade: %s, or use %s{key}", httpapi.StreamProtocol, httpapi.PathKV))
		return
	}
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		refuse(w, httpapi.CodeInvalid, "this connection cannot become a stream: "+err.Error())
		return
	}
	defer conn.Close()
	s := &stream{
		conn:    conn,
		handler: n.serveHTTP,
		log:     n.log.With("client", conn.RemoteAddr().String()),
		work:    make(chan *httpapi.Frame),
		most:    n.cfg.MaxInFlight + 1, // so that one is refused, as over HTTP
		out:     bufio.NewWriterSize(conn, streamBuffer),
	}
	_ = conn.SetDeadline(time.Time{}) // the server's own end with the upgrade; an error comes again at the read
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", httpapi.StreamProtocol); err != nil {
		return
	}
	if !n.streams.add(s) {
		return // the node is shutting down
	}
	defer n.streams.remove(s)
	s.read(bufio.NewReaderSize(buffered.Reader, streamBuffer))
}

// read takes requests till the connection ends, and waits for their answers.
func (s *stream) read(r *bufio.Reader) {
	var err error
	for {
		var f *httpapi.Frame
		if f, err = s.next(r); err != nil {
			break
		}
		s.dispatch(f)
	}
	close(s.work)
	s.workers.Wait()
	var network net.Error
	if !errors.Is(err, io.EOF) && !errors.As(err, &network) {
		s.log.Warn("stream from client closed", "error", err)
	}
}

// next reads a frame. A client may be silent between frames as long as it
// likes, and not within one.
func (s *stream) next(r *bufio.Reader) (*httpapi.Frame, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	if head, _ := r.Peek(min(4, r.Buffered())); len(head) == 4 && int64(r.Buffered()) >= 4+int64(binary.BigEndian.Uint32(head)) {
		return httpapi.ReadFrame(r, maxRequest) // it is here, and cannot keep us waiting
	}
	// Not conn.SetReadDeadline: that is how shutdown ends the reader.
	watch := time.AfterFunc(streamSilence, func() { s.conn.Close() })
	defer watch.Stop()
	return httpapi.ReadFrame(r, maxRequest)
}

// dispatch gives a request to a worker that waits, or a new one, or waits for
// one.
func (s *stream) dispatch(f *httpapi.Frame) {
	select {
	case s.work <- f:
		return
	default:
	}
	if s.started < s.most {
		s.started++
		s.workers.Go(func() {
			s.serve(f)
			for f := range s.work {
				s.serve(f)
			}
		})
		return
	}
	s.work <- f
}

// serve answers one request.
func (s *stream) serve(f *httpapi.Frame) {
	a := frameWriter{header: make(http.Header, 4)}
	if r, err := request(f); err != nil {
		refuse(&a, httpapi.CodeInvalid, "the path cannot be read: "+err.Error())
	} else {
		s.handler(&a, r)
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	s.answer(&httpapi.Frame{ID: f.ID, Status: a.status, Header: a.header, Body: a.body})
}

// request is a frame as the handler wants it.
func request(f *httpapi.Frame) (*http.Request, error) {
	escaped, query, _ := strings.Cut(f.Path, "?")
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, err
	}
	r := &http.Request{
		Method: f.Method, URL: &url.URL{Path: path, RawPath: escaped, RawQuery: query},
		Header: f.Header, Body: http.NoBody, ContentLength: int64(len(f.Body)),
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if len(f.Body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(f.Body))
	}
	return r, nil
}

// answer writes a frame. The last of those who write at the same time flushes
// for all. An error ends the reader, which tells nobody: the client has left.
func (s *stream) answer(f *httpapi.Frame) {
	data, err := f.Append(nil)
	if err != nil { // no handler answers with so much
		s.log.Error("answer to client lost", "error", err)
		s.conn.Close()
		return
	}
	s.writing.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(streamSilence)) // an error comes again at the write
	_, err = s.out.Write(data)
	if s.writing.Add(-1) == 0 && err == nil {
		err = s.out.Flush()
	}
	if err != nil {
		s.conn.Close()
	}
}

// frameWriter collects a handler's answer.
type frameWriter struct {
	header http.Header
	status int
	body   []byte
}

func (w *frameWriter) Header() http.Header { return w.header }

func (w *frameWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *frameWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.body = append(w.body, p...)
	return len(p), nil
}

func (all *streams) add(s *stream) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.closed {
		return false
	}
	if all.all == nil {
		all.all = make(map[*stream]struct{})
	}
	all.all[s] = struct{}{}
	all.running.Add(1)
	return true
}

func (all *streams) remove(s *stream) {
	all.mu.Lock()
	delete(all.all, s)
	all.mu.Unlock()
	all.running.Done()
}

// shutdown lets no more requests in, and returns when those in progress are
// answered. It says whether they were when grace was over; after that they hear
// nothing.
func (all *streams) shutdown(grace context.Context) bool {
	all.mu.Lock()
	all.closed = true
	for s := range all.all {
		_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // ends the reader; if not, the stream is over already
	}
	all.mu.Unlock()
	stop := context.AfterFunc(grace, func() {
		all.mu.Lock()
		defer all.mu.Unlock()
		for s := range all.all {
			s.conn.Close()
		}
	})
	all.running.Wait()
	return stop()
}
