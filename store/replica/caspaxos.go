package replica

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

// This file is the proposer of CASPaxos (Rystsov, "CASPaxos: Replicated State
// Machines without logs", 2018). A key is a register, and a request is a
// function of its value. To change it a proposer gets promises for a ballot
// from a majority, takes the value that they accepted last, and has the changed
// value accepted by a majority:
//
//	                 query            prepare             accept
//	put, delete,                  ── promised by ──▶ ── accepted by ──▶ reply
//	CAS                              a majority        a majority
//	  fast path                                      ── accepted by ──▶ reply
//	                                                   a majority
//	get           ── a majority ──▶ reply
//	                 agrees
//	              ── it never does ──▶ as a change that changes nothing
//
// Fast path: with an accept the proposer asks for the promise of its next
// ballot. While no other proposer comes in between, its next change to the key
// needs no prepare.
//
// Get: when the first majority to answer has accepted one record under one
// ballot, that record was chosen, and every change that was complete before
// shares a replica with this majority, so it cannot be newer. That takes one
// round trip, no disk write and no ballot from anyone. When it has not, either a
// change is on its way and will be settled soon, or replicas have missed some. So
// the get asks again before it takes a ballot of its own.
//
// One node works on one change to a key at a time: two would only undo each
// other's ballots. Proposers of different nodes that do so wait for a time that
// differs between them, see pause.
//
// # At most once
//
// A change whose accept was not answered by a majority may have taken effect,
// or may yet, when another proposer finds it at a minority and carries it on.
// To apply it again, on top of itself, would be wrong: someone may have seen it
// and changed it in between. Ballots alone do not show it, since whoever
// carries a value on gives it a new one. So a version keeps the stamp of the
// ballot under which it came to be, and those of the last versions before it.
// All ballots of one request have one Seq, so that its versions are recognised
// (own). Along the chain of versions stamps only grow, because a ballot is
// above everything that its promises tell. When the request comes back with a
// new ballot it looks at the version that it finds and at those before it:
//
//   - one is its own: the change is in, and is not made again;
//   - one is below the first own version, or is what the last own version would
//     have replaced: the change is not in the chain, and is made on top of it.
//     What is left of the earlier attempt at a minority is another way to the
//     same change, and only one of them can be chosen;
//   - neither: more changes came in between than are kept, and whether the own
//     one was among them is not known: the outcome is open, and the client is
//     told so.

// lineage is how many earlier versions a version tells of. Each takes some ten
// bytes.
const lineage = 8

// roundVote marks the messages of CASPaxos. Each of its rounds has an ID.
const roundVote uint8 = 5

// asks is how often a get asks before it takes a ballot.
const asks = 3

// A step is where a proposal stands.
type step uint8

const (
	stepWaiting step = iota // for an earlier change of this node to the key
	stepQuery
	stepPrepare
	stepAccept
)

// A proposal is a client's request under way.
type proposal struct {
	request  Request
	job      job // of this node's own, without a client
	step     step
	message  Message // of the round; each round has an ID of its own
	voters   voters  // of the key
	answered nodeSet // in this round: with yes,
	refused  nodeSet // that their disks fail,
	rivals   nodeSet // that they have promised a higher ballot
	best     Record  // query, prepare: what was accepted last
	holders  nodeSet // query, prepare: the replicas that answered with best

	ballot Stamp  // of this attempt
	seq    uint64 // Seq of all its ballots; 0: none yet
	tries  int    // ballots that were given up
	paused bool   // giving the rival time; answers still count

	changed bool  // the change was sent, under some ballot
	first   Stamp // its first version
	base    Stamp // what its last version would replace

	told    Reply // what to say when the accept is through
	replied bool

	began    time.Duration // the round
	deadline time.Duration
	at       time.Duration // the next thing to do, see alarms
	place    int           // in alarms
}

