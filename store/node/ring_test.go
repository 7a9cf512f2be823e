package node

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/replica"
)

// Five nodes, three replicas of a key: any node serves any key, and the copies
// lie where the placement says.
func TestThreeReplicasOfFive(t *testing.T) {
	c := startCluster(t, 5, true, func(c *Config) { c.N = 3 })
	for i := range 10 {
		_, err := c.nodes[i%5].client.Put(within(t, 5*time.Second), key(i), []byte{byte(i)}, client.W(3))
		require.NoError(t, err)
		for id, m := range c.nodes {
			// W was three: all three have it now, and nobody else.
			held, err := m.client.Local(within(t, 5*time.Second), key(i))
			require.NoError(t, err)
			holds := c.nodes[0].node.placement.Load().Holds(replica.NodeID(id), key(i))
			require.Equal(t, holds, held[0].Found, "node %d, %s", id, key(i))
			require.Equal(t, !holds, held[0].Elsewhere, "node %d, %s", id, key(i))

			got, err := m.client.Get(within(t, 5*time.Second), key(i))
			require.NoError(t, err)
			require.Equal(t, []byte{byte(i)}, got.Value)
		}
	}
	h, err := c.nodes[4].client.Health(within(t, 5*time.Second))
	require.NoError(t, err)
	require.Equal(t, []int{5, 3, 2, 2}, []int{h.Nodes, h.N, h.R, h.W})
}

// A request may have its own R and W. k lies on nodes 1, 3 and 4.
func TestQuorumsOfARequest(t *testing.T) {
	c := startCluster(t, 5, true, func(c *Config) { c.N, c.Timeout = 3, 300*time.Millisecond })
	at := func(id int) *client.Client { return c.nodes[id].client }
	_, err := at(0).Put(within(t, 5*time.Second), "k", []byte("v"), client.R(1), client.W(3))
	require.NoError(t, err)

	status, h, body := get(t, c, 0, "/v1/local/k")
	require.Equal(t, 404, status)
	require.Equal(t, "1,3,4", h.Get("X-Assay-Replicas"))
	require.Contains(t, body, "this node is no replica of the key; these are: 1,3,4")
	status, h, _ = get(t, c, 3, "/v1/local/k")
	require.Equal(t, 200, status)
	require.Equal(t, "1,3,4", h.Get("X-Assay-Replicas"))

	require.NoError(t, c.stop(3))
	require.NoError(t, c.stop(4))
	_, err = at(0).Get(within(t, 5*time.Second), "k")
	require.ErrorContains(t, err, "1 of 3 replicas answered within 300ms; 2 have to answer")
	got, err := at(0).Get(within(t, 5*time.Second), "k", client.R(1), client.W(1))
	require.NoError(t, err)
	require.Equal(t, "v", string(got.Value))
	status, h, body = get(t, c, 2, "/v1/kv/k?r=1&w=1")
	require.Equal(t, 200, status)
	require.Equal(t, "v", body)
	require.Equal(t, "1", h.Get("X-Assay-Reached"))

	for query, says := range map[string]string{
		"r=4":     "R is 4: a key has 3 replicas, so wait for 1 to 3, or 0 for the configured 2",
		"w=4":     "W is 4",
		"r=0":     "r=0 is no quorum: give one number from 1",
		"w=two":   "w=two is no quorum",
		"r=1&r=2": "r=1,2 is no quorum",
		"R=1":     "unknown parameters",
		"%zz":     "the query cannot be read",
	} {
		status, _, body := get(t, c, 2, "/v1/kv/k?"+query)
		require.Equal(t, 400, status, query)
		require.Contains(t, body, says, query)
		require.Contains(t, body, `"code":"invalid","definite":true`, query)
	}
}

func get(t *testing.T, c *cluster, id int, path string) (status int, h http.Header, body string) {
	t.Helper()
	resp, err := http.Get("http://" + c.nodes[id].cfg.ListenClient + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(text)
}
