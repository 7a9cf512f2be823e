package replica

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// collecting is a setting that collects tombstones, with times so short that a
// schedule sees several rounds.
func collecting(cfg Config) Config {
	cfg.Gossip, cfg.Collect = 5*time.Millisecond, 10*time.Millisecond
	cfg.Timeout, cfg.Retry = 60*time.Millisecond, 10*time.Millisecond
	return cfg
}

// TestRandomCollection deletes keys under load and collects the tombstones, with
// lost, repeated, overtaking and very late packets, partitions, crashes and changes
// of the members: what was deleted stays deleted, and in the end no tombstone is
// left.
func TestRandomCollection(t *testing.T) {
	repaired := abd(3)
	repaired.AntiEntropy, repaired.ReadRepair = 20*time.Millisecond, ReadRepairAsync
	of5 := threeOfFive()
	of5.AntiEntropy = repaired.AntiEntropy
	strays := sloppy(Logical, 2, 2)
	strays.AntiEntropy, strays.ReadRepair = repaired.AntiEntropy, repaired.ReadRepair
	causalStrays := strays
	causalStrays.Stamps = Causal
	for _, c := range []struct {
		name  string
		cfg   Config
		seeds uint64
	}{
		{"abd 3", abd(3), 60},
		{"abd 3, repaired", repaired, 60},
		{"abd 3 of 5", of5, 40},
		{"sloppy 3 of 5", strays, 40},
		{"causal 3", causal(3), 60},
		{"causal 3 of 5, sloppy", causalStrays, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			operations, collected, wild := 0, uint64(0), uint64(0)
			for seed := range c.seeds * *moreSeeds {
				run := newCollectRun(t, collecting(c.cfg), seed)
				if c.cfg.Stamps == Causal {
					run.told = newLedger(t, seed)
					run.told.strict = !c.cfg.Sloppy
				}
				run.wild()
				wild += run.collected
				run.calm(changeKeys...)
				run.readCold()
				run.none(seed)
				operations += run.done
				collected += run.collected
				if run.told != nil {
					run.nothingLost(run.keys)
					continue
				}
				for _, key := range run.keys {
					if c.cfg.Sloppy {
						break // it never promised that
					}
					ops := run.ops[key]
					switch porcupine.CheckOperationsTimeout(register, ops, 10*time.Second) {
					case porcupine.Illegal:
						t.Fatalf("seed %d: key %s is not linearizable:\n%s", seed, key, operationsText(ops))
					case porcupine.Unknown:
						t.Fatalf("seed %d: Porcupine did not finish", seed)
					}
				}
			}
			t.Logf("%d operations; %d tombstones taken out, %d of them among the faults", operations, collected, wild)
			require.Greater(t, wild, c.seeds**moreSeeds*5, "too few collections to show anything")
		})
	}
}

// collectRun is a random schedule with deletes.
type collectRun struct {
	*changeRun
	keys      []string
	late      []packet // kept back for long
	collected uint64
}

func newCollectRun(t *testing.T, cfg Config, seed uint64) *collectRun {
	r := &collectRun{changeRun: newChangeRun(t, cfg, seed), keys: slices.Clone(changeKeys)}
	for i := range 20 { // that are seldom written, so that an old record has its chance
		r.keys = append(r.keys, fmt.Sprint("cold", i))
	}
	r.c.onWrite = func(m *machine, w Write) {
		if w.Record.IsZero() && m.view[w.Key].Deleted {
			r.collected++
		}
	}
	return r
}

// operation draws a request: cold keys are put, and deleted soon after.
func (r *collectRun) operation(client int) Request {
	if r.rng.IntN(3) == 0 {
		return r.changeRun.operation(client)
	}
	q := Request{Op: Get, Key: r.keys[len(changeKeys)+r.rng.IntN(20)]}
	switch r.rng.IntN(5) {
	case 0, 1:
		q.Op = Delete
	case 2, 3:
		q.Op, q.Value = Put, fmt.Append(nil, r.now)
	}
	if r.told != nil { // clients tell each other what they have seen
		if q.Op == Put {
			q.Value = fmt.Append(nil, "cold", r.now) // none that the ledger draws
		}
		r.told.drawn = r.told.known[place(anyone, q.Key)]
		if q.Context = r.told.drawn.context; q.Op == Get || q.Op == Delete && q.Context == nil {
			q.Op, q.Context = Get, nil
		}
	}
	return q
}