// own gives the version in the chain of a record that is the work of this
// request, whatever the attempt. Where it finds none, known says whether there
// certainly is none. It is for requests that have sent their change.
func (x *proposal) own(rec *Record) (own Stamp, found, known bool) {
	judge := func(s Stamp) {
		switch {
		case s.Node == x.ballot.Node && s.Boot == x.ballot.Boot && s.Seq == x.seq:
			own, found = s, true
		case s.Less(x.first), s == x.base:
			known = true
		}
	}
	judge(rec.Stamp)
	before := rec.ballots().Before
	for i := 0; i < len(before) && !found && !known; i++ {
		judge(before[i])
	}
	return own, found, known
}

// before gives the versions before one that replaces r, to begin with r's; a key
// that was never written counts as the zero version.
func (r Record) before() []Stamp {
	old := r.ballots().Before
	return append([]Stamp{r.Stamp}, old[:min(len(old), lineage-1)]...)
}

// proposer is the proposer's state.
type proposer struct {
	rounds map[uint64]*proposal // by the ID of their messages
	lines  map[string]*line     // of the keys with changes under way
	pace   time.Duration        // how long a round takes of late, see pause
	held   ballots
	alarms alarms
}

// line is this node's changes to one key.
type line struct {
	active   *proposal
	waiting  []*proposal // in order of arrival; also some that were given up
	trailing *proposal   // replied, and still sent to those that have not accepted it
}

func newProposer() proposer {
	return proposer{rounds: make(map[uint64]*proposal), lines: make(map[string]*line), held: newBallots()}
}

// propose starts the work on a client's request.
func (r *Replica) propose(q *Request, j job) {
	x := &proposal{request: *q, job: j, voters: r.placement.voters(q.Key), deadline: r.now.Mono + r.cfg.Timeout}
	x.at = x.deadline
	r.proposer.alarms.add(x)
	if q.Op == Get {
		r.round(x, stepQuery, &Message{Type: MsgQuery})
		return
	}
	r.enqueue(x)
}

// enqueue lets a change wait until it is alone with its key.
func (r *Replica) enqueue(x *proposal) {
	x.step, x.holders, x.paused = stepWaiting, 0, false
	l := r.proposer.lines[x.request.Key]
	if l == nil {
		l = &line{}
		r.proposer.lines[x.request.Key] = l
	}
	if l.active != nil {
		r.alarm(x, x.deadline)
		l.waiting = append(l.waiting, x)
		return
	}
	l.active = x
	r.attempt(x)
}

// attempt makes the first attempt at a change, without a prepare if the promise
// is there already.
func (r *Replica) attempt(x *proposal) {
	next, ok := r.proposer.held.take(x.request.Key)
	if ok {
		// This node's own copy says whether another ballot came in between.
		// If none did it is what the majority accepted with the promise.
		rec, _, err := r.current(x.request.Key)
		if err == nil && rec.ballots().Promise == next {
			x.ballot, x.seq = next, next.Seq
			r.change(x, rec)
			return
		}
	}
	r.prepare(x)
}

// prepare asks for the promise of a new ballot.
func (r *Replica) prepare(x *proposal) {
	// After a start only the disk knows how high the ballots are.
	if rec, _, err := r.current(x.request.Key); err == nil {
		r.seeRecord(&rec)
	}
	if r.counter >= math.MaxInt64-1 { // one more goes with the accept
		r.giveUp(x, &Error{Code: CodeInvalid, Definite: !x.changed,
			Text: "no ballot is left above the highest one seen: a record was stored with a bad ballot"})
		return
	}
	if x.seq == 0 {
		r.lastSeq++
		x.seq = r.lastSeq
	}
	r.counter++
	x.ballot = Stamp{Counter: r.counter, Node: r.cfg.ID, Boot: r.boot, Seq: x.seq}
	r.round(x, stepPrepare, &Message{Type: MsgPrepare, Record: Record{Ballots: &Ballots{Promise: x.ballot}}})
}

