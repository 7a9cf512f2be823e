package replica

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// TestLostPromises has acceptors lose what they promised, under random schedules
// that are made for it. A proposer has the promise of one acceptor long before
// the others hear of its ballot. This acceptor loses its record then, and with the
// process all memory of how high the ballots are. After the repair others change
// the key without one of its replicas, and that is the one which hears of the
// slow ballot. Porcupine judges.
func TestLostPromises(t *testing.T) {
	of := func(nodes, n int) Config {
		cfg := caspaxos(n)
		cfg.Nodes = nodes
		return cfg
	}
	for _, c := range []struct {
		name  string
		cfg   Config
		seeds uint64
	}{
		{"3 of 3", of(3, 3), 200},
		{"3 of 4", of(4, 3), 1500},
		{"3 of 5", of(5, 3), 300},
		{"4 of 5", of(5, 4), 100},
		{"5 of 5", of(5, 5), 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			damaged, repaired, done := 0, 0, 0
			for seed := range c.seeds * *moreSeeds {
				run, err := bareRun(t, c.cfg, seed)
				require.NoError(t, err)
				lost, mended := run.losePromises()
				damaged, repaired, done = damaged+lost, repaired+mended, done+run.done
				switch porcupine.CheckOperationsTimeout(register, run.ops["k"], 10*time.Second) {
				case porcupine.Illegal:
					t.Fatalf("seed %d is not linearizable:\n%s", seed, operationsText(run.ops["k"]))
				case porcupine.Unknown:
					t.Fatalf("seed %d: Porcupine did not finish", seed)
				}
			}
			t.Logf("%d records found damaged, %d repaired, %d operations done", damaged, repaired, done)
			require.Greater(t, repaired, int(c.seeds), "too few repairs to show anything")
			require.Greater(t, done, int(c.seeds)*10, "too few operations to show anything")
		})
	}
}

// losePromises takes random steps, and tells how many records were found damaged
// and how many repaired.
func (r *changeRun) losePromises() (lost, mended int) {
	var slow [MaxNodes]nodeSet // to whom a node's packets are held back
	var proposer, victim *machine
	r.c.onDamage = func(d Damage) {
		if !d.Repaired {
			lost++
			return
		}
		mended++
		if left := r.c.nodes[r.rng.IntN(len(r.c.nodes))]; left != proposer {
			for _, m := range r.c.nodes {
				if m != proposer {
					slow[m.id].add(left.id)
				}
			}
		}
	}
	const clients = 4
	for range 2000 {
		r.now++
		r.c.mono++
		m := r.c.nodes[r.rng.IntN(len(r.c.nodes))]
		switch dice := r.rng.IntN(1000); {
		case dice < 40:
			if client := r.rng.IntN(clients); r.where[client] == nil {
				r.ask(client, m, r.comparing())
			}
		case dice < 800 && len(r.c.network) > 0:
			i := r.rng.IntN(len(r.c.network))
			if p := r.c.network[i]; !slow[p.from].has(p.to) {
				r.c.deliver(i)
			}
		case dice < 805 && len(r.c.network) > 0:
			i := r.rng.IntN(len(r.c.network))
			r.c.network = slices.Delete(r.c.network, i, i+1)
		case dice < 810 && len(r.c.network) > 0:
			r.c.network = append(r.c.network, r.c.network[r.rng.IntN(len(r.c.network))])
		case dice < 960:
			r.c.sync(m)
		case dice < 965:
			clear(slow[:])
			proposer, victim = m, r.c.nodes[r.rng.IntN(len(r.c.nodes))]
			slow[m.id] = ^nodeSet(1 << victim.id)
			// It has worked on other keys, and its ballots are higher now.
			m.core.see(Stamp{Counter: m.core.counter + r.rng.Int64N(50)})
			if victim != m && r.where[clients] == nil {
				r.ask(clients, m, r.comparing())
			}
		case dice < 967:
			clear(slow[:])
		case dice < 971:
			slow[m.id] = 0
		case dice < 975:
			r.forget(m)
		case dice < 990 && len(r.c.network) < 20:
			r.c.advance(time.Duration(r.rng.Int64N(int64(r.c.cfg.Timeout / 8))))
		}
		if victim != nil && r.rng.IntN(20) == 0 {
			if promised := victim.disk["k"].ballots().Promise; promised.Node == proposer.id && promised != (Stamp{}) {
				r.forget(victim)
				if r.where[clients+1] == nil {
					r.ask(clients+1, victim, r.comparing()) // it finds the damage
				}
				victim = nil
			}
		}
	}
	for _, m := range r.c.nodes {
		r.crash(m) // what is under way is open
	}
	return lost, mended
}

// forget has a node lose its record and restart, if the others have theirs.
func (r *changeRun) forget(m *machine) {
	if r.damage(m, "k") {
		r.crash(m)
		require.NoError(r.t, r.c.start(m))
	}
}

// comparing draws a request for key k, most often a compare-and-set from the value
// that was told last.
func (r *changeRun) comparing() Request {
	q := Request{Op: CAS, Key: "k", Value: fmt.Append(nil, r.now), Expect: r.told, ExpectAbsent: r.told == nil}
	switch r.rng.IntN(6) {
	case 0, 1:
		q = Request{Op: Get, Key: "k"}
	case 2:
		q = Request{Op: Put, Key: "k", Value: q.Value}
	}
	return q
}

// A damaged record is repaired where a majority without it is left, and refused
// for good where there is none.
func TestRepairsOfCASPaxosNeedAMajorityWithoutTheRecord(t *testing.T) {
	for n, repairs := range map[int]bool{1: false, 2: false, 3: true, 4: true, 5: true} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c, err := newCluster(caspaxos(n))
			require.NoError(t, err)
			c.request(c.nodes[0], Put, "k", "v")
			c.settle()
			m := c.nodes[n-1]
			before := m.disk["k"].ballots()
			m.damage("k")
			c.told()
			for range 30 {
				c.request(m, Get, "k", "")
				c.settle()
				c.advance(100 * time.Millisecond)
			}
			told := c.told()
			require.Equal(t, !repairs, m.viewDamage["k"])
			if !repairs {
				require.Contains(t, told, fmt.Sprintf("n%d finds k damaged, for good", n-1))
				return
			}
			require.Contains(t, told, fmt.Sprintf("n%d repairs k: 1.0.1.1", n-1))
			require.Equal(t, "v", string(m.disk["k"].Value))
			after := m.disk["k"].ballots()
			require.True(t, before.Promise.Less(after.Promise), "what was promised before is below what is promised now")
			c.advance(2 * time.Second)
			require.Zero(t, m.core.Deadline(), "nothing is left to do")
		})
	}
}

// While too many are lost the repair finds no majority. It goes on when one is
// there again.
func TestRepairOfCASPaxosWaitsForAMajority(t *testing.T) {
	c, err := newCluster(caspaxos(3))
	require.NoError(t, err)
	c.request(c.nodes[0], Put, "k", "v")
	c.settle()
	m, other := c.nodes[1], c.nodes[2]
	m.damage("k")
	other.broken = errTest
	for range 50 {
		c.request(m, Get, "k", "")
		c.settle()
		c.advance(100 * time.Millisecond)
	}
	require.True(t, m.viewDamage["k"])
	other.broken = nil
	for range 20 {
		c.advance(c.cfg.Retry)
		c.settle()
	}
	require.False(t, m.viewDamage["k"])
	require.Empty(t, m.core.mends)
}