func (r *collectRun) wild() {
	for range 2000 * r.c.cfg.Nodes {
		r.now++
		r.c.mono++
		m := r.c.nodes[r.rng.IntN(len(r.c.nodes))]
		client := r.rng.IntN(changeClients)
		switch dice := r.rng.IntN(10000); {
		case dice < 300 && r.where[client] == nil && m.core != nil:
			r.ask(client, m, r.operation(client))
		case dice < 6800 && len(r.c.network) > 0:
			for range 1 + len(r.c.network)/64 { // what is sent is delivered some time
				r.deliver()
			}
		case dice < 6830 && len(r.c.network) > 0: // lost
			i := r.rng.IntN(len(r.c.network))
			r.c.network = slices.Delete(r.c.network, i, i+1)
		case dice < 7000 && len(r.c.network) > 0: // repeated, much later
			r.late = append(r.late, r.c.network[r.rng.IntN(len(r.c.network))])
		case dice < 7100 && len(r.late) > 0:
			i := r.rng.IntN(len(r.late))
			r.c.network = append(r.c.network, r.late[i])
			r.late = slices.Delete(r.late, i, i+1)
		case dice < 8900 && m.core != nil:
			r.c.sync(m)
		case dice < 9300 && m.core != nil:
			r.c.syncSome(m, r.rng.IntN(len(m.buffer)+1))
		case dice < 9305 && m.core != nil:
			r.c.fail(m, r.rng.IntN(len(m.buffer)+1))
		case dice < 9309 && m.core != nil:
			for _, w := range m.buffer[:r.rng.IntN(len(m.buffer)+1)] {
				m.reach(w)
			}
			r.crash(m)
		case dice < 9600 && m.core == nil && !(r.gone | r.out).has(m.id):
			require.NoError(r.t, r.c.start(m))
		case dice < 9603:
			r.cut = nodeSet(r.rng.Uint64())
			r.cut &= nodeSet(r.rng.Uint64()) // few of them
		case dice < 9640:
			r.cut = 0
		case dice < 9643 && m.core != nil:
			r.change(m)
		case dice < 9644:
			r.refresh()
		case dice >= 9650:
			r.c.advance(time.Duration(r.rng.Int64N(int64(6 * time.Millisecond))))
		}
		v := r.newest()
		for s := r.gone; s != 0; {
			if id := s.pop(); v.Retired&(1<<id) != 0 && v.member(id) == nil {
				r.gone.remove(id)
				r.out.add(id)
			}
		}
	}
	r.c.network = append(r.c.network, r.late...)
}

// readCold reads the cold keys, each at some member.
func (r *collectRun) readCold() {
	members := r.newest().Members
	cold := r.keys[len(changeKeys):]
	for i := 0; i < len(cold); i += changeClients {
		r.now++
		before, n := r.done, 0
		for client, key := range cold[i:min(len(cold), i+changeClients)] {
			r.ask(client, r.c.nodes[members[r.rng.IntN(len(members))].ID], Request{Op: Get, Key: key})
			n++
		}
		r.quiet()
		require.Equal(r.t, before+n, r.done, "a key cannot be read")
	}
}

// none checks that no member has a tombstone left, and that the newest record that
// is left is none that a delete had replaced.
func (r *collectRun) none(seed uint64) {
	newest := make(map[string]Stamp)
	for _, m := range r.newest().Members {
		m := r.c.nodes[m.ID]
		for _, key := range r.keys {
			rec := m.view[key]
			require.False(r.t, rec.Deleted, "seed %d: node %d has the tombstone of %s still: %+v", seed, m.id, key, m.core.CollectStats())
			if newest[key].older(rec.Stamp) {
				newest[key] = rec.Stamp
			}
		}
	}
	for _, key := range r.keys {
		require.False(r.t, newest[key] != Stamp{} && newest[key].older(r.acked[key]), "seed %d: %s has come back: %v was acknowledged, and %v is left", seed, key, r.acked[key], newest[key])
	}
}