// onVote takes a replica's answer. Late and repeated ones, and those to another
// round or incarnation, change nothing.
func (r *Replica) onVote(from NodeID, m *Message) {
	r.seeRecord(&m.Record)
	x := r.proposer.rounds[m.ID]
	if m.Boot != r.boot || x == nil || !x.voters.all().has(from) || (x.answered | x.refused | x.rivals).has(from) {
		return
	}
	switch {
	case m.Type == MsgRefuse:
		x.refused.add(from)
	case m.Type == MsgConflict && x.step != stepQuery:
		x.rivals.add(from)
	case m.Type == MsgRecord && x.step == stepQuery, m.Type == MsgPromise && x.step == stepPrepare:
		x.answered.add(from)
		if m.Record.supersedes(x.best) {
			x.best, x.holders = m.Record, 0
		}
		if m.Record.agrees(x.best) {
			x.holders.add(from)
		}
	case m.Type == MsgAccepted && x.step == stepAccept:
		x.answered.add(from)
	default:
		return
	}
	r.tally(x)
}

// tally goes on with a proposal if its round is decided. The proposal may be
// forgotten when it returns.
func (r *Replica) tally(x *proposal) {
	all := x.answered | x.refused | x.rivals
	self := x.voters.all() & (1 << r.cfg.ID) // empty, if this node is no replica
	switch {
	case x.replied:
		if all == x.voters.all() {
			r.retire(x)
		}
	case x.voters.majority(x.answered):
		r.decided(x)
	case !x.voters.majority(x.voters.all() &^ x.refused):
		r.unavailable(x, x.refused.len(), "refused, their disks fail")
	case x.rivals != 0 && !x.paused && all&self == self && x.voters.majority(all):
		// A majority could still say yes, if all of it can be reached.
		// While this waits for the rival it may.
		r.retreat(x)
	}
}

// decided ends a round that a majority has answered with yes.
func (r *Replica) decided(x *proposal) {
	if x.step != stepQuery {
		r.proposer.pace += (r.now.Mono - x.began - r.proposer.pace) / 8
	}
	switch {
	case x.step == stepPrepare:
		r.change(x, x.best)
	case x.step == stepAccept:
		r.accepted(x)
	case x.voters.majority(x.holders):
		x.told = reading(x.best)
		r.done(x)
	case !x.paused:
		// Answers that are still to come may decide it meanwhile.
		r.retreat(x)
	}
}

// change proposes the request's change of what was accepted last, for which the
// promise of x.ballot is there.
func (r *Replica) change(x *proposal, base Record) {
	if x.ballot.Less(base.Stamp) {
		// By the quorum protocol, before; stamps have to grow.
		r.prepare(x)
		return
	}
	before := base.ballots().Before
	next := Record{Stamp: base.Stamp, Deleted: base.Deleted, Value: base.Value}
	x.told = Reply{}
	q := &x.request
	own, in, known := Stamp{}, false, true
	if x.changed {
		own, in, known = x.own(&base)
	}
	switch {
	case in:
		x.told.Stamp = own
	case !known:
		r.giveUp(x, &Error{Code: CodeUnavailable,
			Text: "many other changes came in between, and whether this one was made before them is not known"})
		return
	case q.Op == Get:
		x.told = reading(base)
	case q.Op == CAS && !q.matches(base):
		x.told = reading(base)
		x.told.Err = &Error{Code: CodeMismatch, Definite: true, Text: "the key is not as expected"}
	default:
		next = Record{Stamp: x.ballot, Deleted: q.Op == Delete, Value: q.Value}
		x.told.Stamp, before = x.ballot, base.before()
	}
	if next.Stamp == base.Stamp && !x.changed && x.voters.majority(x.holders) {
		// It was chosen already. (With an own change about, this has to be
		// accepted anew, or that one might be found and carried on.)
		r.done(x)
		return
	}
	if rec, _, err := r.current(q.Key); err == nil && x.ballot.Less(rec.ballots().Promise) {
		// Nothing was sent yet: better to turn back while all is open.
		r.retreat(x)
		return
	}
	if next.Stamp == x.ballot {
		if !x.changed {
			x.first = x.ballot
		}
		x.changed, x.base = true, base.Stamp
	}
	r.lastSeq++
	r.counter = max(r.counter, x.ballot.Counter+1)
	next.Ballots = &Ballots{
		Accepted: x.ballot,
		Promise:  Stamp{Counter: x.ballot.Counter + 1, Node: r.cfg.ID, Boot: r.boot, Seq: r.lastSeq},
		Before:   before,
	}
	if l := r.proposer.lines[q.Key]; l.trailing != nil {
		r.retire(l.trailing) // what it still sends is out of date
	}
	r.round(x, stepAccept, &Message{Type: MsgAccept, Record: next})
}

