package replica

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

var moreSeeds = flag.Uint64("seeds", 1, "how many times the usual number of random schedules to try")

// gossiping is a setting with members that come and go.
func gossiping(cfg Config) Config {
	cfg.Gossip = 20 * time.Millisecond
	return cfg
}

// TestRandomChanges lets the members of a cluster change under load, with lost,
// repeated and overtaking packets, partitions, crashes, and disks that are lost
// for good: no acknowledged write is lost, and the registers stay linearizable.
func TestRandomChanges(t *testing.T) {
	repaired := abd(3)
	repaired.AntiEntropy, repaired.ReadRepair = 50*time.Millisecond, ReadRepairAsync
	of5 := threeOfFive()
	repairedOf5 := of5
	repairedOf5.AntiEntropy, repairedOf5.ReadRepair = repaired.AntiEntropy, repaired.ReadRepair
	paxosOf5 := caspaxos(3)
	paxosOf5.Nodes = 5
	mixed := repairedOf5
	mixed.Keyspaces = []Keyspace{{"b", caspaxos(3).Rules}, {"c", abd(4).Rules}}
	readAll := abd(3)
	readAll.R, readAll.W, readAll.WriteBack = 3, 1, false
	repairedSloppy := repairedOf5
	repairedSloppy.Sloppy = true
	causalOf5 := causal(3)
	causalOf5.Nodes = 5
	causalSloppy := causalOf5
	causalSloppy.Sloppy = true
	for _, c := range []struct {
		name  string
		cfg   Config
		lost  bool // disks are lost
		seeds uint64
		// damaged: records are damaged, those of the register of members too
		damaged bool
	}{
		{"abd 3", abd(3), true, 400, false},
		{"abd 3 of 5", of5, true, 200, false},
		{"abd 3, repaired", repaired, true, 150, false},
		{"abd 3 of 5, repaired", repairedOf5, true, 100, false},
		{"caspaxos 3", caspaxos(3), true, 400, false},
		{"caspaxos 3 of 5", paxosOf5, true, 200, false},
		{"keyspaces", mixed, true, 150, false},
		{"write-one read-all", readAll, false, 200, false},
		{"sloppy 3 of 5", sloppy(WallClock, 2, 2), true, 150, false},
		{"sloppy 3 of 5, repaired", repairedSloppy, true, 100, false},
		{"abd 3, damaged", abd(3), false, 150, true},
		{"caspaxos 3, damaged", caspaxos(3), false, 300, true},
		{"caspaxos 3 of 5, damaged", paxosOf5, false, 150, true},
		{"causal 3", causal(3), true, 200, false},
		{"causal 3 of 5", causalOf5, true, 150, false},
		{"causal 3 of 5, sloppy", causalSloppy, true, 100, false},
		{"causal 3, damaged", causal(3), false, 150, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			operations, changes, repaired := 0, 0, 0
			for seed := range c.seeds * *moreSeeds {
				run := newChangeRun(t, gossiping(c.cfg), seed)
				run.c.onDamage = func(d Damage) {
					if d.Repaired {
						repaired++
					}
				}
				if c.cfg.Stamps == Causal {
					run.told = newLedger(t, seed)
					run.told.strict = !c.cfg.Sloppy
				}
				run.wild(c.lost, c.damaged)
				run.calm(changeKeys...)
				if c.cfg.Protocol != CASPaxos {
					run.handedOff(seed)
				}
				operations += run.done
				changes += int(run.epoch()-1) / 2
				if run.told != nil {
					run.nothingLost(changeKeys)
					continue
				}
				for _, key := range changeKeys {
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
			require.Greater(t, operations, int(c.seeds)*10, "too few operations to show anything")
			require.Greater(t, changes, int(c.seeds), "too few changes to show anything")
			if c.damaged {
				require.Greater(t, repaired, int(c.seeds), "too few repairs to show anything")
			}
			t.Logf("%d operations, %d changes of the members, %d repairs in %d runs", operations, changes, repaired, c.seeds**moreSeeds)
		})
	}
}

var changeKeys = []string{"a", "b", "c"}

const changeClients = 8

// changeRun is one random schedule.
type changeRun struct {
	t     *testing.T
	c     *cluster
	rng   *rand.Rand
	now   int64
	ops   map[string][]porcupine.Operation
	done  int
	where [changeClients]*machine
	call  [changeClients]int64
	asker map[uint64]int
	acked map[string]Stamp // the newest that was acknowledged
	last  []byte           // the value that a client was told last; nil: absent
	cut   nodeSet          // the nodes on one side of a partition
	gone  nodeSet          // members whose disks are lost
	out   nodeSet          // they were replaced
	told  *ledger          // with Causal stamps; nil for others
}

func newChangeRun(t *testing.T, cfg Config, seed uint64) *changeRun {
	r, err := bareRun(t, cfg, seed)
	require.NoError(t, err)
	for range 2 {
		_, err = r.c.spare()
		require.NoError(t, err)
	}
	return r
}

// bareRun is one without spare nodes.
func bareRun(t *testing.T, cfg Config, seed uint64) (*changeRun, error) {
	r := &changeRun{t: t, rng: rand.New(rand.NewPCG(seed, 2)), ops: make(map[string][]porcupine.Operation), asker: make(map[uint64]int), acked: make(map[string]Stamp)}
	c, err := newCluster(cfg)
	if err != nil {
		return nil, err
	}
	r.c = c
	r.c.quiet = true
	r.c.onReply = r.reply
	return r, nil
}

func (r *changeRun) reply(_ NodeID, q Request, p Reply) {
	if q.Op == Reconfigure {
		return
	}
	client := r.asker[q.ID]
	r.where[client] = nil
	if r.told != nil {
		if r.told.reply(client, q, p) {
			r.done++
		}
		return
	}
	op := porcupine.Operation{ClientId: client, Call: r.call[client], Return: r.now, Input: q, Output: string(p.Value)}
	switch {
	case p.Err == nil:
		r.done++
		r.last = q.Value
		if q.Op == Get {
			r.last = p.Value
		}
		if q.Op != Get && r.acked[q.Key].older(p.Stamp) {
			r.acked[q.Key] = p.Stamp
		}
	case p.Err.Code == CodeMismatch:
		op.Input = Request{Op: Get}
		r.last = p.Value
	case p.Err.Definite:
		return
	default:
		op.Return, op.Output = math.MaxInt64, nil
	}
	r.ops[q.Key] = append(r.ops[q.Key], op)
}

// crash ends a node's process, and what its clients wait for is open.
func (r *changeRun) crash(m *machine) {
	r.c.crash(m)
	for id := uint64(1); id <= r.c.lastReq; id++ {
		q, open := r.c.asked[id]
		client, known := r.asker[id]
		if !open || !known || r.where[client] != m {
			continue
		}
		r.where[client] = nil
		delete(r.c.asked, id)
		if q.Op != Get {
			r.ops[q.Key] = append(r.ops[q.Key], porcupine.Operation{ClientId: client, Call: r.call[client], Return: math.MaxInt64, Input: q})
		}
	}
}

// newest is the latest view that is in force anywhere.
func (r *changeRun) newest() View {
	var v View
	for _, m := range r.c.nodes {
		if m.core != nil && m.core.epoch() > v.Epoch {
			v = m.core.View()
		}
	}
	return v
}

func (r *changeRun) epoch() uint64 { return r.newest().Epoch }

// ask gives a client's request to a node.
func (r *changeRun) ask(client int, m *machine, q Request) {
	r.where[client], r.call[client] = m, r.now
	r.asker[r.c.lastReq+1] = client
	if r.told != nil {
		r.told.begin(r.c.lastReq+1, client, q)
	}
	r.c.ask(m, q)
}

// operation draws a request.
func (r *changeRun) operation(client int) Request {
	if r.told != nil {
		return r.told.draw(r.rng, client, changeKeys[r.rng.IntN(len(changeKeys))])
	}
	q := Request{Op: Get, Key: changeKeys[r.rng.IntN(len(changeKeys))]}
	switch r.rng.IntN(6) {
	case 0:
		q.Op = Delete
	case 1, 2, 3:
		q.Op, q.Value = Put, fmt.Append(nil, r.now)
	}
	return q
}

// change asks a node for a change: a spare comes, a member goes, or both.
func (r *changeRun) change(m *machine) {
	v := m.core.View()
	var free, members []NodeID
	for id := range NodeID(len(r.c.nodes)) {
		spare := r.c.nodes[id]
		switch {
		case v.member(id) != nil && !r.gone.has(id):
			members = append(members, id)
		case v.member(id) == nil && spare.core != nil && spare.core.epoch() == 0:
			free = append(free, id)
		}
	}
	ch := &Change{}
	lost := r.gone & r.c.nodes[m.id].core.placement.nodes()
	switch dice := r.rng.IntN(3); {
	case lost != 0:
		ch.Remove, ch.Lost = []NodeID{lost.pop()}, true
		if len(free) > 0 {
			ch.Add = []Member{{ID: free[r.rng.IntN(len(free))]}}
		}
	case dice > 0 && len(free) > 0:
		ch.Add = []Member{{ID: free[r.rng.IntN(len(free))]}}
		if dice == 1 {
			break
		}
		fallthrough
	default:
		if len(members) == 0 {
			return
		}
		ch.Remove = []NodeID{members[r.rng.IntN(len(members))]}
	}
	r.c.ask(m, Request{Op: Reconfigure, Change: ch})
}

// refresh adds a spare in the place of those that were used.
func (r *changeRun) refresh() {
	if len(r.c.nodes) < 16 {
		_, err := r.c.spare()
		require.NoError(r.t, err)
	}
}

// lose takes a member's disk away for good. One at a time: the promise is for one.
func (r *changeRun) lose(m *machine) {
	v := r.newest()
	if r.gone != 0 || m.core == nil || v.member(m.id) == nil {
		return
	}
	r.crash(m)
	r.gone.add(m.id)
}

// damage spoils a record, unless another copy is damaged: of three no more may be.
func (r *changeRun) damage(m *machine, key string) bool {
	for _, other := range r.c.nodes {
		if other.diskDamage[key] {
			return false
		}
	}
	m.damage(key)
	return true
}

// deliver takes a packet out of the network; a partition eats it if it crosses.
func (r *changeRun) deliver() {
	i := r.rng.IntN(len(r.c.network))
	if p := r.c.network[i]; r.cut.has(p.from) != r.cut.has(p.to) {
		r.c.network = slices.Delete(r.c.network, i, i+1)
		return
	}
	r.c.deliver(i)
}

func (r *changeRun) wild(lost, damaged bool) {
	for range 3000 {
		r.now++
		r.c.mono++
		m := r.c.nodes[r.rng.IntN(len(r.c.nodes))]
		client := r.rng.IntN(changeClients)
		switch dice := r.rng.IntN(1000); {
		case dice < 60 && r.where[client] == nil && m.core != nil:
			r.ask(client, m, r.operation(client))
		case dice < 650 && len(r.c.network) > 0:
			r.deliver()
		case dice < 670 && len(r.c.network) > 0:
			i := r.rng.IntN(len(r.c.network))
			r.c.network = slices.Delete(r.c.network, i, i+1)
		case dice < 690 && len(r.c.network) > 0:
			r.c.network = append(r.c.network, r.c.network[r.rng.IntN(len(r.c.network))])
		case dice < 860 && m.core != nil:
			r.c.sync(m)
		case dice < 920 && m.core != nil:
			r.c.syncSome(m, r.rng.IntN(len(m.buffer)+1))
		case dice < 923 && m.core != nil:
			r.c.fail(m, r.rng.IntN(len(m.buffer)+1))
		case dice < 926 && m.core != nil:
			for _, w := range m.buffer[:r.rng.IntN(len(m.buffer)+1)] {
				m.reach(w)
			}
			r.crash(m)
		case dice < 940 && m.core == nil && !(r.gone | r.out).has(m.id):
			require.NoError(r.t, r.c.start(m))
		case dice < 943:
			r.cut = nodeSet(r.rng.Uint64())
			r.cut &= nodeSet(r.rng.Uint64()) // few of them
		case dice < 945:
			r.cut = 0
		case dice < 957 && m.core != nil:
			r.change(m)
		case dice < 966:
			r.refresh()
		case dice < 967 && lost:
			r.lose(m)
		case dice < 972 && damaged:
			r.damage(m, append(changeKeys, registerKey)[r.rng.IntN(len(changeKeys)+1)])
		case dice >= 967:
			r.c.advance(time.Duration(r.rng.Int64N(int64(10 * time.Millisecond))))
		}
		v := r.newest()
		for s := r.gone; s != 0; {
			if id := s.pop(); v.Retired&(1<<id) != 0 && v.member(id) == nil { // replaced
				r.gone.remove(id)
				r.out.add(id)
			}
		}
	}
}

// quiet lets two seconds pass without faults.
func (r *changeRun) quiet() {
	for range 200 {
		r.c.advance(10 * time.Millisecond)
		r.c.settle()
		r.now++
	}
}

// calm lets everything come to rest, replaces what is lost, and reads the keys at
// every member.
func (r *changeRun) calm(keys ...string) {
	r.cut = 0
	for _, m := range r.c.nodes {
		if m.core == nil && !(r.gone | r.out).has(m.id) {
			require.NoError(r.t, r.c.start(m))
		}
	}
	r.quiet()
	for attempt := 0; r.gone != 0; attempt++ {
		require.Less(r.t, attempt, 5, "the lost nodes %b were not replaced; view %d: %s", r.gone, r.newest().Epoch, r.newestText())
		lost := r.gone
		id := lost.pop()
		v := r.newest()
		if v.member(id) == nil {
			r.gone.remove(id)
			r.out.add(id)
			continue
		}
		r.refresh()
		for _, m := range v.Members {
			if m.ID != id {
				r.change(r.c.nodes[m.ID])
				break
			}
		}
		r.quiet()
	}
	v := r.newest()
	require.False(r.t, v.joint(), "the change %s came to no end", &v)
	for _, m := range v.Members {
		have := r.c.nodes[m.ID].core.View()
		require.True(r.t, v.same(&have), "node %d has %d: %s, and not %d: %s", m.ID, have.Epoch, &have, v.Epoch, &v)
		if r.c.cfg.Collect == 0 { // else epochs come and go
			require.Equal(r.t, v, have, "node %d", m.ID)
		}
	}
	for client := range r.where {
		require.Nil(r.t, r.where[client], "a request was not answered")
	}
	for _, m := range v.Members {
		for _, key := range keys {
			r.now++
			before := r.done
			r.ask(0, r.c.nodes[m.ID], Request{Op: Get, Key: key})
			r.quiet()
			require.Equal(r.t, before+1, r.done, "node %d cannot read %s", m.ID, key)
		}
	}
}

// handedOff checks that no member has a record that does not belong there, and
// that some member has every acknowledged one, or a newer one.
func (r *changeRun) handedOff(seed uint64) {
	v := r.newest()
	newest := make(map[string]Stamp)
	for _, m := range v.Members {
		m := r.c.nodes[m.ID]
		require.Equal(r.t, HandoffStats{Clean: true, HandedOff: m.core.HandoffStats().HandedOff}, m.core.HandoffStats(), "seed %d, node %d", seed, m.id)
		for _, key := range changeKeys {
			rec, held := m.disk[key]
			if held && r.c.cfg.rules(key).Protocol != CASPaxos { // those are left where they are
				require.True(r.t, m.core.placement.Holds(m.id, key), "seed %d: %s is a stray at node %d", seed, key, m.id)
			}
			if newest[key].older(rec.Stamp) {
				newest[key] = rec.Stamp
			}
		}
	}
	for _, key := range changeKeys {
		require.False(r.t, newest[key].older(r.acked[key]), "seed %d: %s was acknowledged at %v, and %v is left", seed, key, r.acked[key], newest[key])
	}
}

// nothingLost checks that all members hold the same siblings of the keys that they
// have in common, and that no acknowledged put is missing.
func (r *changeRun) nothingLost(keys []string) {
	for _, key := range keys {
		var all *Siblings
		for _, m := range r.newest().Members {
			m := r.c.nodes[m.ID]
			if !m.core.placement.Holds(m.id, key) || m.viewDamage[key] || m.core.mending(key) {
				continue
			}
			rec := m.view[key]
			if all == nil {
				all = rec.siblings()
			}
			require.Equal(r.t, all.Record().Stamp, rec.Stamp, "seed %d: %s at node %d", r.told.seed, key, m.id)
		}
		if all == nil {
			continue // damaged everywhere
		}
		r.told.complete(key, r.told.read(all), r.told.now, "everybody in the end")
		r.told.noneBack(key, all, r.told.now, "everybody in the end")
	}
}

// newestText tells the latest view and what its nodes know.
func (r *changeRun) newestText() string {
	v := r.newest()
	s := v.String()
	for _, m := range r.c.nodes {
		if m.core == nil {
			s += fmt.Sprintf("; n%d is down", m.id)
			continue
		}
		v := m.core.View()
		s += fmt.Sprintf("; n%d in %d, %+v", m.id, v.Epoch, m.core.Members())
	}
	return s
}
