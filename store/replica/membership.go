package replica

import (
	"fmt"
	"slices"
	"time"
)

// This file is which view is in force at this node, and the fence around it.
//
// A message is handled only in the epoch of its sender, which therefore has to be
// this node's; otherwise the one that is behind gets the other's view. So what a
// node says in one epoch, it says before everything that it says in the next:
//
//	epoch 4                 │ epoch 5
//	──── acknowledges w ────┼──── answers a query: sees w ───▶
//
// The view is durable before the node acts in it, so that no restart takes it
// back behind what it has said. And a coordinator begins a round again when the
// view changes: the answers of a round are all of one epoch.

// membership is what a node knows of who belongs to the cluster.
type membership struct {
	view   View
	member bool // this node belongs to it
	// next is a later view, on its way to the disk with a ticket.
	next   *View
	ticket uint64
	// entered is the ID of the last request that began before this epoch.
	entered uint64
	// again are the requests for changes that an epoch without a change came
	// before.
	again []Request

	gossip gossip
	move   mover
}

// openMembership gives the view that was in force when the node stopped, or the
// first one.
func openMembership(cfg *Config, s Storage) (View, error) {
	if cfg.Gossip == 0 {
		return firstView(cfg), nil
	}
	rec, found, err := s.Get(viewKey)
	if err != nil {
		return View{}, fmt.Errorf("replica: which nodes belong to the cluster cannot be read: %w", err)
	}
	if found {
		return decodeView(rec.Value)
	}
	if cfg.Join {
		// Records of another life could be older than what was promised here.
		err := s.Scan(0, func(key string, _ Stamp, _ error) bool {
			found = true
			return false
		})
		if err == nil && found {
			err = fmt.Errorf("there are records, and no word of the cluster that they belong to: begin with an empty disk")
		}
		if err != nil {
			return View{}, fmt.Errorf("replica: this node cannot join: %w", err)
		}
	}
	return firstView(cfg), nil
}

// View gives the view that is in force at this node. Its Epoch is 0 before the
// node was added to the cluster, and where membership does not change.
func (r *Replica) View() View { return r.membership.view }

// Member says whether this node belongs to the cluster: not before it was added,
// and not after it was removed.
func (r *Replica) Member() bool { return r.membership.member }

// epoch of the view in force.
func (r *Replica) epoch() uint64 { return r.membership.view.Epoch }

// fenced handles a message that is not for this epoch, and says whether it was
// one.
func (r *Replica) fenced(from NodeID, m *Message) bool {
	switch {
	case m.Type == MsgView:
		r.onView(from, m)
	case m.Epoch != r.epoch():
		r.tellView(from)
	case !r.membership.member || !r.placement.nodes().has(from):
		// It is out, or its sender is.
	case m.Type == MsgGossip:
		r.onGossip(from, m)
	default:
		return false
	}
	return true
}

// tellView sends a node the view in force here. If that is older than its own it
// answers with that.
func (r *Replica) tellView(to NodeID) {
	v := r.membership.view
	r.send(to, &Message{Type: MsgView, Epoch: v.Epoch, View: &v})
}

// onView takes another node's view.
func (r *Replica) onView(from NodeID, m *Message) {
	switch v := m.View; {
	case m.Epoch < r.epoch():
		r.tellView(from)
	case v != nil && v.Epoch == m.Epoch && v.Epoch > r.epoch() && v.valid():
		r.learn(v)
	}
}

// learn writes a view down that was agreed on. It is in force when it is durable.
func (r *Replica) learn(v *View) {
	p := &r.membership
	if v.Epoch <= p.view.Epoch || p.next != nil && v.Epoch <= p.next.Epoch {
		return
	}
	p.next = v
	p.ticket = r.write(viewKey, Record{}, v.record())
}

// record is how a node keeps its view.
func (v *View) record() Record {
	return Record{Stamp: Stamp{Counter: int64(v.Epoch)}, Value: v.encode()}
}

