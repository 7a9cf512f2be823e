package replica

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Many records are lost at once: they are repaired a bounded number at a time,
// each reported once, and all in the end.
func TestManyLostRecords(t *testing.T) {
	const keys = 3 * maxMends
	c, err := newCluster(abd(3))
	require.NoError(t, err)
	c.quiet = true
	key := func(i int) string { return fmt.Sprintf("k%d", i) }
	for i := range keys {
		c.request(c.nodes[0], Put, key(i), fmt.Sprint(i))
	}
	c.settle()
	m := c.nodes[1]
	for i := range keys {
		m.damage(key(i))
	}
	for range 3 {
		for i := range keys {
			c.request(m, Get, key(i), "")
			require.LessOrEqual(t, len(m.core.mends), maxMends)
		}
		c.settle()
	}
	require.Empty(t, m.viewDamage)
	require.Empty(t, m.diskDamage)
	require.Empty(t, m.core.mends)
	for i := range keys {
		require.Equal(t, c.nodes[0].disk[key(i)], m.disk[key(i)])
	}
	c.advance(2 * time.Second)
	require.Zero(t, m.core.Deadline())
}

// A repair goes on for as long as it takes, and goes on asking.
func TestRepairWaitsForPeers(t *testing.T) {
	c, err := newCluster(abd(3))
	require.NoError(t, err)
	c.request(c.nodes[0], Put, "k", "v")
	c.settle()
	m := c.nodes[1]
	m.damage("k")
	c.crash(c.nodes[2])
	c.request(m, Get, "k", "")
	for range 100 {
		c.settle()
		c.advance(time.Second)
	}
	require.True(t, m.viewDamage["k"], "a repair needs both others here")
	require.NoError(t, c.start(c.nodes[2]))
	c.advance(c.cfg.Retry)
	c.settle()
	require.Contains(t, c.told(), "n1 repairs k: 1.0.1.1")
}
