package replica

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// TestRandomSchedules lets a cluster run under random schedules, with lost,
// repeated and overtaking packets, crashes that lose what was not synced,
// failing disks, damaged records and clocks that are off, and has Porcupine judge what the
// clients saw. The settings that are not linearizable must be caught: a test
// that cannot fail shows nothing.
func TestRandomSchedules(t *testing.T) {
	lww := func(n int, writeBack bool) Config {
		cfg := abd(n)
		cfg.Stamps, cfg.WriteBack = WallClock, writeBack
		return cfg
	}
	queryTag := abd(3)
	queryTag.WriteBack = false
	readAll := queryTag
	readAll.R, readAll.W = 3, 1
	repaired := abd(3)
	repaired.AntiEntropy, repaired.ReadRepair = 50*time.Millisecond, ReadRepairAsync
	readOne := queryTag
	readOne.R, readOne.W = 1, 3
	of5 := threeOfFive()
	repaired5 := of5
	repaired5.AntiEntropy, repaired5.ReadRepair = repaired.AntiEntropy, repaired.ReadRepair

	sloppyOf5 := of5
	sloppyOf5.Sloppy = true

	readHalf := abd(4)
	readHalf.R, readHalf.W = 2, 3

	paxosOf5 := caspaxos(3)
	paxosOf5.Nodes = 5
	for _, c := range []struct {
		name   string
		cfg    Config
		skew   time.Duration // of a node's wall clock, either way
		min    int           // not 0: each request has an R and W of its own, at least min
		seeds  uint64
		broken bool
		damage int // records that are damaged, in percent of the steps
	}{
		{"abd 3", abd(3), time.Second, 0, 3000, false, 0},
		{"abd 4", abd(4), time.Second, 0, 500, false, 0},
		{"abd 5", abd(5), time.Second, 0, 1500, false, 0},
		{"abd 3 of 5", of5, time.Second, 0, 2000, false, 0},
		{"abd 3 of 5, own quorums that overlap", of5, time.Second, 2, 1000, false, 0},
		{"abd 3 of 5, own quorums of any size", of5, time.Second, 1, 1000, true, 0},
		{"abd 3 of 5, sloppy", sloppyOf5, time.Second, 0, 1000, true, 0},
		{"abd 3, records damaged", abd(3), time.Second, 0, 3000, false, 1},
		{"abd 5, records damaged", abd(5), time.Second, 0, 1500, false, 1},
		{"abd 3 of 5, records damaged", of5, time.Second, 0, 1500, false, 1},
		{"read 2 of 4, records damaged", readHalf, time.Second, 0, 1000, false, 1},
		{"abd 3 with anti-entropy and read repair", repaired, time.Second, 0, 1000, false, 0},
		{"abd 3 of 5 with anti-entropy and read repair", repaired5, time.Second, 0, 1000, false, 0},
		{"abd 3 with anti-entropy and read repair, records damaged", repaired, time.Second, 0, 2000, false, 1},
		{"abd 3 of 5 with anti-entropy and read repair, records damaged", repaired5, time.Second, 0, 1500, false, 1},
		{"write-one read-all", readAll, time.Second, 0, 1000, false, 0},
		{"majority lww, write-back, exact clocks", lww(3, true), 0, 0, 1000, false, 0},
		{"majority lww, write-back, skewed clocks", lww(3, true), time.Second, 0, 1000, true, 0},
		{"majority lww, exact clocks", lww(3, false), 0, 0, 1000, true, 0},
		{"majority query-tag", queryTag, 0, 0, 1000, true, 0},
		{"read-one write-all", readOne, 0, 0, 1000, true, 0},
		{"caspaxos 3", caspaxos(3), time.Second, 0, 4000, false, 0},
		{"caspaxos 4", caspaxos(4), time.Second, 0, 500, false, 0},
		{"caspaxos 5", caspaxos(5), time.Second, 0, 1500, false, 0},
		{"caspaxos 3 of 5", paxosOf5, time.Second, 0, 1500, false, 0},
		{"caspaxos 3, records damaged", caspaxos(3), time.Second, 0, 2000, false, 1},
		{"caspaxos 4, records damaged", caspaxos(4), time.Second, 0, 500, false, 1},
		{"caspaxos 5, records damaged", caspaxos(5), time.Second, 0, 1000, false, 1},
		{"caspaxos 3 of 5, records damaged", paxosOf5, time.Second, 0, 1000, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			broken, operations := 0, 0
			for seed := range c.seeds {
				ops := randomRun(t, c.cfg, seed, c.skew, c.min, c.damage)
				operations += len(ops)
				switch porcupine.CheckOperationsTimeout(register, ops, 10*time.Second) {
				case porcupine.Illegal:
					broken++
					require.True(t, c.broken, "seed %d is not linearizable:\n%s", seed, operationsText(ops))
				case porcupine.Unknown:
					t.Fatalf("seed %d: Porcupine did not finish", seed)
				}
			}
			require.Greater(t, operations, int(c.seeds)*5, "too few operations to show anything")
			if c.broken {
				require.NotZero(t, broken, "no schedule of %d showed that this setting is not linearizable", c.seeds)
			}
			t.Logf("%d of %d runs not linearizable, %d operations", broken, c.seeds, operations)
		})
	}
}

