package replica

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
)

// All nodes of a cluster, and all disks, must agree on these for ever.
func TestSumsNeverChange(t *testing.T) {
	require.Equal(t, uint64(0xef46db3751d8e999), KeyHash(""))
	require.Equal(t, uint64(0xc3d31922c50b1b63), KeyHash("k"))
	require.Equal(t, uint64(0), versionSum(KeyHash("k"), Stamp{}))
	require.Equal(t, uint64(0x76b7f65d6f60a444), versionSum(KeyHash("k"), Stamp{Counter: 1, Node: 2, Boot: 3, Seq: 4}))
}

// A sum is a function of what is held, not of how it came to be; and whatever
// is different shows in it at every depth.
func TestTree(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	keys := make([]string, 2000)
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)
	}
	var a, b tree
	put := func(t *tree, key string, counter int64) {
		h := KeyHash(key)
		t.add(h, versionSum(h, Stamp{Counter: counter}))
	}
	for _, key := range keys {
		put(&a, key, 1)
	}
	for _, i := range rng.Perm(len(keys)) {
		put(&b, keys[i], 2) // an older version, then another
		put(&b, keys[i], 2)
		put(&b, keys[i], 1)
	}
	require.Equal(t, a.sum, b.sum)
	for _, key := range keys {
		put(&b, key, 1)
		put(&b, key, 3)
		h := KeyHash(key)
		require.NotEqual(t, a.sum, b.sum)
		for depth := range uint8(treeDepth) {
			s := span{depth: depth, from: h}
			differing := 0
			for i, sum := range a.sums(s) {
				if sum != b.sums(s)[i] {
					differing++
					require.Equal(t, i, digit(h, int(depth)))
				}
			}
			require.Equal(t, 1, differing, "only where the key is")
		}
		require.NotEqual(t, a.leaf(h), b.leaf(h))
		put(&b, key, 3)
		put(&b, key, 1)
		require.Equal(t, a.sum, b.sum)
	}
	require.Equal(t, [treeFanout]uint64{}, new(tree).sums(span{depth: 3}))
	require.Equal(t, span{depth: 2, from: 0xab << 56}, span{}.child(0xa).child(0xb))
}

// catalogue is Storage with many keys, all with one stamp, of which some are
// missing.
type catalogue struct {
	keys    []string // in order of hash
	hashes  []uint64
	missing map[string]bool
	got     map[string]Record // written since
}

func newCatalogue(n int) *catalogue {
	c := &catalogue{missing: make(map[string]bool), got: make(map[string]Record)}
	for i := range n {
		c.keys = append(c.keys, fmt.Sprintf("customer/%08d", i))
	}
	slices.SortFunc(c.keys, func(a, b string) int { return cmp.Compare(KeyHash(a), KeyHash(b)) })
	for _, key := range c.keys {
		c.hashes = append(c.hashes, KeyHash(key))
	}
	return c
}

// without is a catalogue of the same keys but for n.
func (c *catalogue) without(n int) *catalogue {
	d := &catalogue{keys: c.keys, hashes: c.hashes, missing: make(map[string]bool), got: make(map[string]Record)}
	rng := rand.New(rand.NewPCG(1, 1))
	for len(d.missing) < n {
		d.missing[c.keys[rng.IntN(len(c.keys))]] = true
	}
	return d
}

var catalogued = Record{Stamp: Stamp{Counter: 1_700_000_000_000_000_000, Node: 1, Boot: 7, Seq: 123456}, Value: make([]byte, 100)}

func (c *catalogue) Get(key string) (Record, bool, error) {
	if rec, ok := c.got[key]; ok {
		return rec, true, nil
	}
	return catalogued, !c.missing[key], nil
}

func (c *catalogue) Scan(from uint64, f func(string, Stamp, error) bool) error {
	first := sort.Search(len(c.hashes), func(i int) bool { return c.hashes[i] >= from })
	for _, key := range c.keys[first:] {
		if _, ok := c.got[key]; !ok && c.missing[key] {
			continue
		}
		if !f(key, catalogued.Stamp, nil) {
			break
		}
	}
	return nil
}

