package replica

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func causal(n int) Config {
	cfg := abd(n)
	cfg.Stamps, cfg.WriteBack = Causal, false
	cfg.AntiEntropy = 50 * time.Millisecond
	return cfg
}

// shelves are the records of some replicas, as they come to be: by puts, deletes,
// merges and losses. Beside each record, and each context that was given away,
// stand the dots that truly went into it.
type shelves struct {
	held [3]shelf
	away []shelf
	seq  uint64
}

type shelf struct {
	*Siblings
	dots map[Dot]bool
}

func (s shelf) with(more map[Dot]bool, siblings *Siblings) shelf {
	all := maps.Clone(s.dots)
	maps.Copy(all, more)
	return shelf{siblings, all}
}

func (s *shelves) step(t *rapid.T) {
	i := rapid.IntRange(0, len(s.held)-1).Draw(t, "at")
	at := &s.held[i]
	seen := rapid.SampledFrom(s.away).Draw(t, "seen")
	switch rapid.IntRange(0, 9).Draw(t, "step") {
	case 0, 1, 2, 3:
		s.seq++
		d := Dot{Node: NodeID(i), Boot: 1, Seq: s.seq}
		*at = at.with(seen.dots, at.put(d, nil, seen.Context))
		at.dots[d] = true
		s.away = append(s.away, *at, seen.with(map[Dot]bool{d: true}, &Siblings{Context: seen.Context.union(just(d))}))
	case 4:
		deleted, _ := at.merge(&Siblings{Context: seen.Context})
		*at = at.with(seen.dots, deleted)
	case 5, 6, 7, 8: // from another replica as it is, or as it has been
		from := append(s.held[:], s.away...)
		other := rapid.SampledFrom(from).Draw(t, "from")
		merged, _ := at.merge(other.Siblings)
		*at = at.with(other.dots, merged)
		s.away = append(s.away, *at)
	case 9: // lost, or handed off, or forgotten
		*at = shelf{new(Siblings), map[Dot]bool{}}
	}
}

func drawShelves(t *rapid.T) *shelves {
	none := shelf{new(Siblings), map[Dot]bool{}}
	s := &shelves{held: [3]shelf{none, none, none}, away: []shelf{none}}
	for range rapid.IntRange(0, 30).Draw(t, "steps") {
		s.step(t)
	}
	return s
}

// A context includes the dots that have gone into it, and none besides: the dot of
// a put that nobody has seen is in no other's, so that it is dropped nowhere.
func TestContextsAreTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawShelves(t)
		for _, x := range append(s.held[:], s.away...) {
			require.NoError(t, x.Validate())
			for node := range NodeID(3) {
				for seq := range s.seq {
					d := Dot{Node: node, Boot: 1, Seq: seq + 1}
					if made := madeBy(s, d); made {
						require.Equal(t, x.dots[d], x.Context.includes(d), "%v in %s", d, contextText(x.Context))
					}
				}
			}
		}
	})
}

// madeBy says whether a dot was made at all: the ranges have gaps.
func madeBy(s *shelves, d Dot) bool {
	return slices.ContainsFunc(s.away, func(x shelf) bool { return x.dots[d] })
}

func TestMergeOfSiblings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawShelves(t)
		merge := func(a, b *Siblings) *Siblings { m, _ := a.merge(b); return m }
		same := func(a, b *Siblings) { require.Equal(t, a.Record().Stamp, b.Record().Stamp, "%+v\n%+v", a, b) }
		a, b, c := s.held[0].Siblings, s.held[1].Siblings, s.held[2].Siblings
		for _, x := range s.held {
			require.NoError(t, x.Validate())
			_, more := x.merge(x.Siblings)
			require.False(t, more, "idempotent")
		}
		same(merge(a, b), merge(b, a))
		same(merge(merge(a, b), c), merge(a, merge(b, c)))
		ab, more := a.merge(b)
		require.NoError(t, ab.Validate())
		require.Equal(t, more, ab.Record().Stamp != a.Record().Stamp)
		again, more := ab.merge(b)
		require.False(t, more)
		same(ab, again)
		require.Equal(t, a.Born, ab.Born)
	})
}