// pass lets time pass. The packets that keep says yes to stay in the network.
func (c *cluster) pass(d time.Duration, keep func(p packet) bool) {
	for end := c.mono + d; c.mono < end; {
		c.advance(time.Millisecond)
		for moved := true; moved; {
			moved = false
			for i := 0; i < len(c.network); {
				if keep != nil && keep(c.network[i]) {
					i++
					continue
				}
				c.deliver(i)
				moved = true
			}
			for _, m := range c.nodes {
				if m.core != nil && len(m.buffer) > 0 {
					c.sync(m)
					moved = true
				}
			}
		}
	}
}

// collectCluster is three nodes that collect, and the last replies by request.
func collectCluster(t *testing.T) (*cluster, map[uint64]Reply) {
	c, err := newCluster(collecting(abd(3)))
	require.NoError(t, err)
	c.quiet = true
	replies := make(map[uint64]Reply)
	c.onReply = func(_ NodeID, q Request, p Reply) { replies[q.ID] = p }
	return c, replies
}

// collectedBy finds a key whose collector is the given node.
func (c *cluster) collectedBy(id NodeID) string {
	key := "a"
	for c.nodes[0].core.collectorOf(key) != id {
		key += "a"
	}
	return key
}

// A put is read, and then deleted, while its coordinator does not learn how far it
// has come, and goes on. As long as it does the tombstone is needed.
func TestTombstoneOutlivesRequests(t *testing.T) {
	c, replies := collectCluster(t)
	c.pass(100*time.Millisecond, nil)
	key := c.collectedBy(1)
	deaf := func(p packet) bool { // node 0 does not hear of its stores, and node 2 gets none
		return p.m.Key == key && p.m.Round == roundStore &&
			(p.m.Type == MsgStored && p.to == 0 || p.m.Type == MsgStore && p.from == 0 && p.to == 2)
	}
	put := c.request(c.nodes[0], Put, key, "old")
	c.pass(2*time.Millisecond, deaf)
	get := c.request(c.nodes[1], Get, key, "")
	c.pass(2*time.Millisecond, deaf)
	require.Equal(t, "old", string(replies[get].Value))
	del := c.request(c.nodes[1], Delete, key, "")
	c.pass(2*time.Millisecond, deaf)
	require.Nil(t, replies[del].Err)
	began := c.nodes[0].core.epoch()
	for range 100 {
		c.pass(time.Millisecond, deaf)
		if _, over := replies[put]; over {
			break
		}
		for _, m := range c.nodes {
			require.True(t, m.view[key].Deleted, "node %d has forgotten the delete, and the put is under way still", m.id)
		}
	}
	require.Greater(t, c.nodes[0].core.epoch(), began, "the collection had begun")
	require.Contains(t, replies, put)
	c.pass(200*time.Millisecond, deaf)
	for _, m := range c.nodes {
		require.NotContains(t, m.view, key, "node %d", m.id)
	}
	require.NotEmpty(t, c.network)
	c.pass(100*time.Millisecond, nil) // what was late arrives
	for _, m := range c.nodes {
		require.NotContains(t, m.view, key, "node %d", m.id)
	}
}

// A replica that does not hear that it may forget has the tombstone still. A write
// of a node that has just started, and has seen no stamp, is above it.
func TestStampsStayAboveTombstones(t *testing.T) {
	c, replies := collectCluster(t)
	key := c.collectedBy(1)
	for range 5 {
		c.request(c.nodes[1], Put, key, "old")
		c.pass(2*time.Millisecond, nil)
	}
	del := c.request(c.nodes[1], Delete, key, "")
	forgotten := 0
	c.pass(400*time.Millisecond, func(p packet) bool {
		if p.m.Type != MsgForget {
			return false
		}
		forgotten++
		return p.to == 2
	})
	require.Positive(t, forgotten)
	require.Contains(t, c.nodes[2].view, key)
	require.NotContains(t, c.nodes[0].view, key)
	require.NotContains(t, c.nodes[1].view, key)
	c.network = nil
	c.crash(c.nodes[0])
	require.NoError(t, c.start(c.nodes[0]))
	put := c.request(c.nodes[0], Put, key, "new")
	c.pass(20*time.Millisecond, func(p packet) bool { return p.m.Key == key && p.to == 2 })
	require.Nil(t, replies[put].Err)
	require.True(t, replies[del].Stamp.older(replies[put].Stamp), "%v is not above %v", replies[put].Stamp, replies[del].Stamp)
}
