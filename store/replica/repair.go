package replica

import "time"

// This file is anti-entropy: each replica compares its records with one peer
// after the other, and both get what they lack. It spreads what a replica has
// missed while it was down or cut off, or lost with its disk, whether anybody
// reads it or not (Demers et al., PODC 1987; with Merkle trees, as in Dynamo,
// SOSP 2007).
//
//	asker                               peer
//	  │── MsgTree root, my sum ─────────▶│
//	  │◀──── MsgSums of its 16 parts ────│   or none: the same, and done
//	  │── MsgTree of a part that differs▶│
//	  │◀───────────── MsgSums ───────────│   … down to a leaf
//	  │── MsgTree for the leaf's keys ──▶│
//	  │◀──── MsgKeys: keys and stamps ───│
//	  │── MsgStore what is newer here ──▶│
//	  │── MsgQuery what is newer there ─▶│
//	  │◀──────────── MsgRecord ──────────│
//
// What travels is proportional to what differs. Of a range that is empty on one
// side the keys are asked for at once.
//
// The peer keeps no state: it answers each message for itself. The asker has a
// bounded number of messages in flight, sends again what is not answered, and
// gives the peer up when that does not help; its next turn comes. Nothing here
// depends on what happened before a restart of either.
//
// Records travel as stores and queries, with everything that holds for those,
// and sums and keys are told when all that was written here before is durable.
// A record that is still on its way to this disk is left for the next
// comparison. One that is damaged is left out: then the peer sends its own,
// and this node finds the damage, and mends it as damage.go says.

// The bounds of a comparison.
const (
	repairFlight = 8   // messages to the peer without an answer
	repairTries  = 5   // how often one is sent before the peer is given up
	listKeys     = 256 // in one MsgKeys, about
	listBytes    = 64 << 10
	// At the start the tree is counted, countKeys at a time, so that requests
	// wait for one such step at most. The pause lets the requests have most of
	// the time.
	countKeys  = 1000
	countPause = 2 * time.Millisecond
)

// repair is the state of anti-entropy: the tree, and this node's comparison with
// a peer.
type repair struct {
	// trees[p] is of the keys that peer p and this node both hold. If all
	// nodes hold all keys, all are one.
	trees []*tree
	alike bool // all nodes hold all keys
	// Keys whose hash is below counted are in the tree. At the start the rest
	// are only in Storage; then whole is set.
	counted uint64
	whole   bool
	recount []uint64      // first hashes of leaves that may be wrong
	wake    time.Duration // when repairTick has something to do

	peer    NodeID // being compared with, or the last one that was
	active  bool
	ranges  []work // may differ; a stack, so that it stays short
	fixes   []fix  // of the last keys compared
	flights []flight
	stats   RepairStats
}

// work is a span whose sums have to be compared; or if to is not 0 the keys from
// the span's first hash to this one.
type work struct {
	span
	to uint64
}

// fix is a key whose record one of the two has to get.
type fix struct {
	key  string
	push bool
}

// flight is a message to the peer that is not answered yet.
type flight struct {
	m       Message
	tries   int
	retryAt time.Duration
}

// RepairStats counts what this node's comparisons have done since its start.
type RepairStats struct {
	Counting   bool   // the tree is not whole yet; nothing is compared before it is
	Finished   uint64 // comparisons that came to their end
	Abandoned  uint64 // given up: the peer did not answer, or refused
	Lists      uint64 // lists of keys that were compared
	Pushed     uint64 // records the peer was sent
	Pulled     uint64 // records the peer was asked for
	Unreadable uint64 // damaged records met, each time; they are not spread
}

// RepairStats gives the counts of anti-entropy; all zero without it.
func (r *Replica) RepairStats() RepairStats {
	if r.repair == nil {
		return RepairStats{}
	}
	s := r.repair.stats
	s.Counting = !r.repair.whole
	return s
}

// newRepair is the state of a node that has not counted its keys yet.
func newRepair(id NodeID, p *Placement) *repair {
	r := &repair{wake: 1, peer: id}
	r.plant(p)
	return r
}

// plant makes the trees, empty.
func (p *repair) plant(at *Placement) {
	p.alike = at.alike()
	p.trees = nil
	common := new(tree)
	for left := at.nodes(); left != 0; {
		id := int(left.pop())
		for len(p.trees) < id {
			p.trees = append(p.trees, nil) // no node
		}
		if p.alike {
			p.trees = append(p.trees, common)
		} else {
			p.trees = append(p.trees, new(tree))
		}
	}
}

// shared says whether a key is compared with a peer: both hold it.
func (r *Replica) shared(key string, peer NodeID) bool {
	if r.cfg.rules(key).Protocol == CASPaxos {
		return false
	}
	holders := r.placement.voters(key).all()
	return holders.has(peer) && holders.has(r.cfg.ID)
}

// repairDeadline is when repairTick is due; 0 means never.
func (r *Replica) repairDeadline() time.Duration {
	switch {
	case r.repair == nil || !r.membership.member:
		return 0
	case len(r.repair.recount) > 0:
		return max(1, min(r.now.Mono, r.repair.wake))
	}
	return r.repair.wake
}

