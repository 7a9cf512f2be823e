package replica

import (
	"errors"
	"time"
)

// ErrCorrupt marks an error of [Storage.Get] that says: there are bytes under
// this key, and they are not those that were written. The record is lost, and
// the replica asks its peers for it. After any other error it only refuses.
var ErrCorrupt = errors.New("stored bytes are damaged")

// ErrGap marks an error of [Storage.Scan] that says: what could be read was told,
// and there is a part in between of which not even the keys can be read.
// Anti-entropy goes on without them: the peers tell which keys are missing here,
// and whoever reads one finds it damaged. What has to know of all records fails.
var ErrGap = errors.New("a range of records cannot be read")

// This file repairs records that this replica has lost. Until then it refuses
// to speak for the key: it neither serves nor spreads what it cannot read, and
// takes no newer record either, since it does not know what it acknowledged.
//
//	damaged record found
//	   │ void      "count nothing that I acknowledged for this key"
//	   ├──────────▶ every other node, until all have confirmed
//	   │ query     the newest record of N-W+1 other replicas
//	   ├──────────▶ every other replica, until enough have answered
//	   ▼
//	write it, and speak for the key again once it is durable
//
// Why this is enough. Consider a write that is complete: W replicas have
// acknowledged it, and perhaps this one is among them.
//
//  1. When the second round begins, no coordinator counts an old
//     acknowledgement of this replica any more. So a write that did count one
//     was complete before, and the other W-1 held it by then.
//  2. Hence at most N-W replicas do not have the write, and among any N-W+1
//     which speak for their copy one does. (Replicas that have lost theirs
//     refuse, so that several may be repaired at a time.)
//
// One round would not do. An acknowledgement from before the loss may still be
// on its way, and complete a write at a replica that has already answered
// without it: then one copy is left of a write that needs two. The coordinator
// may even have died since, so its own copy proves nothing.
//
// Nothing else lifts the refusal. A record that comes in a store, be it of a
// request, of a read repair or of anti-entropy, comes from one replica: it is
// not the newest of N-W+1. Anti-entropy leaves the key out of what it tells, and
// no coordinator counts what it makes a replica store.
//
// With a sloppy quorum any node may be among the W. Then all nodes are asked for
// the record, and with M of them M-W+1 have to answer. A fallback that has handed
// its record off is no gap: before it let go of it every replica had it, and
// none of those acknowledgements were of a copy that was lost since, for the
// first round voids them too.
//
// W is the cluster's. A request that asked for a smaller W of its own was content
// with fewer copies, and may lose them.
//
// Where it cannot work, the replica goes on refusing, rather than to forget an
// acknowledged write in silence: with W = 1 the lost copy may have been the
// only one; while another node is down, its first answer is missing; and when
// too many replicas have lost the same record, nothing can be concluded.
//
// With CASPaxos the lost record held a promise too. Its second round is a ballot,
// see relearn.go.

// The rounds of a repair. They follow those of requests, so that a message's
// round tells what it is about.
const (
	roundVoid  uint8 = 3
	roundFetch uint8 = 4
)

// maxMends bounds the repairs at a time, and so the memory and the messages
// they take. A key beyond it is refused, and its repair begins with the first
// access when there is room.
const maxMends = 64

// mend is the repair of one lost record.
type mend struct {
	message  Message       // of the round
	answered nodeSet       // in this round
	best     Record        // the newest that was fetched
	retryAt  time.Duration // 0: not now
}

// Damage tells the driver about a lost record, for its log and its counters.
type Damage struct {
	Key      string
	Repaired bool  // false: found damaged just now
	Stamp    Stamp // repaired: of the record that is here again; zero: no peer had one
	// Hopeless: it was found damaged, and the peers cannot tell what it was:
	// W is 1, or with CASPaxos N is 1 or 2. The replica refuses the key for
	// good.
	Hopeless bool
}

// lost takes note that this replica's record of a key cannot be read, and
// begins to repair it. It is called again and again while the key is refused.
func (r *Replica) lost(key string) {
	if !r.mendable(key) {
		if _, known := r.hopelessKeys[key]; !known && len(r.hopelessKeys) < maxMends {
			r.hopelessKeys[key] = struct{}{}
			r.out.Damage = append(r.out.Damage, Damage{Key: key, Hopeless: true})
		}
		return
	}
	if len(r.mends) == maxMends || r.mending(key) {
		return
	}
	r.out.Damage = append(r.out.Damage, Damage{Key: key})
	r.lastID++
	p := &mend{message: Message{Type: MsgVoid, ID: r.lastID, Boot: r.boot, Round: roundVoid, Key: key}}
	r.mends = append(r.mends, p)
	r.sendMend(p)
	r.void(r.cfg.ID, key)
}

// mending says whether a key is being repaired.
func (r *Replica) mending(key string) bool {
	for _, p := range r.mends {
		if p.message.Key == key {
			return true
		}
	}
	return false
}

