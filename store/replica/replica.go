package replica

import (
	"errors"
	"time"
)

// Replica is one node: the coordinator of its clients' requests
// (coordinator.go, and with CASPaxos caspaxos.go), a replica of its share of the
// keys (local.go, acceptor.go) that fetches again what its disk has damaged
// (damage.go, relearn.go), the gate between what it holds and what it may tell (gate.go),
// and its part in keeping the replicas alike (readrepair.go, repair.go). With
// sloppy quorums it also stands in for others (sloppy.go), and gives them what it
// was given for them (handoff.go).
type Replica struct {
	cfg       Config
	placement *Placement
	boot      uint64
	store     Storage
	now       Now // of the input being handled

	// The coordinator.
	lastID   uint64 // of the requests so far; the ID of their messages
	lastSeq  uint64 // of the stamps issued so far
	counter  int64  // the highest logical counter issued or seen, see issue
	requests map[uint64]*request
	// The two queues are in order of time because Timeout and Retry are the
	// same for all requests.
	byDeadline, byRetry queue
	free                *request // requests to use again, linked by their first link
	proposer            proposer // with CASPaxos it does the work instead

	silent nodeSet // the nodes that are suspected to be down, see suspect

	// The replica.
	gate gate
	// doubtful are the keys whose record Storage shows although making it
	// durable failed, see Failed.
	doubtful map[string]struct{}
	// Lost records: those being fetched, in order of their detection, and
	// those that no peer can tell, to report each once.
	mends        []*mend
	hopelessKeys map[string]struct{}

	repair     *repair    // nil without anti-entropy
	handoff    *handoff   // nil where there can be no strays
	collect    *collector // nil where tombstones are kept
	membership membership
	scrub      scrubber

	out, last Output // being filled; handed out by Take
}

// New makes the core of one node. The boot number is the driver's: durable,
// and greater than at any earlier start of this node. Storage holds what was
// durable when the node last stopped.
func New(cfg Config, boot uint64, s Storage) (*Replica, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.settled()
	if boot == 0 {
		return nil, errors.New("replica: boot is 0: count the node's starts durably, from 1")
	}
	if s == nil {
		return nil, errors.New("replica: no Storage: give the node's local state")
	}
	r := &Replica{
		cfg:        cfg,
		boot:       boot,
		store:      s,
		requests:   make(map[uint64]*request),
		byDeadline: queue{link: linkDeadline},
		byRetry:    queue{link: linkRetry},
		proposer:   newProposer(),
		gate:       newGate(),
		doubtful:   make(map[string]struct{}),

		hopelessKeys: make(map[string]struct{}),
	}
	view, err := openMembership(&cfg, s)
	if err != nil {
		return nil, err
	}
	r.setView(view)
	r.beginMove()
	r.enterGossip()
	if cfg.AntiEntropy > 0 && cfg.some(func(u *Rules) bool { return u.Protocol != CASPaxos && u.N > 1 }) {
		r.repair = newRepair(cfg.ID, r.placement)
	}
	if cfg.Gossip > 0 || r.placement.now.ring != nil && cfg.some(func(u *Rules) bool { return u.Sloppy }) {
		r.handoff = newHandoff()
	}
	if cfg.Collect > 0 {
		r.collect = newCollector(cfg.Collect)
	}
	return r, nil
}

// Placement says which nodes hold a key.
func (r *Replica) Placement() *Placement { return r.placement }

// Receive takes a message from another node. What makes no sense is ignored.
func (r *Replica) Receive(now Now, from NodeID, m Message) {
	if from >= MaxNodes || from == r.cfg.ID {
		return
	}
	r.now = now
	r.silent.remove(from)
	switch {
	case r.cfg.Gossip > 0:
		if r.fenced(from, &m) {
			return
		}
	case !r.placement.nodes().has(from):
		return
	}
	r.dispatch(from, &m)
}

// Request takes a client's request. The key and value must not change any
// more. Its Reply comes at once, or during a later input.
func (r *Replica) Request(now Now, q Request) {
	r.now = now
	r.begin(&q)
}

// Tick sends again what was not answered and gives up what took too long.
// Calling it early is harmless.
func (r *Replica) Tick(now Now) {
	r.now = now
	r.repairTick() // first, since it scans: nothing of this input has been written yet
	r.scrubTick()
	r.membershipTick()
	r.handoffTick()
	r.expire()
	r.resend()
	r.resendMends()
	r.wakeProposals()
}

