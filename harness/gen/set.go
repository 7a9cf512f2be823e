package gen

import (
	"iter"
	"math/bits"
	"slices"
)

// Set is a set of small numbers, a bit each. Add and Remove change it in
// place; they are for its owner. All other methods leave it as it is. No
// method but Add needs the number to be within the set's capacity.
type Set []uint64

// NewSet makes an empty set with room for the numbers below n.
func NewSet(n int) Set { return make(Set, (n+63)/64) }

// FullSet makes the set of the numbers below n.
func FullSet(n int) Set {
	s := NewSet(n)
	for i := range s {
		s[i] = ^uint64(0)
	}
	if n%64 != 0 {
		s[len(s)-1] = 1<<(n%64) - 1
	}
	return s
}

// Add puts i in. It panics when there is no room for it.
func (s Set) Add(i int) { s[i/64] |= 1 << (i % 64) }

// Remove takes i out.
func (s Set) Remove(i int) {
	if i >= 0 && i/64 < len(s) {
		s[i/64] &^= 1 << (i % 64)
	}
}

// Has says whether i is in the set.
func (s Set) Has(i int) bool {
	return i >= 0 && i/64 < len(s) && s[i/64]>>(i%64)&1 == 1
}

// Count is how many numbers are in the set.
func (s Set) Count() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// Empty says that Count is 0.
func (s Set) Empty() bool {
	for _, w := range s {
		if w != 0 {
			return false
		}
	}
	return true
}

// First is the smallest number, or -1.
func (s Set) First() int { return s.Nth(0) }

// Nth is the number with n smaller ones in the set, or -1.
func (s Set) Nth(n int) int {
	if n < 0 {
		return -1
	}
	for i, w := range s {
		in := bits.OnesCount64(w)
		if n >= in {
			n -= in
			continue
		}
		for ; n > 0; n-- {
			w &= w - 1 // drops the lowest bit
		}
		return i*64 + bits.TrailingZeros64(w)
	}
	return -1
}

// All gives the numbers, ascending.
func (s Set) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range s {
			for ; w != 0; w &= w - 1 {
				if !yield(i*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// With gives a copy with i in it, and room for it.
func (s Set) With(i int) Set {
	t := make(Set, max(len(s), i/64+1))
	copy(t, s)
	t.Add(i)
	return t
}

// Without gives a copy without i.
func (s Set) Without(i int) Set {
	t := slices.Clone(s)
	t.Remove(i)
	return t
}

// Within gives a copy that keeps the numbers in [lo, hi).
func (s Set) Within(lo, hi int) Set {
	t := slices.Clone(s)
	for i := range t {
		t[i] &= below(hi-i*64) &^ below(lo-i*64)
	}
	return t
}

// below has the lowest n bits set, for any n.
func below(n int) uint64 {
	switch {
	case n <= 0:
		return 0
	case n >= 64:
		return ^uint64(0)
	}
	return 1<<n - 1
}