// randomRun makes a cluster take random steps and gives the operations that
// may have happened, with the number of the step as time.
func randomRun(t *testing.T, cfg Config, seed uint64, skew time.Duration, minQuorum, damage int) []porcupine.Operation {
	const clients, steps = 4, 400
	rng := rand.New(rand.NewPCG(seed, 1))
	c, err := newCluster(cfg)
	require.NoError(t, err)
	c.quiet = true
	for _, m := range c.nodes {
		if skew > 0 {
			m.skew = time.Duration(rng.Int64N(int64(2*skew))) - skew
		}
	}

	var ops []porcupine.Operation
	var where [clients]*machine // of the client's operation in flight
	var call [clients]int64
	var last [clients]string // what the client knows of the key; "": absent
	byRequest := make(map[uint64]int)
	now := int64(0)
	c.onReply = func(_ NodeID, q Request, p Reply) {
		client := byRequest[q.ID]
		where[client] = nil
		op := porcupine.Operation{ClientId: client, Call: call[client], Return: now, Input: q, Output: string(p.Value)}
		switch {
		case p.Err == nil:
			if q.Op != Get {
				last[client] = string(q.Value)
				break
			}
			last[client] = string(p.Value)
		case p.Err.Code == CodeMismatch: // it has read the key
			op.Input = Request{Op: Get}
			last[client] = string(p.Value)
		case p.Err.Definite:
			return
		default:
			op.Return, op.Output = math.MaxInt64, nil
		}
		ops = append(ops, op)
	}
	// lose ends the operations of a node that crashes: their outcome is open.
	lose := func(m *machine) {
		for id := uint64(1); id <= c.lastReq; id++ {
			client := byRequest[id]
			q, open := c.asked[id]
			if !open || where[client] != m {
				continue
			}
			where[client] = nil
			delete(c.asked, id)
			if q.Op != Get {
				ops = append(ops, porcupine.Operation{ClientId: client, Call: call[client], Return: math.MaxInt64, Input: q})
			}
		}
	}

	for range steps {
		now++
		c.mono++ // two writes one after the other have different true times
		m := c.nodes[rng.IntN(len(c.nodes))]
		switch dice := rng.IntN(100); {
		case dice < 12:
			client := rng.IntN(clients)
			if where[client] != nil || m.core == nil {
				continue
			}
			where[client], call[client] = m, now
			byRequest[c.lastReq+1] = client
			q := Request{Op: Get, Key: "k"}
			dice := rng.IntN(7)
			if cfg.Protocol == CASPaxos {
				dice = rng.IntN(11)
			}
			switch dice {
			case 0:
				q.Op = Delete
			case 7, 8, 9, 10:
				q.Op, q.Value = CAS, fmt.Append(nil, now)
				q.Expect, q.ExpectAbsent = []byte(last[client]), last[client] == ""
			case 1, 2, 3:
				q.Op, q.Value = Put, []byte(fmt.Sprint(now))
			}
			if minQuorum > 0 {
				q.R, q.W = minQuorum+rng.IntN(cfg.N-minQuorum+1), minQuorum+rng.IntN(cfg.N-minQuorum+1)
			}
			c.ask(m, q)
		case dice < 70 && len(c.network) > 0:
			c.deliver(rng.IntN(len(c.network)))
		case dice < 73 && len(c.network) > 0:
			i := rng.IntN(len(c.network))
			c.network = slices.Delete(c.network, i, i+1)
		case dice < 76 && len(c.network) > 0:
			c.network = append(c.network, c.network[rng.IntN(len(c.network))])
		case dice < 94 && m.core != nil:
			c.sync(m)
		case dice < 95 && m.core != nil:
			c.fail(m, rng.IntN(len(m.buffer)+1))
		case dice < 96 && m.core != nil:
			for _, w := range m.buffer[:rng.IntN(len(m.buffer)+1)] {
				m.reach(w)
			}
			c.crash(m)
			lose(m)
		case dice >= 96 && dice < 96+damage:
			m.damage("k")
		case dice < 98 && m.core == nil:
			require.NoError(t, c.start(m))
		case dice >= 98:
			c.advance(time.Duration(rng.Int64N(int64(cfg.Timeout / 4))))
		}
	}
	for _, m := range c.nodes {
		if m.core != nil {
			lose(m)
		}
	}
	return ops
}

// register is one register; a deleted or unwritten one reads as "". An
// operation of unknown outcome has no output, and does nothing where it cannot
// be done.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		switch q := input.(Request); q.Op {
		case Put:
			return true, string(q.Value)
		case Delete:
			return true, ""
		case CAS:
			if state.(string) != string(q.Expect) {
				return output == nil, state
			}
			return true, string(q.Value)
		default:
			return output.(string) == state.(string), state
		}
	},
}

func operationsText(ops []porcupine.Operation) string {
	text := ""
	for _, op := range ops {
		q := op.Input.(Request)
		text += fmt.Sprintf("%d…%d client %d: op %d %q (from %q) -> %v\n", op.Call, op.Return, op.ClientId, q.Op, q.Value, q.Expect, op.Output)
	}
	return text
}