// A context is a set of dots, and its ranges are only how it is written.
func TestContextIsASet(t *testing.T) {
	const boots, seqs = 2, 6
	draw := rapid.Custom(func(t *rapid.T) Context {
		var c Context
		for range rapid.IntRange(0, 5).Draw(t, "ranges") {
			n := NodeID(rapid.IntRange(0, 1).Draw(t, "node"))
			at := func(name string) Dot {
				i := rapid.IntRange(0, boots*seqs-1).Draw(t, name)
				return Dot{Node: n, Boot: uint64(i / seqs), Seq: uint64(i % seqs)}
			}
			a, b := at("first"), at("last")
			if b.compare(a) < 0 {
				a, b = b, a
			}
			c = c.union(Context{{First: a, Last: b}})
		}
		return c
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		ab := a.union(b)
		require.NoError(t, ab.Validate())
		require.Equal(t, ab, b.union(a))
		for n := range NodeID(2) {
			for i := range uint64(boots * seqs) {
				d := Dot{Node: n, Boot: i / seqs, Seq: i % seqs}
				require.Equal(t, a.includes(d) || b.includes(d), ab.includes(d), "%v in %v and %v", d, a, b)
			}
		}
	})
}

// TestCausalSchedules lets clients put, with and without what they have seen,
// under random schedules with lost, repeated and overtaking packets, crashes,
// failing disks and damaged records. Nothing acknowledged is lost unless someone
// who had seen it replaced it, reads included where quorums overlap, and in the
// end all replicas hold the same.
func TestCausalSchedules(t *testing.T) {
	of5 := causal(3)
	of5.Nodes = 5
	sloppy := of5
	sloppy.Sloppy = true
	backed := causal(3)
	backed.WriteBack, backed.ReadRepair = true, ReadRepairAsync
	for _, c := range []struct {
		name   string
		cfg    Config
		seeds  uint64
		damage int
	}{
		{"3", causal(3), 800, 0},
		{"3, read repair and write-back", backed, 400, 0},
		{"3 of 5", of5, 400, 0},
		{"3, records damaged", causal(3), 800, 1},
		{"3 of 5, records damaged", of5, 400, 1},
		{"3 of 5, sloppy", sloppy, 400, 0},
		{"3 of 5, sloppy, records damaged", sloppy, 400, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			operations, siblings := 0, 0
			for seed := range c.seeds {
				o, s := causalRun(t, c.cfg, seed, c.damage)
				operations += o
				siblings += s
			}
			require.Greater(t, operations, int(c.seeds)*15, "too few operations to show anything")
			require.Greater(t, siblings, int(c.seeds)/10, "too few siblings to show anything")
			t.Logf("%d operations, %d keys with siblings in the end, in %d runs", operations, siblings, c.seeds)
		})
	}
}

func causalRun(t *testing.T, cfg Config, seed uint64, damage int) (operations, siblings int) {
	const clients, steps = 4, 600
	rng := rand.New(rand.NewPCG(seed, 3))
	c, err := newCluster(cfg)
	require.NoError(t, err)
	c.quiet = true
	told := newLedger(t, seed)
	told.strict = !cfg.Sloppy
	keys := []string{"a", "b"}
	var where [clients]*machine
	asker := make(map[uint64]int)
	c.onReply = func(_ NodeID, q Request, p Reply) {
		where[asker[q.ID]] = nil
		if told.reply(asker[q.ID], q, p) {
			operations++
		}
	}
	ask := func(client int, m *machine, q Request) {
		where[client] = m
		asker[c.lastReq+1] = client
		told.begin(c.lastReq+1, client, q)
		c.ask(m, q)
	}
	damaged := 0
	for range steps {
		c.mono++
		m := c.nodes[rng.IntN(len(c.nodes))]
		switch dice := rng.IntN(100); {
		case dice < 12:
			client := rng.IntN(clients)
			if where[client] == nil && m.core != nil {
				ask(client, m, told.draw(rng, client, keys[rng.IntN(len(keys))]))
			}
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
			for i := range where {
				if where[i] == m {
					where[i] = nil
				}
			}
		case dice >= 96 && dice < 96+damage:
			m.damage(keys[rng.IntN(len(keys))])
			damaged++
		case dice < 98 && m.core == nil:
			require.NoError(t, c.start(m))
		case dice >= 98:
			c.advance(time.Duration(rng.Int64N(int64(cfg.Timeout / 4))))
		}
	}
	for _, m := range c.nodes {
		if m.core == nil {
			require.NoError(t, c.start(m))
		}
	}
	for range 300 {
		c.advance(10 * time.Millisecond)
		c.settle()
	}
	for _, key := range keys {
		var first *machine
		gone := 0
		for _, m := range c.nodes {
			switch rec, held := m.view[key]; {
			case !m.core.placement.Holds(m.id, key):
				require.False(t, held && damaged == 0, "seed %d: %s is a stray at node %d", seed, key, m.id)
			case m.diskDamage[key] || m.core.mending(key):
				gone++ // too many of its peers have lost it, too
			case first == nil:
				first = m
			default:
				other := first.view[key]
				require.Equal(t, other.siblings(), rec.siblings().at(first, key), "seed %d: %s at nodes %d and %d", seed, key, first.id, m.id)
			}
		}
		if gone > 0 || first == nil {
			continue
		}
		rec := first.view[key]
		told.complete(key, told.read(rec.siblings()), told.now, "everybody in the end")
		told.noneBack(key, rec.siblings(), told.now, "everybody in the end")
		if len(rec.siblings().Values) > 1 {
			siblings++
		}
	}
	return operations, siblings
}

