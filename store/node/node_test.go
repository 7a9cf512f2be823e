package node

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

func TestEveryNodeServesEveryKey(t *testing.T) {
	c := startCluster(t, 3, false, nil)
	for i, m := range c.nodes {
		stamp, err := m.client.Put(within(t, 5*time.Second), key(i), []byte{byte(i)})
		require.NoError(t, err)
		require.NotEmpty(t, stamp)
		for _, reader := range c.nodes {
			got, err := reader.client.Get(within(t, 5*time.Second), key(i))
			require.NoError(t, err)
			require.Equal(t, client.Record{Found: true, Value: []byte{byte(i)}, Stamp: stamp}, got)
		}
	}
	gone, err := c.nodes[0].client.Delete(within(t, 5*time.Second), key(1))
	require.NoError(t, err)
	got, err := c.nodes[2].client.Get(within(t, 5*time.Second), key(1))
	require.NoError(t, err)
	require.Equal(t, client.Record{Stamp: gone}, got, "a deleted key has a version")
	got, err = c.nodes[2].client.Get(within(t, 5*time.Second), "never written")
	require.NoError(t, err)
	require.Equal(t, client.Record{}, got)
}

// The majority serves while a node is down. The node comes back with what it
// had made durable, and a read with write-back brings it up to date.
func TestCrashAndCatchUp(t *testing.T) {
	c := startCluster(t, 3, true, func(c *Config) { c.AntiEntropy = 0 })
	ctx := within(t, 20*time.Second)
	_, err := c.nodes[2].client.Put(ctx, "a", []byte("1"))
	require.NoError(t, err)
	before, err := c.nodes[2].client.Health(ctx)
	require.NoError(t, err)

	c.crash(2)
	fresh := client.New(c.nodes[2].cfg.ListenClient) // has no connection from before
	_, err = fresh.Put(ctx, "a", []byte("nobody is there"))
	require.ErrorContains(t, err, "refused")
	require.True(t, client.Definite(err), "%v", err)
	stamp, err := c.nodes[0].client.Put(ctx, "a", []byte("2"))
	require.NoError(t, err)
	_, err = c.nodes[1].client.Put(ctx, "b", []byte("3"))
	require.NoError(t, err)

	// Till their timeout the coordinators send a write again to a node that has
	// not answered. They shall have given up, so that the read does the work.
	time.Sleep(c.nodes[0].cfg.Timeout)
	c.start(2)
	after, err := c.nodes[2].client.Health(ctx)
	require.NoError(t, err)
	require.Greater(t, after.Boot, before.Boot)
	local, err := c.nodes[2].client.Local(ctx, "a", "b")
	require.NoError(t, err)
	require.NotEqual(t, stamp, local[0].Stamp, "it has not heard of the second write yet")
	require.False(t, local[1].Found)

	got, err := c.nodes[2].client.Get(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, client.Record{Found: true, Value: []byte("2"), Stamp: stamp}, got)
	local, err = c.nodes[2].client.Local(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, got, local[0], "write-back stores at the coordinator too")
}

// With anti-entropy nobody has to read: a node that was down gets what it lacks
// within a few intervals, and so does one that has lost everything. (To go on
// with an empty disk takes more: this node writes nothing, so that it does not
// matter that its boot number was lost too.)
func TestMissedWritesArriveByThemselves(t *testing.T) {
	c := startCluster(t, 3, true, func(c *Config) { c.AntiEntropy = 100 * time.Millisecond })
	ctx := within(t, 20*time.Second)
	var keys []string
	for i := range 100 {
		keys = append(keys, key(i))
		_, err := c.nodes[i%3].client.Put(ctx, keys[i], []byte("old"))
		require.NoError(t, err)
	}
	c.crash(2)
	for _, k := range keys[:50] {
		_, err := c.nodes[0].client.Put(ctx, k, []byte("new"))
		require.NoError(t, err)
	}
	_, err := c.nodes[1].client.Delete(ctx, keys[60])
	require.NoError(t, err)
	want := func(i int) client.Record {
		switch {
		case i < 50:
			return client.Record{Found: true, Value: []byte("new")}
		case i == 60:
			return client.Record{}
		}
		return client.Record{Found: true, Value: []byte("old")}
	}

	for _, emptied := range []bool{false, true} {
		if emptied {
			c.crash(2)
			c.nodes[2].fs = vfs.NewCrashableMem()
		}
		c.start(2)
		fresh := client.New(c.nodes[2].cfg.ListenClient) // has no connection from before
		start := time.Now()
		for {
			got, err := fresh.Local(ctx, keys...)
			require.NoError(t, err)
			lacks := slices.IndexFunc(keys, func(k string) bool {
				i := slices.Index(keys, k)
				return got[i].Stamp == "" || got[i].Found != want(i).Found || string(got[i].Value) != string(want(i).Value)
			})
			if lacks < 0 {
				break
			}
			require.Less(t, time.Since(start), 5*time.Second, "it still lacks %s: %+v", keys[lacks], got[lacks])
			time.Sleep(5 * time.Millisecond)
		}
		fresh.Close()
		t.Logf("emptied=%v: whole again after %v", emptied, time.Since(start).Round(time.Millisecond))
	}
}

