package replica

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// View says who belongs to the cluster. Views follow each other by their epochs,
// one after the other: who comes next is agreed on, see reconfigure.go.
//
//	settled        joint                     settled
//	epoch 4        epoch 5                   epoch 6
//	0 1 2    ───▶  0 1 2 → 0 1 3     ───▶    0 1 3
//	               quorums of both
//	               records move
//
// In a joint view every quorum is one of the replicas that a key had before and
// also one of those that it is going to have. (Joint consensus of Raft, Ongaro
// and Ousterhout, USENIX ATC 2014; for registers Lynch and Shvartsman, RAMBO,
// DISC 2002.)
type View struct {
	_       struct{} `cbor:",toarray"`
	Epoch   uint64
	Members []Member // ascending by ID; in a joint view those that there are going to be
	Before  []Member // in a joint view those that there have been; otherwise nil
	// Retired are the numbers of nodes that have left. Nobody gets them again:
	// what is still on its way about the old node would be taken for the new
	// one's, and its stamps would be the old one's.
	Retired uint64 // a bit each, the lowest for node 0
	// Floor is below every logical stamp that is issued in this view, see
	// collect.go.
	Floor int64
}

// Member is a node of a View.
type Member struct {
	_    struct{} `cbor:",toarray"`
	ID   NodeID
	Addr string // for drivers: where the others reach it
	// Lost, in Before: its disk is gone. Nobody waits for its records.
	Lost bool
}

// Change is a change of the membership: of any number of nodes at a time.
type Change struct {
	Add    []Member // ID and Addr
	Remove []NodeID
	// Lost says that the disks of the removed nodes are gone, and so nothing
	// can be read there any more. With W = 1 they may have had the only copy of
	// a write, and with R = 1 they may answer reads by themselves; so without
	// Lost the change waits for them.
	Lost bool
}

// The keys that begin so are this package's own.
const reserved = "\x00assay/"

const (
	// viewKey is the view that is in force at this node. It is a record of
	// this node alone.
	viewKey = reserved + "view"
	// registerKey is the register on which the members agree on the next
	// view: a key of CASPaxos whose replicas are all members.
	registerKey = reserved + "views"
)

// joint says that a change is under way.
func (v *View) joint() bool { return v.Before != nil }

// find gives the member with a number, nil if there is none.
func (v *View) find(id NodeID) *Member { return find(v.Members, id) }

func find(members []Member, id NodeID) *Member {
	for i := range members {
		if members[i].ID == id {
			return &members[i]
		}
	}
	return nil
}

// member gives a node that belongs to the cluster, staying or leaving or joining;
// nil if it does not.
func (v *View) member(id NodeID) *Member {
	if m := v.find(id); m != nil {
		return m
	}
	return find(v.Before, id)
}

// firstView is the one that a cluster begins with.
func firstView(c *Config) View {
	if c.Gossip == 0 {
		return View{Members: numbered(c)}
	}
	if c.Join {
		return View{}
	}
	return View{Epoch: 1, Members: numbered(c)}
}

// numbered gives the members 0 to Nodes-1.
func numbered(c *Config) []Member {
	members := make([]Member, c.Nodes)
	for i := range members {
		members[i].ID = NodeID(i)
		if i < len(c.Addrs) {
			members[i].Addr = c.Addrs[i]
		}
	}
	return members
}

// after gives the joint view that a change makes of a settled one. It says no to
// a change that cannot be.
func (v *View) after(ch *Change, c *Config) (View, error) {
	next := View{Epoch: v.Epoch + 1, Before: slices.Clone(v.Members), Retired: v.Retired, Floor: v.Floor}
	for i := range next.Before {
		m := &next.Before[i]
		if !slices.Contains(ch.Remove, m.ID) {
			next.Members = append(next.Members, *m)
			continue
		}
		m.Lost = ch.Lost
		next.Retired |= 1 << m.ID
	}
	for _, id := range ch.Remove {
		if v.find(id) == nil {
			return View{}, fmt.Errorf("node %d is no member: the members are %s", id, v)
		}
	}
	for _, m := range ch.Add {
		switch {
		case m.ID >= MaxNodes:
			return View{}, fmt.Errorf("node %d cannot be added: the numbers of nodes are 0 to %d", m.ID, MaxNodes-1)
		case v.find(m.ID) != nil || find(next.Members, m.ID) != nil:
			return View{}, fmt.Errorf("node %d is a member already, or named twice: give the new node a number of its own; the members are %s", m.ID, v)
		case next.Retired&(1<<m.ID) != 0:
			return View{}, fmt.Errorf("node %d has left the cluster, and its number is not used again: give the new node another one", m.ID)
		}
		next.Members = append(next.Members, Member{ID: m.ID, Addr: m.Addr})
	}
	slices.SortFunc(next.Members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	if most := c.mostReplicas(); len(next.Members) < most {
		return View{}, fmt.Errorf("%d members would be left, and keys have %d replicas: add nodes in the same change", len(next.Members), most)
	}
	return next, nil
}

// done says that a view is what a change asks for.
func (v *View) done(ch *Change) bool {
	for _, m := range ch.Add {
		if have := v.find(m.ID); have == nil || have.Addr != m.Addr {
			return false
		}
	}
	for _, id := range ch.Remove {
		if v.find(id) != nil || v.Retired&(1<<id) == 0 {
			return false
		}
	}
	return true
}

// settled gives the view that ends a joint one.
func (v *View) settled() View {
	return View{Epoch: v.Epoch + 1, Members: v.Members, Retired: v.Retired, Floor: v.Floor}
}

// bumped gives the view that begins a new epoch with the same members.
func (v *View) bumped(floor int64) View {
	next := v.settled()
	next.Floor = max(next.Floor, floor)
	return next
}

// same says that two views have the same members, and no change under way.
func (v *View) same(other *View) bool {
	return !v.joint() && !other.joint() && slices.Equal(v.Members, other.Members)
}

// valid says that a view can be one. It may come from anywhere.
func (v *View) valid() bool {
	return v.Epoch > 0 && len(v.Members) > 0 && ascending(v.Members) && ascending(v.Before) &&
		(v.Before == nil || len(v.Before) > 0)
}

func ascending(members []Member) bool {
	for i, m := range members {
		if m.ID >= MaxNodes || i > 0 && members[i-1].ID >= m.ID {
			return false
		}
	}
	return true
}

// encode gives a view as it stands in records. Equal views have equal bytes.
func (v *View) encode() []byte {
	b, err := cbor.Marshal(v)
	if err != nil {
		panic("replica: a view cannot be encoded: " + err.Error()) // it has plain fields only
	}
	return b
}

func decodeView(b []byte) (View, error) {
	var v View
	if err := cbor.Unmarshal(b, &v); err != nil {
		return View{}, fmt.Errorf("replica: a stored view cannot be read: %w", err)
	}
	if !v.valid() {
		return View{}, fmt.Errorf("replica: the stored view %s makes no sense", &v)
	}
	return v, nil
}

// String gives the members as in "0 1 2", or "0 1 2 → 0 1 3" while they change.
func (v *View) String() string {
	if v.joint() {
		return numbers(v.Before) + " → " + numbers(v.Members)
	}
	return numbers(v.Members)
}

func numbers(members []Member) string {
	var b strings.Builder
	for i, m := range members {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprint(&b, m.ID)
	}
	return b.String()
}
