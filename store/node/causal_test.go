package node

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

func causal(c *Config) { c.Stamps, c.WriteBack = replica.Causal, false }

// Siblings come from puts that have not seen each other, and go with a put that
// has seen them; over HTTP and over a stream.
func TestSiblings(t *testing.T) {
	c := startCluster(t, 3, true, causal)
	for i, open := range []func(string) *client.Client{client.New, client.NewStream} {
		ctx := within(t, 10*time.Second)
		a, b := open(c.nodes[0].cfg.ListenClient), open(c.nodes[1].cfg.ListenClient)
		defer a.Close()
		defer b.Close()
		k := key(i)
		got, err := a.Get(ctx, k)
		require.NoError(t, err)
		require.False(t, got.Found)
		none := got.Context
		require.NotEmpty(t, none)
		_, err = a.Delete(ctx, k, client.Context(none))
		require.NoError(t, err, "it has seen nothing, and takes out nothing")

		var mine string
		_, err = a.Put(ctx, k, []byte("red"), client.Next(&mine))
		require.NoError(t, err)
		_, err = b.Put(ctx, k, []byte("not \xff UTF-8"), client.W(3))
		require.NoError(t, err)
		got, err = b.Get(ctx, k, client.R(3))
		require.NoError(t, err)
		require.True(t, got.Found)
		require.Empty(t, got.Value, "there is no only one")
		require.ElementsMatch(t, [][]byte{[]byte("red"), []byte("not \xff UTF-8")}, got.Siblings)

		_, err = a.Put(ctx, k, []byte("green"), client.Context(mine), client.Next(&mine), client.W(3))
		require.NoError(t, err)
		got, err = a.Get(ctx, k)
		require.NoError(t, err)
		require.ElementsMatch(t, [][]byte{[]byte("green"), []byte("not \xff UTF-8")}, got.Siblings, "red is replaced by its own writer")

		_, err = b.Put(ctx, k, []byte("brown"), client.Context(got.Context), client.W(3))
		require.NoError(t, err)
		got, err = b.Get(ctx, k)
		require.NoError(t, err)
		require.Equal(t, "brown", string(got.Value))
		require.Equal(t, [][]byte{[]byte("brown")}, got.Siblings)
		held, err := a.Local(ctx, k)
		require.NoError(t, err)
		require.Equal(t, [][]byte{[]byte("brown")}, held[0].Siblings)

		_, err = a.Delete(ctx, k)
		require.ErrorContains(t, err, "read the key")
		require.True(t, client.Definite(err))
		_, err = a.Put(ctx, "another key", []byte("x"), client.Context(got.Context))
		require.ErrorContains(t, err, "another key")
		require.True(t, client.Definite(err))
		_, err = a.Delete(ctx, k, client.Context(got.Context), client.W(3))
		require.NoError(t, err)
		got, err = b.Get(ctx, k)
		require.NoError(t, err)
		require.False(t, got.Found)
		require.NotEmpty(t, got.Stamp)
	}
}

// What one types: the only value as it is, several as JSON, and the context in a
// header.
func TestSiblingsByHand(t *testing.T) {
	c := startCluster(t, 1, false, causal)
	ask := func(method, body, context string) (*http.Response, string) {
		r, err := http.NewRequestWithContext(within(t, 10*time.Second), method, "http://"+c.nodes[0].cfg.ListenClient+"/v1/kv/cart", strings.NewReader(body))
		require.NoError(t, err)
		if context != "" {
			r.Header.Set("X-Assay-Context", context)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp, string(text)
	}
	resp, _ := ask("PUT", "milk", "")
	require.Equal(t, 204, resp.StatusCode)
	resp, text := ask("GET", "", "")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "milk", text)
	resp, _ = ask("PUT", "bread", "")
	require.Equal(t, 204, resp.StatusCode)
	resp, text = ask("GET", "", "")
	require.Equal(t, 300, resp.StatusCode)
	seen := resp.Header.Get("X-Assay-Context")
	require.Equal(t, `{"siblings":[{"value":"milk"},{"value":"bread"}],"context":"`+seen+`"}`+"\n", text)
	resp, _ = ask("PUT", "milk, bread", seen)
	require.Equal(t, 204, resp.StatusCode)
	_, text = ask("GET", "", "")
	require.Equal(t, "milk, bread", text)
	for _, garbage := range []string{"?", "AAAA", "AgAAAAAAAAAAgA", seen[:len(seen)-2], seen + "AA"} {
		resp, text = ask("PUT", "x", garbage)
		require.Equal(t, 400, resp.StatusCode, garbage)
		require.Contains(t, text, `"definite":true`)
	}
}

// A key that nobody reads gets no more siblings than it may have, and whoever is
// refused hears what to do.
func TestTooManySiblings(t *testing.T) {
	c := startCluster(t, 3, false, causal)
	ctx := within(t, 20*time.Second)
	a := c.nodes[0].client
	for i := range replica.MaxSiblings {
		_, err := a.Put(ctx, "k", []byte{byte(i)})
		require.NoError(t, err)
	}
	_, err := a.Put(ctx, "k", []byte("one more"))
	var e *client.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, httpapi.CodeSiblings, e.Code)
	require.True(t, e.Definite)
	require.ErrorContains(t, err, "read it, and put one value")
	got, err := a.Get(ctx, "k")
	require.NoError(t, err)
	require.Len(t, got.Siblings, replica.MaxSiblings, "nothing is lost")
	_, err = a.Put(ctx, "k", []byte("all"), client.Context(got.Context))
	require.NoError(t, err)
	for range 2 {
		_, err = a.Put(ctx, "big", make([]byte, httpapi.MaxValue))
		require.NoError(t, err)
	}
	_, err = a.Put(ctx, "big", []byte("x"))
	require.ErrorAs(t, err, &e)
	require.Equal(t, httpapi.CodeSiblings, e.Code)
	got, err = c.nodes[1].client.Get(ctx, "big")
	require.NoError(t, err)
	require.Len(t, got.Siblings, 2)
}

func TestContextOfAPlainKey(t *testing.T) {
	c := startCluster(t, 1, false, nil)
	_, err := c.nodes[0].client.Put(within(t, 10*time.Second), "k", nil, client.Context(contextToken(c.nodes[0].cfg.Cluster, "k", nil)))
	require.ErrorContains(t, err, "leave the context out")
	require.True(t, client.Definite(err))
}

// A token gives a context that gives the same token, or an error; never a panic.
func FuzzParseContext(f *testing.F) {
	d := replica.Dot{Node: 1, Boot: 2, Seq: 3}
	f.Add("k", contextToken("c", "k", nil))
	f.Add("k", contextToken("c", "k", replica.Context{{First: d, Last: replica.Dot{Node: 1, Boot: 2, Seq: 9}}}))
	f.Add("k", base64.RawURLEncoding.EncodeToString([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x00\x80")))
	f.Add("", "")
	f.Fuzz(func(t *testing.T, key, token string) {
		c, err := parseContext("c", key, token)
		if err != nil {
			require.Nil(t, c)
			return
		}
		again, err := parseContext("c", key, contextToken("c", key, c))
		require.NoError(t, err)
		require.Equal(t, c, again)
		_, err = parseContext("c", key+"x", token)
		require.Error(t, err)
	})
}