// Without a majority nothing is served, and a write says honestly that it may
// yet happen.
func TestMinorityRefuses(t *testing.T) {
	c := startCluster(t, 3, true, func(c *Config) {
		c.Timeout = 200 * time.Millisecond
		c.Stamps = replica.WallClock // one round, so that a write gets as far as storing
	})
	ctx := within(t, 20*time.Second)
	_, err := c.nodes[0].client.Put(ctx, "a", []byte("1"))
	require.NoError(t, err)
	c.crash(1)
	c.crash(2)
	_, err = c.nodes[0].client.Put(ctx, "a", []byte("2"))
	var e *client.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, httpapi.CodeUnavailable, e.Code)
	require.False(t, client.Definite(err))
	_, err = c.nodes[0].client.Get(ctx, "a")
	require.ErrorAs(t, err, &e)
	require.Equal(t, httpapi.CodeUnavailable, e.Code)
	require.True(t, client.Definite(err))
	text := scrape(t, c.nodes[0].cfg.ListenClient)
	require.EqualValues(t, 1, figure(t, text, `assay_request_duration_seconds_count{op="PUT",outcome="unknown-unavailable"}`))
	require.EqualValues(t, 1, figure(t, text, `assay_request_duration_seconds_count{op="GET",outcome="refused-unavailable"}`))
}

