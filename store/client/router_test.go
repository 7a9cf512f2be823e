package client

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/ring"
)

func TestRouter(t *testing.T) {
	_, err := NewRouter(nil)
	require.ErrorContains(t, err, "no nodes")

	clients := map[uint32]*Client{0: New("a:1"), 3: New("b:1"), 7: New("c:1")}
	r, err := NewRouter(clients)
	require.NoError(t, err)
	defer r.Close()
	placed, err := ring.New([]ring.NodeID{0, 3, 7}, ring.VNodes)
	require.NoError(t, err)
	asked := make(map[*Client]int)
	for i := range 1000 {
		key := fmt.Sprint("key", i)
		require.Same(t, clients[uint32(placed.Prefs(key, 2)[0])], r.For(key), "the node that the store itself has first")
		asked[r.For(key)]++
	}
	require.Len(t, asked, 3)
	for c, n := range asked {
		require.Greater(t, n, 200, "%s", c.addr)
	}
}
