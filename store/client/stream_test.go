package client

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/httpapi"
)

// frameServer takes streams and answers the i-th request of all with what
// answer gives; nil ends the stream, and a status of 0 is no answer at all. It
// counts streams and requests.
func frameServer(t *testing.T, answer func(i int64) *httpapi.Frame) (addr string, streams, requests *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	streams, requests = new(atomic.Int64), new(atomic.Int64)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				streams.Add(1)
				fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
				for {
					f, err := httpapi.ReadFrame(r, httpapi.MaxFrame)
					if err != nil {
						return
					}
					a := answer(requests.Add(1))
					if a == nil {
						return
					}
					if a.Status == 0 {
						continue
					}
					a.ID = f.ID
					data, _ := a.Append(nil)
					if _, err := conn.Write(data); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), streams, requests
}

func done() *httpapi.Frame { return &httpapi.Frame{Status: http.StatusNoContent} }

// As TestWriteIsSentOnce; a stream does not even send a read again.
func TestStreamSendsOnce(t *testing.T) {
	addr, streams, requests := frameServer(t, func(i int64) *httpapi.Frame {
		if i == 2 {
			return nil
		}
		return done()
	})
	c := NewStream(addr)
	defer c.Close()
	put := func() error { _, err := c.Put(context.Background(), "k", []byte("v")); return err }
	require.NoError(t, put())
	err := put()
	require.Error(t, err)
	require.False(t, Definite(err), "%v", err)
	require.EqualValues(t, 2, requests.Load(), "the write was sent again")
	require.NoError(t, put(), "the next operation gets a new connection")
	require.EqualValues(t, 2, streams.Load())
}

// A connection on which nothing comes back is not used again, but those who
// wait on it get their answers if they come.
func TestStreamThatIsMute(t *testing.T) {
	answered := make(chan struct{})
	addr, streams, _ := frameServer(t, func(i int64) *httpapi.Frame {
		switch i {
		case 1:
			return &httpapi.Frame{}
		case 2:
			<-answered
		}
		return done()
	})
	c := NewStream(addr)
	defer c.Close()
	slow := make(chan error, 1)
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	first := make(chan error, 1)
	go func() { _, err := c.Put(short, "lost", nil); first <- err }()
	require.Eventually(t, func() bool { return streams.Load() == 1 }, 5*time.Second, time.Millisecond)
	go func() { _, err := c.Put(context.Background(), "slow", nil); slow <- err }()
	err := <-first
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, Definite(err))
	_, err = c.Put(context.Background(), "new", nil)
	require.NoError(t, err)
	require.EqualValues(t, 2, streams.Load())
	close(answered)
	require.NoError(t, <-slow)
}

func TestNoStream(t *testing.T) {
	addr, _ := rawServer(t, func(int64) string { return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" })
	c := NewStream(addr)
	defer c.Close()
	_, err := c.Put(context.Background(), "k", nil)
	require.ErrorContains(t, err, "use HTTP")
	require.True(t, Definite(err), "nothing of the write has left")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = NewStream(l.Addr().String()).Put(context.Background(), "k", nil)
	require.ErrorContains(t, err, "refused")
	require.True(t, Definite(err))

	// One that takes the connection and says nothing.
	l, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = NewStream(l.Addr().String()).Put(ctx, "k", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, Definite(err))
}
