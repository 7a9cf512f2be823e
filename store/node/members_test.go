package node

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/httpapi"
)

// join starts a node that waits to be added.
func (c *cluster) join(change func(*Config)) int {
	cfg := DefaultConfig()
	cfg.ID, cfg.Join = len(c.nodes), true
	cfg.ListenPeer, cfg.ListenClient = freeAddr(c.t), freeAddr(c.t)
	cfg.Dir = c.t.TempDir()
	change(&cfg)
	c.nodes = append(c.nodes, &member{cfg: cfg, client: client.New(cfg.ListenClient)})
	c.start(cfg.ID)
	return cfg.ID
}

// change asks node at for a change, and waits until all in members have seen it
// through.
func (c *cluster) change(at int, change httpapi.Change, members ...int) {
	require.NoError(c.t, c.nodes[at].client.Change(within(c.t, 10*time.Second), change))
	for _, i := range members {
		require.Eventually(c.t, func() bool {
			m, err := c.nodes[i].client.Members(within(c.t, 10*time.Second))
			require.NoError(c.t, err)
			var ids []int
			for _, n := range m.Members {
				ids = append(ids, int(n.ID))
			}
			return !m.Changing && m.Member && slices.Equal(members, ids)
		}, 30*time.Second, 10*time.Millisecond, "node %d", i)
	}
}

func (c *cluster) added(id int) httpapi.NewMember {
	return httpapi.NewMember{ID: uint32(id), Addr: c.nodes[id].cfg.ListenPeer}
}

// Under load a node joins, another leaves, and a third, whose disk is lost, is
// replaced: every acknowledged write can be read at the members that are left.
func TestMembersChangeUnderLoad(t *testing.T) {
	gossip := func(c *Config) { c.Gossip, c.N = 20*time.Millisecond, 3 }
	c := startCluster(t, 3, false, gossip)

	var live atomic.Pointer[[]*client.Client] // whom the writers ask
	ask := func(ids ...int) {
		var clients []*client.Client
		for _, id := range ids {
			clients = append(clients, c.nodes[id].client)
		}
		live.Store(&clients)
	}
	ask(0, 1, 2)
	stop := make(chan struct{})
	var acked [4][10]int // by writer and key: the last value that was acknowledged
	var writers sync.WaitGroup
	for w := range acked {
		writers.Go(func() {
			for i := 1; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				nodes := *live.Load()
				_, err := nodes[i%len(nodes)].Put(context.Background(), fmt.Sprintf("w%d/%d", w, i%10), []byte(strconv.Itoa(i)))
				if err == nil {
					acked[w][i%10] = i
				}
			}
		})
	}
	wrote := func(n int) {
		h := func() uint64 {
			m, err := c.nodes[0].client.Health(within(t, 5*time.Second))
			require.NoError(t, err)
			return uint64(m.MonoNS)
		}
		end := h() + uint64(n)*uint64(time.Millisecond)
		require.Eventually(t, func() bool { return h() > end }, 10*time.Second, time.Millisecond)
	}
	wrote(100)
	three := c.join(gossip)
	c.change(0, httpapi.Change{Add: []httpapi.NewMember{c.added(three)}}, 0, 1, 2, three)
	ask(0, 2, three)
	wrote(100)
	c.change(0, httpapi.Change{Remove: []uint32{1}}, 0, 2, three)
	_, err := c.nodes[1].client.Get(within(t, 5*time.Second), "w0/1")
	require.ErrorContains(t, err, "node 1 was removed from the cluster")
	wrote(100)
	ask(0, three)
	require.NoError(t, c.stop(2)) // and its disk is gone
	four := c.join(gossip)
	c.change(three, httpapi.Change{Add: []httpapi.NewMember{c.added(four)}, Remove: []uint32{2}, Lost: true}, 0, three, four)
	ask(0, three, four)
	wrote(100)
	close(stop)
	writers.Wait()

	total := 0
	for w := range acked {
		for i, last := range acked[w] {
			require.NotZero(t, last, "key %d of writer %d", i, w)
			total += last
			for _, id := range []int{0, three, four} {
				r, err := c.nodes[id].client.Get(within(t, 5*time.Second), fmt.Sprintf("w%d/%d", w, i))
				require.NoError(t, err)
				got, err := strconv.Atoi(string(r.Value))
				require.NoError(t, err, "w%d/%d is %q", w, i, r.Value)
				// A later write may have failed, and be there nevertheless.
				require.GreaterOrEqual(t, got, last, "node %d has lost a write of w%d/%d", id, w, i)
			}
		}
	}
	t.Logf("%d writes", total/10)

	// A member that was stopped comes back to the view that it was in.
	require.NoError(t, c.stop(three))
	c.start(three)
	m, err := c.nodes[three].client.Members(within(t, 5*time.Second))
	require.NoError(t, err)
	require.Equal(t, uint64(7), m.Epoch)
	require.True(t, m.Member)
	// And one that was removed does not come back with its old disk.
	require.NoError(t, c.stop(1))
	c.start(1)
	require.Error(t, c.nodes[0].client.Change(within(t, 5*time.Second), httpapi.Change{Add: []httpapi.NewMember{c.added(1)}}))
	c.nodes = slices.Delete(c.nodes, 2, 3) // it is stopped
}

