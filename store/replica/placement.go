package replica

import (
	"math/bits"

	"github.com/assay-chaos/assay/store/ring"
)

// NodeID numbers the nodes of a cluster from 0.
type NodeID = ring.NodeID

// Placement says which nodes hold a key: the N nodes of its preference list on
// the ring of all nodes, see package ring. It is the same at every node, it is
// immutable, and it may be used concurrently.
type Placement struct {
	ring *ring.Ring // nil: every node holds every key
	all  nodeSet
	n    int
}

// NewPlacement makes the placement of a cluster from Nodes and N.
func NewPlacement(c *Config) (*Placement, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	p := &Placement{n: c.N}
	ids := make([]NodeID, c.Nodes)
	for i := range ids {
		ids[i] = NodeID(i)
		p.all.add(ids[i])
	}
	if c.N == c.Nodes {
		return p, nil
	}
	var err error
	p.ring, err = ring.New(ids, ring.VNodes)
	return p, err
}

// Holds says whether a node is one of the key's replicas.
func (p *Placement) Holds(n NodeID, key string) bool {
	return p.replicas(key).has(n)
}

// Replicas gives the nodes that hold a key, by number.
func (p *Placement) Replicas(key string) []NodeID {
	nodes := make([]NodeID, 0, p.n)
	for s := p.replicas(key); s != 0; {
		nodes = append(nodes, s.pop())
	}
	return nodes
}

// replicas is the set of the nodes that hold a key.
func (p *Placement) replicas(key string) nodeSet {
	if p.ring == nil {
		return p.all
	}
	var list [MaxNodes]NodeID
	var s nodeSet
	for _, n := range p.ring.AppendPrefs(list[:0], key, p.n) {
		s.add(n)
	}
	return s
}

// nodeSet is a set of nodes, a bit each.
type nodeSet uint64

func (s nodeSet) has(n NodeID) bool { return s&(1<<n) != 0 }
func (s *nodeSet) add(n NodeID)     { *s |= 1 << n }
func (s nodeSet) len() int          { return bits.OnesCount64(uint64(s)) }

// pop takes the lowest node out of a set that is not empty.
func (s *nodeSet) pop() NodeID {
	n := NodeID(bits.TrailingZeros64(uint64(*s)))
	*s &= *s - 1
	return n
}
