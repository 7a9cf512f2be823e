package replica

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func threeOfFive() Config {
	cfg := abd(3)
	cfg.Nodes = 5
	return cfg
}

func TestPlacement(t *testing.T) {
	cfg := threeOfFive()
	p, err := NewPlacement(&cfg)
	require.NoError(t, err)
	require.Equal(t, []NodeID{1, 3, 4}, p.Replicas("k"), "as testdata/placement.txt of package ring has it")
	copies := make(map[NodeID]int)
	for i := range 1000 {
		key := fmt.Sprint(i)
		var held []NodeID
		for n := range NodeID(70) {
			if p.Holds(n, key) {
				held = append(held, n)
				copies[n]++
			}
		}
		require.Equal(t, held, p.Replicas(key))
		require.Len(t, held, 3)
	}
	require.Len(t, copies, 5)

	cfg = abd(3)
	p, err = NewPlacement(&cfg)
	require.NoError(t, err)
	require.Equal(t, []NodeID{0, 1, 2}, p.Replicas("k"))

	cfg.N = 4
	_, err = NewPlacement(&cfg)
	require.ErrorContains(t, err, "N is 4")
}

// What a node that is no replica of the key answers counts for nothing.
func TestOnlyReplicasCount(t *testing.T) {
	c, err := newCluster(threeOfFive())
	require.NoError(t, err)
	c.request(c.nodes[0], Get, "k", "")
	require.Len(t, c.network, 3)
	m := c.network[0].m
	for _, from := range []NodeID{2, 1} {
		c.nodes[0].core.Receive(c.now(c.nodes[0]), from, Message{Type: MsgRecord, ID: m.ID, Boot: m.Boot, Round: m.Round, Key: "k"})
		c.carry(c.nodes[0])
	}
	require.Empty(t, c.told(), "one of the two is a replica")
	c.settle()
	require.Contains(t, c.told(), "n0 get k: nothing, by 2")
}
