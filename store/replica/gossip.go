package replica

import (
	"slices"
	"time"
)

// This file is gossip: who is alive, and how far everybody has come with a change
// of the members (van Renesse, Minsky and Hayden, "A gossip-style failure
// detection service", Middleware 1998). Every node counts a heartbeat, and tells
// one of the others in turn all the heartbeats that it knows. A node whose
// heartbeat stands still for long is suspected. That may be wrong, and nothing
// that is promised rests on it: it says whom to ask first, and when to go on
// without somebody.

// Row is what is known of a node.
type Row struct {
	_    struct{} `cbor:",toarray"`
	ID   NodeID
	Boot uint64 // of the node; a later one counts more
	Beat uint64
	// Moved is the epoch of the joint view for which the node has seen to it
	// that the new replicas have its records, see move.go.
	Moved uint64
	// Rested is the last epoch in which the node had no request left that began
	// before it, and no stray, see collect.go.
	Rested uint64
}

// Rows is what a node gossips, by number.
type Rows struct {
	Rows []Row `cbor:"1,keyasint"`
}

// gossip is what a node knows of the others.
type gossip struct {
	rows []peerRow // of the nodes of the view, ascending by number
	beat uint64
	told NodeID // whom, the last time
	at   time.Duration
}

type peerRow struct {
	Row
	grown time.Duration // when its heartbeat was last seen to have grown
}

// MemberStatus is what this node knows of a member.
type MemberStatus struct {
	Member
	Leaving bool // it belongs to the cluster until the change is through
	Joining bool // it belongs to it when the change is through
	Alive   bool
	Moved   bool // leaving it, or staying: the new replicas have its records
}

// Members gives the nodes of the view in force, ascending, with what this node
// knows of them. It is empty where membership does not change.
func (r *Replica) Members() []MemberStatus {
	if r.cfg.Gossip == 0 {
		return nil
	}
	v := &r.membership.view
	var all []MemberStatus
	for s := r.placement.nodes(); s != 0; {
		id := s.pop()
		m, old := v.find(id), find(v.Before, id)
		status := MemberStatus{Alive: r.alive(id), Leaving: m == nil, Joining: v.joint() && old == nil}
		if m == nil {
			m = old
		}
		status.Member = *m
		if row := r.row(id); row != nil && v.joint() {
			status.Moved = row.Moved == v.Epoch
		}
		all = append(all, status)
	}
	return all
}

// alive says that a node is not suspected.
func (r *Replica) alive(id NodeID) bool {
	if r.cfg.Gossip == 0 || id == r.cfg.ID || r.membership.gossip.beat == 0 {
		return true
	}
	row := r.row(id)
	return row != nil && r.now.Mono-row.grown < r.patience()
}

// patience is how long a heartbeat may stand still. Each node tells each other
// one directly once in as many intervals as there are others.
func (r *Replica) patience() time.Duration {
	return r.cfg.Gossip * time.Duration(2*r.placement.nodes().len()+2)
}

func (r *Replica) row(id NodeID) *peerRow {
	rows := r.membership.gossip.rows
	i, found := slices.BinarySearchFunc(rows, id, func(row peerRow, id NodeID) int { return int(row.ID) - int(id) })
	if !found {
		return nil
	}
	return &rows[i]
}

// enterGossip keeps the rows of the nodes of a view, and begins those of new ones.
func (r *Replica) enterGossip() {
	g := &r.membership.gossip
	old := g.rows
	g.rows = nil
	for s := r.placement.nodes(); s != 0; {
		id := s.pop()
		row := peerRow{Row: Row{ID: id}, grown: r.now.Mono}
		if i := slices.IndexFunc(old, func(row peerRow) bool { return row.ID == id }); i >= 0 {
			row = old[i]
		}
		g.rows = append(g.rows, row)
	}
	g.at = r.now.Mono // tell the others soon
}

// gossipTick tells one of the others what this node knows.
func (r *Replica) gossipTick() {
	g := &r.membership.gossip
	if !r.membership.member || g.at > r.now.Mono {
		return
	}
	g.at = r.now.Mono + r.cfg.Gossip
	if g.beat++; g.beat == 1 { // the node has just started, and has not listened yet
		for i := range g.rows {
			g.rows[i].grown = r.now.Mono
		}
	}
	own := r.row(r.cfg.ID)
	own.Boot, own.Beat, own.grown = r.boot, g.beat, r.now.Mono
	if own.Rested < r.epoch() && r.rested() {
		own.Rested = r.epoch()
	}
	r.trySettle()
	r.readRegister()
	others := r.placement.nodes()
	others.remove(r.cfg.ID)
	if others == 0 {
		return
	}
	g.told = others.after(g.told)
	if r.epoch() > 1 && r.row(g.told).Beat == 0 {
		r.tellView(g.told) // it may be new, and not know how to reach anybody
	}
	rows := make([]Row, len(g.rows))
	for i := range g.rows {
		rows[i] = g.rows[i].Row
	}
	r.send(g.told, &Message{Type: MsgGossip, Rows: &Rows{rows}})
}

// onGossip takes what another node knows.
func (r *Replica) onGossip(_ NodeID, m *Message) {
	if m.Rows == nil {
		return
	}
	for _, told := range m.Rows.Rows {
		row := r.row(told.ID)
		if row == nil || told.ID == r.cfg.ID || told.Boot < row.Boot || told.Boot == row.Boot && told.Beat <= row.Beat {
			continue
		}
		row.Row, row.grown = told, r.now.Mono
	}
	r.trySettle()
}