// compareOnce lets node 0 compare itself with node 1 once, and gives the messages
// and their bytes on the wire, both ways together.
func compareOnce(t testing.TB, stores [2]*catalogue) (messages, bytes int) {
	now := Now{Mono: time.Second}
	var cores [2]*Replica
	for i, s := range stores {
		var err error
		cores[i], err = New(Config{
			ID: NodeID(i), Nodes: 2, Rules: Rules{N: 2, R: 1, W: 1},
			Timeout: time.Second, Retry: time.Second, AntiEntropy: time.Hour,
		}, 1, s)
		require.NoError(t, err)
	}
	var network []packet
	inFlight, most := 0, 0
	carry := func(i int) {
		for {
			out := cores[i].Take()
			for _, e := range out.Messages {
				network = append(network, packet{NodeID(i), e.To, e.Message})
				data, err := cbor.Marshal(&e.Message)
				require.NoError(t, err)
				messages, bytes = messages+1, bytes+len(data)
				if i == 0 {
					inFlight++
				}
			}
			if len(out.Writes) == 0 {
				return
			}
			for _, w := range out.Writes {
				stores[i].got[w.Key] = w.Record
			}
			cores[i].Persisted(now, out.Seq)
		}
	}
	for i, core := range cores { // count
		for !core.repair.whole {
			now.Mono = core.Deadline()
			core.Tick(now)
			carry(i)
		}
	}
	now.Mono = cores[0].Deadline()
	for {
		cores[0].Tick(now)
		carry(0)
		for len(network) > 0 {
			p := network[0]
			network = network[1:]
			if p.to == 0 {
				inFlight--
			}
			cores[p.to].Receive(now, p.from, p.m)
			carry(int(p.to))
			most = max(most, inFlight)
		}
		if cores[0].RepairStats().Finished == 1 {
			break
		}
	}
	require.LessOrEqual(t, most, repairFlight, "messages without an answer")
	require.Equal(t, cores[0].repair.trees[1].sum, cores[1].repair.trees[0].sum, "both hold the same now")
	return messages, bytes
}

// What travels is proportional to what differs, whoever lacks it.
func TestAntiEntropyTraffic(t *testing.T) {
	for _, c := range []struct{ keys, differing, atMost int }{
		{0, 0, 100},
		{100_000, 0, 100},
		{100_000, 1, 2_000},
		{100_000, 100, 120_000},
		{10_000, 10_000, 3_000_000},
	} {
		all := newCatalogue(c.keys)
		for _, stores := range [][2]*catalogue{
			{all, all.without(c.differing)},
			{all.without(c.differing), all},
		} {
			messages, bytes := compareOnce(t, stores)
			t.Logf("%d of %d keys differ: %d messages, %d bytes", c.differing, c.keys, messages, bytes)
			require.LessOrEqual(t, bytes, c.atMost)
			require.Len(t, stores[0].got, len(stores[0].missing))
			require.Len(t, stores[1].got, len(stores[1].missing))
		}
	}
}

// BenchmarkAntiEntropyTraffic is what two replicas with 1,000,000 keys and
// values of 100 bytes exchange.
func BenchmarkAntiEntropyTraffic(b *testing.B) {
	all := newCatalogue(1_000_000)
	for _, differing := range []int{0, 1, 1000} {
		b.Run(fmt.Sprintf("differing=%d", differing), func(b *testing.B) {
			messages, bytes := 0, 0
			for b.Loop() {
				messages, bytes = compareOnce(b, [2]*catalogue{all, all.without(differing)})
			}
			b.ReportMetric(float64(bytes), "bytes")
			b.ReportMetric(float64(messages), "messages")
		})
	}
}

// BenchmarkTree is what a write costs in the tree, when every leaf is there.
func BenchmarkTree(b *testing.B) {
	var t tree
	for leaf := range uint64(1 << (treeDepth * treeBits)) {
		t.add(leaf<<leafShift, leaf)
	}
	var key [8]byte
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		i++
		binary.LittleEndian.PutUint64(key[:], i)
		h := KeyHash(string(key[:]))
		t.add(h, versionSum(h, Stamp{Counter: 1, Seq: i})^versionSum(h, Stamp{Counter: 2, Seq: i}))
	}
}

