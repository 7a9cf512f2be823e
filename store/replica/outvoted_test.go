package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A read that asks fewer replicas than writes do must not be answered by a node that
// was removed behind its back: where one copy is enough for a read, and all have to
// have a write, the cluster does not go on without a node that may still answer.
func TestReadOneIsNotAnsweredByTheRemoved(t *testing.T) {
	for _, c := range []struct {
		r, w int
		gone bool // the change comes through without the node
	}{{1, 3, false}, {2, 2, true}, {3, 1, false}} {
		cfg := abd(3)
		cfg.Nodes, cfg.R, cfg.W, cfg.WriteBack = 4, c.r, c.w, false
		cl, err := newCluster(gossiping(cfg))
		require.NoError(t, err)
		cl.quiet = true
		var last Reply
		cl.onReply = func(_ NodeID, _ Request, p Reply) { last = p }
		run := func(d time.Duration) {
			for end := cl.mono + d; cl.mono < end; {
				cl.advance(10 * time.Millisecond)
				cl.settle()
			}
		}
		do := func(node int, q Request) Reply {
			last = Reply{ID: 0}
			id := cl.ask(cl.nodes[node], q)
			for i := 0; last.ID != id && i < 200; i++ {
				run(10 * time.Millisecond)
			}
			require.Equal(t, id, last.ID)
			return last
		}
		run(2 * time.Second)
		require.Nil(t, do(0, Request{Op: Put, Key: "k", Value: []byte("old")}).Err)
		run(time.Second)
		old := cl.nodes[0].core.Placement().Replicas("k")[0]
		other := int(old+1) % 4
		cl.cut.add(old)
		run(2 * time.Second) // it is known to be gone
		require.Nil(t, do(other, Request{Op: Reconfigure, Change: &Change{Remove: []NodeID{old}}}).Err)
		run(5 * time.Second)
		v := cl.nodes[other].core.View()
		require.Equal(t, c.gone, !v.joint(), "%d/%d: %s", c.r, c.w, &v)

		wrote := do(other, Request{Op: Put, Key: "k", Value: []byte("new")})
		read := do(int(old), Request{Op: Get, Key: "k"})
		if wrote.Err == nil && read.Err == nil {
			require.Equal(t, "new", string(read.Value), "%d/%d: a stale read at node %d", c.r, c.w, old)
		}
		cl.cut = 0
		run(5 * time.Second)
		v = cl.nodes[other].core.View()
		require.False(t, v.joint(), "%d/%d: %s", c.r, c.w, &v)
	}
}
