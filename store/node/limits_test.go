package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

// serveAlone runs one node in memory, changed before it serves.
func serveAlone(t testing.TB, log io.Writer, change func(*Node)) *Node {
	cfg := DefaultConfig()
	cfg.ListenPeer, cfg.ListenClient = freeAddr(t), freeAddr(t)
	n, err := open(cfg, slog.New(slog.NewTextHandler(log, nil)), vfs.NewMem())
	require.NoError(t, err)
	if change != nil {
		change(n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- n.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
	})
	return n
}

// talk sends bytes on a new connection and gives what comes back till it is
// closed.
func talk(t testing.TB, addr net.Addr, send []byte) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", addr.String())
	require.NoError(t, err)
	defer conn.Close()
	_, _ = conn.Write(send) // the other end may close before it has read everything
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	got, err := io.ReadAll(conn)
	require.False(t, os.IsTimeout(err), "the connection stays open after %.40q", send)
	return got
}

// What is no request, or no message of a peer, closes its connection with a line
// in the log, and the node goes on.
func TestGarbageOnBothPorts(t *testing.T) {
	log := new(logBuffer)
	n := serveAlone(t, log, nil)
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	noise := make([]byte, 4096)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	lines := func(words string) int { return strings.Count(log.String(), words) }
	const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for i, send := range []string{
		"rubbish, and more of it than a preface has\r\n\r\n",
		string(noise),
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		preface + "\x00\x00\x02\x00\x00\x00\x00\x00\x01ab",                          // data before settings
		preface + settings + "\x00\x00\x02\x00\x00\x00\x00\x00\x00ab",               // data on no stream
		preface + settings + "\x00\x00\x04\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff", // headers that are none
	} {
		talk(t, n.PeerAddr(), []byte(send))
		require.Eventually(t, func() bool { return lines("connection of a peer closed") == i+1 }, 5*time.Second, time.Millisecond, "%q", send)
	}

	for i, send := range []string{
		"rubbish\r\n\r\n",
		string(noise) + "\n",
		"GET /v1/kv/a HTTP/9.9\r\n\r\n",
		"GET /v1/kv/a HTTP/1.1\r\n\r\n", // no Host
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
	} {
		talk(t, n.ClientAddr(), []byte(send))
		require.Eventually(t, func() bool { return lines("connection of a client closed") == i+1 }, 5*time.Second, time.Millisecond, "%q", send)
	}
	c := client.New(n.ClientAddr().String())
	defer c.Close()
	_, err := c.Put(within(t, 5*time.Second), "a", nil)
	require.NoError(t, err)
}

