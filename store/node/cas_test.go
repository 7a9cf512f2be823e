package node

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

func agreeing(c *Config) { c.Protocol = replica.CASPaxos }

func TestCompareAndSet(t *testing.T) {
	c := startCluster(t, 3, false, agreeing)
	ctx := within(t, 10*time.Second)
	a, b := c.nodes[0].client, c.nodes[1].client
	for _, v := range []string{"text", "", "not \xff UTF-8"} {
		k := "key of " + v
		first, err := a.CAS(ctx, k, nil, []byte(v))
		require.NoError(t, err)
		got, err := b.Get(ctx, k)
		require.NoError(t, err)
		require.Equal(t, client.Record{Found: true, Value: []byte(v), Stamp: first}, got)

		_, err = b.CAS(ctx, k, nil, []byte("x"))
		seen, ok := client.Mismatch(err)
		require.True(t, ok, "%v", err)
		require.True(t, client.Definite(err))
		require.Equal(t, first, seen.Stamp)
		require.True(t, seen.Found)
		require.Equal(t, v, string(seen.Value))

		second, err := b.CAS(ctx, k, []byte(v), []byte("next"))
		require.NoError(t, err)
		require.NotEqual(t, first, second)
	}
	_, err := a.Delete(ctx, "key of text")
	require.NoError(t, err)
	_, err = a.CAS(ctx, "key of text", []byte("next"), []byte("x"))
	seen, ok := client.Mismatch(err)
	require.True(t, ok)
	require.False(t, seen.Found)
	h, err := a.Health(ctx)
	require.NoError(t, err)
	require.Equal(t, "caspaxos", h.Protocol)
}

// Values that are not text, the empty one, and long ones go as bytes, whatever
// carries them.
func TestCompareAndSetOfBytes(t *testing.T) {
	c := startCluster(t, 1, false, agreeing)
	ctx := within(t, 10*time.Second)
	stream := client.NewStream(c.nodes[0].cfg.ListenClient)
	defer stream.Close()
	long := []byte(strings.Repeat("\x00", httpapi.MaxValue))
	for name, with := range map[string]*client.Client{"http": c.nodes[0].client, "stream": stream} {
		key, have := "of "+name, []byte(nil)
		for _, next := range [][]byte{{}, []byte("\xff\x00"), long, []byte("text"), {}} {
			_, err := with.CAS(ctx, key, have, next)
			require.NoError(t, err)
			got, err := with.Get(ctx, key)
			require.NoError(t, err)
			require.True(t, got.Found)
			require.Equal(t, string(next), string(got.Value))
			have = next
		}
		_, err := with.CAS(ctx, key, have, append(long, 0))
		require.ErrorContains(t, err, "too-large")
	}
}

func FuzzParseCAS(f *testing.F) {
	for _, query := range []string{"", "expect=absent", "expect=1", "expect=3", "expect=-1", "r=1", "expect=1&expect=1"} {
		f.Add(query, []byte("ab"))
	}
	f.Add("", []byte(`{"expect": "a", "value": "b"}`))
	f.Fuzz(func(t *testing.T, query string, body []byte) {
		q, err := parseCAS(query, body)
		if err != nil {
			return
		}
		require.Equal(t, replica.CAS, q.Op)
		if query != "" {
			require.Equal(t, string(body), string(q.Expect)+string(q.Value), "each byte is of one of them")
			require.True(t, len(q.Expect) == 0 || !q.ExpectAbsent)
		}
	})
}

