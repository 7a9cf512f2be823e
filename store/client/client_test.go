package client

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/httpapi"
)

// rawServer answers the i-th request of all its connections with what answer
// gives; an empty answer closes the connection. It counts requests.
func rawServer(t *testing.T, answer func(i int64) string) (addr string, requests *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	requests = new(atomic.Int64)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					if _, err := r.Discard(int(req.ContentLength)); err != nil {
						return
					}
					a := answer(requests.Add(1))
					if a == "" {
						return
					}
					fmt.Fprint(conn, a)
				}
			}()
		}
	}()
	return l.Addr().String(), requests
}

const noContent = "HTTP/1.1 204 No Content\r\nX-Assay-Stamp: 1.0.1.1\r\n\r\n"

// A write on a kept connection that ends without an answer may have been
// carried out. It must neither be sent again nor be called definite. The read
// shows that the transport does send again where it may, so that this test can
// fail.
func TestWriteIsSentOnce(t *testing.T) {
	ops := map[string]func(*Client) error{
		"put":       func(c *Client) error { _, err := c.Put(context.Background(), "k", []byte("v")); return err },
		"put empty": func(c *Client) error { _, err := c.Put(context.Background(), "k", nil); return err },
		"cas":       func(c *Client) error { _, err := c.CAS(context.Background(), "k", nil, []byte("v")); return err },
		"delete":    func(c *Client) error { _, err := c.Delete(context.Background(), "k"); return err },
	}
	for name, op := range ops {
		t.Run(name, func(t *testing.T) {
			addr, requests := rawServer(t, func(i int64) string {
				if i == 2 {
					return ""
				}
				return noContent
			})
			c := New(addr)
			defer c.Close()
			require.NoError(t, op(c))
			err := op(c)
			require.Error(t, err)
			require.False(t, Definite(err), "%v", err)
			require.EqualValues(t, 2, requests.Load(), "the write was sent again")
			require.NoError(t, op(c), "the next operation gets a new connection")
		})
	}
	t.Run("get", func(t *testing.T) {
		addr, requests := rawServer(t, func(i int64) string {
			if i == 2 {
				return ""
			}
			return "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nv"
		})
		c := New(addr)
		defer c.Close()
		for range 2 {
			got, err := c.Get(context.Background(), "k")
			require.NoError(t, err)
			require.Equal(t, "v", string(got.Value))
		}
		require.EqualValues(t, 3, requests.Load())
	})
}

func TestRedirectIsNotFollowed(t *testing.T) {
	addr, requests := rawServer(t, func(int64) string {
		return "HTTP/1.1 307 Temporary Redirect\r\nLocation: /v1/kv/other\r\nContent-Length: 0\r\n\r\n"
	})
	c := New(addr)
	defer c.Close()
	_, err := c.Put(context.Background(), "k", []byte("v"))
	require.ErrorContains(t, err, "307")
	require.False(t, Definite(err))
	require.EqualValues(t, 1, requests.Load())
}

// What is known after each way in which an operation can fail.
func TestDefinite(t *testing.T) {
	body := func(status int, text string) string {
		return fmt.Sprintf("HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s", status, len(text), text)
	}
	for _, test := range []struct {
		name, answer string
		definite     bool
	}{
		{"said so", body(503, `{"error":"no quorum","code":"unavailable","definite":true}`), true},
		{"said not", body(503, `{"error":"no quorum","code":"unavailable","definite":false}`), false},
		{"did not say", body(503, `{"error":"no quorum","code":"unavailable"}`), false},
		{"somebody else's answer", body(400, `<html>proxy</html>`), false},
		{"no HTTP", "rubbish\r\n\r\n", false},
		{"broke off", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nv", false},
		{"closed", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, _ := rawServer(t, func(int64) string { return test.answer })
			c := New(addr)
			defer c.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			_, err := c.Put(ctx, "k", []byte("v"))
			require.Error(t, err)
			require.Equal(t, test.definite, Definite(err), "%v", err)
			require.ErrorContains(t, err, `put "k" at `+addr)
			_, err = c.Get(ctx, "k")
			require.Error(t, err)
			require.True(t, Definite(err), "a read changes nothing: %v", err)
		})
	}
	require.False(t, Definite(nil))
	require.False(t, Definite(context.DeadlineExceeded))
}

func TestRefusedConnectionIsDefinite(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	c := New(addr)
	defer c.Close()
	_, err = c.Put(context.Background(), "k", []byte("v"))
	require.ErrorContains(t, err, "refused")
	require.True(t, Definite(err))
}

func TestTimeoutIsIndefinite(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	c := New(strings.TrimPrefix(s.URL, "http://"))
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Put(ctx, "k", []byte("v"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, Definite(err))

	// A context that is over before there is a connection: nothing has left.
	_, err = New(c.addr).Put(ctx, "k", []byte("v"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, Definite(err))
}

func TestHealthOfNodeThatIsNotReady(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"node":2,"ready":false,"error":"disk"}`)
	}))
	defer s.Close()
	c := New(strings.TrimPrefix(s.URL, "http://"))
	defer c.Close()
	h, err := c.Health(context.Background())
	require.NoError(t, err)
	require.Equal(t, httpapi.Health{Node: 2, Error: "disk"}, h)
}