// A deleted key leaves nothing behind in the end, and stays deleted.
func TestTombstonesAreCollected(t *testing.T) {
	c := startCluster(t, 3, false, func(c *Config) { c.Gossip, c.Collect = 20*time.Millisecond, 50*time.Millisecond })
	at := func(i int) *client.Client { return c.nodes[i%3].client }
	for i := range 30 {
		_, err := at(i).Put(within(t, 5*time.Second), fmt.Sprint("key", i), []byte("old"))
		require.NoError(t, err)
		_, err = at(i+1).Delete(within(t, 5*time.Second), fmt.Sprint("key", i))
		require.NoError(t, err)
	}
	for i, n := range c.nodes {
		require.Eventually(t, func() bool {
			text := scrape(t, n.cfg.ListenClient)
			return figure(t, text, "assay_tombstones_collected_total") >= 30 && figure(t, text, "assay_tombstones_waiting") == 0
		}, 30*time.Second, 20*time.Millisecond, "node %d", i)
	}
	for i := range c.nodes {
		require.NoError(t, c.stop(i))
		c.start(i)
	}
	for i := range 30 {
		r, err := at(i).Get(within(t, 5*time.Second), fmt.Sprint("key", i))
		require.NoError(t, err)
		require.False(t, r.Found)
		_, err = at(i).Put(within(t, 5*time.Second), fmt.Sprint("key", i), []byte("new"))
		require.NoError(t, err)
		r, err = at(i+1).Get(within(t, 5*time.Second), fmt.Sprint("key", i))
		require.NoError(t, err)
		require.Equal(t, "new", string(r.Value))
	}
}

func TestChangesThatCannotBe(t *testing.T) {
	c := startCluster(t, 3, true, func(c *Config) { c.Gossip = 20 * time.Millisecond })
	change := func(body httpapi.Change) error { return c.nodes[0].client.Change(within(t, 5*time.Second), body) }
	require.ErrorContains(t, change(httpapi.Change{}), "the change is empty")
	require.ErrorContains(t, change(httpapi.Change{Remove: []uint32{1}}), "2 members would be left, and keys have 3 replicas")
	require.ErrorContains(t, change(httpapi.Change{Remove: []uint32{7}}), "node 7 is no member: the members are 0 1 2")
	require.ErrorContains(t, change(httpapi.Change{Add: []httpapi.NewMember{{ID: 3, Addr: "nowhere"}}}), "give the host:port")
	require.ErrorContains(t, change(httpapi.Change{Add: []httpapi.NewMember{{ID: 64, Addr: "h:1"}}}), "the numbers of nodes are 0 to 63")
	require.ErrorContains(t, change(httpapi.Change{Add: []httpapi.NewMember{{ID: 1, Addr: "h:1"}}}), "node 1 is a member already")

	static := startCluster(t, 1, true, nil)
	err := static.nodes[0].client.Change(within(t, 5*time.Second), httpapi.Change{Remove: []uint32{0}})
	require.ErrorContains(t, err, "start its nodes with gossip")
	m, err := static.nodes[0].client.Members(within(t, 5*time.Second))
	require.NoError(t, err)
	require.Equal(t, uint64(0), m.Epoch)
	require.Len(t, m.Members, 1)
}