// TestRandomRepair makes replicas miss writes in random ways (loss, crashes,
// disks that fail and are opened again, damaged records) and then leaves them alone: with anti-entropy they come to
// agree, and without it some do not, so the test can fail.
func TestRandomRepair(t *testing.T) {
	differ := func(cfg Config, w int, antiEntropy time.Duration, seed uint64) bool {
		cfg.R, cfg.W, cfg.Stamps, cfg.WriteBack = 1, w, WallClock, false
		cfg.AntiEntropy = antiEntropy
		rng := rand.New(rand.NewPCG(seed, 2))
		c, err := newCluster(cfg)
		require.NoError(t, err)
		c.quiet = true
		for range 300 {
			c.mono++
			m := c.nodes[rng.IntN(len(c.nodes))]
			switch dice := rng.IntN(100); {
			case dice < 15 && m.core != nil:
				key := fmt.Sprint("k", rng.IntN(20))
				if rng.IntN(4) == 0 {
					c.request(m, Delete, key, "")
				} else {
					c.request(m, Put, key, fmt.Sprint(c.mono))
				}
			case dice < 60 && len(c.network) > 0:
				c.deliver(rng.IntN(len(c.network)))
			case dice < 70 && len(c.network) > 0:
				i := rng.IntN(len(c.network))
				c.network = slices.Delete(c.network, i, i+1)
			case dice < 73 && len(c.network) > 0:
				c.network = append(c.network, c.network[rng.IntN(len(c.network))])
			case dice < 85 && m.core != nil:
				c.sync(m)
			case dice < 87 && m.core != nil:
				c.fail(m, rng.IntN(len(m.buffer)+1))
				if len(m.buffer) == 0 && rng.IntN(2) == 0 {
					c.reopen(m)
				}
			case dice < 89 && m.core != nil:
				c.crash(m)
			case dice < 93 && m.core == nil:
				require.NoError(t, c.start(m))
			case dice < 95 && w > 1 && antiEntropy > 0:
				// With two of three copies lost nobody could tell the record.
				key := fmt.Sprint("k", rng.IntN(20))
				if !slices.ContainsFunc(c.nodes, func(m *machine) bool { return m.diskDamage[key] }) {
					m.damage(key)
				}
			case dice >= 95:
				c.advance(time.Duration(rng.Int64N(int64(cfg.Timeout))))
			}
		}
		// Left alone: those that are down come back, nothing is lost any more.
		c.network = nil
		for _, m := range c.nodes {
			if m.core == nil {
				require.NoError(t, c.start(m))
			}
			c.sync(m)
		}
		c.advance(2 * cfg.Timeout) // what clients began ends
		c.network = nil
		for i := range 20 { // damage that nobody meets is not found
			if key := fmt.Sprint("k", i); w > 1 {
				c.request(c.nodes[0], Get, key, "")
			}
		}
		for range 10 {
			c.advance(time.Second)
			c.settle()
		}
		for _, m := range c.nodes {
			if antiEntropy > 0 && cfg.N == cfg.Nodes {
				require.Equal(t, countedAnew(t, m), counted(m), "seed %d: node %d's tree", seed, m.id)
			}
		}
		for i := range 20 {
			key := fmt.Sprint("k", i)
			holders := c.nodes[0].core.Placement().Replicas(key)
			for _, n := range holders[1:] {
				if c.nodes[n].view[key].Stamp != c.nodes[holders[0]].view[key].Stamp {
					return true
				}
			}
		}
		return false
	}
	for _, cfg := range []Config{abd(3), threeOfFive()} {
		without := 0
		for seed := range uint64(200) {
			require.False(t, differ(cfg, 1, time.Second, seed), "%d of %d, seed %d: replicas still differ", cfg.N, cfg.Nodes, seed)
			require.False(t, differ(cfg, 2, time.Second, seed), "%d of %d, records damaged, seed %d: replicas still differ", cfg.N, cfg.Nodes, seed)
			if differ(cfg, 1, 0, seed) {
				without++
			}
		}
		require.Greater(t, without, 50, "too few runs needed a repair")
	}
}

// counted is a node's tree of all its keys, without the inner nodes that have
// become empty.
func counted(m *machine) tree {
	var prune func(n *treeNode) *treeNode
	prune = func(n *treeNode) *treeNode {
		if n == nil {
			return nil
		}
		pruned := &treeNode{sums: n.sums}
		if n.kids != nil {
			var kids [treeFanout]*treeNode
			for i := range kids {
				kids[i] = prune(n.kids[i])
			}
			if kids != [treeFanout]*treeNode{} {
				pruned.kids = &kids
			}
		}
		if *pruned == (treeNode{}) {
			return nil
		}
		return pruned
	}
	t := m.core.repair.trees[0]
	root := prune(&t.root)
	if root == nil {
		return tree{sum: t.sum}
	}
	return tree{root: *root, sum: t.sum}
}

// countedAnew is the tree of what a node's Storage shows.
func countedAnew(t *testing.T, m *machine) tree {
	var want tree
	require.NoError(t, m.Scan(0, func(key string, s Stamp, err error) bool {
		if err == nil {
			want.add(KeyHash(key), versionSum(KeyHash(key), s))
		}
		return true
	}))
	return want
}

// A record that turns out to be damaged counts as missing from when its leaf is
// listed, so that the next comparison tells of it.
func TestDamagedRecordLeavesTheTree(t *testing.T) {
	cfg := abd(2)
	cfg.AntiEntropy = time.Second
	c, err := newCluster(cfg)
	require.NoError(t, err)
	c.quiet = true
	c.advance(0) // counts
	c.request(c.nodes[0], Put, "k", "v")
	c.request(c.nodes[0], Put, "other", "w")
	c.settle()
	m := c.nodes[0]
	require.Equal(t, countedAnew(t, m), counted(m))
	m.damage("k")
	leaf := KeyHash("k") &^ leafMask
	keys, to, err := m.core.list(1, leaf, leaf|leafMask)
	require.NoError(t, err)
	require.Empty(t, keys)
	require.Equal(t, leaf|leafMask, to)
	require.Zero(t, m.core.repair.trees[1].leaf(leaf))
	require.EqualValues(t, 1, m.core.RepairStats().Unreadable)
	require.Equal(t, versionSum(KeyHash("other"), m.view["other"].Stamp), m.core.repair.trees[1].sum)
}