// at gives the siblings as another node holds them.
func (s *Siblings) at(m *machine, key string) *Siblings {
	rec := m.view[key]
	copied := *s
	copied.Born = rec.siblings().Born
	return &copied
}

// siblingsText tells the siblings, and the puts that nobody sees any more.
func siblingsText(s *Siblings) string {
	var b strings.Builder
	for i, v := range s.Values {
		if i > 0 {
			b.WriteString(" | ")
		}
		fmt.Fprintf(&b, "%q %s", v.Value, dotText(v.Dot))
	}
	if len(s.Values) == 0 {
		b.WriteString("deleted")
	}
	return b.String() + ", seen " + contextText(s.Context)
}

func dotText(d Dot) string { return fmt.Sprintf("%d.%d.%d", d.Node, d.Boot, d.Seq) }

func contextText(c Context) string {
	parts := []string{}
	for _, r := range c {
		text := dotText(r.First)
		if r.First != r.Last {
			text += "–" + dotText(r.Last)
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, " ")
}

// A key that has values from before it had causal stamps keeps them: they are as
// if put by one who had seen nothing, and go when somebody has seen them.
func TestCausalAfterOtherStamps(t *testing.T) {
	cfg := abd(3)
	cfg.AntiEntropy = 50 * time.Millisecond
	c, err := newCluster(cfg)
	require.NoError(t, err)
	c.request(c.nodes[0], Put, "k", "old")
	c.request(c.nodes[0], Put, "gone", "old")
	c.settle()
	c.request(c.nodes[1], Delete, "gone", "")
	c.settle()
	c.cfg.Stamps, c.cfg.WriteBack = Causal, false
	for _, m := range c.nodes {
		c.crash(m)
		require.NoError(t, c.start(m))
	}
	c.network = nil
	var last Reply
	c.onReply = func(_ NodeID, _ Request, p Reply) { last = p }
	ask := func(node int, q Request) *Siblings {
		c.ask(c.nodes[node], q)
		c.settle()
		require.Nil(t, last.Err)
		return last.Siblings
	}
	values := func(s *Siblings) (all []string) {
		for _, v := range s.Values {
			all = append(all, string(v.Value))
		}
		return all
	}
	old := ask(1, Request{Op: Get, Key: "k"})
	require.Equal(t, []string{"old"}, values(old))
	ask(1, Request{Op: Put, Key: "k", Value: []byte("blind")})
	require.ElementsMatch(t, []string{"old", "blind"}, values(ask(2, Request{Op: Get, Key: "k"})))
	ask(2, Request{Op: Put, Key: "k", Value: []byte("new"), Context: old.Context})
	require.ElementsMatch(t, []string{"new", "blind"}, values(ask(0, Request{Op: Get, Key: "k"})))
	require.Empty(t, values(ask(0, Request{Op: Get, Key: "gone"})))
	ask(0, Request{Op: Put, Key: "gone", Value: []byte("again")})
	require.Equal(t, []string{"again"}, values(ask(2, Request{Op: Get, Key: "gone"})))
	for range 100 {
		c.advance(10 * time.Millisecond)
		c.settle()
	}
	for _, key := range []string{"k", "gone"} {
		for _, m := range c.nodes[1:] {
			require.Equal(t, c.nodes[0].view[key].Stamp, m.view[key].Stamp, key)
		}
	}
	for _, m := range c.nodes { // and nothing more to be told
		require.Zero(t, m.core.repair.stats.Pushed+m.core.repair.stats.Pulled, "node %d", m.id)
	}
}

// What cannot be asked for is refused at once, and told how.
func TestCausalMistakes(t *testing.T) {
	c, err := newCluster(causal(3))
	require.NoError(t, err)
	var last Reply
	c.onReply = func(_ NodeID, _ Request, p Reply) { last = p }
	d := Dot{Node: 1, Boot: 1, Seq: 1}
	for words, q := range map[string]Request{
		"give the context of that read": {Op: Delete, Key: "k"},
		"range 0 is none":               {Op: Put, Key: "k", Context: Context{{First: d, Last: Dot{Node: 2}}}},
		"range 1 is not behind":         {Op: Put, Key: "k", Context: Context{{First: d, Last: d}, {First: d, Last: d}}},
		"cannot compare and set":        {Op: CAS, Key: "k"},
	} {
		c.ask(c.nodes[0], q)
		require.NotNil(t, last.Err, words)
		require.True(t, last.Err.Definite)
		require.Contains(t, last.Err.Text, words)
	}
	require.Empty(t, c.network)
	c.ask(c.nodes[0], Request{Op: Delete, Key: "k", Context: Context{}})
	require.Nil(t, last.Err, "it has seen nothing, and takes nothing out")

	plain, err := newCluster(abd(3))
	require.NoError(t, err)
	plain.onReply = c.onReply
	plain.ask(plain.nodes[0], Request{Op: Put, Key: "k", Context: just(d)})
	require.Contains(t, last.Err.Text, "leave the context out")

	cfg := caspaxos(3)
	cfg.Stamps = Causal
	require.ErrorContains(t, cfg.Validate(), "no siblings")
	cfg = abd(3)
	cfg.Stamps = Causal + 1
	require.ErrorContains(t, cfg.Validate(), "Causal (2)")
}

// A put that would make too many siblings is refused for certain by the replica
// that is asked first. It is not when another one may have taken it.
func TestTooManySiblings(t *testing.T) {
	cfg := causal(3)
	cfg.Nodes, cfg.AntiEntropy = 5, 0
	c, err := newCluster(cfg)
	require.NoError(t, err)
	var last Reply
	c.onReply = func(_ NodeID, _ Request, p Reply) { last = p }
	const key = "v" // node 3 holds no copy, and asks node 0
	for i := range MaxSiblings {
		c.ask(c.nodes[0], Request{Op: Put, Key: key, Value: []byte{byte(i)}})
		c.settle()
		require.Nil(t, last.Err)
	}
	c.ask(c.nodes[3], Request{Op: Put, Key: key, Value: []byte("more")})
	c.settle()
	require.Equal(t, CodeSiblings, last.Err.Code)
	require.True(t, last.Err.Definite)
	require.Len(t, c.nodes[1].view[key].Siblings.Values, MaxSiblings)

	c.ask(c.nodes[3], Request{Op: Put, Key: key, Value: []byte("more")})
	c.network = nil // the question is lost, and another replica is asked
	c.advance(cfg.Retry)
	c.settle()
	c.advance(cfg.Timeout)
	require.NotNil(t, last.Err)
	require.False(t, last.Err.Definite, "%v", last.Err)

	big := make([]byte, MaxSiblingBytes/2)
	for range 2 {
		c.ask(c.nodes[0], Request{Op: Put, Key: "j", Value: big})
		c.settle()
	}
	c.ask(c.nodes[0], Request{Op: Put, Key: "j", Value: []byte("x")})
	require.Equal(t, CodeSiblings, last.Err.Code)
}