// sendMend sends the round's message to the other nodes that have not
// answered, and sets the time to do it again.
func (r *Replica) sendMend(p *mend) {
	for left := r.mendPeers(p) &^ p.answered; left != 0; {
		r.send(left.pop(), &p.message)
	}
	p.retryAt = r.now.Mono + r.cfg.Retry
}

// mendPeers are the nodes that the round concerns: everybody may coordinate
// writes, and the replicas of the key have records of it, or with Sloppy everybody.
func (r *Replica) mendPeers(p *mend) nodeSet {
	peers := r.placement.voters(p.message.Key).all()
	if p.message.Round == roundVoid || r.cfg.rules(p.message.Key).Sloppy {
		peers = r.placement.nodes()
	}
	peers.remove(r.cfg.ID)
	return peers
}

// onMendAnswer takes an answer to a message of a repair.
func (r *Replica) onMendAnswer(from NodeID, m *Message) {
	if m.Boot != r.boot {
		return
	}
	for i, p := range r.mends {
		if p.message.ID != m.ID || p.message.Round != m.Round || p.message.Key != m.Key || p.answered.has(from) || !r.mendPeers(p).has(from) {
			continue
		}
		switch {
		case m.Type == MsgVoided && m.Round == roundVoid:
			p.answered.add(from)
			if p.answered == r.mendPeers(p) {
				p.answered = 0
				p.message.Type, p.message.Round = MsgQuery, roundFetch
				r.goOnMending(p)
			}
		case m.Type == MsgRecord && m.Round == roundFetch:
			p.answered.add(from)
			r.see(m.Record.Stamp)
			if m.Record.newer(p.best) {
				p.best = m.Record
			}
			if r.fetched(p) {
				r.mends = append(r.mends[:i], r.mends[i+1:]...)
				r.mended(p)
			}
		}
		// A replica that refuses is asked again: its disk may come back.
		return
	}
}

// goOnMending sends what the round asks.
func (r *Replica) goOnMending(p *mend) {
	if p.message.Round == roundFetch && r.cfg.rules(p.message.Key).Protocol == CASPaxos {
		r.relearn(p)
		return
	}
	r.sendMend(p)
}

// mendable says whether the peers can tell what a lost record was.
func (r *Replica) mendable(key string) bool {
	if u := r.cfg.rules(key); u.Protocol != CASPaxos {
		return u.W > 1
	}
	v := r.placement.voters(key)
	return v.majority(v.all() &^ (1 << r.cfg.ID))
}

// fetched says whether enough nodes have told their record, that the newest of
// them is no older than any that is acknowledged.
func (r *Replica) fetched(p *mend) bool {
	u := r.cfg.rules(p.message.Key)
	if u.Sloppy {
		return (r.placement.nodes() &^ p.answered).len() < u.W // this node is one of them
	}
	return r.placement.voters(p.message.Key).enough(p.answered, u.N-u.W+1)
}

// mended puts the record in the place of the damaged one. If nobody has one,
// no write was ever complete; then the place is marked as never written.
func (r *Replica) mended(p *mend) {
	r.write(p.message.Key, Record{}, p.best)
	r.recountLeaf(p.message.Key) // what the tree had of the lost record is not known
	r.out.Damage = append(r.out.Damage, Damage{Key: p.message.Key, Repaired: true, Stamp: p.best.Stamp})
}

// mendDeadline is when a message of a repair is due again; 0 means never.
func (r *Replica) mendDeadline() time.Duration {
	var first time.Duration
	for _, p := range r.mends {
		if p.retryAt != 0 && (first == 0 || p.retryAt < first) {
			first = p.retryAt
		}
	}
	return first
}

// resendMends repeats the messages that nobody answered for as long as Retry.
func (r *Replica) resendMends() {
	for _, p := range r.mends {
		if p.retryAt != 0 && p.retryAt <= r.now.Mono {
			r.goOnMending(p)
		}
	}
}

// onVoid confirms that this coordinator counts nothing that a replica has
// acknowledged for a key.
func (r *Replica) onVoid(from NodeID, m *Message) {
	r.void(from, m.Key)
	r.send(from, &Message{Type: MsgVoided, ID: m.ID, Boot: m.Boot, Round: m.Round, Key: m.Key})
}

// void takes a replica out of the requests under way for a key. It counts as
// one that has refused, so that its old acknowledgements do not count when they
// arrive late. What it told in a query was true when it told it, and stays; but
// it does not hold the record any more.
func (r *Replica) void(replica NodeID, key string) {
	r.voidHandoff(replica, key)
	r.voidProposals(replica, key)
	var touched []uint64 // going on with one may forget it
	for x := r.byDeadline.head; x != nil; x = x.link[linkDeadline].next {
		if x.message.Key == key && x.voters.all().has(replica) {
			touched = append(touched, x.message.ID)
		}
	}
	for _, id := range touched {
		x := r.requests[id]
		if x == nil {
			continue
		}
		x.holders.remove(replica)
		if x.round == roundQuery && x.answered.has(replica) {
			continue
		}
		x.answered.remove(replica)
		x.refused.add(replica)
		r.advance(x)
	}
}
