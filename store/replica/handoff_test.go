package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sloppy is three replicas of a key on five nodes, with sloppy quorums.
func sloppy(stamps Stamps, r, w int) Config {
	cfg := threeOfFive()
	cfg.R, cfg.W, cfg.Stamps, cfg.WriteBack, cfg.Sloppy = r, w, stamps, false, true
	return cfg
}

// TestRandomHandoff lets clients write while nodes are cut off, crash, and lose
// what was not synced, disks fail and records are damaged, and then leaves the
// cluster alone. No acknowledged write may be gone: every key comes to be at
// least as new at some replica, and with anti-entropy at all of them. No stray
// may be left, and none may be taken out before all replicas have it.
func TestRandomHandoff(t *testing.T) {
	repaired := func(cfg Config) Config {
		cfg.AntiEntropy = time.Second
		return cfg
	}
	writeBack := sloppy(Logical, 2, 2)
	writeBack.WriteBack, writeBack.ReadRepair = true, ReadRepairAsync
	for _, c := range []struct {
		name   string
		cfg    Config
		damage bool
	}{
		{"2/2", sloppy(WallClock, 2, 2), false},
		{"2/2 with anti-entropy", repaired(sloppy(WallClock, 2, 2)), false},
		{"2/2, records damaged", sloppy(Logical, 2, 2), true},
		{"2/2 with anti-entropy, records damaged", repaired(sloppy(Logical, 2, 2)), true},
		{"2/3, records damaged", sloppy(Logical, 2, 3), true},
		{"1/1", sloppy(WallClock, 1, 1), false},
		{"2/2, reads that repair", writeBack, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var total handoffRun
			for seed := range uint64(200) {
				run := randomHandoff(t, c.cfg, c.damage, seed)
				total.strays += run.strays
				total.acked += run.acked
				total.elsewhere += run.elsewhere
			}
			t.Logf("%+v", total)
			require.Greater(t, total.acked, 1000, "acknowledged writes")
			require.Greater(t, total.strays, uint64(1000), "strays that were handed off")
			require.Greater(t, total.elsewhere, 30, "writes whose quorum had a fallback in it")
		})
	}
}

// handoffRun tells what there was to be tested.
type handoffRun struct {
	acked     int    // writes
	strays    uint64 // handed off
	elsewhere int    // acknowledged writes that fewer than W replicas held then
}

func randomHandoff(t *testing.T, cfg Config, damage bool, seed uint64) (run handoffRun) {
	const keys = 8
	rng := rand.New(rand.NewPCG(seed, 3))
	c, err := newCluster(cfg)
	require.NoError(t, err)
	c.quiet = true
	homes := func(key string) []NodeID { return c.nodes[0].core.placement.Replicas(key) }
	all := make([][]NodeID, keys)
	for i := range all {
		all[i] = homes(fmt.Sprint("k", i))
	}
	acked := make([]Stamp, keys) // the newest that was acknowledged
	c.onReply = func(_ NodeID, q Request, p Reply) {
		if p.Err != nil || q.Op == Get {
			return
		}
		run.acked++
		i := int(q.Key[1] - '0')
		if acked[i].older(p.Stamp) {
			acked[i] = p.Stamp
		}
		copies := 0
		for _, n := range all[i] {
			if !c.nodes[n].disk[q.Key].Stamp.older(p.Stamp) {
				copies++
			}
		}
		if copies < cfg.W {
			run.elsewhere++
		}
	}
	c.onWrite = func(m *machine, w Write) {
		if !w.Record.IsZero() || slices.Contains(all[w.Key[1]-'0'], m.id) {
			return
		}
		gone := m.view[w.Key].Stamp
		for _, n := range all[w.Key[1]-'0'] {
			home := c.nodes[n]
			require.True(t, home.diskDamage[w.Key] || !home.disk[w.Key].Stamp.older(gone), "seed %d: node %d drops %s, and node %d does not have it", seed, m.id, w.Key, n)
		}
	}
	for range 1000 {
		c.mono++
		m := c.nodes[rng.IntN(len(c.nodes))]
		key := fmt.Sprint("k", rng.IntN(keys))
		switch dice := rng.IntN(1000); {
		case dice < 50 && m.core != nil:
			switch rng.IntN(6) {
			case 0:
				c.request(m, Delete, key, "")
			case 1:
				c.request(m, Get, key, "")
			default:
				c.request(m, Put, key, fmt.Sprint(c.mono))
			}
		case dice < 720 && len(c.network) > 0:
			c.deliver(rng.IntN(len(c.network)))
		case dice < 740 && len(c.network) > 0:
			i := rng.IntN(len(c.network))
			c.network = slices.Delete(c.network, i, i+1)
		case dice < 760 && len(c.network) > 0:
			c.network = append(c.network, c.network[rng.IntN(len(c.network))])
		case dice < 940 && m.core != nil:
			c.sync(m)
		case dice < 945 && m.core != nil:
			c.fail(m, rng.IntN(len(m.buffer)+1))
			if rng.IntN(2) == 0 {
				c.reopen(m)
			}
		case dice < 950 && m.core != nil:
			c.crash(m)
		case dice < 960 && m.core == nil:
			require.NoError(t, c.start(m))
		case dice >= 960 && dice < 965:
			c.cut = nodeSet(rng.Uint64N(1 << len(c.nodes)))
		case dice >= 965 && dice < 968:
			c.cut = 0
		case dice >= 968 && dice < 976 && damage:
			// With several copies lost nobody could tell the record.
			if !slices.ContainsFunc(c.nodes, func(m *machine) bool { return m.diskDamage[key] }) {
				m.damage(key)
			}
		case dice >= 976 && dice < 977:
			c.advance(2 * cfg.Timeout)
		case dice >= 977:
			c.advance(time.Duration(rng.Int64N(int64(cfg.Retry))))
		}
	}
	// Left alone: everybody is back, and nothing is lost any more.
	c.cut = 0
	for _, m := range c.nodes {
		if m.core == nil {
			require.NoError(t, c.start(m))
		}
	}
	clean := func() bool {
		return !slices.ContainsFunc(c.nodes, func(m *machine) bool { return !m.core.HandoffStats().Clean })
	}
	for i := 0; i < 300 && (i < 30 || !clean()); i++ {
		c.advance(100 * time.Millisecond)
		c.settle()
		if i == 0 {
			for k := range keys { // damage that nobody meets is not found
				c.request(c.nodes[0], Get, fmt.Sprint("k", k), "")
			}
		}
	}
	for _, m := range c.nodes {
		run.strays += m.core.HandoffStats().HandedOff
	}
	require.True(t, clean(), "seed %d: strays are left", seed)
	for i := range all {
		key := fmt.Sprint("k", i)
		newest := Stamp{}
		for _, m := range c.nodes {
			require.False(t, m.diskDamage[key], "seed %d: %s at node %d is damaged", seed, key, m.id)
			held := m.disk[key].Stamp
			if !slices.Contains(all[i], m.id) {
				require.Zero(t, held, "seed %d: %s is a stray at node %d", seed, key, m.id)
			}
			if newest.older(held) {
				newest = held
			}
		}
		require.False(t, newest.older(acked[i]), "seed %d: %s was acknowledged at %v, and %v is left", seed, key, acked[i], newest)
		for _, n := range all[i] {
			if cfg.AntiEntropy > 0 {
				require.Equal(t, newest, c.nodes[n].disk[key].Stamp, "seed %d: %s at node %d", seed, key, n)
			}
		}
	}
	return run
}

