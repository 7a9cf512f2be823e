// Package client talks to one node of the reference store over its HTTP
// interface, or over a stream, which carries the same requests at less cost.
//
// Every error says whether the operation may have happened, see [Definite].
// The client sends a write at most once: it neither repeats nor redirects one
// that may have left, since a write that is applied twice, around another
// client's write, is not the one operation the caller asked for.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/assay-chaos/assay/store/httpapi"
)

// Client is a client of one node. It may be used concurrently; connections are
// kept and used again.
type Client struct {
	addr      string
	scheme    string
	transport transport
}

// transport carries requests. It must send one that is no read at most once, and
// call the GotConn hook (net/http/httptrace) before anything of one can leave.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// New makes a client of the node whose client address is addr, host:port. It
// does not connect yet.
func New(addr string) *Client {
	return &Client{addr: addr, scheme: "http", transport: newHTTPTransport()}
}

func newHTTPTransport() *http.Transport {
	dialer := &net.Dialer{KeepAlive: 10 * time.Second}
	// Not http.DefaultTransport's proxy: it could answer for the node.
	return &http.Transport{
		DialContext:         dialer.DialContext,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     time.Minute,
	}
}

// Close lets go of the idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Record is what was read under a key.
type Record struct {
	Found bool
	Value []byte
	// Stamp is the version, as the store prints it. A deleted key has one, a
	// key that was never written has not.
	Stamp string
	// Elsewhere, of Local: the node is no replica of the key.
	Elsewhere bool
}

// Option changes one request.
type Option struct{ param, value string }

// R makes a request wait for the answers of n replicas instead of the configured
// number; a write waits for them where it asks for stamps.
func R(n int) Option { return Option{httpapi.ParamR, strconv.Itoa(n)} }

// W makes a request wait for n durable copies instead of the configured number;
// a read waits for them where it writes back.
func W(n int) Option { return Option{httpapi.ParamW, strconv.Itoa(n)} }

// Get reads a key through the cluster. Its errors are definite: a read changes
// nothing.
func (c *Client) Get(ctx context.Context, key string, opts ...Option) (Record, error) {
	a, err := c.do(ctx, "get", http.MethodGet, httpapi.PathKV, key, nil, opts...)
	var e *Error
	if errors.As(err, &e) && e.Code == httpapi.CodeAbsent {
		return Record{Stamp: e.stamp}, nil
	}
	if err != nil {
		return Record{}, asRead(err)
	}
	return Record{Found: true, Value: a.body, Stamp: a.stamp}, nil
}

// Put writes a key and gives the version written.
func (c *Client) Put(ctx context.Context, key string, value []byte, opts ...Option) (stamp string, err error) {
	a, err := c.do(ctx, "put", http.MethodPut, httpapi.PathKV, key, value, opts...)
	return a.stamp, err
}

// Delete makes a key absent and gives the version of the tombstone.
func (c *Client) Delete(ctx context.Context, key string, opts ...Option) (stamp string, err error) {
	a, err := c.do(ctx, "delete", http.MethodDelete, httpapi.PathKV, key, nil, opts...)
	return a.stamp, err
}

// CAS writes a key if it has the value expect, or is absent when expect is nil,
// and gives the version written. If the key was otherwise the error is one that
// [Mismatch] knows. The cluster must run CASPaxos.
func (c *Client) CAS(ctx context.Context, key string, expect, value []byte) (stamp string, err error) {
	old := Option{httpapi.ParamExpect, httpapi.ExpectAbsent}
	if expect != nil {
		old.value = strconv.Itoa(len(expect))
	}
	a, err := c.do(ctx, "cas", http.MethodPost, httpapi.PathCAS, key, slices.Concat(expect, value), old)
	if err != nil {
		return "", err
	}
	return a.stamp, nil
}

