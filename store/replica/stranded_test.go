package replica

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A change that was said to be certain comes, although the node that has said so
// dies before it has told anybody, and nobody asks for it again.
func TestChangeOfADeadProposerComes(t *testing.T) {
	for _, back := range []bool{false, true} {
		c, err := newCluster(gossiping(abd(4)))
		require.NoError(t, err)
		c.quiet = true
		c.cfg.N, c.cfg.R, c.cfg.W = 3, 2, 2
		c, err = newCluster(c.cfg)
		require.NoError(t, err)
		c.quiet = true
		for range 100 { // they hear of each other
			c.advance(c.cfg.Gossip)
			c.settle()
		}
		agreed := false
		c.onReply = func(_ NodeID, _ Request, p Reply) {
			require.Nil(t, p.Err)
			agreed = true
		}
		c.ask(c.nodes[0], Request{Op: Reconfigure, Change: &Change{Remove: []NodeID{1}}})
		for !agreed {
			for !agreed && len(c.network) > 0 {
				c.deliver(0)
			}
			for _, m := range c.nodes {
				if !agreed && len(m.buffer) > 0 {
					c.sync(m)
				}
			}
		}
		c.crash(c.nodes[0])
		c.network = nil
		for i := range 200 {
			if i == 100 && back {
				require.NoError(t, c.start(c.nodes[0]))
			}
			c.advance(c.cfg.Gossip)
			c.settle()
		}
		for _, m := range c.nodes[2:] {
			v := m.core.View()
			require.Equal(t, "0 2 3", v.String(), "node %d, epoch %d", m.id, v.Epoch)
		}
	}
}
