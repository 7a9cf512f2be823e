package replica

import (
	"errors"
	"fmt"
)

// This file is how a put with Causal stamps gets its dot.
//
//	            mint                       store
//	put     ── made by one replica ──▶ ── durable at W ──▶ reply
//	delete                             ── durable at W ──▶ reply
//
// A replica of the key makes the dot, never a coordinator that is none: it takes
// the value into its own record, durably, and answers with all of that record.
// The coordinator then has it stored at the others, where it is merged. A
// fallback of a sloppy quorum makes no dots, so that a key's context does not grow
// with every node that stands in.
//
// The coordinator asks one replica: itself if it is one, or else one that it
// expects to answer. When that does not answer within Retry it asks the next one,
// too, and goes on with whichever answers first. (For itself it waits for half of
// the request's time: it is alive, and only its disk takes long.) The other one may have made a dot
// as well, or may yet when the message arrives late. Then there are two siblings
// with the same value, and one who overwrites the first without having seen the
// second leaves that one behind. Asking the same replica again, or a packet that
// comes twice, has no such effect: a replica remembers for which requests it has
// made the latest dots.
//
// A delete makes no dot. What it leaves is the context that the client has given,
// without a value: a tombstone, which takes out what the client had seen and
// nothing else.

// roundMint marks the messages that ask for a dot.
const roundMint uint8 = 7

// maxMinted bounds how many dots a replica remembers the requests of.
const maxMinted = 1 << 10

// minting is what a coordinator knows of a request with Causal stamps that
// changes the key.
type minting struct {
	seen    Context // by the client
	stamp   Stamp   // of the dot, once it is made
	asked   nodeSet // in this epoch
	crowded nodeSet // of them: have too many siblings
	open    bool    // one was asked in an earlier epoch, and may have made it
}

// origin is a coordinator's request.
type origin struct {
	node     NodeID
	boot, id uint64
}

// minter remembers which dots were made for whom.
type minter struct {
	dots  map[origin]Dot
	order []origin // a ring, from next on the oldest first
	next  int
}

func (p *minter) remember(o origin, d Dot) {
	if p.dots == nil {
		p.dots = make(map[origin]Dot)
	}
	if len(p.order) < maxMinted {
		p.order = append(p.order, o)
	} else {
		delete(p.dots, p.order[p.next])
		p.order[p.next] = o
		p.next = (p.next + 1) % maxMinted
	}
	p.dots[o] = d
}

// beginCausal starts a put or delete with Causal stamps.
func (r *Replica) beginCausal(x *request, seen Context) {
	x.mint = &minting{seen: seen}
	if x.op == Put {
		x.message.Type = MsgMint
		x.message.Record = Record{Value: x.value, Siblings: &Siblings{Context: seen}}
		r.startRound(x, roundMint)
		return
	}
	x.best = (&Siblings{Context: seen}).Record()
	if x.best.IsZero() { // it has seen nothing, so there is nothing to take out
		r.reply(x)
		r.forget(x)
		return
	}
	r.startStore(x, x.best, 0)
}

// askMinter asks one more replica for a dot, or all of them again. It ends the
// request when all refuse. The request may be forgotten when it returns.
func (r *Replica) askMinter(x *request) {
	p := x.mint
	homes := r.placement.voters(x.message.Key).all() &^ x.refused
	left := homes &^ p.asked
	switch {
	case homes == 0:
		r.fail(x, x.refused.len(), "refused")
		return
	case (p.asked &^ x.refused).has(r.cfg.ID) && r.now.Mono < x.deadline-r.cfg.Timeout/2:
		return // this node is there; only its disk takes long
	case left == 0:
		for left = homes; left != 0; {
			if to := left.pop(); to != r.cfg.ID { // an own answer is on its way through the disk
				r.send(to, &x.message)
			}
		}
		return
	}
	to := r.pickMinter(x.message.Key, left)
	p.asked.add(to)
	m := x.message // x may be forgotten meanwhile
	r.send(to, &m)
}