// Local reads what this one node holds for the keys, asking no other. The
// result is parallel to keys.
func (c *Client) Local(ctx context.Context, keys ...string) ([]Record, error) {
	q := httpapi.LocalQuestion{Keys: make([]string, len(keys))}
	for i, k := range keys {
		q.Keys[i] = httpapi.EscapeKey(k)
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, c.failed("local", "", true, err)
	}
	a, err := c.do(ctx, "local", http.MethodPost, httpapi.PathLocal, "", body)
	if err != nil {
		return nil, asRead(err)
	}
	var out httpapi.LocalAnswer
	if err := json.Unmarshal(a.body, &out); err != nil {
		return nil, c.failed("local", "", true, fmt.Errorf("answer: %w", err))
	}
	if len(out.Records) != len(keys) {
		return nil, c.failed("local", "", true, fmt.Errorf("asked for %d keys, answered %d", len(keys), len(out.Records)))
	}
	recs := make([]Record, len(keys))
	for i, r := range out.Records {
		recs[i] = Record{Found: r.Found && !r.Deleted, Value: r.Value, Stamp: r.Stamp, Elsewhere: r.Elsewhere}
	}
	return recs, nil
}

// Health asks the node about itself. A node that answers that it is not ready
// is no error: see Health.Ready.
func (c *Client) Health(ctx context.Context) (httpapi.Health, error) {
	var h httpapi.Health
	a, err := c.do(ctx, "health", http.MethodGet, httpapi.PathHealth, "", nil)
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusServiceUnavailable {
		a.body, err = e.body, nil
	}
	if err != nil {
		return h, asRead(err)
	}
	if err := json.Unmarshal(a.body, &h); err != nil {
		return h, c.failed("health", "", true, fmt.Errorf("answer: %w", err))
	}
	return h, nil
}

// answer is a response with a status of 2xx.
type answer struct {
	stamp string
	body  []byte
}

// maxBody bounds what is read of an answer, in bytes. The longest are those of
// Local.
const maxBody = 64 << 20

// readAnswer reads a body, without growing if its length is told and usual.
func readAnswer(resp *http.Response) ([]byte, error) {
	if n := resp.ContentLength; 0 <= n && n <= httpapi.MaxValue {
		data := make([]byte, n)
		k, err := io.ReadFull(resp.Body, data)
		return data[:k], err
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxBody))
}

// do sends one request and reads the whole answer. Other statuses than 2xx are
// errors.
//
// It uses the transport alone, without http.Client's redirects. The transport
// itself sends a request again in two cases (net/http, shouldRetryRequest): a
// connection that it had kept broke before one byte was written, which is
// harmless, or the request counts as idempotent, by its method (GET, HEAD,
// OPTIONS, TRACE) or an Idempotency-Key header. PUT, DELETE and POST do not, and must
// not get that header.
func (c *Client) do(ctx context.Context, op, method, prefix, key string, body []byte, opts ...Option) (answer, error) {
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// Before it has a connection, nothing of a request can have left.
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	url, mark := c.scheme+"://"+c.addr+prefix+httpapi.EscapeKey(key), "?"
	for _, o := range opts {
		url += mark + o.param + "=" + o.value
		mark = "&"
	}
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, c.failed(op, key, true, err)
	}
	resp, err := c.transport.RoundTrip(r)
	if err != nil {
		return answer{}, c.failed(op, key, !sent.Load(), err)
	}
	defer resp.Body.Close()
	stamp := resp.Header.Get(httpapi.HeaderStamp)
	data, err := readAnswer(resp)
	if resp.StatusCode/100 == 2 {
		if err != nil {
			return answer{}, c.failed(op, key, false, fmt.Errorf("answer broke off: %w", err))
		}
		return answer{stamp, data}, nil
	}
	e := &Error{Op: op, Key: key, Addr: c.addr, Status: resp.StatusCode, stamp: stamp, body: data}
	var told httpapi.Error
	if json.Unmarshal(data, &told) == nil && told.Code != "" {
		e.Code, e.Definite, e.err = told.Code, told.Definite, errors.New(told.Text)
		e.seen = told.Seen
	} else {
		e.err = fmt.Errorf("unexpected answer: %s", resp.Status)
	}
	return answer{}, e
}