// The record of a damaged key comes from a repair, whoever else sends one: a
// store of anti-entropy does not lift the refusal, and neither does a disk that
// shows the record again.
func TestRefusalIsLiftedByItsRepair(t *testing.T) {
	c, err := newCluster(abd(3))
	require.NoError(t, err)
	c.request(c.nodes[0], Put, "k", "v")
	c.settle()
	m := c.nodes[1]
	m.damage("k")
	c.request(m, Get, "k", "")
	require.Len(t, m.core.mends, 1)
	c.network = nil
	newer := Record{Stamp: Stamp{Counter: 9, Node: 2, Boot: 1, Seq: 9}, Value: []byte("w")}
	store := Message{Type: MsgStore, ID: 1, Boot: 1, Round: roundRepair, Key: "k", Record: newer}
	for range 2 {
		m.core.Receive(c.now(m), 2, store)
		out := m.core.Take()
		require.Empty(t, out.Writes)
		require.Equal(t, MsgRefuse, out.Messages[0].Message.Type)
		delete(m.viewDamage, "k")
		delete(m.diskDamage, "k")
	}
	c.advance(c.cfg.Retry)
	c.settle()
	require.Contains(t, c.told(), "n1 repairs k: 1.0.1.1")
	m.core.Receive(c.now(m), 2, store)
	require.Len(t, m.core.Take().Writes, 1)
}

// The tree is of what Storage shows: after a record was repaired, whatever was
// lost, and after the storage was opened again, whatever of it had failed.
func TestTreeAfterTheDiskFailed(t *testing.T) {
	cfg := abd(3)
	cfg.AntiEntropy = time.Hour
	c, err := newCluster(cfg)
	require.NoError(t, err)
	c.quiet = true
	c.advance(0) // counts
	c.request(c.nodes[0], Put, "k", "v")
	c.settle()
	m := c.nodes[1]
	m.damage("k")
	c.request(m, Get, "k", "")
	c.settle()
	require.Empty(t, m.diskDamage)
	c.advance(0)
	require.NotZero(t, m.core.repair.trees[0].sum)
	require.Equal(t, countedAnew(t, m), counted(m))

	c.request(c.nodes[0], Put, "k", "w")
	for len(c.network) > 0 {
		c.deliver(0)
	}
	require.NotEmpty(t, m.buffer)
	c.fail(m, 0)
	c.reopen(m)
	require.True(t, m.core.RepairStats().Counting)
	c.advance(0)
	require.False(t, m.core.RepairStats().Counting)
	require.Equal(t, countedAnew(t, m), counted(m))
}

// Whatever a peer sends, a node neither crashes nor keeps more than a bounded
// number of messages in flight.
func FuzzRepairMessages(f *testing.F) {
	seed := func(m Message) {
		data, err := cbor.Marshal(m)
		require.NoError(f, err)
		f.Add(data)
	}
	seed(Message{Type: MsgTree, ID: 1, Boot: 1, Tree: &Tree{}})
	seed(Message{Type: MsgTree, ID: 1, Boot: 1, Tree: &Tree{Depth: treeDepth, From: 1 << 63}})
	seed(Message{Type: MsgSums, ID: 1, Boot: 1, Tree: &Tree{Sums: make([]uint64, treeFanout)}})
	seed(Message{Type: MsgKeys, ID: 1, Boot: 1, Tree: &Tree{To: 1<<64 - 1, Keys: []Version{{Key: "k", Stamp: Stamp{Counter: 9}}, {}}}})
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Message
		if cbor.Unmarshal(data, &m) != nil {
			return
		}
		cfg := abd(2)
		cfg.AntiEntropy = time.Second
		c, err := newCluster(cfg)
		require.NoError(t, err)
		c.quiet = true
		c.request(c.nodes[0], Put, "k", "v")
		c.settle()
		c.advance(600 * time.Millisecond) // node 0 asks node 1
		n := c.nodes[0]
		for range 2 * treeDepth {
			c.network = nil
			for i := range n.core.repair.flights {
				m.ID = n.core.repair.flights[i].m.ID
				n.core.Receive(c.now(n), 1, m)
				c.carry(n)
				break
			}
			require.LessOrEqual(t, len(n.core.repair.flights), repairFlight)
		}
	})
}
