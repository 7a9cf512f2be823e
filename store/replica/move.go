package replica

import "time"

// This file moves records while a change of the members is under way: every node
// of the view before sees to it that each of its records is safe at the replicas
// that its key is going to have. What was written since the joint view came into
// force is there already, since every quorum is one of those replicas too.
//
// The node goes through its storage, a page at a time. All is there that it has
// acknowledged in the view before, and also what it is still going to: Storage
// shows a write at once, and what comes later comes in the joint view.
//
//	quorums     store its record, until W of the new replicas have it or a newer one
//	CASPaxos    read the key through both majorities, which ends with an agreed
//	            value at both
//
// Neither makes a version that was not there. When all is done the others learn
// it from its gossip; reconfigure.go says why that is enough.

const (
	moveFlight = 32  // keys at a time
	movePage   = 256 // keys looked at for one input
	movePause  = 2 * time.Millisecond
)

// A job is what a request is for that no client has made.
type job uint8

const (
	noJob job = iota
	jobMove
	jobSettle
	jobBury
	jobBump
	jobRelearn
)

// mover is how far this node has come with moving its records.
type mover struct {
	active   bool
	from     uint64 // hash up to which all keys are in todo, or done
	scanned  bool
	todo     []string
	flying   int
	at       time.Duration
	settling bool // this node proposes the view that ends it
}

// beginMove begins anew when a view has come into force.
func (r *Replica) beginMove() {
	p := &r.membership
	p.move = mover{}
	p.move.active = p.member && p.view.joint() && find(p.view.Before, r.cfg.ID) != nil
	p.move.at = r.now.Mono
}

// moveDeadline is when moveTick is due; 0 means never.
func (r *Replica) moveDeadline() time.Duration {
	p := &r.membership.move
	if !p.active || p.flying >= moveFlight {
		return 0
	}
	if len(p.todo) == 0 && p.scanned && p.flying > 0 {
		return 0
	}
	return max(1, p.at)
}

// moveTick goes on, if there is something to do.
func (r *Replica) moveTick() {
	p := &r.membership.move
	if d := r.moveDeadline(); d == 0 || d > r.now.Mono {
		return
	}
	p.at = r.now.Mono + movePause
	if len(p.todo) == 0 && !p.scanned {
		r.movePage()
	}
	var later []string
	for len(p.todo) > 0 && p.flying < moveFlight {
		key := p.todo[0]
		p.todo = p.todo[1:]
		if !r.moveKey(key) {
			later = append(later, key)
		}
	}
	if len(later) > 0 {
		p.todo, p.at = append(p.todo, later...), r.now.Mono+r.cfg.Retry
	}
	if p.scanned && len(p.todo) == 0 && p.flying == 0 {
		p.active = false
		r.row(r.cfg.ID).Moved = r.epoch()
		r.membership.gossip.at = r.now.Mono
	}
}

// movePage looks for more keys to be moved.
func (r *Replica) movePage() {
	p := &r.membership.move
	keys, last := 0, p.from
	p.scanned = true // unless there is more
	err := r.store.Scan(p.from, func(key string, _ Stamp, _ error) bool {
		h := KeyHash(key)
		if keys >= movePage && h != last {
			p.from, p.scanned = h, false
			return false
		}
		keys++
		last = h
		if r.hasToMove(key) {
			p.todo = append(p.todo, key)
		}
		return true
	})
	if err != nil { // from the beginning, later
		p.from, p.scanned, p.todo = 0, false, p.todo[:0]
		p.at = r.now.Mono + r.cfg.Retry
	}
}

// hasToMove says whether this node's record of a key may be missing at its new
// replicas. With a sloppy quorum any record may, whoever holds it: the others
// that have acknowledged it may be fallbacks, and among those that leave.
func (r *Replica) hasToMove(key string) bool {
	u, v := r.cfg.rules(key), r.placement.voters(key)
	if u == &ownRules {
		return false
	}
	return u.Sloppy || v.before != v.now && v.before.has(r.cfg.ID)
}

// moveKey begins to move the record of a key. It says no if the record cannot be
// read now.
func (r *Replica) moveKey(key string) bool {
	rec, _, err := r.current(key)
	if err != nil {
		_, given := r.hopelessKeys[key] // nothing is left to be moved
		return given
	}
	if rec.IsZero() {
		return true
	}
	r.membership.move.flying++
	q := Request{Op: Get, Key: key}
	u := r.cfg.rules(key)
	if u.Protocol == CASPaxos {
		r.propose(&q, jobMove)
		return true
	}
	x := r.admit(&q, u)
	x.job = jobMove
	x.voters.before = x.voters.now
	x.r = x.w
	x.best = rec
	x.message.Type, x.message.TagOnly = MsgQuery, true
	r.startRound(x, roundQuery)
	return true
}

// worked takes the end of a request that no client has made.
func (r *Replica) worked(j job, key string, done bool) {
	p := &r.membership.move
	switch j {
	case jobSettle:
		p.settling = r.membership.next != nil // else it has to be tried again
		return
	case jobBump:
		if r.collect != nil {
			r.collect.bumping = false
		}
		return
	case jobBury:
		r.wasBuried(key, done)
		return
	}
	if !p.active {
		return
	}
	p.flying--
	if !done {
		p.todo = append(p.todo, key)
	}
	p.at = min(p.at, r.now.Mono)
}