// repairTick does what is due: counts on, sends again, or begins a comparison.
func (r *Replica) repairTick() {
	p := r.repair
	if p == nil || !r.membership.member {
		return
	}
	r.recountLeaves()
	if p.wake > r.now.Mono {
		return
	}
	switch {
	case !p.whole:
		r.countOn()
	case p.active:
		r.repairResend()
	default:
		p.active = true
		others := r.placement.nodes()
		others.remove(r.cfg.ID)
		p.peer = others.after(p.peer)
		p.ranges = append(p.ranges[:0], work{})
		r.repairOn()
	}
}

// repairOn sends what may be sent now, and ends the comparison when nothing is
// left to do.
func (r *Replica) repairOn() {
	p := r.repair
	for len(p.flights) < repairFlight {
		if n := len(p.fixes); n > 0 {
			next := p.fixes[n-1]
			p.fixes = p.fixes[:n-1]
			r.repairKey(next)
		} else if n := len(p.ranges); n > 0 {
			next := p.ranges[n-1]
			p.ranges = p.ranges[:n-1]
			t := &Tree{From: next.from, To: next.to}
			if next.to == 0 {
				t.Depth = next.depth
			}
			if next == (work{}) {
				t.Sums = []uint64{p.trees[p.peer].sum}
			}
			r.repairSend(&Message{Type: MsgTree, Tree: t})
		} else {
			break
		}
	}
	if len(p.flights) == 0 {
		p.stats.Finished++
		r.repairEnd()
		return
	}
	p.wake = p.flights[0].retryAt
	for _, f := range p.flights[1:] {
		p.wake = min(p.wake, f.retryAt)
	}
}

// repairEnd leaves the peer until its next turn.
func (r *Replica) repairEnd() {
	p := r.repair
	clear(p.flights)
	clear(p.fixes)
	p.active = false
	p.flights, p.fixes, p.ranges = p.flights[:0], p.fixes[:0], p.ranges[:0]
	p.wake = r.now.Mono + r.cfg.AntiEntropy
}

// repairSend sends a message to the peer and keeps it until it is answered.
func (r *Replica) repairSend(m *Message) {
	r.lastID++
	m.ID, m.Boot, m.Round = r.lastID, r.boot, roundRepair
	r.repair.flights = append(r.repair.flights, flight{m: *m, tries: 1, retryAt: r.now.Mono + r.cfg.Retry})
	r.send(r.repair.peer, m)
}

// repairResend repeats what the peer has not answered, or gives the peer up.
func (r *Replica) repairResend() {
	p := r.repair
	for i := range p.flights {
		f := &p.flights[i]
		if f.retryAt > r.now.Mono {
			continue
		}
		if f.tries == repairTries {
			p.stats.Abandoned++
			r.repairEnd()
			return
		}
		f.tries++
		f.retryAt = r.now.Mono + r.cfg.Retry
		r.send(p.peer, &f.m)
	}
	r.repairOn()
}

// repairKey makes one of the two get a record.
func (r *Replica) repairKey(x fix) {
	rec, seq, err := r.current(x.key)
	switch {
	case err != nil:
		r.repair.stats.Unreadable++
	case !x.push:
		r.repair.stats.Pulled++
		r.repairSend(&Message{Type: MsgQuery, Key: x.key})
	case r.inDoubt(x.key):
		r.write(x.key, rec, rec)
	case seq == 0 && !rec.IsZero():
		r.repair.stats.Pushed++
		r.repairSend(&Message{Type: MsgStore, Key: x.key, Record: rec})
	}
}

// onRepairAnswer takes the peer's answer to what this node has in flight. Late
// and repeated ones, and those to an earlier incarnation, change nothing.
func (r *Replica) onRepairAnswer(from NodeID, m *Message) {
	p := r.repair
	if p == nil || !p.active || from != p.peer || m.Boot != r.boot {
		return
	}
	i := 0
	for i < len(p.flights) && p.flights[i].m.ID != m.ID {
		i++
	}
	if i == len(p.flights) || !answers(m, &p.flights[i].m) {
		return
	}
	asked := p.flights[i].m
	last := len(p.flights) - 1
	p.flights[i], p.flights[last] = p.flights[last], flight{}
	p.flights = p.flights[:last]

	switch m.Type {
	case MsgRefuse:
		if asked.Type == MsgTree {
			p.stats.Abandoned++
			r.repairEnd()
			return
		}
	case MsgSums:
		r.compareSums(span{depth: asked.Tree.Depth, from: asked.Tree.From}, m.Tree.Sums)
	case MsgKeys:
		r.compareKeys(asked.Tree.From, asked.Tree.To, m.Tree)
	case MsgRecord:
		rec, _, err := r.current(asked.Key)
		if err == nil && m.Record.newer(rec) {
			r.see(m.Record.Stamp)
			r.write(asked.Key, rec, m.Record)
		}
	}
	r.repairOn()
}

