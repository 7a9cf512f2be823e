package ring

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func upTo(n int) []NodeID {
	nodes := make([]NodeID, n)
	for i := range nodes {
		nodes[i] = NodeID(i)
	}
	return nodes
}

func mustNew(t testing.TB, nodes []NodeID, vnodes int) *Ring {
	t.Helper()
	r, err := New(nodes, vnodes)
	require.NoError(t, err)
	return r
}

func keyName(i int) string { return fmt.Sprintf("key-%d", i) }

// TestPlacement pins where keys lie. A difference here means that a cluster
// which is upgraded no longer finds its data: do not rewrite the golden file to
// make the test pass.
func TestPlacement(t *testing.T) {
	datadriven.RunTest(t, "testdata/placement.txt", func(t *testing.T, d *datadriven.TestData) string {
		var nodes, vnodes, n int
		d.ScanArgs(t, "nodes", &nodes)
		d.ScanArgs(t, "vnodes", &vnodes)
		r := mustNew(t, upTo(nodes), vnodes)
		var b strings.Builder
		switch d.Cmd {
		case "tokens":
			for i, at := range r.tokens {
				fmt.Fprintf(&b, "%016x node %d\n", at, r.owners[i])
			}
		case "prefs":
			d.ScanArgs(t, "n", &n)
			for _, key := range strings.Fields(d.Input) {
				fmt.Fprintf(&b, "%-8s at %016x on %v\n", key, xxhash.Sum64String(key), r.Prefs(key, n))
			}
		default:
			t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
		}
		return b.String()
	})
}

// The hash is the published one: known values of XXH64 with seed 0.
func TestHash(t *testing.T) {
	for text, want := range map[string]uint64{
		"":    0xef46db3751d8e999,
		"a":   0xd24ec4f1a98c6e5b,
		"abc": 0x44bc2cf5ad770999,
	} {
		require.Equal(t, want, xxhash.Sum64String(text), "%q", text)
	}
}

func TestNewRefuses(t *testing.T) {
	_, err := New(nil, VNodes)
	require.ErrorContains(t, err, "no nodes: give at least one")
	_, err = New(upTo(3), 0)
	require.ErrorContains(t, err, "0 virtual nodes: take at least 1, or 128")
	_, err = New([]NodeID{4, 1, 4}, VNodes)
	require.ErrorContains(t, err, "node 4 is given twice")
}

// Whatever the nodes: a list has n distinct members, shorter ones are its
// beginnings, and it is the same in whichever order the nodes were given. It is
// what a plain walk over the sorted virtual nodes gives.
func TestPrefs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.SliceOfNDistinct(rapid.Map(rapid.Uint32(), func(n uint32) NodeID { return NodeID(n) }), 1, 12, rapid.ID).Draw(t, "nodes")
		vnodes := rapid.IntRange(1, 20).Draw(t, "vnodes")
		key := rapid.String().Draw(t, "key")
		n := rapid.IntRange(0, 14).Draw(t, "n")
		r, err := New(nodes, vnodes)
		require.NoError(t, err)

		got := r.Prefs(key, n)
		require.Len(t, got, min(n, len(nodes)))
		require.Subset(t, nodes, got)
		require.Equal(t, got, plainPrefs(nodes, vnodes, key, n))
		require.Equal(t, got, r.Prefs(key, len(nodes))[:len(got)], "a shorter list is the beginning of a longer one")
		require.Equal(t, append([]NodeID{77, got0(got)}, got...), r.AppendPrefs([]NodeID{77, got0(got)}, key, n), "what is in dst does not count")

		shuffled := slices.Clone(nodes)
		rng := rand.New(rand.NewPCG(uint64(n), uint64(vnodes)))
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		other, err := New(shuffled, vnodes)
		require.NoError(t, err)
		require.Equal(t, r, other)
	})
}

func got0(nodes []NodeID) NodeID {
	if len(nodes) == 0 {
		return 0
	}
	return nodes[0]
}