// matches says whether a record is as a CAS expects it.
func (q *Request) matches(rec Record) bool {
	if q.ExpectAbsent || rec.Absent() {
		return q.ExpectAbsent && rec.Absent()
	}
	return bytes.Equal(q.Expect, rec.Value)
}

// reading is the reply that shows a record.
func reading(rec Record) Reply {
	if rec.Absent() {
		return Reply{Stamp: rec.Stamp}
	}
	return Reply{Stamp: rec.Stamp, Found: true, Value: rec.Value}
}

// accepted ends a change: a majority has accepted it, and promised the next
// ballot.
func (r *Replica) accepted(x *proposal) {
	r.proposer.held.put(x.request.Key, x.message.Record.Ballots.Promise)
	r.done(x)
}

// done answers the client and lets the next change to the key begin. An accept
// goes on until all replicas have answered, so that one which only missed a
// packet gets it.
func (r *Replica) done(x *proposal) {
	if x.request.Key == registerKey && r.agreed(x) {
		x.replied = true // it will be
	} else {
		r.tell(x)
	}
	l := r.proposer.lines[x.request.Key]
	if x.step != stepAccept || x.answered|x.refused|x.rivals == x.voters.all() {
		r.retire(x)
	} else {
		l.trailing = x
		if x.paused {
			x.paused = false
			r.alarm(x, r.now.Mono+r.cfg.Retry)
		}
	}
	r.leave(l, x)
}

// giveUp answers the client with an error and lets the next change to the key
// begin.
func (r *Replica) giveUp(x *proposal, err *Error) {
	x.told = Reply{Err: err}
	r.tell(x)
	l := r.proposer.lines[x.request.Key]
	r.retire(x)
	r.leave(l, x)
}

// tell answers who has made the request.
func (r *Replica) tell(x *proposal) {
	x.replied = true
	x.told.ID, x.told.Reached = x.request.ID, x.answered.len()
	if x.job == jobRelearn {
		r.relearned(x)
		return
	}
	if x.job != noJob {
		r.worked(x.job, x.request.Key, x.told.Err == nil)
		return
	}
	r.out.Replies = append(r.out.Replies, x.told)
}

// leave takes a change that was answered out of the line of its key.
func (r *Replica) leave(l *line, x *proposal) {
	if l == nil || l.active != x {
		return
	}
	l.active = nil
	for len(l.waiting) > 0 {
		next := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		if !next.replied {
			l.active = next
			r.attempt(next)
			return
		}
	}
	r.tidy(x.request.Key, l)
}

// tidy forgets a line without changes.
func (r *Replica) tidy(key string, l *line) {
	if l.active == nil && l.trailing == nil && len(l.waiting) == 0 {
		delete(r.proposer.lines, key)
	}
}

// retire ends the work on a proposal that was answered. Answers to it are
// ignored from now on.
func (r *Replica) retire(x *proposal) {
	delete(r.proposer.rounds, x.message.ID)
	r.proposer.alarms.remove(x)
	if l := r.proposer.lines[x.request.Key]; l != nil && l.trailing == x {
		l.trailing = nil
		r.tidy(x.request.Key, l)
	}
}

// retreat gives up a ballot that a rival's is in the way of, or a query that
// found no agreement, and sees to it that it is tried again after a pause.
func (r *Replica) retreat(x *proposal) {
	x.tries++
	x.paused = true
	r.alarm(x, r.now.Mono+r.pause(x))
}