// Deadline is when Tick is due, on Now.Mono; 0 means never.
func (r *Replica) Deadline() time.Duration {
	due := r.proposer.alarms.first()
	if first := r.byDeadline.head; first != nil { // then there is no proposal
		due = min(first.deadline, r.byRetry.head.retryAt)
	}
	if d := r.mendDeadline(); d != 0 && (due == 0 || d < due) {
		due = d
	}
	if d := r.membershipDeadline(); d != 0 && (due == 0 || d < due) {
		due = d
	}
	if d := r.repairDeadline(); d != 0 && (due == 0 || d < due) {
		due = d
	}
	if d := r.scrubDeadline(); d != 0 && (due == 0 || d < due) {
		due = d
	}
	if d := r.handoffDeadline(); d != 0 && (due == 0 || d < due) {
		due = d
	}
	return due
}

// Persisted says that everything up to seq is durable, and lets out what
// waited for it, in order.
func (r *Replica) Persisted(now Now, seq uint64) {
	r.now = now
	for seq = min(seq, r.last.Seq); r.gate.done < seq; {
		waiting, _ := r.gate.pop()
		for w := waiting; w != none; {
			var to NodeID
			var m Message
			to, m, w = r.gate.release(w)
			r.send(to, &m)
		}
	}
	r.enter()
}

// Failed says that writes up to seq could not be made durable. Some of them
// may be durable nevertheless. Whoever waited for one is refused.
//
// Storage may show a record that failed, and the next start may show it or not. So
// this node must not speak for it: the key is doubtful, and the record is
// written again, under a new ticket, before anyone is told of it. (That later
// writes became durable proves nothing about a write that failed: an operating
// system may drop a dirty page after reporting the error once.)
func (r *Replica) Failed(now Now, seq uint64, err error) {
	r.now = now
	r.leaveBehind(seq)
	for seq = min(seq, r.last.Seq); r.gate.done < seq; {
		waiting, key := r.gate.pop()
		if !r.gate.holds(key) { // a later write of the key is still under way
			r.doubtful[key] = struct{}{}
		}
		r.strayed(key) // one that was being taken out may still be there
		for w := waiting; w != none; {
			var to NodeID
			var m Message
			to, m, w = r.gate.release(w)
			r.refuse(to, &m)
		}
	}
}

// Reopened says that the driver has opened its storage again after a failure:
// all that Storage shows is durable, and nothing is in doubt any more. Every
// write so far was told as durable or failed before.
func (r *Replica) Reopened() {
	clear(r.doubtful)
	r.recountAll()
	r.handoffAll()
	r.collectAgain()
}

// Take gives what the inputs since the last call have led to.
func (r *Replica) Take() Output {
	r.out, r.last = r.last, r.out
	r.last.Seq = r.gate.issued

	clear(r.out.Writes)
	clear(r.out.Messages)
	clear(r.out.Replies)
	clear(r.out.Damage)
	r.out.Writes = r.out.Writes[:0]
	r.out.Messages = r.out.Messages[:0]
	r.out.Replies = r.out.Replies[:0]
	r.out.Damage = r.out.Damage[:0]
	r.out.View = nil
	return r.last
}

// dispatch gives a message to the part of the node it is for.
func (r *Replica) dispatch(from NodeID, m *Message) {
	switch m.Type {
	case MsgQuery:
		r.onQuery(from, m)
	case MsgStore:
		if r.cfg.rules(m.Key).Protocol != CASPaxos { // it would replace a promise
			r.onStore(from, m)
		}
	case MsgPrepare, MsgAccept:
		if r.cfg.rules(m.Key).Protocol == CASPaxos {
			r.onProposal(from, m)
		}
	case MsgPromise, MsgAccepted, MsgConflict:
		r.onVote(from, m)
	case MsgTree:
		r.onTree(from, m)
	case MsgSums, MsgKeys:
		r.onRepairAnswer(from, m)
	case MsgRecord, MsgStored, MsgRefuse:
		switch m.Round {
		case roundRepair:
			r.onRepairAnswer(from, m)
		case roundVoid, roundFetch:
			r.onMendAnswer(from, m)
		case roundVote:
			r.onVote(from, m)
		case roundHandoff:
			r.onHandoffAnswer(from, m)
		default:
			r.onAnswer(from, m)
		}
	case MsgVoid:
		r.onVoid(from, m)
	case MsgVoided:
		r.onMendAnswer(from, m)
	case MsgForget:
		r.onForget(m)
	}
}

// send puts a message on its way. The node's messages to itself take the same
// path as everyone's, but for the network.
func (r *Replica) send(to NodeID, m *Message) {
	if to == r.cfg.ID {
		if m.Epoch == 0 || m.Epoch == r.epoch() { // else it waited for the disk meanwhile
			r.dispatch(to, m)
		}
		return
	}
	r.out.Messages = append(r.out.Messages, Envelope{To: to, Message: *m})
	if m.Epoch == 0 {
		r.out.Messages[len(r.out.Messages)-1].Message.Epoch = r.epoch()
	}
}