// plainPrefs is the definition: of each node the virtual node that comes first
// at or after the key, and the nodes by how far theirs is.
func plainPrefs(nodes []NodeID, vnodes int, key string, n int) []NodeID {
	at := xxhash.Sum64String(key)
	far := make(map[NodeID]uint64)
	for _, node := range nodes {
		far[node] = ^uint64(0)
		for v := range vnodes {
			far[node] = min(far[node], xxhash.Sum64String(fmt.Sprintf("%d/%d", node, v))-at) // wraps as the circle does
		}
	}
	out := slices.Clone(nodes)
	slices.SortFunc(out, func(a, b NodeID) int {
		if far[a] < far[b] {
			return -1
		}
		return 1
	})
	return out[:min(n, len(out))]
}

// A node that joins M others takes its share of the keys and no key moves
// between two of the others; when it leaves again they go back.
func TestJoinMovesOneShare(t *testing.T) {
	const keys, n = 50_000, 3
	for _, m := range []int{3, 5, 9, 20} {
		before, after := mustNew(t, upTo(m), VNodes), mustNew(t, upTo(m+1), VNodes)
		moved, copies := 0, 0 // of the first choice; of all copies
		joined := NodeID(m)
		var a, b []NodeID
		for i := range keys {
			key := keyName(i)
			a, b = before.AppendPrefs(a[:0], key, n), after.AppendPrefs(b[:0], key, n)
			if a[0] != b[0] {
				moved++
			}
			// The list is the old one with the new node put in: nothing moves
			// between two nodes that were there before.
			if at := slices.Index(b, joined); at >= 0 {
				copies++
				b = slices.Delete(b, at, at+1)
			}
			if !slices.Equal(a[:len(b)], b) {
				t.Fatalf("%s was on %v and is on %v beside node %d", key, a, b, joined)
			}
		}
		share := 1 / float64(m+1)
		first, all := float64(moved)/keys, float64(copies)/(n*keys)
		t.Logf("a node joins %d: %.4f of the first choices move, %.4f of all copies; a fair share is %.4f", m, first, all, share)
		require.InEpsilon(t, share, first, 0.15)
		require.InEpsilon(t, share, all, 0.15)
	}
}

// The fullest node has little more than the average.
func TestBalance(t *testing.T) {
	const keys, n = 200_000, 3
	for _, c := range []struct {
		nodes, vnodes int
		fullest       float64 // in averages, at most
	}{
		{3, VNodes, 1.15},
		{5, VNodes, 1.15},
		{10, VNodes, 1.2},
		{64, VNodes, 1.4},
	} {
		r := mustNew(t, upTo(c.nodes), c.vnodes)
		first, copies := make([]int, c.nodes), make([]int, c.nodes)
		var list []NodeID
		for i := range keys {
			list = r.AppendPrefs(list[:0], keyName(i), n)
			first[list[0]]++
			for _, node := range list {
				copies[node]++
			}
		}
		byFirst := float64(slices.Max(first)) * float64(c.nodes) / keys
		byCopies := float64(slices.Max(copies)) * float64(c.nodes) / (n * keys)
		t.Logf("%d nodes of %d: the fullest has %.3f of the average as first choice, %.3f in copies", c.nodes, c.vnodes, byFirst, byCopies)
		require.Less(t, byFirst, c.fullest, "%d nodes", c.nodes)
		require.Less(t, byCopies, c.fullest, "%d nodes", c.nodes)
	}
	// The bounds mean something: one virtual node a node does not keep them.
	r := mustNew(t, upTo(10), 1)
	first := make([]int, 10)
	for i := range keys {
		first[r.Prefs(keyName(i), 1)[0]]++
	}
	require.Greater(t, slices.Max(first), 2*keys/10)
}

func TestLookupDoesNotAllocate(t *testing.T) {
	r := mustNew(t, upTo(5), VNodes)
	var list [3]NodeID
	require.Zero(t, testing.AllocsPerRun(100, func() { r.AppendPrefs(list[:0], "some key", 3) }))
}

func BenchmarkPrefs(b *testing.B) {
	for _, nodes := range []int{5, 64} {
		b.Run(fmt.Sprintf("3 of %d", nodes), func(b *testing.B) {
			r := mustNew(b, upTo(nodes), VNodes)
			keys := make([]string, 1024)
			for i := range keys {
				keys[i] = keyName(i)
			}
			var list [3]NodeID
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.AppendPrefs(list[:0], keys[i%len(keys)], 3)
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	nodes := upTo(5)
	b.ReportAllocs()
	for b.Loop() {
		mustNew(b, nodes, VNodes)
	}
}