// pause is how long to wait before the next ballot: from nothing to four rounds
// as they were of late, up to twice as long each time. A rival that has its
// promises shall have the time to use them. Proposers that wait equally long
// would get into each other's way for ever, so it must differ between them. The
// core has no randomness of its own; the ballot's numbers are unique, and their
// hash is as good.
func (r *Replica) pause(x *proposal) time.Duration {
	limit := min(max(4*r.proposer.pace, 1)<<min(x.tries-1, 3), 4*r.cfg.Retry)
	h := splitmix(splitmix(splitmix(uint64(r.cfg.ID)+1)^r.boot)^x.seq) ^ uint64(x.tries)
	return 1 + time.Duration(splitmix(h)%uint64(limit))
}

// splitmix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func splitmix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// again goes on after a pause.
func (r *Replica) again(x *proposal) {
	switch {
	case x.step != stepQuery:
		r.prepare(x)
	case x.tries < asks:
		r.round(x, stepQuery, &Message{Type: MsgQuery})
	default:
		delete(r.proposer.rounds, x.message.ID)
		x.tries = 0
		r.enqueue(x)
	}
}

// round starts a round. The proposal may be forgotten when it returns.
func (r *Replica) round(x *proposal, s step, m *Message) {
	delete(r.proposer.rounds, x.message.ID)
	r.lastID++
	x.step, x.message = s, *m
	x.message.ID, x.message.Boot, x.message.Round, x.message.Key = r.lastID, r.boot, roundVote, x.request.Key
	x.answered, x.refused, x.rivals, x.paused = 0, 0, 0, false
	x.best, x.holders = Record{}, 0
	r.proposer.rounds[x.message.ID] = x
	x.began = r.now.Mono
	r.sendVotes(x)
	if x.voters.all().has(r.cfg.ID) {
		own := x.message
		r.dispatch(r.cfg.ID, &own)
	}
}

// sendVotes sends the round's message to the other nodes that have not
// answered, and sets the time to do it again.
func (r *Replica) sendVotes(x *proposal) {
	for left := x.voters.all() &^ (x.answered | x.refused | x.rivals); left != 0; {
		if to := left.pop(); to != r.cfg.ID {
			r.send(to, &x.message)
		}
	}
	r.alarm(x, r.now.Mono+r.cfg.Retry)
}

// wakeProposals does what is due.
func (r *Replica) wakeProposals() {
	for a := &r.proposer.alarms; len(*a) > 0 && (*a)[0].at <= r.now.Mono; {
		x := (*a)[0]
		switch {
		case x.deadline > r.now.Mono && x.paused:
			r.again(x)
		case x.deadline > r.now.Mono && x.rivals != 0 && !x.replied:
			r.retreat(x)
		case x.deadline > r.now.Mono:
			r.sendVotes(x)
		case x.replied:
			r.retire(x)
		default:
			r.unavailable(x, x.answered.len(), fmt.Sprintf("answered within %v", r.cfg.Timeout))
		}
	}
}

// unavailable gives up a proposal that n replicas have done something about
// which is not enough.
func (r *Replica) unavailable(x *proposal, n int, done string) {
	verb := [...]string{stepWaiting: "agree", stepQuery: "answer", stepPrepare: "promise", stepAccept: "accept"}[x.step]
	err := &Error{
		Code: CodeUnavailable,
		// Nobody has been told the change before it was sent to be accepted.
		// After that it can take effect at any time.
		Definite: !x.changed,
		Text:     fmt.Sprintf("%d of %d replicas %s; %d have to %s", n, x.voters.all().len(), done, x.voters.now.len()/2+1, verb),
	}
	switch {
	case x.step == stepWaiting:
		err.Text = fmt.Sprintf("earlier changes to the key took all of %v", r.cfg.Timeout)
	case x.rivals != 0:
		err.Text += "; others propose changes to the key"
	}
	if x.refused.has(r.cfg.ID) {
		err.Code = CodeStorage
	}
	r.giveUp(x, err)
}

// seeRecord keeps the counter of ballots above everything a record has.
func (r *Replica) seeRecord(rec *Record) {
	r.see(rec.Stamp)
	if b := rec.Ballots; b != nil {
		r.see(b.Promise)
		r.see(b.Accepted)
	}
}
