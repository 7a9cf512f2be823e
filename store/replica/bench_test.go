package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// trio is the fastest driver there can be: three cores, a queue of messages,
// disks that are durable at once.
type trio struct {
	cores   [3]*Replica
	disks   [3]mapStorage
	queue   []packet
	head    int
	now     Now
	inputs  int
	replies int
	failed  int
}

type mapStorage map[string]Record

func (s mapStorage) Get(key string) (Record, bool, error) {
	rec, ok := s[key]
	return rec, ok, nil
}

func (s mapStorage) Scan(from uint64, f func(string, Stamp, error) bool) error {
	return scanMap(s, nil, from, f)
}

func newTrio(b *testing.B, cfg Config) *trio {
	g := &trio{now: Now{Mono: time.Second}}
	for i := range g.cores {
		cfg.ID = NodeID(i)
		g.disks[i] = make(mapStorage)
		core, err := New(cfg, 1, g.disks[i])
		require.NoError(b, err)
		g.cores[i] = core
	}
	return g
}

func (g *trio) carry(i int) {
	core := g.cores[i]
	for {
		out := core.Take()
		for _, e := range out.Messages {
			g.queue = append(g.queue, packet{NodeID(i), e.To, e.Message})
		}
		for _, p := range out.Replies {
			g.replies++
			if p.Err != nil {
				g.failed++
			}
		}
		if len(out.Writes) == 0 {
			return
		}
		for _, w := range out.Writes {
			g.disks[i][w.Key] = w.Record
		}
		g.inputs++
		core.Persisted(g.now, out.Seq)
	}
}

func (g *trio) run() {
	for ; g.head < len(g.queue); g.head++ {
		p := &g.queue[g.head]
		g.inputs++
		g.cores[p.to].Receive(g.now, p.from, p.m)
		g.carry(int(p.to))
	}
	g.queue, g.head = g.queue[:0], 0
}

func BenchmarkABD(b *testing.B) { benchmarkRing(b, abd(3), Put) }

// BenchmarkCASPaxos is reads and compare-and-sets, each key changed by one node:
// the fast path. Those that find another value cost as much.
func BenchmarkCASPaxos(b *testing.B) { benchmarkRing(b, caspaxos(3), CAS) }

// benchmarkRing is as many changes as reads.
func benchmarkRing(b *testing.B, cfg Config, change Op) {
	keys := []string{"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"}
	value := []byte("1234567")
	g := newTrio(b, cfg)
	for i, key := range keys { // so that a CAS finds what it expects
		g.cores[i%3].Request(g.now, Request{ID: uint64(i), Op: Put, Key: key, Value: value})
		g.carry(i % 3)
	}
	g.run()
	require.Zero(b, g.failed)
	g.inputs, g.replies = 0, 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		q := Request{ID: uint64(i), Op: Get, Key: keys[i%len(keys)]}
		if i%2 == 0 {
			q.Op, q.Value, q.Expect = change, value, value
		}
		g.now.Mono++
		g.inputs++
		node := i % len(keys) % 3
		g.cores[node].Request(g.now, q)
		g.carry(node)
		if i%10 == 9 { // ten in flight
			g.run()
		}
	}
	g.run()
	b.StopTimer()
	require.Equal(b, b.N, g.replies)
	require.Zero(b, g.failed)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(g.inputs), "ns/input")
}
