package replica

import (
	"cmp"
	"fmt"
	"slices"
)

// This file is what a record of a key with Causal stamps holds, and how two such
// records become one. They are dotted version vectors, kept as a set of siblings
// (Preguiça, Baquero, Almeida, Fonte and Gonçalves, "Brief announcement:
// efficient causality tracking in distributed storage systems with dotted
// version vectors", PODC 2012; Almeida, Baquero, Gonçalves, Preguiça and Fonte,
// "Scalable and accurate causality tracking for eventually consistent stores",
// DAIS 2014).
//
// A put gets a [Dot] of its own. A record holds the values of the puts that
// nobody has overwritten, its siblings, and a [Context]: the dots of all puts
// that have come to it, be they still there or overwritten. So of two records
// each knows what the other one lacks:
//
//	dot in both                             keep
//	dot in one, and in the other's context  overwritten there: drop
//	dot in one, unknown to the other        new to it: keep
//
// That is commutative, associative and idempotent, so that records can be merged
// in any order and any number of times.
//
// # Contexts
//
// A version vector would say "all dots of node 1 up to the 7th". This is only
// true as long as node 1 keeps its record of the key, since then every state in
// which its 7th dot is seen comes from one of its own, in which the 6th had been.
// Where a node loses a record (damage.go), hands it off (handoff.go) or forgets a
// tombstone (collect.go), and makes a dot again after that, its earlier dots may
// be unknown to it, and would be dropped everywhere as overwritten although
// nobody had seen them. So the life of a record at a node, as far as it has made
// dots there, is a [Range] of its own, which begins with the first one, and a
// context is a set of ranges. There is one for each node, but for the nodes that
// had such a loss.
//
//	node 1   ●──●──────●   record lost   ●─────●
//	         [ 1.1 … 1.7 ]               [ 1.12 … 1.15 ]
//
// The numbers of dots are those of all keys of a node, so a range has gaps, which
// are dots of other keys.

// MaxSiblings and MaxSiblingBytes bound the siblings of a key, and the bytes of
// their values together. A put that would exceed them is refused. Replicas that
// do not know of each other's siblings may have up to N times as much together:
// nothing is dropped for it.
const (
	MaxSiblings     = 64
	MaxSiblingBytes = 2 << 20
)

// Dot is the name of a put. Boot and Seq are as in [Stamp], so that no two puts
// have the same one.
type Dot struct {
	_    struct{} `cbor:",toarray"`
	Node NodeID   // the replica that has made it
	Boot uint64
	Seq  uint64
}

// Range is the dots of a key that a node has made from First to Last. Both are
// of one node.
type Range struct {
	_           struct{} `cbor:",toarray"`
	First, Last Dot
}

// Context is a set of dots: the puts that a record includes, or that a client
// has seen. Its ranges are ascending, and none meets another. It is immutable.
type Context []Range

// Sibling is the value of a put that nobody has overwritten.
type Sibling struct {
	_     struct{} `cbor:",toarray"`
	Dot   Dot
	Value []byte // immutable
}

// Siblings is the state of a key with Causal stamps. It is immutable.
type Siblings struct {
	_       struct{} `cbor:",toarray"`
	Context Context
	Values  []Sibling // ascending by their dots, which Context includes
	// Born is the first dot that this node has made in the life of its record;
	// zero: none. It is the node's own business, and does not travel.
	Born Dot `cbor:"-"`
}

func (d Dot) compare(e Dot) int {
	return cmp.Or(cmp.Compare(d.Node, e.Node), cmp.Compare(d.Boot, e.Boot), cmp.Compare(d.Seq, e.Seq))
}

// stamp is the dot as the version of a put.
func (d Dot) stamp() Stamp { return Stamp{Node: d.Node, Boot: d.Boot, Seq: d.Seq} }

// dot is the reverse.
func (s Stamp) dot() Dot { return Dot{Node: s.Node, Boot: s.Boot, Seq: s.Seq} }

// just is the context of one dot.
func just(d Dot) Context { return Context{{First: d, Last: d}} }

// includes says whether a dot is in the context.
func (c Context) includes(d Dot) bool {
	i, found := slices.BinarySearchFunc(c, d, func(r Range, d Dot) int { return r.First.compare(d) })
	return found || i > 0 && d.compare(c[i-1].Last) <= 0
}

// union gives the dots that are in either context.
func (c Context) union(o Context) Context {
	all := make(Context, 0, len(c)+len(o))
	for len(c)+len(o) > 0 {
		if len(c) == 0 || len(o) > 0 && o[0].First.compare(c[0].First) < 0 {
			c, o = o, c
		}
		next := c[0]
		c = c[1:]
		if n := len(all); n > 0 && next.First.compare(all[n-1].Last) <= 0 {
			if all[n-1].Last.compare(next.Last) < 0 {
				all[n-1].Last = next.Last
			}
			continue
		}
		all = append(all, next)
	}
	return all
}

