package replica

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// KeyHash is where a key stands in the order that replicas are compared in, and
// that [Storage.Scan] goes through. All nodes and all disks have to agree on
// it: it is XXH64 with seed 0 and never changes.
func KeyHash(key string) uint64 { return xxhash.Sum64String(key) }

// The shape of a [tree]. It is the same at all nodes, however many keys they
// hold: 2^20 leaves, ten keys in each of ten million.
const (
	treeDepth  = 5 // of a leaf; the root's is 0
	treeBits   = 4 // of a key's hash for every step down
	treeFanout = 1 << treeBits
	leafShift  = 64 - treeDepth*treeBits // the hashes of a leaf differ in so many low bits
	leafMask   = 1<<leafShift - 1
)

// tree is a Merkle tree over a replica's keys and their stamps (Merkle, CRYPTO
// 1987). Two replicas have the same sum for a range of key hashes if they hold
// the same versions of the same keys there, and other sums otherwise, but for
// one in 2^64.
//
//	depth 0            ┌──────── root ────────┐
//	depth 1            0    1    …    e    f        16 ranges
//	  …                     │
//	depth 5                 10000 … 1ffff           2^20 leaves
//	                        keys with these hashes
//
// The sum of a range is the XOR of its keys' sums (Bellare and Micciancio,
// EUROCRYPT 1997, call it an incremental hash). So a write costs one XOR at
// each depth, and the tree needs not know its keys. XOR protects from
// accidents and not from an adversary, but a peer that lies can do worse.
//
// Inner nodes come into being with their first key: a small replica has a
// small tree, and a full one takes 9.7 MB.
type tree struct {
	root treeNode
	sum  uint64 // of everything
}

type treeNode struct {
	sums [treeFanout]uint64
	kids *[treeFanout]*treeNode // nil while empty, and above the leaves
}

// span is a range of key hashes: those that begin as from does, for as many
// steps as depth says.
type span struct {
	depth uint8
	from  uint64
}

// child is the i-th part of a span above the leaves.
func (s span) child(i int) span {
	return span{depth: s.depth + 1, from: s.from | uint64(i)<<(64-treeBits*int(s.depth+1))}
}

// last is the highest hash of a span.
func (s span) last() uint64 { return s.from | (1<<(64-treeBits*int(s.depth)) - 1) }

// digit is which child a hash lies in below the given depth.
func digit(hash uint64, depth int) int {
	return int(hash >> (64 - treeBits*(depth+1)) & (treeFanout - 1))
}

// add XORs a difference into the sums of a key hash.
func (t *tree) add(hash, difference uint64) {
	t.sum ^= difference
	n := &t.root
	for depth := 0; ; depth++ {
		i := digit(hash, depth)
		n.sums[i] ^= difference
		if depth == treeDepth-1 {
			return
		}
		if n.kids == nil {
			n.kids = new([treeFanout]*treeNode)
		}
		if n.kids[i] == nil {
			n.kids[i] = new(treeNode)
		}
		n = n.kids[i]
	}
}

// sums are those of a span's parts. The span is above the leaves.
func (t *tree) sums(s span) [treeFanout]uint64 {
	n := &t.root
	for depth := range int(s.depth) {
		if n.kids == nil || n.kids[digit(s.from, depth)] == nil {
			return [treeFanout]uint64{}
		}
		n = n.kids[digit(s.from, depth)]
	}
	return n.sums
}

// leaf is the sum of the leaf of a key hash.
func (t *tree) leaf(hash uint64) uint64 {
	sums := t.sums(span{depth: treeDepth - 1, from: hash})
	return sums[digit(hash, treeDepth-1)]
}

// versionSum is what one version of a key adds to the sums: 0 for none.
func versionSum(hash uint64, s Stamp) uint64 {
	if s == (Stamp{}) {
		return 0
	}
	h := mix(hash, uint64(s.Counter))
	h = mix(h, uint64(s.Node))
	h = mix(h, s.Boot)
	return mix(h, s.Seq)
}

// mix folds a word into a hash, as wyhash does: a wide product of both, with
// constants of the golden ratio so that zeros do not stay zero.
func mix(h, x uint64) uint64 {
	hi, lo := bits.Mul64(h^0x9e3779b97f4a7c15, x^0xbf58476d1ce4e5b9)
	return bits.RotateLeft64(h, 23) ^ hi ^ lo
}
