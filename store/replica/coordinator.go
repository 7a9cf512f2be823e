package replica

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
)

// This file is the coordinator: it carries out a client's request in one or
// two rounds. In a round it sends one message to all replicas of the key that
// concern it, sends it again every Retry to those that have not answered, and
// goes on when enough have. Any node coordinates any key: one that is no replica
// of it only has nobody to ask at home. For a sloppy quorum other nodes are asked
// in the place of those that do not answer, see sloppy.go.
//
//	                 query                      store
//	put, delete   ── highest stamp of R ──▶ ── durable at W ──▶ reply
//	  wall clock                            ── durable at W ──▶ reply
//	get           ── newest record of R ──▶ reply
//	  write-back  ── newest record of R ──▶ ── durable at W ──▶ reply
//
// With Causal stamps a put has another first round, see mint.go, and the newest
// record is what the records have together.
//
// After the reply to a store the coordinator goes on sending it until all
// replicas have answered or the request times out, so that a replica which only
// missed a packet gets it.

// The rounds of a request.
const (
	roundRepair uint8 = 0 // of no client's request: repair
	roundQuery  uint8 = 1
	roundStore  uint8 = 2
)

// A request is a client's request under way.
type request struct {
	client uint64 // Request.ID
	job    job    // of this node's own, without a client
	op     Op
	value  []byte // put

	rules  *Rules
	voters voters // of the key, and with Sloppy the fallbacks that were asked
	r, w   int    // answers a query waits for, durable copies a store waits for

	round    uint8
	message  Message  // of the round
	answered nodeSet  // in this round; for a store: known to hold the record or a newer one, durably
	refused  nodeSet  // in this round
	best     Record   // query: the newest record so far
	holders  nodeSet  // query: the replicas that answered with best
	mint     *minting // put and delete with Causal stamps
	replied  bool

	deadline, retryAt time.Duration
	link              [links]link
}

// begin starts the first round of a client's request.
func (r *Replica) begin(q *Request) {
	if q.Op == Reconfigure {
		r.reconfigure(q)
		return
	}
	if err := r.validate(q); err != nil {
		r.out.Replies = append(r.out.Replies, Reply{ID: q.ID, Err: err})
		return
	}
	if !r.membership.member {
		r.out.Replies = append(r.out.Replies, Reply{ID: q.ID, Err: r.outside(true)})
		return
	}
	u := r.cfg.rules(q.Key)
	if u.Protocol == CASPaxos {
		r.propose(q, noJob)
		return
	}
	if q.Op == CAS {
		r.out.Replies = append(r.out.Replies, Reply{ID: q.ID, Err: &Error{Code: CodeInvalid, Definite: true,
			Text: "reads and writes of quorums cannot compare and set: use a keyspace with CASPaxos"}})
		return
	}
	x := r.admit(q, u)
	switch {
	case q.Op == Get:
	case u.Stamps == WallClock:
		r.storeNew(x, r.now.Wall)
		return
	case u.Stamps == Causal:
		r.beginCausal(x, q.Context)
		return
	}
	x.message.Type = MsgQuery
	x.message.TagOnly = q.Op != Get
	r.startRound(x, roundQuery)
}

// validate says why a request can never be carried out, nil if it can.
func (r *Replica) validate(q *Request) *Error {
	u, text := r.cfg.rules(q.Key), ""
	switch {
	case q.Op < Get || q.Op > CAS:
		text = fmt.Sprintf("unknown operation %d: use get, put, delete or CAS", q.Op)
	case u.Protocol == CASPaxos && (q.R != 0 || q.W != 0):
		text = "with CASPaxos a request cannot choose its quorums: leave R and W out"
	case strings.HasPrefix(q.Key, reserved):
		text = fmt.Sprintf("keys that begin with %q are the store's own: take another one", reserved)
	case q.Key == "":
		text = "the key is empty: give at least one byte"
	case q.R < 0 || q.R > u.N:
		text = fmt.Sprintf("R is %d: a key has %d replicas, so wait for 1 to %d, or 0 for the configured %d", q.R, u.N, u.N, u.R)
	case q.W < 0 || q.W > u.N:
		text = fmt.Sprintf("W is %d: a key has %d replicas, so wait for 1 to %d, or 0 for the configured %d", q.W, u.N, u.N, u.W)
	case q.Context != nil && u.Stamps != Causal:
		text = "the key has one version, and no contexts: leave the context out, or use a keyspace with causal stamps"
	case q.Op == Delete && q.Context == nil && u.Stamps == Causal:
		text = "a delete with causal stamps takes out what its client has seen: read the key, and give the context of that read"
	case q.Context.Validate() != nil:
		text = fmt.Sprintf("the context makes no sense: %v", q.Context.Validate())
	default:
		return nil
	}
	return &Error{Code: CodeInvalid, Definite: true, Text: text}
}