// Validate says what is wrong with a context. It may come from anywhere.
func (c Context) Validate() error {
	for i, r := range c {
		switch {
		case r.First.Node != r.Last.Node || r.First.Node >= MaxNodes || r.Last.compare(r.First) < 0:
			return fmt.Errorf("range %d is none", i)
		case i > 0 && r.First.compare(c[i-1].Last) <= 0:
			return fmt.Errorf("range %d is not behind the one before", i)
		}
	}
	return nil
}

// Validate says what is wrong with siblings that may come from anywhere. Their
// size is not looked at.
func (s *Siblings) Validate() error {
	if err := s.Context.Validate(); err != nil {
		return err
	}
	for i := range s.Values {
		switch {
		case i > 0 && s.Values[i].Dot.compare(s.Values[i-1].Dot) <= 0:
			return fmt.Errorf("sibling %d is not behind the one before", i)
		case !s.Context.includes(s.Values[i].Dot):
			return fmt.Errorf("sibling %d is not in the context", i)
		}
	}
	return nil
}

// Record gives the record that holds the siblings. One without values is a
// tombstone. The stamp is a digest of the state, so that two records have the
// same one only if they hold the same; it says nothing of an order.
func (s *Siblings) Record() Record {
	if len(s.Context) == 0 {
		return Record{}
	}
	a, b := uint64(len(s.Context)), uint64(len(s.Values))
	add := func(d Dot) {
		for _, x := range [...]uint64{uint64(d.Node), d.Boot, d.Seq} {
			a, b = mix(a, x), mix(b, ^x)
		}
	}
	for _, r := range s.Context {
		add(r.First)
		add(r.Last)
	}
	for i := range s.Values {
		add(s.Values[i].Dot)
	}
	return Record{Stamp: Stamp{Boot: a, Seq: b}, Deleted: len(s.Values) == 0, Siblings: s}
}

// Size is how many bytes the values have together.
func (s *Siblings) Size() int {
	n := 0
	for i := range s.Values {
		n += len(s.Values[i].Value)
	}
	return n
}

// merge gives what two replicas hold together, as the record of the first one,
// and says whether that is more than it has.
func (s *Siblings) merge(o *Siblings) (_ *Siblings, more bool) {
	all := s.Context.union(o.Context)
	more = !slices.Equal(all, s.Context)
	m := &Siblings{Context: all, Born: s.Born, Values: make([]Sibling, 0, len(s.Values)+len(o.Values))}
	mine, theirs := s.Values, o.Values
	for len(mine)+len(theirs) > 0 {
		order := 1
		if len(theirs) == 0 {
			order = -1
		} else if len(mine) > 0 {
			order = mine[0].Dot.compare(theirs[0].Dot)
		}
		if order <= 0 {
			if order == 0 || !o.Context.includes(mine[0].Dot) {
				m.Values = append(m.Values, mine[0])
			} else {
				more = true
			}
			mine = mine[1:]
		}
		if order >= 0 {
			if order > 0 && !s.Context.includes(theirs[0].Dot) {
				m.Values = append(m.Values, theirs[0])
			}
			theirs = theirs[1:]
		}
	}
	return m, more
}

// put gives the siblings after a put with a dot of this node, by a client that
// has seen the puts of a context. What is left is what that client has not seen.
func (s *Siblings) put(d Dot, value []byte, seen Context) *Siblings {
	after, _ := s.merge(&Siblings{Context: seen})
	if after.Born == (Dot{}) {
		after.Born = d
	}
	after.Context = after.Context.union(Context{{First: after.Born, Last: d}})
	at, _ := slices.BinarySearchFunc(after.Values, d, func(v Sibling, d Dot) int { return v.Dot.compare(d) })
	after.Values = slices.Insert(after.Values, at, Sibling{Dot: d, Value: value})
	return after
}

// siblings gives the causal state of a record. One from before its key had Causal
// stamps is like a put, or a delete of it, whose dot is what its stamp had.
func (r *Record) siblings() *Siblings {
	switch {
	case r.Siblings != nil:
		return r.Siblings
	case r.Stamp == Stamp{}:
		return new(Siblings)
	case r.Deleted:
		return &Siblings{Context: just(r.Stamp.dot())}
	}
	return &Siblings{Context: just(r.Stamp.dot()), Values: []Sibling{{Dot: r.Stamp.dot(), Value: r.Value}}}
}

// join takes in what another replica's record of the key has and this one lacks:
// with Causal stamps they are merged, and otherwise the newer one stays. It says
// whether there was anything.
func (r *Record) join(other *Record) bool {
	if r.Siblings == nil && other.Siblings == nil {
		if !other.newer(*r) {
			return false
		}
		*r = *other
		return true
	}
	merged, more := r.siblings().merge(other.siblings())
	if !more && (r.Siblings != nil || r.Stamp == Stamp{}) {
		return false
	}
	*r = merged.Record()
	return true
}