// enter puts the view in force that has become durable.
func (r *Replica) enter() {
	p := &r.membership
	if p.next == nil || r.gate.done < p.ticket {
		return
	}
	v := *p.next
	p.next = nil
	same := v.same(&p.view)
	r.setView(v)
	p.entered = r.lastID
	r.out.View = &v
	r.rejoinRequests(same)
	r.rejoinProposals(same)
	for _, x := range r.mends {
		x.answered, x.best = 0, Record{}
		x.message.Type, x.message.Round = MsgVoid, roundVoid
		r.sendMend(x)
	}
	if same {
		if r.repair != nil && r.repair.active {
			r.repairEnd() // and nothing that it has sent is sent again
		}
		if r.collect != nil {
			r.collect.at = r.now.Mono
		}
	} else {
		r.recountAll()
		r.handoffAll()
		r.collectAgain()
	}
	r.beginMove()
	r.enterGossip()
}

// leaveBehind forgets the view that was on its way to the disk, if its write is
// among those that have failed. Gossip brings it again, or the register does.
func (r *Replica) leaveBehind(seq uint64) {
	if p := &r.membership; p.next != nil && p.ticket <= seq {
		p.next, p.move.settling = nil, false
	}
}

// setView makes a view the one in force, without telling anybody.
func (r *Replica) setView(v View) {
	p := &r.membership
	p.view = v
	placement, err := newPlacement(&r.cfg, &v)
	if err != nil {
		panic("replica: a valid view has no placement: " + err.Error())
	}
	r.placement = placement
	p.member = v.member(r.cfg.ID) != nil
	r.counter = max(r.counter, v.Floor)
}

// rejoinRequests begins the rounds of all requests again, with the nodes that
// decide now. Work of this node's own ends, unless the members are the same.
func (r *Replica) rejoinRequests(same bool) {
	var open []uint64 // going on with one may end it
	for x := r.byDeadline.head; x != nil; x = x.link[linkDeadline].next {
		open = append(open, x.message.ID)
	}
	for _, id := range open {
		x := r.requests[id]
		switch {
		case x == nil:
		case x.replied:
			r.forget(x) // anti-entropy does the rest
		case !r.membership.member:
			r.replyError(x, r.outside(x.op == Get || x.round == roundQuery))
		case x.job != noJob && !same:
			r.replyError(x, &Error{Code: CodeUnavailable, Text: "the members have changed"})
		default:
			x.voters = r.placement.voters(x.message.Key)
			x.answered, x.refused, x.holders = 0, 0, 0
			if x.round == roundQuery {
				x.best = Record{}
			}
			r.startRound(x, x.round)
		}
	}
}

// rejoinProposals does the same for CASPaxos. An attempt at a change ends, and
// the next one finds out what became of it.
func (r *Replica) rejoinProposals(same bool) {
	if !same {
		r.proposer.held = newBallots() // promised by a majority of the view before
	}
	for _, x := range slices.Clone(r.proposer.alarms) {
		switch {
		case x.place < 0: // over
		case x.replied:
			r.retire(x)
		case !r.membership.member:
			r.giveUp(x, r.outside(!x.changed))
		case x.job != noJob:
			r.giveUp(x, &Error{Code: CodeUnavailable, Text: "the members have changed"})
		default:
			x.voters = r.placement.voters(x.request.Key)
			if x.step == stepQuery {
				r.round(x, stepQuery, &Message{Type: MsgQuery})
			} else if x.step != stepWaiting {
				r.prepare(x)
			}
		}
	}
}

// outside is the answer to requests at a node that does not belong to the
// cluster.
func (r *Replica) outside(definite bool) *Error {
	text := fmt.Sprintf("node %d does not belong to the cluster yet: ask a member to add it", r.cfg.ID)
	if r.membership.view.Retired&(1<<r.cfg.ID) != 0 {
		text = fmt.Sprintf("node %d was removed from the cluster, and its records are out of date: the members are %s", r.cfg.ID, &r.membership.view)
	}
	return &Error{Code: CodeUnavailable, Definite: definite, Text: text}
}

// membershipTick does what is due.
func (r *Replica) membershipTick() {
	if r.cfg.Gossip == 0 {
		return
	}
	r.reconfigureAgain()
	r.gossipTick()
	r.moveTick()
	r.collectTick()
}

// membershipDeadline is when membershipTick is due; 0 means never.
func (r *Replica) membershipDeadline() time.Duration {
	if r.cfg.Gossip == 0 || !r.membership.member {
		return 0
	}
	due := r.membership.gossip.at
	if d := r.moveDeadline(); d != 0 {
		due = min(due, d)
	}
	if d := r.collectDeadline(); d != 0 {
		due = min(due, d)
	}
	return max(1, due)
}