// A request goes down the preference list as far as it has to: it succeeds
// while any W nodes can be reached.
func TestAnyWNodesAreEnough(t *testing.T) {
	cfg := sloppy(Logical, 2, 2)
	cfg.Nodes = 7
	for first := range NodeID(7) {
		for second := range first {
			c, err := newCluster(cfg)
			require.NoError(t, err)
			for _, m := range c.nodes {
				if m.id != first && m.id != second {
					c.crash(m)
				}
			}
			c.request(c.nodes[first], Put, "k", "v")
			for range 20 {
				c.settle()
				c.advance(cfg.Retry / 2)
			}
			require.Contains(t, c.told(), `put k "v": ok 1.`, "nodes %d and %d are up", first, second)
			c.request(c.nodes[second], Get, "k", "")
			for range 20 {
				c.settle()
				c.advance(cfg.Retry / 2)
			}
			require.Contains(t, c.told(), `get k: 1.`, "nodes %d and %d are up", first, second)
		}
	}
}

// With as many replicas as nodes there is nobody to stand in: nothing of this
// costs anything, and quorums are strict.
func TestSloppyWithoutSpareNodes(t *testing.T) {
	cfg := abd(3)
	cfg.Sloppy = true
	c, err := newCluster(cfg)
	require.NoError(t, err)
	require.Zero(t, c.nodes[0].core.Deadline())
	c.crash(c.nodes[1])
	c.crash(c.nodes[2])
	c.request(c.nodes[0], Put, "k", "v")
	c.settle()
	c.advance(cfg.Timeout)
	require.Contains(t, c.told(), "failed, not done: 1 of 3 replicas answered within 1s; 2 have to answer")
	require.Equal(t, HandoffStats{Clean: true}, c.nodes[0].core.HandoffStats())
}

// A node with more strays than it keeps in mind hands off all of them. Those
// that wait for a replica that is down do not keep it from the others for ever.
func TestManyStrays(t *testing.T) {
	const strays = maxStrays + 3*countKeys
	c, err := newCluster(sloppy(WallClock, 2, 2))
	require.NoError(t, err)
	c.quiet = true
	m, down := c.nodes[0], c.nodes[4]
	placement := m.core.placement
	c.crash(m)
	c.crash(down)
	waiting := 0
	for i, n := 0, 0; n < strays; i++ {
		key := fmt.Sprint("key ", i)
		waits := n%20 != 0
		if placement.Holds(m.id, key) || placement.Holds(down.id, key) != waits {
			continue
		}
		if n++; waits {
			waiting++
		}
		m.disk[key] = Record{Stamp: Stamp{Counter: int64(n), Node: 1, Boot: 1, Seq: uint64(n)}}
	}
	require.NoError(t, c.start(m))
	rest := func() int {
		for range 60 {
			c.advance(c.cfg.Retry)
			c.settle()
		}
		left := 0
		for _, rec := range m.disk {
			if !rec.IsZero() {
				left++
			}
		}
		return left
	}
	require.Equal(t, waiting, rest(), "only those that node 4 lacks are left")
	require.False(t, m.core.HandoffStats().Clean)
	require.NoError(t, c.start(down))
	require.Zero(t, rest())
	require.Equal(t, HandoffStats{Clean: true, HandedOff: strays}, m.core.HandoffStats())
}