func TestManyClients(t *testing.T) {
	c := startCluster(t, 3, false, nil)
	const clients, each = 16, 20
	var wg sync.WaitGroup
	for p := range clients {
		wg.Go(func() {
			m := c.nodes[p%3]
			for i := range each {
				value := fmt.Sprintf("%d/%d", p, i)
				_, err := m.client.Put(within(t, 10*time.Second), key(p), []byte(value))
				if err == nil {
					var got client.Record
					got, err = c.nodes[(p+1)%3].client.Get(within(t, 10*time.Second), key(p))
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

// Keys and values of any bytes go through unharmed.
func TestHostileKeysAndValues(t *testing.T) {
	c := startCluster(t, 2, true, nil)
	ctx := within(t, 20*time.Second)
	cl := c.nodes[0].client
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	keys := []string{"a/b", "/", "//", ".", "..", "../..", "a b", "a%2Fb", "%", "?x=1#y", "é", string(all), strings.Repeat("k", httpapi.MaxKey)}
	for i, k := range keys {
		_, err := cl.Put(ctx, k, append([]byte{byte(i)}, all...))
		require.NoError(t, err, "key %q", k)
	}
	local, err := cl.Local(ctx, keys...)
	require.NoError(t, err)
	for i, k := range keys {
		got, err := c.nodes[1].client.Get(ctx, k)
		require.NoError(t, err, "key %q", k)
		require.Equal(t, append([]byte{byte(i)}, all...), got.Value, "key %q", k)
		require.Equal(t, got, local[i], "key %q", k)
	}
	_, err = cl.Put(ctx, "empty", nil)
	require.NoError(t, err)
	got, err := cl.Get(ctx, "empty")
	require.NoError(t, err)
	require.True(t, got.Found)
	require.Empty(t, got.Value)

	_, err = cl.Put(ctx, "big", make([]byte, httpapi.MaxValue))
	require.NoError(t, err)
	var e *client.Error
	many := make([]string, maxAnswer/httpapi.MaxValue+1)
	for i := range many {
		many[i] = "big"
	}
	_, err = cl.Local(ctx, many[1:]...)
	require.NoError(t, err, "what a node answers, a client takes")
	_, err = cl.Local(ctx, many...)
	require.ErrorAs(t, err, &e)
	require.Equal(t, httpapi.CodeTooLarge, e.Code)

	for _, test := range []struct {
		key   string
		size  int
		code  httpapi.Code
		words string
	}{
		{"", 1, httpapi.CodeInvalid, "empty"},
		{strings.Repeat("k", httpapi.MaxKey+1), 1, httpapi.CodeKeyTooLong, "4097 bytes"},
		{"big", httpapi.MaxValue + 1, httpapi.CodeTooLarge, "1048576 are allowed"},
	} {
		_, err := cl.Put(ctx, test.key, make([]byte, test.size))
		require.ErrorAs(t, err, &e)
		require.Equal(t, test.code, e.Code)
		require.ErrorContains(t, err, test.words)
		require.True(t, client.Definite(err))
	}
}

// What a person with curl sees.
func TestPlainHTTP(t *testing.T) {
	c := startCluster(t, 1, true, nil)
	base := "http://" + c.nodes[0].cfg.ListenClient
	do := func(method, path, body string) (int, http.Header, string) {
		r, err := http.NewRequest(method, base+path, strings.NewReader(body))
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, resp.Header, string(text)
	}
	status, _, body := do("GET", "/v1/kv/a", "")
	require.Equal(t, 404, status)
	require.JSONEq(t, `{"error":"the key is absent","code":"absent","definite":true}`, body)
	status, h, body := do("PUT", "/v1/kv/a", "hello")
	require.Equal(t, 204, status)
	require.Empty(t, body)
	stamp := h.Get("X-Assay-Stamp")
	require.Regexp(t, `^1\.0\.1\.\d+$`, stamp)
	for _, path := range []string{"/v1/kv/a", "/v1/local/a"} {
		status, h, body = do("GET", path, "")
		require.Equal(t, 200, status)
		require.Equal(t, "hello", body)
		require.Equal(t, stamp, h.Get("X-Assay-Stamp"))
	}
	status, _, body = do("POST", "/v1/local", `{"keys":["a","b"]}`)
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"records":[{"key":"a","found":true,"deleted":false,"value":"aGVsbG8=","stamp":"`+stamp+`"},{"key":"b","found":false,"deleted":false}]}`, body)
	status, _, _ = do("DELETE", "/v1/kv/a", "")
	require.Equal(t, 204, status)
	status, h, _ = do("GET", "/v1/local/a", "")
	require.Equal(t, 404, status)
	require.NotEmpty(t, h.Get("X-Assay-Stamp"), "the tombstone's")
	status, _, body = do("GET", "/healthz", "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"ready":true`)
	require.Contains(t, body, `"boot":1`)

	for _, test := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/v1/kv/a", "", 405, "method"},
		{"PUT", "/v1/local/a", "", 405, "method"},
		{"GET", "/v1/local", "", 405, "method"},
		{"POST", "/v1/local", "rubbish", 400, "invalid"},
		{"POST", "/v1/local", `{"keys":["%zz"]}`, 400, "invalid"},
		{"GET", "/", "", 404, "no-route"},
		{"GET", "/v1/kv/", "", 400, "invalid"},
	} {
		status, _, body := do(test.method, test.path, test.body)
		require.Equal(t, test.status, status, "%s %s", test.method, test.path)
		require.Contains(t, body, `"code":"`+test.code+`","definite":true`, "%s %s", test.method, test.path)
	}
}

// The node's in-flight limit refuses at once and definitely, and frees what is
// answered.
func TestBusy(t *testing.T) {
	c := startCluster(t, 2, true, func(c *Config) {
		c.MaxInFlight = 1
		c.Timeout = 500 * time.Millisecond
	})
	c.crash(1)
	ctx := within(t, 20*time.Second)
	waits := make(chan error, 1)
	go func() {
		_, err := c.nodes[0].client.Get(ctx, "a")
		waits <- err
	}()
	require.Eventually(t, func() bool { return c.nodes[0].node.budget.requests.Load() == 1 }, 5*time.Second, time.Millisecond)
	_, err := c.nodes[0].client.Put(ctx, "a", nil)
	var e *client.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, http.StatusTooManyRequests, e.Status)
	require.Equal(t, httpapi.CodeBusy, e.Code)
	require.True(t, client.Definite(err))

	require.ErrorAs(t, <-waits, &e)
	require.Equal(t, httpapi.CodeUnavailable, e.Code)
	require.Zero(t, c.nodes[0].node.budget.requests.Load())
}

// Bytes that are no gRPC, or no batch, close their connection and nothing else.
func TestMalformedPeerBytes(t *testing.T) {
	c := startCluster(t, 1, true, nil)
	conn, err := net.Dial("tcp", c.nodes[0].cfg.ListenPeer)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(bytes.Repeat([]byte("rubbish "), 100))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = io.Copy(io.Discard, conn)
	require.False(t, os.IsTimeout(err), "the connection stays open")
	_, err = c.nodes[0].client.Put(within(t, 5*time.Second), "a", nil)
	require.NoError(t, err)
}

func TestStartIsQuick(t *testing.T) {
	began := time.Now()
	c := startCluster(t, 1, false, nil)
	h, err := c.nodes[0].client.Health(within(t, 5*time.Second))
	require.NoError(t, err)
	require.True(t, h.Ready)
	t.Logf("ready after %v", time.Since(began))
	require.Less(t, time.Since(began), time.Second)
	off := time.Since(time.Unix(0, h.WallNS))
	require.True(t, off >= 0 && off < time.Minute, "wall clock is off by %v", off)
}

func TestCleanShutdownKeepsEverything(t *testing.T) {
	c := startCluster(t, 1, false, func(c *Config) { c.Fsync = false })
	ctx := within(t, 20*time.Second)
	_, err := c.nodes[0].client.Put(ctx, "a", []byte("1"))
	require.NoError(t, err)
	require.NoError(t, c.stop(0))
	c.start(0)
	got, err := c.nodes[0].client.Get(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, "1", string(got.Value))
}
