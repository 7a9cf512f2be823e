package node

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/httpapi"
)

// streamTo opens a client of a member that ends with the test.
func streamTo(t testing.TB, m *member) *client.Client {
	c := client.NewStream(m.cfg.ListenClient)
	t.Cleanup(c.Close)
	return c
}

// A stream and HTTP are two ways to the same.
func TestStreamAnswersAsHTTPDoes(t *testing.T) {
	c := startCluster(t, 2, true, nil)
	ctx := within(t, 20*time.Second)
	stream, plain := streamTo(t, c.nodes[0]), c.nodes[1].client
	for i, k := range []string{"k", "a/b", "..", "%2e", "a?b#c d", "\x00\xff\r\n", "ключ"} {
		value := []byte{byte(i), 0, 255}
		stamp, err := stream.Put(ctx, k, value)
		require.NoError(t, err, "%q", k)
		for _, reader := range []*client.Client{stream, plain} {
			got, err := reader.Get(ctx, k)
			require.NoError(t, err, "%q", k)
			require.Equal(t, client.Record{Found: true, Value: value, Stamp: stamp}, got, "%q", k)
		}
		gone, err := stream.Delete(ctx, k)
		require.NoError(t, err)
		got, err := stream.Get(ctx, k)
		require.NoError(t, err)
		require.Equal(t, client.Record{Stamp: gone}, got)
	}
	stamp, err := stream.Put(ctx, "empty", nil)
	require.NoError(t, err)
	local, err := stream.Local(ctx, "empty", "never")
	require.NoError(t, err)
	require.Len(t, local, 2)
	require.Equal(t, stamp, local[0].Stamp)
	require.True(t, local[0].Found)
	require.False(t, local[1].Found)
	h, err := stream.Health(ctx)
	require.NoError(t, err)
	require.True(t, h.Ready)

	large := make([]byte, httpapi.MaxValue+1)
	for _, w := range []*client.Client{stream, c.nodes[0].client} {
		_, err := w.Put(ctx, "large", large)
		var e *client.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, httpapi.CodeTooLarge, e.Code)
		require.True(t, e.Definite)
		_, err = w.Put(ctx, "large", large[1:])
		require.NoError(t, err)
		_, err = w.Get(ctx, "")
		require.ErrorContains(t, err, "the key is empty")
	}
}

func TestManyClientsOnOneStream(t *testing.T) {
	c := startCluster(t, 3, false, nil)
	const clients, each = 64, 10
	streams := make([]*client.Client, 3)
	for i := range streams {
		streams[i] = streamTo(t, c.nodes[i])
	}
	var wg sync.WaitGroup
	for p := range clients {
		wg.Go(func() {
			for i := range each {
				value := fmt.Sprintf("%d/%d", p, i)
				_, err := streams[p%3].Put(within(t, 10*time.Second), key(p), []byte(value))
				if err == nil {
					var got client.Record
					got, err = streams[(p+1)%3].Get(within(t, 10*time.Second), key(p))
					if err == nil && string(got.Value) != value {
						err = fmt.Errorf("read %q after writing %q", got.Value, value)
					}
				}
				if err != nil {
					t.Errorf("client %d: %v", p, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// More than a node works on is refused at once, on one stream too.
func TestStreamRefusesTooManyAtOnce(t *testing.T) {
	c := startCluster(t, 3, true, func(c *Config) {
		c.MaxInFlight = 2
		c.Timeout = 500 * time.Millisecond
	})
	c.crash(1)
	c.crash(2)
	stream := streamTo(t, c.nodes[0])
	errs := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := stream.Get(within(t, 10*time.Second), "k")
			errs <- err
		}()
	}
	codes := map[httpapi.Code]int{}
	for range 3 {
		var e *client.Error
		require.ErrorAs(t, <-errs, &e)
		codes[e.Code]++
	}
	require.Equal(t, map[httpapi.Code]int{httpapi.CodeBusy: 1, httpapi.CodeUnavailable: 2}, codes)
}

// A node that stops answers what is in progress on a stream, and a client that
// keeps one open does not keep the node up. The client finds the node again.
func TestStreamAndRestart(t *testing.T) {
	c := startCluster(t, 3, false, nil)
	stream := streamTo(t, c.nodes[0])
	_, err := stream.Put(within(t, 5*time.Second), "k", []byte("1"))
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, c.stop(0))
	require.Less(t, time.Since(began), streamSilence/2)
	_, err = stream.Get(within(t, 5*time.Second), "k")
	require.Error(t, err)
	c.start(0)
	got, err := stream.Get(within(t, 5*time.Second), "k")
	require.NoError(t, err)
	require.Equal(t, "1", string(got.Value))
}

// Whatever comes on a stream ends at most that stream.
func TestHostileStream(t *testing.T) {
	c := startCluster(t, 1, true, nil)
	addr := c.nodes[0].cfg.ListenClient
	valid, err := (&httpapi.Frame{ID: 1, Method: "GET", Path: "/v1/kv/%zz"}).Append(nil)
	require.NoError(t, err)
	for name, data := range map[string]string{
		"a request of HTTP":    "GET / HTTP/1.1\r\n\r\n",
		"a frame of 4 GiB":     "\xff\xff\xff\xff",
		"a frame of no bytes":  "\x00\x00\x00\x00",
		"half a frame, an end": string(valid[:7]),
		"a path that is none":  string(valid),
	} {
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		fmt.Fprintf(conn, "GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: assay-stream/1\r\n\r\n%s", data)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err, name)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		if data == string(valid) {
			f, err := httpapi.ReadFrame(r, httpapi.MaxFrame)
			require.NoError(t, err)
			require.Equal(t, http.StatusBadRequest, f.Status)
		}
		_, err = io.ReadAll(r)
		require.NoError(t, err, "%s: the node closes the connection", name)
	}
	resp, err := http.Get("http://" + addr + httpapi.PathStream)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusBadRequest, resp.StatusCode, "without the upgrade")
	_, err = c.nodes[0].client.Put(within(t, 5*time.Second), "k", nil)
	require.NoError(t, err, "the node goes on")
}