// answers says whether m can be the answer to what was asked. Its sender may be
// anything.
func answers(m, asked *Message) bool {
	switch m.Type {
	case MsgRefuse:
		return true
	case MsgSums:
		return asked.Type == MsgTree && asked.Tree.To == 0 &&
			m.Tree != nil && (len(m.Tree.Sums) == 0 || len(m.Tree.Sums) == treeFanout)
	case MsgKeys:
		return asked.Type == MsgTree && asked.Tree.To > 0 &&
			m.Tree != nil && m.Tree.To >= asked.Tree.From
	case MsgRecord:
		return asked.Type == MsgQuery
	}
	return m.Type == MsgStored && asked.Type == MsgStore
}

// compareSums goes down into the parts of a range that differ.
func (r *Replica) compareSums(s span, theirs []uint64) {
	mine := r.repair.trees[r.repair.peer].sums(s)
	for i := len(theirs) - 1; i >= 0; i-- { // the first part comes off the stack first
		if mine[i] == theirs[i] {
			continue
		}
		part := work{span: s.child(i)}
		if part.depth == treeDepth || mine[i] == 0 || theirs[i] == 0 {
			part.to = part.last()
		}
		r.repair.ranges = append(r.repair.ranges, part)
	}
}

// compareKeys finds out who lacks what among the keys of a range.
func (r *Replica) compareKeys(from, last uint64, t *Tree) {
	p := r.repair
	keys, to, err := r.list(p.peer, from, last)
	if err != nil {
		return
	}
	p.stats.Lists++
	to = min(to, t.To)
	mine, theirs := stamps(keys, from, to), stamps(t.Keys, from, to)
	for _, v := range keys {
		if s, ok := mine[v.Key]; ok && theirs[v.Key].older(s) {
			p.fixes = append(p.fixes, fix{key: v.Key, push: true})
		}
	}
	for _, v := range t.Keys {
		if s, ok := theirs[v.Key]; ok && r.shared(v.Key, p.peer) && mine[v.Key].older(s) {
			p.fixes = append(p.fixes, fix{key: v.Key})
			delete(theirs, v.Key) // once, if it is listed twice
		}
	}
	if to < last {
		p.ranges = append(p.ranges, work{span: span{from: to + 1}, to: last})
	}
}

// stamps are the versions whose hash is between from and to, for looking up.
func stamps(keys []Version, from, to uint64) map[string]Stamp {
	m := make(map[string]Stamp, len(keys))
	for _, v := range keys {
		if h := KeyHash(v.Key); from <= h && h <= to && v.Key != "" {
			m[v.Key] = v.Stamp
		}
	}
	return m
}

// older says that a record with stamp t replaces one with stamp s, which may be
// none.
func (s Stamp) older(t Stamp) bool {
	return Record{Stamp: t}.newer(Record{Stamp: s})
}

// onTree answers about a range of this node's tree.
func (r *Replica) onTree(from NodeID, m *Message) {
	p := r.repair
	answer := Message{Type: MsgSums, ID: m.ID, Boot: m.Boot, Round: m.Round}
	if p == nil || !p.whole || m.Tree == nil || m.Tree.Depth >= treeDepth {
		r.refuse(from, &answer)
		return
	}
	s := span{depth: m.Tree.Depth, from: m.Tree.From}
	if m.Tree.To > 0 {
		keys, to, err := r.list(from, s.from, m.Tree.To)
		if err != nil {
			r.refuse(from, &answer)
			return
		}
		answer.Type, answer.Tree = MsgKeys, &Tree{To: to, Keys: keys}
	} else if answer.Tree = new(Tree); len(m.Tree.Sums) != 1 || m.Tree.Sums[0] != p.trees[from].sum || s.depth > 0 {
		sums := p.trees[from].sums(s)
		answer.Tree.Sums = sums[:]
	}
	// It tells of everything written so far.
	r.sendDurable(r.gate.last(), from, &answer)
}

// list gives the keys that this replica and a peer hold from one hash to another,
// or until the list is full, and up to which hash that is. A leaf that is listed is also
// counted anew, so that a record which turned out to be damaged counts as
// missing. What is listed is durable with the last ticket of the gate.
func (r *Replica) list(peer NodeID, from, end uint64) (keys []Version, to uint64, err error) {
	p := r.repair
	to = end
	sum, size, last := uint64(0), 0, from
	err = r.store.Scan(from, func(key string, s Stamp, err error) bool {
		h := KeyHash(key)
		switch {
		case h > to:
			return false
		case h != last && (len(keys) >= listKeys || size >= listBytes):
			to = last
			return false
		case !r.shared(key, peer):
		case err != nil:
			p.stats.Unreadable++
		default:
			keys = append(keys, Version{Key: key, Stamp: s})
			sum ^= versionSum(h, s)
			size += len(key)
		}
		last = h
		return true
	})
	if p.unscanned(err) {
		return nil, 0, err
	}
	if from&leafMask == 0 && to == from|leafMask {
		t := p.trees[peer]
		t.add(from, t.leaf(from)^sum)
	}
	for _, v := range keys {
		if !r.inDoubt(v.Key) {
			continue
		}
		rec, _, err := r.current(v.Key)
		if err != nil {
			return nil, 0, err
		}
		r.write(v.Key, rec, rec)
	}
	return keys, to, nil
}