// A client that trickles its request is cut off, in its headers and in its body,
// and so is one that does not take its answer.
func TestSlowClientsAreCutOff(t *testing.T) {
	log := new(logBuffer)
	n := serveAlone(t, log, func(n *Node) {
		s := n.clientServer
		require.NotZero(t, s.ReadHeaderTimeout)
		require.NotZero(t, s.ReadTimeout)
		require.NotZero(t, s.WriteTimeout)
		require.NotZero(t, s.IdleTimeout)
		s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout = 100*time.Millisecond, 200*time.Millisecond, time.Second
	})
	for _, send := range []string{
		"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nX-",
		"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
	} {
		began := time.Now()
		talk(t, n.ClientAddr(), []byte(send))
		require.Less(t, time.Since(began), 5*time.Second)
	}
	log.await(t, "connection of a client closed")
	// The limits are too narrow for honest clients on a busy machine: no network.
	w := httptest.NewRecorder()
	n.serveHTTP(w, httptest.NewRequest("GET", "/v1/kv/a", nil))
	require.Equal(t, http.StatusNotFound, w.Code, "half a value is no value")
	w = httptest.NewRecorder()
	n.serveHTTP(w, httptest.NewRequest("PUT", "/v1/kv/big", bytes.NewReader(make([]byte, httpapi.MaxValue))))
	require.Equal(t, http.StatusNoContent, w.Code)
	conn, err := net.Dial("tcp", n.ClientAddr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	for range 20 { // more answers than the buffers between the two hold
		_, err = fmt.Fprintf(conn, "GET /v1/kv/big HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return n.budget.requests.Load() == 1 }, 5*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return n.budget.requests.Load() == 0 }, 5*time.Second, time.Millisecond)
}

func TestLargeHeadersAreRefused(t *testing.T) {
	log := new(logBuffer)
	n := serveAlone(t, log, nil)
	got := talk(t, n.ClientAddr(), []byte("GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 2*maxHeaderBytes)+"\r\n\r\n"))
	require.Contains(t, string(got), "431")
	log.await(t, "connection of a client closed")
	// The longest key that is allowed fits, with every byte encoded.
	c := client.New(n.ClientAddr().String())
	defer c.Close()
	_, err := c.Put(within(t, 5*time.Second), strings.Repeat("\xff", httpapi.MaxKey), nil)
	require.NoError(t, err)
}

// A value that is too large is refused by its declared length, before it is
// sent.
func TestLargeValueIsRefusedEarly(t *testing.T) {
	n := serveAlone(t, io.Discard, nil)
	conn, err := net.Dial("tcp", n.ClientAddr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 1<<40)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
}

// Requests that bring more than the memory allows are refused at once, and
// definitely; what is answered gives its memory back.
func TestMemoryOfRequestsIsBounded(t *testing.T) {
	c := startCluster(t, 2, true, func(c *Config) {
		c.MaxInFlightBytes = maxQuestion + maxAnswer
		c.Timeout = 500 * time.Millisecond
	})
	c.crash(1)
	n := c.nodes[0].node
	n.budget.maxBytes = 3 << 10
	ctx := within(t, 20*time.Second)
	waits := make(chan error, 1)
	go func() {
		_, err := c.nodes[0].client.Put(ctx, "a", make([]byte, 2<<10))
		waits <- err
	}()
	require.Eventually(t, func() bool { return n.budget.bytes.Load() == 2<<10 }, 5*time.Second, time.Millisecond)

	var e *client.Error
	_, err := c.nodes[0].client.Put(ctx, "b", make([]byte, 2<<10))
	require.ErrorAs(t, err, &e)
	require.Equal(t, httpapi.CodeBusy, e.Code)
	require.True(t, client.Definite(err))
	require.ErrorContains(t, err, "2048 bytes")
	_, err = c.nodes[0].client.Local(ctx, "a")
	require.ErrorAs(t, err, &e)
	require.Equal(t, httpapi.CodeBusy, e.Code)
	// One that does not say how much it brings counts as the most.
	w := httptest.NewRecorder()
	r := httptest.NewRequest("PUT", "/v1/kv/b", io.NopCloser(strings.NewReader("x")))
	r.ContentLength = -1
	n.serveHTTP(w, r)
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))

	require.ErrorAs(t, <-waits, &e)
	require.Equal(t, httpapi.CodeUnavailable, e.Code)
	require.Zero(t, n.budget.bytes.Load())
	require.Zero(t, n.budget.requests.Load())
}

// A batch over the limit ends its stream with a line in the log; the node goes
// on.
func TestOversizedBatchIsRefused(t *testing.T) {
	log := new(logBuffer)
	c := startLoggedCluster(t, 2, true, log, nil)
	cfg := c.nodes[1].cfg.withDefaults()
	p, err := newPeer(&cfg, 0, cfg.Peers[0], nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer p.conn.Close()
	s, cancel, err := p.open(within(t, 10*time.Second))
	require.NoError(t, err)
	defer cancel()
	batch := make([]replica.Message, maxBatch/httpapi.MaxValue+1)
	for i := range batch {
		batch[i] = replica.Message{Type: replica.MsgStore, Key: "k", Record: replica.Record{Stamp: replica.Stamp{Boot: 1}, Value: make([]byte, httpapi.MaxValue)}}
	}
	_ = s.SendMsg(&batch) // the answer tells
	var nothing []replica.Message
	require.ErrorContains(t, s.RecvMsg(&nothing), "larger than max")
	log.await(t, "stream from peer closed", "larger than max")
	_, err = c.nodes[0].client.Put(within(t, 10*time.Second), "k", nil)
	require.NoError(t, err)
}

// What waits for a peer that takes nothing is bounded in number and memory.
func TestQueueToADeadPeerIsBounded(t *testing.T) {
	o := newOutbox()
	for i := range 3 * outboxMessages {
		o.stage(replica.Message{Type: replica.MsgQuery, ID: uint64(i)})
		o.flush()
		messages, _ := o.waiting()
		require.LessOrEqual(t, messages, outboxMessages)
	}
	for range 200 {
		o.stage(replica.Message{Type: replica.MsgStore, Record: replica.Record{Value: make([]byte, httpapi.MaxValue)}})
		o.flush()
		_, bytes := o.waiting()
		require.LessOrEqual(t, bytes, outboxBytes)
	}
}

// Whatever a client sends, it gets one answer that says what is known, and the
// node stays up.
func FuzzClientRequest(f *testing.F) {
	n := serveAlone(f, io.Discard, nil)
	for _, raw := range []string{
		"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n",
		"PUT /v1/kv/%2F%00 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
		"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"DELETE /v1/kv/../.. HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /v1/local HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{\"keys\":[\"a\"]}",
		"GET /v1/local/%zz HTTP/1.0\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"HEAD * HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return // net/http answers that itself
		}
		w := httptest.NewRecorder()
		n.clientServer.Handler.ServeHTTP(w, r)
		require.Zero(t, n.budget.requests.Load())
		require.Zero(t, n.budget.bytes.Load())
		if w.Code < 400 || r.URL.EscapedPath() == httpapi.PathMetrics {
			return
		}
		var e httpapi.Error
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e), "%q", w.Body)
		require.NotEmpty(t, e.Text)
		require.Equal(t, statusOf(e.Code), w.Code)
		require.NotEqual(t, http.StatusInternalServerError, w.Code, "%q", w.Body)
	})
}