// pickMinter chooses one of the replicas that were not asked yet. Which it is
// depends on the key, so that they share the work.
func (r *Replica) pickMinter(key string, left nodeSet) NodeID {
	if left.has(r.cfg.ID) {
		return r.cfg.ID
	}
	var live nodeSet
	for s := left; s != 0; {
		if n := s.pop(); !r.suspected(n) {
			live.add(n)
		}
	}
	if live != 0 {
		left = live
	}
	for n := KeyHash(key) % uint64(left.len()); n > 0; n-- {
		left.pop()
	}
	return left.pop()
}

// minterRefused asks another replica when none of those that were asked is going
// to answer. A put that one of them has no room for is over: others would only
// make it worse.
func (r *Replica) minterRefused(x *request) {
	p := x.mint
	switch {
	case p.asked&^x.refused != 0:
	case p.crowded != 0:
		r.replyError(x, &Error{Code: CodeSiblings, Definite: p.crowded == p.asked && !p.open,
			Text: fmt.Sprintf("the key has too many siblings for another one: up to %d, with %d bytes together; read it, and put one value with the context of that read", MaxSiblings, MaxSiblingBytes)})
	default:
		r.askMinter(x)
	}
}

// wasMinted goes on with a put whose dot was made: the record that it is in has
// to be at W replicas.
func (r *Replica) wasMinted(x *request, from NodeID, m *Message) {
	x.mint.stamp = m.Record.Stamp
	rec := m.Record.siblings().Record()
	holders := nodeSet(1) << from
	x.best = rec
	x.message.Record = Record{}
	if x.voters.enough(holders, x.w) {
		r.reply(x)
		if holders == x.voters.all() {
			r.forget(x)
			return
		}
	}
	r.startStore(x, rec, holders)
}

// replyCausal adds to a reply what is known with Causal stamps only.
func (x *request) replyCausal(p *Reply) {
	switch {
	case x.mint == nil:
		p.Siblings = x.best.siblings()
		if len(p.Siblings.Values) == 1 {
			p.Value = p.Siblings.Values[0].Value
		}
	case x.op == Put:
		p.Stamp = x.mint.stamp
		p.Siblings = &Siblings{Context: x.mint.seen.union(just(p.Stamp.dot()))}
	default:
		p.Siblings = &Siblings{Context: x.mint.seen}
	}
}

// errCrowded says that a put would make too many siblings.
var errCrowded = errors.New("too many siblings")

// onMint makes a dot for a put, and answers with the record when that is durable.
// The answer's stamp is that of the dot.
func (r *Replica) onMint(from NodeID, m *Message) {
	answer := Message{Type: MsgMinted, ID: m.ID, Boot: m.Boot, Round: m.Round, Key: m.Key}
	if m.Key == "" || m.Record.Siblings == nil || !r.placement.Holds(r.cfg.ID, m.Key) {
		return
	}
	rec, seq, err := r.current(m.Key)
	if err != nil {
		r.refuse(from, &answer)
		return
	}
	who := origin{node: from, boot: m.Boot, id: m.ID}
	d, made := r.minted.dots[who]
	if held := rec.siblings(); made && held.Context.includes(d) {
		if r.inDoubt(m.Key) {
			seq = r.write(m.Key, rec, rec)
		}
	} else {
		after, next, err := r.mint(held, &m.Record)
		if err != nil {
			answer.Type = MsgCrowded
			r.send(from, &answer)
			return
		}
		d = next
		r.minted.remember(who, d)
		old := rec
		rec = after.Record()
		seq = r.write(m.Key, old, rec)
	}
	answer.Record = Record{Stamp: d.stamp(), Siblings: rec.siblings()}
	r.sendDurable(seq, from, &answer)
}

// mint makes a dot and gives the siblings with it, unless they would be too many.
func (r *Replica) mint(held *Siblings, asked *Record) (*Siblings, Dot, error) {
	r.lastSeq++
	d := Dot{Node: r.cfg.ID, Boot: r.boot, Seq: r.lastSeq}
	after := held.put(d, asked.Value, asked.Siblings.Context)
	if len(after.Values) > MaxSiblings || after.Size() > MaxSiblingBytes {
		return nil, Dot{}, errCrowded
	}
	return after, d, nil
}
