package replica

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var errTest = errors.New("input/output error")

func abd(n int) Config {
	return Config{
		Nodes:   n,
		Rules:   Rules{N: n, R: n/2 + 1, W: n/2 + 1, Stamps: Logical, WriteBack: true},
		Timeout: time.Second, Retry: 100 * time.Millisecond,
	}
}

func caspaxos(n int) Config {
	cfg := abd(n)
	cfg.Protocol, cfg.WriteBack = CASPaxos, false
	return cfg
}

func TestNewRejectsBadConfig(t *testing.T) {
	good := abd(3)
	_, err := New(good, 1, &machine{})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"nodes":              {func(c *Config) { c.Nodes = 65 }, "Nodes is 65: set it to the size of the cluster, 1 to 64"},
		"id":                 {func(c *Config) { c.ID = 3 }, "ID is 3"},
		"n":                  {func(c *Config) { c.N = 4 }, "N is 4: a cluster of 3 nodes can have 1 to 3 replicas of a key"},
		"n zero":             {func(c *Config) { c.N = 0 }, "N is 0"},
		"r":                  {func(c *Config) { c.R = 4 }, "R is 4"},
		"r zero":             {func(c *Config) { c.R = 0 }, "R is 0"},
		"w":                  {func(c *Config) { c.W = 4 }, "W is 4"},
		"stamps":             {func(c *Config) { c.Stamps = 9 }, "Stamps is 9"},
		"timeout":            {func(c *Config) { c.Timeout = 0 }, "Timeout is 0s"},
		"scrub":              {func(c *Config) { c.Scrub = -1 }, "Scrub is -1: set it to how many records to read in a second"},
		"retry":              {func(c *Config) { c.Retry = -1 }, "Retry is -1ns"},
		"protocol":           {func(c *Config) { c.Protocol = 7 }, "Protocol is 7: set it to Quorum (0) or CASPaxos (1)"},
		"caspaxos, read one": {func(c *Config) { c.Protocol, c.R, c.W = CASPaxos, 1, 3 }, "R is 1 and W is 3: with CASPaxos both are the majority of N, 2"},
		"caspaxos, repairs":  {func(c *Config) { *c = caspaxos(3); c.AntiEntropy = time.Second }, "AntiEntropy is 1s, and CASPaxos has none"},
		"caspaxos, sloppy":   {func(c *Config) { *c = caspaxos(3); c.Sloppy = true }, "with CASPaxos quorums cannot be Sloppy"},
		"caspaxos, on reads": {func(c *Config) { *c = caspaxos(3); c.ReadRepair = ReadRepairAsync }, "ReadRepair is async, and CASPaxos has none"},
	} {
		cfg := good
		c.change(&cfg)
		_, err := New(cfg, 1, &machine{})
		require.ErrorContains(t, err, c.says, name)
	}
	_, err = New(good, 0, &machine{})
	require.ErrorContains(t, err, "boot is 0")
	_, err = New(good, 1, nil)
	require.ErrorContains(t, err, "no Storage")
}

func TestInvalidRequests(t *testing.T) {
	r, err := New(abd(3), 1, &machine{})
	require.NoError(t, err)
	r.Request(Now{}, Request{ID: 7, Op: Put})
	r.Request(Now{}, Request{ID: 8, Op: 9, Key: "k"})
	r.Request(Now{}, Request{ID: 9, Op: Get, Key: "k", R: 4})
	r.Request(Now{}, Request{ID: 9, Op: Get, Key: "k", W: -1})
	out := r.Take()
	require.Len(t, out.Replies, 4)
	require.Equal(t, "R is 4: a key has 3 replicas, so wait for 1 to 3, or 0 for the configured 2", out.Replies[2].Err.Text)
	for _, p := range out.Replies {
		require.Equal(t, CodeInvalid, p.Err.Code)
		require.True(t, p.Err.Definite)
	}
	require.Empty(t, out.Messages)
	require.Zero(t, r.Deadline())
}

func TestNonsenseIsIgnored(t *testing.T) {
	c, err := newCluster(abd(3))
	require.NoError(t, err)
	r := c.nodes[0].core
	c.request(c.nodes[0], Put, "k", "v")
	before := len(c.network)
	for _, m := range []Message{
		{},
		{Type: 200, ID: 1, Boot: 1, Round: 1},
		{Type: MsgStore, Key: "k"}, // no record
		{Type: MsgStore, Record: Record{Stamp: Stamp{Counter: 1}}}, // no key
		{Type: MsgStored, ID: 1, Boot: 1, Round: roundQuery},       // answer of another kind
		{Type: MsgRecord, ID: 1, Boot: 2, Round: roundQuery},       // another incarnation
		{Type: MsgRecord, ID: 1, Boot: 1, Round: roundStore},       // another round
		{Type: MsgRecord, ID: 9, Boot: 1, Round: roundQuery},       // another request
	} {
		r.Receive(Now{}, 1, m)
	}
	r.Receive(Now{}, 0, Message{Type: MsgRecord, ID: 1, Boot: 1, Round: roundQuery})       // itself
	r.Receive(Now{}, 3, Message{Type: MsgRecord, ID: 1, Boot: 1, Round: roundQuery})       // no node
	r.Receive(Now{}, 1<<31|1, Message{Type: MsgRecord, ID: 1, Boot: 1, Round: roundQuery}) // no node
	r.Persisted(Now{}, 1000)                                                               // nothing was written
	c.carry(c.nodes[0])
	require.Len(t, c.network, before)
	c.settle()
	require.Contains(t, c.told(), `n0 put k "v": ok 1.0.1.1, by 2`)
}

