// Package ring places keys on nodes: consistent hashing with virtual nodes
// (Karger et al. 1997, in the form of Dynamo, DeCandia et al. 2007).
//
//	token   0 ──────────────────────────────────────────▶ 2^64
//	owner   │  2    0      1  2     0 0   1      2   1  │ wraps
//	               ▲
//	               key: preference list 1, 2, 0
//
// Every node owns a number of tokens, its virtual nodes, which are spread over
// the circle by a hash. A key is hashed onto the same circle, and its preference
// list is the first distinct nodes clockwise from there. A node that is added
// takes keys from all others, about its fair share of each, and no key moves
// between two others; removing it is the reverse.
//
// The placement is a function of the nodes' numbers, the number of virtual nodes
// and the key: no seed, no order of arrival. Data lies where it says, so it must
// never change. The hash is XXH64 with seed 0; virtual node v of node n is at
// the hash of the text "n/v", both decimal, and a key at the hash of its bytes.
// Anybody can check it: printf 2/0 | xxhsum -H1.
//
// What belongs here is where keys go. Who is a member, and what lies at a node,
// belongs elsewhere.
package ring

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// NodeID numbers the nodes of a cluster.
type NodeID uint32

// VNodes is how many virtual nodes a node should have: enough that the fullest
// of a few nodes has about a tenth more than its share.
const VNodes = 128

// Ring is a placement of keys. It is immutable, and may be used concurrently.
type Ring struct {
	tokens []uint64 // ascending; apart from owners, so that a search touches little
	owners []NodeID // of the tokens
	nodes  int
}

// New makes the ring of the nodes, in any order, with so many virtual nodes
// each.
func New(nodes []NodeID, vnodes int) (*Ring, error) {
	if len(nodes) == 0 {
		return nil, fmt.Errorf("ring: no nodes: give at least one")
	}
	if vnodes < 1 {
		return nil, fmt.Errorf("ring: %d virtual nodes: take at least 1, or %d", vnodes, VNodes)
	}
	sorted := slices.Sorted(slices.Values(nodes))
	type token struct {
		at    uint64
		owner NodeID
	}
	tokens := make([]token, 0, len(nodes)*vnodes)
	var name []byte
	for i, n := range sorted {
		if i > 0 && n == sorted[i-1] {
			return nil, fmt.Errorf("ring: node %d is given twice", n)
		}
		name = append(strconv.AppendUint(name[:0], uint64(n), 10), '/')
		for v := range vnodes {
			full := strconv.AppendUint(name, uint64(v), 10)
			tokens = append(tokens, token{xxhash.Sum64(full), n})
		}
	}
	// Two nodes at one place would be a matter of luck, but the lower number
	// comes first for everyone.
	slices.SortFunc(tokens, func(a, b token) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.owner, b.owner))
	})
	r := &Ring{
		tokens: make([]uint64, len(tokens)),
		owners: make([]NodeID, len(tokens)),
		nodes:  len(nodes),
	}
	for i, t := range tokens {
		r.tokens[i], r.owners[i] = t.at, t.owner
	}
	return r, nil
}

// Prefs gives the preference list of a key: n distinct nodes, the first of which
// is its first choice. A list of fewer nodes is the beginning of a longer one.
// Of a ring with fewer than n nodes it gives all.
func (r *Ring) Prefs(key string, n int) []NodeID {
	return r.AppendPrefs(make([]NodeID, 0, max(0, min(n, r.nodes))), key, n)
}

// AppendPrefs appends the preference list of a key to dst. It allocates only
// where dst has no room.
//
// It takes O(log V) for V virtual nodes in all, and then a few steps for each
// node of the list, more the closer n is to the number of nodes.
func (r *Ring) AppendPrefs(dst []NodeID, key string, n int) []NodeID {
	before := len(dst)
	at, _ := slices.BinarySearch(r.tokens, xxhash.Sum64String(key))
	for end := before + min(n, r.nodes); len(dst) < end; at++ {
		if at >= len(r.owners) {
			at = 0
		}
		if o := r.owners[at]; !slices.Contains(dst[before:], o) {
			dst = append(dst, o)
		}
	}
	return dst
}
