package replica

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Records that nobody reads are found damaged, and repaired, at the rate that is
// set.
func TestScrub(t *testing.T) {
	for name, cfg := range map[string]Config{"quorums": abd(3), "caspaxos": caspaxos(3)} {
		t.Run(name, func(t *testing.T) {
			const keys = 1000
			cfg.Scrub = 2000
			c, err := newCluster(cfg)
			require.NoError(t, err)
			c.quiet = true
			for i := range keys {
				c.request(c.nodes[0], Put, fmt.Sprintf("k%d", i), "v")
			}
			c.settle()
			m := c.nodes[1]
			for i := 0; i < keys; i += 10 { // more than are repaired at a time
				m.damage(fmt.Sprintf("k%d", i))
			}
			read := m.core.ScrubStats().Read
			for range 200 {
				c.advance(10 * time.Millisecond)
				c.settle()
			}
			require.Empty(t, m.viewDamage)
			require.Empty(t, m.diskDamage)
			stats := m.core.ScrubStats()
			require.InDelta(t, 2*2000, stats.Read-read, 500)
			require.GreaterOrEqual(t, stats.Passes, uint64(3))
			require.GreaterOrEqual(t, stats.Found, uint64(keys/10))
			for i := range keys {
				key := fmt.Sprintf("k%d", i)
				require.Equal(t, c.nodes[0].disk[key].Value, m.disk[key].Value)
			}
		})
	}
}

// Nobody but the node itself has its view.
func TestScrubOfTheView(t *testing.T) {
	cfg := gossiping(abd(3))
	cfg.Scrub = 1000
	c, err := newCluster(cfg)
	require.NoError(t, err)
	spare, err := c.spare()
	require.NoError(t, err)
	c.quiet = true
	c.ask(c.nodes[0], Request{Op: Reconfigure, Change: &Change{Add: []Member{{ID: spare.id}}}})
	run := func() {
		for range 100 {
			c.advance(10 * time.Millisecond)
			c.settle()
		}
	}
	run()
	m := c.nodes[1]
	before := m.core.View()
	require.Equal(t, uint64(3), before.Epoch)
	m.damage(viewKey)
	m.damage(registerKey)
	run()
	require.Empty(t, m.diskDamage)
	c.crash(m)
	require.NoError(t, c.start(m))
	require.Equal(t, before, m.core.View())
}

// Without damage nothing is written, and nothing is sent.
func TestScrubIsQuiet(t *testing.T) {
	cfg := abd(3)
	cfg.Scrub = 100
	c, err := newCluster(cfg)
	require.NoError(t, err)
	c.request(c.nodes[0], Put, "k", "v")
	c.settle()
	c.advance(2 * time.Second)
	c.settle()
	c.told()
	c.advance(10 * time.Second)
	require.Empty(t, c.network)
	require.Empty(t, c.told())
	require.Positive(t, c.nodes[0].core.ScrubStats().Passes)
}
