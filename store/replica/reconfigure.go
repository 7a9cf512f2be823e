package replica

import "fmt"

// This file changes who belongs to the cluster. The next view is agreed on with
// CASPaxos: a register whose replicas are all members holds the view, and a
// change is a compare-and-set from the one in force to the next. So of two
// changes at a time one wins, and whoever proposes one may die at any point.
//
//	Reconfigure ── settled → joint ──▶ reply      the change is certain
//	                 every member moves its records, see move.go
//	any member  ── joint → settled ──▶            the change is through
//
// A node need not learn from the register which view is in force: those who do
// tell the others, and a node that acts in an old view is fenced. But who has
// proposed a view may die before it has told anybody, and forget it. Each member
// is a replica of the register. So one that holds a later view there than the one
// in force, and keeps on hearing nothing of it, reads the register: that completes
// what was chosen.

// reconfigure begins the change that a client asks for.
func (r *Replica) reconfigure(q *Request) {
	v := &r.membership.view
	refuse := func(format string, args ...any) {
		r.out.Replies = append(r.out.Replies, Reply{ID: q.ID, Err: &Error{Code: CodeInvalid, Definite: true, Text: fmt.Sprintf(format, args...)}})
	}
	switch {
	case r.cfg.Gossip == 0:
		refuse("the members of this cluster do not change: start its nodes with gossip")
		return
	case !r.membership.member:
		r.out.Replies = append(r.out.Replies, Reply{ID: q.ID, Err: r.outside(true)})
		return
	case q.Change == nil || len(q.Change.Add)+len(q.Change.Remove) == 0:
		refuse("the change is empty: name nodes to add or to remove")
		return
	case v.done(q.Change):
		r.out.Replies = append(r.out.Replies, Reply{ID: q.ID, Reached: 1})
		return
	case v.joint():
		refuse("a change is under way, %s: wait until it is through", v)
		return
	}
	next, err := v.after(q.Change, &r.cfg)
	if err != nil {
		refuse("%v", err)
		return
	}
	r.proposeView(*q, &next, noJob)
}

// trySettle ends the change that is under way once it may be ended.
//
// A write that was complete before the joint view was acknowledged by W replicas
// while they were in the view before. Each node that has moved its records has
// made sure that W of the new replicas of each have it, or a newer one. Where at
// most W-1 nodes have not moved theirs, one of those W has. Writes since then are
// at W of the new replicas anyhow. So R of those see it, if R and W overlap.
//
// As long as one that has not moved is alive it is waited for. A node whose disk
// is lost cannot move anything. It counts like any other, unless all that are
// missing are lost: then its data is given up, as the one who asked for the
// change has said. That can only lose what fewer than W others had.
func (r *Replica) trySettle() {
	v := &r.membership.view
	if !v.joint() || r.membership.move.settling || !r.membership.member {
		return
	}
	missing, given := 0, true
	for _, m := range v.Before {
		if row := r.row(m.ID); row.Moved == v.Epoch {
			continue
		}
		if r.alive(m.ID) && !m.Lost {
			return
		}
		missing++
		given = given && m.Lost
	}
	if missing > r.cfg.leastQuorum()-1 && !given {
		return
	}
	for _, m := range v.Members { // the first that lives does it
		if m.ID == r.cfg.ID {
			break
		}
		if r.alive(m.ID) {
			return
		}
	}
	r.membership.move.settling = true
	next := v.settled()
	r.proposeView(Request{}, &next, jobSettle)
}

// leastQuorum is the smallest number of replicas that acknowledge a write, or that
// answer a read.
func (c *Config) leastQuorum() int {
	least := c.quorum()
	for i := range c.Keyspaces {
		least = min(least, c.Keyspaces[i].quorum())
	}
	return least
}

func (u *Rules) quorum() int {
	if u.Protocol == CASPaxos {
		return u.majority()
	}
	return min(u.R, u.W)
}

// proposeView proposes the view that follows the one in force, for a request or
// a job.
func (r *Replica) proposeView(q Request, next *View, j job) {
	q.Op, q.Key, q.Value = CAS, registerKey, next.encode()
	if r.epoch() == 1 { // nothing was agreed on yet
		q.ExpectAbsent = true
	} else {
		q.Expect = r.membership.view.encode()
	}
	r.propose(&q, j)
}

// readRegister reads the register if this node's own copy has had a later view for
// two calls.
func (r *Replica) readRegister() {
	p := &r.membership
	later := uint64(0)
	if rec, _, err := r.current(registerKey); err == nil && !rec.Absent() {
		if v, err := decodeView(rec.Value); err == nil && v.Epoch > p.view.Epoch && p.next == nil {
			later = v.Epoch
		}
	}
	again := later != 0 && later == p.later
	p.later = later
	if again && !p.reading {
		p.reading = true
		r.propose(&Request{Op: Get, Key: registerKey}, jobRead)
	}
}

// agreed takes the end of a proposal about the register: what is told is the
// view that was agreed on, be it the proposed one or another. It says whether the
// request has to begin again, because only a new epoch with the same members came
// first.
func (r *Replica) agreed(x *proposal) (again bool) {
	value := x.request.Value
	if x.request.Op == Get {
		value = x.told.Value
	} else if x.told.Err != nil {
		value = x.told.Value
		x.told = Reply{Err: &Error{Code: CodeUnavailable, Definite: true, Text: "another change of the members came first: look at them, and ask again"}}
	}
	v, err := decodeView(value)
	if err != nil {
		return false
	}
	r.learn(&v)
	p := &r.membership
	if x.told.Err == nil || x.request.Change == nil || !v.same(&p.view) {
		return false
	}
	p.again = append(p.again, Request{ID: x.request.ID, Op: Reconfigure, Change: x.request.Change})
	p.gossip.at = r.now.Mono
	return true
}

// reconfigureAgain takes up the requests that a new epoch came before.
func (r *Replica) reconfigureAgain() {
	p := &r.membership
	if p.next != nil {
		return
	}
	again := p.again
	p.again = nil
	for i := range again {
		r.reconfigure(&again[i])
	}
}