// What one types: text in JSON, and an answer that says what was there.
func TestCompareAndSetByHand(t *testing.T) {
	c := startCluster(t, 1, false, agreeing)
	query := ""
	post := func(method, body string) (int, string) {
		r, err := http.NewRequestWithContext(within(t, 10*time.Second), method, "http://"+c.nodes[0].cfg.ListenClient+"/v1/cas/lock"+query, strings.NewReader(body))
		require.NoError(t, err)
		a, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		require.NoError(t, err)
		return a.StatusCode, strings.TrimSpace(string(text))
	}
	for _, x := range []struct {
		method, body string
		status       int
		says         string
	}{
		{"POST", `{"expect": "a", "value": "b"}`, 409, `"seen":{"absent":true}`},
		{"POST", `{"absent": true, "value": "a"}`, 204, ""},
		{"POST", `{"absent": true, "value": "b"}`, 409, `{"error":"the key is not as expected","code":"mismatch","definite":true,"seen":{"value":"a"}}`},
		{"POST", `{"expect64": "YQ==", "value64": "/w=="}`, 204, ""},
		{"POST", `{"expect": "a", "value": "b"}`, 409, `"seen":{"value64":"/w=="}`},
		{"POST", `{"value": "b"}`, 400, "names 0 expectations"},
		{"POST", `{"absent": true, "expect": "b", "value": "b"}`, 400, "names 2 expectations"},
		{"POST", `{"absent": true}`, 400, "must name the new value once"},
		{"POST", `{"expected": "a", "value": "b"}`, 400, "unknown field"},
		{"POST", `b`, 400, "the body is not"},
		{"PUT", `b`, 405, "POST"},
	} {
		status, text := post(x.method, x.body)
		require.Equal(t, x.status, status, "%s: %s", x.body, text)
		require.Contains(t, text, x.says)
	}
	for _, x := range []struct {
		query, body string
		status      int
		says        string
	}{
		{"?expect=1", "\xfe\xff", 409, `"value64":"/w=="`},
		{"?expect=1", "\xffc", 204, ""},
		{"?expect=absent", "d", 409, `"seen":{"value":"c"}`},
		{"?expect=2", "d", 400, "1 bytes"},
		{"?expect=-1", "d", 400, "give expect=n"},
		{"?expected=1", "cd", 400, "give expect=n"},
		{"?r=1", "cd", 400, "give expect=n"},
	} {
		query = x.query
		status, text := post("POST", x.body)
		require.Equal(t, x.status, status, "%s %s: %s", x.query, x.body, text)
		require.Contains(t, text, x.says)
	}
}

func TestCompareAndSetNeedsCASPaxos(t *testing.T) {
	c := startCluster(t, 1, false, nil)
	_, err := c.nodes[0].client.CAS(within(t, 10*time.Second), "k", nil, []byte("v"))
	require.ErrorContains(t, err, "use a keyspace with CASPaxos")
	require.True(t, client.Definite(err))
}

// Clients of all nodes count up one key. Each addition is made once, whatever
// is in the way of whom; and what was agreed survives the loss of power.
func TestCounter(t *testing.T) {
	c := startCluster(t, 3, true, agreeing)
	const each = 20
	var wg sync.WaitGroup
	errs := make(chan error, 3)
	open := make(chan string, 3*each*10) // additions of unknown outcome
	for _, m := range c.nodes {
		wg.Go(func() {
			var have []byte
			for n := 0; n < each; {
				next := fmt.Sprintf("%d", 1+number(have))
				_, err := m.client.CAS(within(t, 20*time.Second), "counter", have, []byte(next))
				if seen, ok := client.Mismatch(err); ok {
					have = seen.Value
					continue
				}
				if err != nil && client.Definite(err) {
					errs <- err
					return
				}
				if n++; err != nil {
					open <- next
				}
				have = []byte(next)
			}
		})
	}
	wg.Wait()
	require.Empty(t, errs)
	for i := range c.nodes {
		c.crash(i)
	}
	for i := range c.nodes {
		c.start(i)
	}
	got, err := c.nodes[1].client.Get(within(t, 20*time.Second), "counter")
	require.NoError(t, err)
	require.LessOrEqual(t, number(got.Value), 3*each)
	require.GreaterOrEqual(t, number(got.Value), 3*each-len(open))
}

func number(text []byte) (n int) {
	_, _ = fmt.Sscan(string(text), &n) // 0 for a key that is absent
	return n
}

// Nodes of different protocols refuse each other.
func TestProtocolIsASetting(t *testing.T) {
	a, b := DefaultConfig().withDefaults(), DefaultConfig().withDefaults()
	b.Protocol = replica.CASPaxos
	require.NotEqual(t, a.settings(), b.settings())
	require.Equal(t, httpapi.CodeMismatch, mismatch(replica.Reply{Err: &replica.Error{}}).Code)
}