// No message can make a node panic, whatever is in it.
func TestRandomMessages(t *testing.T) {
	for _, cfg := range []Config{abd(3), caspaxos(3)} {
		randomMessages(t, cfg)
	}
}

func randomMessages(t *testing.T, cfg Config) {
	rng := rand.New(rand.NewPCG(1, 1))
	stamp := func() Stamp {
		return Stamp{Counter: rng.Int64N(5) - 2, Node: NodeID(rng.IntN(5)), Boot: rng.Uint64N(2), Seq: rng.Uint64N(2)}
	}
	c, err := newCluster(cfg)
	require.NoError(t, err)
	c.quiet = true
	m := c.nodes[0]
	for i := range 200_000 {
		msg := Message{
			Type: MessageType(rng.IntN(int(MsgConflict) + 2)), ID: rng.Uint64N(100), Boot: rng.Uint64N(3), Round: uint8(rng.IntN(4)),
			Key: "kl"[:rng.IntN(3)], TagOnly: rng.IntN(2) == 0, Found: rng.IntN(2) == 0,
			Record: Record{
				Stamp:   stamp(),
				Deleted: rng.IntN(2) == 0,
			},
		}
		if rng.IntN(2) == 0 {
			msg.Record.Ballots = &Ballots{Promise: stamp(), Accepted: stamp(), Before: []Stamp{stamp(), stamp()}}
		}
		m.core.Receive(c.now(m), NodeID(rng.IntN(5)), msg)
		c.carry(m)
		switch {
		case i%7 == 0:
			c.request(m, Op(1+rng.IntN(4)), "k", "v")
		case i%11 == 0:
			c.sync(m)
		case i%13 == 0:
			c.fail(m, 0)
		case i%101 == 0:
			c.advance(time.Second)
		}
		c.network = c.network[:0]
	}
	c.sync(m)
	c.advance(2 * time.Second)
	require.Empty(t, c.asked, "every request was answered")
	require.Empty(t, m.core.requests)
	require.Empty(t, m.core.proposer.rounds)
	require.Empty(t, m.core.proposer.lines)
	require.Empty(t, m.core.proposer.alarms)
}

// A record with the highest stamp there is leaves no room for another version.
func TestNoStampLeft(t *testing.T) {
	c, err := newCluster(abd(3))
	require.NoError(t, err)
	c.nodes[1].core.Receive(c.now(c.nodes[1]), 2, Message{
		Type: MsgStore, Key: "k", Record: Record{Stamp: Stamp{Counter: math.MaxInt64, Node: 2, Boot: 1, Seq: 1}},
	})
	c.carry(c.nodes[1])
	c.settle()
	c.request(c.nodes[0], Put, "k", "v")
	c.settle()
	require.Contains(t, c.told(), "failed, not done: no version is left above the highest one seen")
}

func TestFinishedRequestsAreForgotten(t *testing.T) {
	for _, cfg := range []Config{abd(3), caspaxos(3)} {
		finishedRequests(t, cfg)
	}
}

func finishedRequests(t *testing.T, cfg Config) {
	c, err := newCluster(cfg)
	require.NoError(t, err)
	c.quiet = true
	ops := []Op{Get, Put, Delete}
	for i := range 50_000 {
		m := c.nodes[i%3]
		c.request(m, ops[i%len(ops)], "k", "v")
		if i%3 == 2 {
			if i%5 == 0 && len(c.network) > 0 {
				c.network = c.network[1:]
			}
			c.settle()
			c.advance(cfg.Retry) // those who met a rival try again
		}
	}
	c.advance(2 * time.Second)
	c.settle()
	require.Empty(t, c.asked)
	for _, m := range c.nodes {
		r := m.core
		require.Empty(t, r.requests)
		require.Empty(t, r.proposer.rounds)
		require.Empty(t, r.proposer.lines)
		require.Empty(t, r.proposer.alarms)
		require.Nil(t, r.byDeadline.head)
		require.Nil(t, r.byRetry.head)
		require.Empty(t, r.gate.byKey)
		require.Empty(t, r.gate.entries)
		require.Zero(t, r.Deadline())
		require.Less(t, len(r.gate.waiters), 1000)
		idle := 0
		for x := r.free; x != nil; x = x.link[0].next {
			idle++
		}
		require.Less(t, idle, 10_000, "request states are used again")
	}
}