// onAnswer takes a replica's answer. Late and repeated ones, those to another
// request, round or incarnation, and those of a node that is no replica of the
// key change nothing.
func (r *Replica) onAnswer(from NodeID, m *Message) {
	if m.Boot != r.boot {
		return
	}
	x := r.requests[m.ID]
	if x == nil || x.round != m.Round || !x.voters.all().has(from) || x.answered.has(from) || x.refused.has(from) {
		return
	}
	switch {
	case m.Type == MsgRefuse:
		x.refused.add(from)
	case m.Type == MsgRecord && x.round == roundQuery:
		x.answered.add(from)
		r.see(m.Record.Stamp)
		if x.job == jobMove {
			if x.best.Stamp == m.Record.Stamp || x.best.Siblings == nil && !x.best.newer(m.Record) {
				x.holders.add(from)
			}
			break
		}
		if x.best.join(&m.Record) {
			x.holders = 0
		}
		if x.best.Stamp == m.Record.Stamp {
			x.holders.add(from)
		}
	case m.Type == MsgStored && x.round == roundStore:
		x.answered.add(from)
	case m.Type == MsgCrowded && x.round == roundMint && x.mint.asked.has(from):
		x.refused.add(from)
		x.mint.crowded.add(from)
	case m.Type == MsgMinted && x.round == roundMint && x.mint.asked.has(from) && m.Record.Siblings != nil:
		r.wasMinted(x, from, m)
		return
	default:
		return
	}
	r.advance(x)
}

// advance goes on with a request if its round is decided. The request may be
// forgotten when it returns.
func (r *Replica) advance(x *request) {
	if x.refused != 0 && !r.askFallbacks(x) {
		return
	}
	switch {
	case x.round == roundMint:
		r.minterRefused(x)
	case x.round == roundQuery && x.replied:
		r.repairRead(x)
	case x.round == roundQuery && x.voters.enough(x.answered, x.r):
		r.queried(x)
	case x.round == roundQuery && x.voters.hopeless(x.refused, x.r),
		x.round == roundStore && !x.replied && x.voters.hopeless(x.refused, x.w):
		r.fail(x, x.refused.len(), "refused, their disks fail")
	case x.round == roundStore:
		if !x.replied && x.voters.enough(x.answered, x.w) {
			r.reply(x)
		}
		if x.answered|x.refused == x.voters.all() {
			r.forget(x)
		}
	}
}

// queried ends the query round: R replicas have answered.
func (r *Replica) queried(x *request) {
	switch {
	case x.job == jobMove && !x.voters.enough(x.holders, x.w):
		r.startStore(x, x.best, x.holders)
	case x.op != Get:
		// The query saw every write that was complete at W replicas before
		// it, if R and W overlap. One above is newer than all of them.
		if r.counter == math.MaxInt64 {
			r.replyError(x, &Error{Code: CodeInvalid, Definite: true, Text: "no version is left above the highest one seen: a record was stored with a bad stamp"})
			return
		}
		r.storeNew(x, r.counter+1)
	case !x.rules.WriteBack, x.best.IsZero(), x.voters.enough(x.holders, x.w):
		// Nobody needs to be told: write-back is off, or there is nothing
		// to tell, or W replicas hold it already.
		r.reply(x)
		r.linger(x)
	default:
		// A later read must not see less than this one shows, so W replicas
		// have to hold the record first. Those that answered with it do.
		r.startStore(x, x.best, x.holders)
	}
}

// storeNew starts the store round of a put or delete.
func (r *Replica) storeNew(x *request, counter int64) {
	r.lastSeq++
	rec := Record{
		Stamp:   Stamp{Counter: counter, Node: r.cfg.ID, Boot: r.boot, Seq: r.lastSeq},
		Deleted: x.op == Delete,
		Value:   x.value,
	}
	x.best = rec
	r.startStore(x, rec, 0)
}

// startStore starts the store round with the replicas that hold the record already.
func (r *Replica) startStore(x *request, rec Record, holders nodeSet) {
	x.message.Type = MsgStore
	x.message.TagOnly = false
	x.message.Record = rec
	x.answered, x.refused = holders, 0
	r.startRound(x, roundStore)
}

// see keeps the logical counter above everything this node has met. One counter
// for all keys is enough, and needs no memory for each: stamps of different
// keys are never compared, so that skipping some does no harm. It puts a write
// above what this coordinator has issued or seen even where R and W do not
// overlap; it is lost at a restart and no guarantee rests on it.
func (r *Replica) see(s Stamp) { r.counter = max(r.counter, s.Counter) }

