package replica

import (
	"math/bits"

	"github.com/assay-chaos/assay/store/ring"
)

// NodeID numbers the nodes of a cluster from 0.
type NodeID = ring.NodeID

// Placement says which nodes hold a key: the N nodes of its preference list on
// the ring of all nodes, see package ring, with the N of its keyspace. In a joint
// view (see [View]) these are the nodes that held it before, too. It is the same
// at every node with the same view, it is immutable, and it may be used
// concurrently.
type Placement struct {
	cfg         Config
	now, before circle // the same in a settled view
	joint       bool
}

// circle is a number of nodes and their ring.
type circle struct {
	all  nodeSet
	ring *ring.Ring // nil: every node holds every key
}

// NewPlacement makes the placement that a cluster begins with, from Nodes and
// the rules.
func NewPlacement(c *Config) (*Placement, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	settled := c.settled()
	first := firstView(&settled)
	return newPlacement(&settled, &first)
}

// newPlacement makes the placement of a view. With no members no node holds any
// key.
func newPlacement(c *Config, v *View) (*Placement, error) {
	p := &Placement{cfg: *c, joint: v.joint()}
	var err error
	if p.now, err = newCircle(c, v.Members); err != nil {
		return nil, err
	}
	p.before = p.now
	if p.joint {
		p.before, err = newCircle(c, v.Before)
	}
	return p, err
}

func newCircle(c *Config, members []Member) (circle, error) {
	var s circle
	ids := make([]NodeID, len(members))
	for i, m := range members {
		ids[i] = m.ID
		s.all.add(m.ID)
	}
	if !c.some(func(u *Rules) bool { return u.N < len(ids) }) {
		return s, nil
	}
	var err error
	s.ring, err = ring.New(ids, ring.VNodes)
	return s, err
}

// replicas are the first n nodes of a key's preference list.
func (s *circle) replicas(key string, n int) nodeSet {
	if s.ring == nil {
		return s.all
	}
	var list [MaxNodes]NodeID
	var found nodeSet
	for _, id := range s.ring.AppendPrefs(list[:0], key, n) {
		found.add(id)
	}
	return found
}

// Holds says whether a node is one of the key's replicas.
func (p *Placement) Holds(n NodeID, key string) bool {
	return p.voters(key).all().has(n)
}

// Replicas gives the nodes that hold a key, by number.
func (p *Placement) Replicas(key string) []NodeID {
	nodes := make([]NodeID, 0, p.cfg.rules(key).N)
	for s := p.voters(key).all(); s != 0; {
		nodes = append(nodes, s.pop())
	}
	return nodes
}

// Nodes is how many nodes belong to the cluster.
func (p *Placement) Nodes() int { return p.nodes().len() }

// nodes are all that belong to the cluster; in a joint view also those that are
// about to leave.
func (p *Placement) nodes() nodeSet { return p.now.all | p.before.all }

// voters are the nodes that hold a key.
func (p *Placement) voters(key string) voters {
	u := p.cfg.rules(key)
	if u == &ownRules {
		return voters{now: p.now.all, before: p.before.all}
	}
	v := voters{now: p.now.replicas(key, u.N)}
	v.before = v.now
	if p.joint {
		v.before = p.before.replicas(key, u.N)
	}
	return v
}

// alike says that all nodes hold the same keys of those that are compared.
func (p *Placement) alike() bool {
	return !p.joint && !p.cfg.some(func(u *Rules) bool { return u.Protocol != CASPaxos && u.N < p.now.all.len() })
}

// fallback gives the first node of a key's preference list that is not in a
// set. It says no if there is none. Nodes that are about to leave are none: they
// would take with them what they are given.
func (p *Placement) fallback(key string, asked nodeSet) (NodeID, bool) {
	if p.now.ring == nil {
		return 0, false
	}
	var list [MaxNodes]NodeID
	for _, n := range p.now.ring.AppendPrefs(list[:0], key, MaxNodes) {
		if !asked.has(n) {
			return n, true
		}
	}
	return 0, false
}

// voters are the nodes whose answers count for a key: a quorum is one of those
// now and, in a joint view, also one of those before.
type voters struct{ now, before nodeSet }

// all are the nodes to be asked.
func (v voters) all() nodeSet { return v.now | v.before }

// add makes another node's answer count as one of a replica's does, now and before.
func (v *voters) add(n NodeID) {
	v.now.add(n)
	v.before.add(n)
}

// enough says that these nodes are a quorum of the given size.
func (v voters) enough(s nodeSet, size int) bool {
	return (s&v.now).len() >= size && (v.before == v.now || (s&v.before).len() >= size)
}

// hopeless says that the other nodes are too few for such a quorum.
func (v voters) hopeless(s nodeSet, size int) bool { return !v.enough(v.all()&^s, size) }

// majority says that these nodes are a majority.
func (v voters) majority(s nodeSet) bool {
	return 2*(s&v.now).len() > v.now.len() && (v.before == v.now || 2*(s&v.before).len() > v.before.len())
}

// nodeSet is a set of nodes, a bit each.
type nodeSet uint64

func (s nodeSet) has(n NodeID) bool { return s&(1<<n) != 0 }
func (s *nodeSet) remove(n NodeID)  { *s &^= 1 << n }
func (s *nodeSet) add(n NodeID)     { *s |= 1 << n }
func (s nodeSet) len() int          { return bits.OnesCount64(uint64(s)) }

// after gives the next node of a set that is not empty, and begins again after the
// last.
func (s nodeSet) after(n NodeID) NodeID {
	if later := s &^ (1<<n<<1 - 1); later != 0 {
		s = later
	}
	return s.pop()
}

// pop takes the lowest node out of a set that is not empty.
func (s *nodeSet) pop() NodeID {
	n := NodeID(bits.TrailingZeros64(uint64(*s)))
	*s &= *s - 1
	return n
}