// admit makes the state of a new request.
func (r *Replica) admit(q *Request, u *Rules) *request {
	x := r.free
	if x == nil {
		x = new(request)
	} else {
		r.free = x.link[0].next
		x.link[0].next = nil
	}
	r.lastID++
	x.client, x.op, x.value = q.ID, q.Op, q.Value
	x.rules, x.voters = u, r.placement.voters(q.Key)
	x.r, x.w = cmp.Or(q.R, u.R), cmp.Or(q.W, u.W)
	x.message = Message{ID: r.lastID, Boot: r.boot, Key: q.Key}
	x.deadline = r.now.Mono + r.cfg.Timeout
	x.retryAt = r.now.Mono + r.cfg.Retry
	r.requests[r.lastID] = x
	r.byDeadline.pushBack(x)
	r.byRetry.pushBack(x)
	return x
}

// startRound sends the round's message to all replicas of the key that have not
// answered it already. The request may be forgotten when it returns.
func (r *Replica) startRound(x *request, round uint8) {
	x.round = round
	x.message.Round = round
	if x.sloppy() {
		r.addFallbacks(x)
	}
	r.sendRound(x)
	if round == roundMint {
		r.askMinter(x)
		return
	}
	// This node's own copy, if it is a replica, comes last: its answer may be
	// there at once, and end the round.
	if x.voters.all().has(r.cfg.ID) && !x.answered.has(r.cfg.ID) {
		m := x.message // x may be forgotten meanwhile
		r.dispatch(r.cfg.ID, &m)
	}
}

// sendRound sends the round's message to the other replicas that have not
// answered, and sets the time to do it again.
func (r *Replica) sendRound(x *request) {
	left := x.voters.all() &^ (x.answered | x.refused)
	if x.round == roundMint {
		left = 0 // they are asked one after the other
	}
	for left != 0 {
		// A read that was answered waits for late answers; it asks nobody again.
		if to := left.pop(); to != r.cfg.ID && !(x.replied && x.round == roundQuery) {
			r.send(to, &x.message)
		}
	}
	x.retryAt = r.now.Mono + r.cfg.Retry
	r.byRetry.remove(x)
	r.byRetry.pushBack(x)
}

// resend repeats the messages that nobody answered for as long as Retry.
func (r *Replica) resend() {
	for x := r.byRetry.head; x != nil && x.retryAt <= r.now.Mono; x = r.byRetry.head {
		r.suspect(x)
		r.sendRound(x)
		if x.round == roundMint {
			r.askMinter(x)
			continue
		}
		r.askFallbacks(x)
	}
}

// expire ends the requests whose time is over.
func (r *Replica) expire() {
	for x := r.byDeadline.head; x != nil && x.deadline <= r.now.Mono; x = r.byDeadline.head {
		if x.replied && x.round == roundQuery {
			r.repairRead(x)
			continue
		}
		if x.replied {
			r.forget(x)
			continue
		}
		r.fail(x, x.answered.len(), fmt.Sprintf("answered within %v", r.cfg.Timeout))
	}
}

// reply answers the client: the request is done.
func (r *Replica) reply(x *request) {
	x.replied = true
	if x.job != noJob {
		r.worked(x.job, x.message.Key, true)
		return
	}
	out := Reply{ID: x.client, Stamp: x.best.Stamp, Reached: x.answered.len()}
	if x.op == Get && !x.best.Absent() {
		out.Found, out.Value = true, x.best.Value
	}
	if x.rules.Stamps == Causal {
		x.replyCausal(&out)
	}
	r.out.Replies = append(r.out.Replies, out)
}

// fail ends a request that n replicas have done something about which is not
// enough.
func (r *Replica) fail(x *request, n int, done string) {
	need, verb := x.r, "answer"
	switch x.round {
	case roundStore:
		need, verb = x.w, "store it"
	case roundMint:
		need, verb = 1, "take it"
	}
	err := &Error{
		Code: CodeUnavailable,
		// A get changes no value, and in the query round of a put nobody
		// has been told the new one. Once a store was sent it can take
		// effect at any time: a copy may be on its way, or on a disk, and
		// a later read may find it.
		Definite: x.op == Get || x.round == roundQuery,
		Text:     fmt.Sprintf("%d of %d replicas %s; %d have to %s", n, x.voters.all().len(), done, need, verb),
	}
	if x.refused.has(r.cfg.ID) {
		err.Code = CodeStorage
	}
	r.replyError(x, err)
}

// replyError answers the client and forgets the request.
func (r *Replica) replyError(x *request, err *Error) {
	if x.job != noJob {
		r.worked(x.job, x.message.Key, false)
	} else {
		r.out.Replies = append(r.out.Replies, Reply{ID: x.client, Err: err, Reached: x.answered.len()})
	}
	r.forget(x)
}

// forget ends the work on a request. Answers to it are ignored from now on.
func (r *Replica) forget(x *request) {
	delete(r.requests, x.message.ID)
	r.byDeadline.remove(x)
	r.byRetry.remove(x)
	*x = request{}
	x.link[0].next = r.free
	r.free = x
}
