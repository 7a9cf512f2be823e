package replica

import (
	"slices"
	"time"
)

// This file collects tombstones: it takes them out everywhere, once nothing is
// left that they have to hide. A tombstone is needed as long as an older record of
// its key may turn up, from a replica that has missed the delete, from a stray,
// or from a message that is on its way. To take it out too early resurrects what
// was deleted. The usual remedy is to wait, ten days in Cassandra, and to hope.
// Here nobody waits for a clock; each step ends when it is certain.
//
//	bury    store the tombstone at every replica of the key, not just at W
//	fence   agree on a view with the same members, and the next epoch
//	rest    every node: the requests that began before are over, no strays
//	fence
//	rest
//	fence
//	rest
//	forget  the replicas take out this very tombstone
//
// After the burial no replica has anything older. What may still have: requests
// under way, their messages, strays, and the messages that hand those off, each
// of which may lead to the next. So the steps end them in this order. A fence is a
// change of the epoch, and as messages of another epoch are not handled (see
// membership.go), it ends all messages at once.
//
//	first fence, rest    requests that began before it are over at every node
//	second fence         and none of their messages is left to make a stray:
//	rest                 every node has had no stray since
//	third fence          and no message is left that has handed one off;
//	rest                 all are in this epoch, so that they hear what follows
//
// A request that begins after the burial finds nothing older at a replica. It may
// at a stray, and repair the reader's replicas with it, which takes no effect;
// only a write-back would make a new stray of it, so with sloppy quorums and
// WriteBack tombstones are kept.
//
// With Causal stamps a write that begins after the burial takes with it what its
// replica has, and that is no fallback (mint.go), so it has the tombstone. What it
// tells a fallback takes out whatever older stray there is.
//
// The third piece is the stamps. A delete is above all that it hides, and a
// later write has to be above the delete although it may not find it any more.
// View.Floor is above all tombstones that are being collected, and no logical
// stamp is issued below it. Dots need none: no tombstone includes one that is still
// to be made. A replica that forgets a tombstone forgets the life of its record,
// and the next dot begins a range of its own.
//
// A replica that does not hear that it may forget has the tombstone still, and
// anti-entropy spreads it again. Nothing is wrong then, and the next round begins
// anew. All this needs every member: while one is down tombstones are kept. So it
// is with a change of the members, which ends the round.
//
// Tombstones of CASPaxos are kept. They are what the acceptors have promised.

// The bounds of a round.
const (
	collectFlight = 32      // tombstones being buried at a time
	collectTries  = 3       // how often that is tried in a round
	collectPage   = 256     // keys looked at, or forgotten, for one input
	collectBatch  = 1 << 12 // tombstones in a round
	collectFences = 3       // epochs from the burial to the end
	maxTombs      = 1 << 16 // known at a time; a scan finds the others later
)

// A collectStep is where a round stands.
type collectStep uint8

const (
	collectIdle collectStep = iota
	collectBury
	collectFence
	collectRest
	collectForget
)

// collector is the state of the collection at this node.
type collector struct {
	at   time.Duration // when collectTick has something to do
	step collectStep

	// Keys whose hash is below next have been scanned; then whole is set.
	next  uint64
	whole bool
	// missed: a tombstone came when maxTombs were known, so another scan is
	// needed.
	missed bool
	tombs  []string // keys that may hold a tombstone, in the order in which they came
	// known has the keys in tombs, and since when there is a tombstone.
	known map[string]time.Duration

	batch   []buried // of this round, those at open are still to be buried, and
	open    []int    // those at flights are about to be
	flights []int
	todo    int    // forget: batch up to here was told
	mark    uint64 // fence: the epoch to be left behind; rest: the one that was entered
	fences  int    // passed
	floor   int64  // no less than the stamps in batch
	bumping bool   // this node has proposed an epoch

	rounds, forgotten uint64
}

// buried is a tombstone of a round.
type buried struct {
	key   string
	stamp Stamp
	tries int
	done  bool
}

// CollectStats tells how far this node has come with collecting tombstones.
type CollectStats struct {
	Known     int    // tombstones that are to be collected here; there may be more while Scanning
	Scanning  bool   // not all keys have been looked at yet
	Active    bool   // a round is under way
	Rounds    uint64 // that came to their end, since the start
	Collected uint64 // tombstones that this replica has taken out since the start
}

// CollectStats gives the state of the collection; all zero without it.
func (r *Replica) CollectStats() CollectStats {
	p := r.collect
	if p == nil {
		return CollectStats{}
	}
	return CollectStats{
		Known:     len(p.tombs) + len(p.batch),
		Scanning:  !p.whole || p.missed,
		Active:    p.step != collectIdle,
		Rounds:    p.rounds,
		Collected: p.forgotten,
	}
}

func newCollector(at time.Duration) *collector {
	return &collector{at: at, known: make(map[string]time.Duration)}
}

// collectable says whether tombstones of keys with such rules are collected.
func (u *Rules) collectable() bool {
	return u.Protocol == Quorum && !(u.Sloppy && u.WriteBack)
}

// collectAgain begins from the start: the members have changed, or nobody knows
// what Storage has.
func (r *Replica) collectAgain() {
	if r.collect == nil {
		return
	}
	fresh := newCollector(r.now.Mono + r.cfg.Collect)
	fresh.rounds, fresh.forgotten = r.collect.rounds, r.collect.forgotten
	r.collect = fresh
}

// entomb takes note of a tombstone that is, or will be, in Storage.
func (r *Replica) entomb(key string) {
	p := r.collect
	if p == nil || !r.cfg.rules(key).collectable() {
		return
	}
	if _, ok := p.known[key]; ok {
		return
	}
	if len(p.known) == maxTombs {
		p.missed = true
		return
	}
	p.known[key] = r.now.Mono
	p.tombs = append(p.tombs, key)
}

// collectDeadline is when collectTick is due; 0 means never.
func (r *Replica) collectDeadline() time.Duration {
	if r.collect == nil || !r.membership.member {
		return 0
	}
	return max(1, r.collect.at)
}

// collectTick goes on with the round, or begins one.
func (r *Replica) collectTick() {
	p := r.collect
	if p == nil || !r.membership.member || p.at > r.now.Mono {
		return
	}
	p.at = r.now.Mono + r.cfg.Gossip // where others have to act, gossip tells
	if p.step == collectIdle {
		r.collectBegin()
	}
	if p.step == collectBury {
		r.collectBury()
	}
	for p.step == collectFence || p.step == collectRest {
		if !r.collectWaited() {
			return
		}
	}
	if p.step == collectForget {
		r.collectForget()
	}
}

// collectBegin looks for tombstones, and begins a round if there are some.
func (r *Replica) collectBegin() {
	p := r.collect
	if p.whole && p.missed && len(p.tombs) < maxTombs/2 {
		p.next, p.whole, p.missed = 0, false, false
	}
	if !p.whole && len(p.tombs) < maxTombs {
		if !r.collectScan() {
			p.at = r.now.Mono + r.cfg.Retry
		} else if !p.whole {
			p.at = r.now.Mono + movePause
		} else {
			p.at = r.now.Mono
		}
		return
	}
	p.at = r.now.Mono + r.cfg.Collect
	if r.membership.view.joint() {
		return
	}
	for s := r.placement.nodes(); s != 0; {
		if !r.alive(s.pop()) {
			return
		}
	}
	r.collectPick()
	if len(p.batch) > 0 {
		p.step, p.at = collectBury, r.now.Mono
	}
}

// collectScan looks for tombstones in some more keys. It says no if Storage
// cannot be read.
func (r *Replica) collectScan() bool {
	p := r.collect
	var keys []string
	next, whole, last := p.next, true, p.next
	err := r.store.Scan(p.next, func(key string, _ Stamp, _ error) bool {
		h := KeyHash(key)
		if len(keys) >= collectPage && h != last {
			next, whole = h, false
			return false
		}
		last = h
		keys = append(keys, key)
		return true
	})
	if err != nil {
		return false
	}
	for _, key := range keys {
		if r.cfg.rules(key).collectable() {
			if rec, _, err := r.current(key); err == nil && rec.Deleted {
				r.entomb(key)
			}
		}
	}
	p.next, p.whole = next, whole
	return true
}

// collectPick chooses the tombstones of a round. Every key has one collector
// among its replicas; the others leave it to that one at first.
func (r *Replica) collectPick() {
	p := r.collect
	kept := p.tombs[:0]
	for _, key := range p.tombs {
		rec, seq, err := r.current(key)
		switch {
		case err == nil && !rec.Deleted, !r.placement.Holds(r.cfg.ID, key):
			delete(p.known, key) // a stray comes where it belongs by itself
		case err != nil, seq != 0, len(p.batch) == collectBatch,
			r.now.Mono-p.known[key] < r.collectPatience() && r.collectorOf(key) != r.cfg.ID:
			kept = append(kept, key)
		default:
			delete(p.known, key)
			p.open = append(p.open, len(p.batch))
			p.batch = append(p.batch, buried{key: key, stamp: rec.Stamp})
		}
	}
	clear(p.tombs[len(kept):])
	p.tombs = kept
}

// collectPatience is how long a tombstone is left to its collector, which may not
// have it: for two of its rounds. (A rest takes as long as the longest request.)
func (r *Replica) collectPatience() time.Duration { return 2 * (r.cfg.Collect + 4*r.cfg.Timeout) }

// collectorOf gives the replica whose business a key's tombstone is.
func (r *Replica) collectorOf(key string) NodeID {
	homes := r.placement.voters(key).now
	for n := KeyHash(key) % uint64(homes.len()); n > 0; n-- {
		homes.pop()
	}
	return homes.pop()
}

// collectBury stores the tombstones of the round at all their replicas.
func (r *Replica) collectBury() {
	p := r.collect
	for len(p.open) > 0 && len(p.flights) < collectFlight {
		i := p.open[0]
		p.open = p.open[1:]
		r.bury(i)
	}
	if len(p.flights) > 0 {
		return
	}
	kept := p.batch[:0]
	for _, t := range p.batch {
		if t.done {
			p.floor = max(p.floor, t.stamp.Counter)
			kept = append(kept, t)
		} else {
			r.entomb(t.key)
		}
	}
	p.batch = kept
	if len(p.batch) == 0 {
		r.collectEnd()
		return
	}
	p.step, p.mark, p.fences, p.todo = collectFence, r.epoch(), 0, 0
}

// bury stores a tombstone of the batch at all replicas of its key.
func (r *Replica) bury(i int) {
	t := &r.collect.batch[i]
	rec, seq, err := r.current(t.key)
	if err != nil || seq != 0 || rec.Stamp != t.stamp {
		return
	}
	t.tries++
	r.collect.flights = append(r.collect.flights, i)
	x := r.admit(&Request{Op: Delete, Key: t.key}, r.cfg.rules(t.key))
	x.job, x.best, x.w = jobBury, rec, x.voters.now.len()
	r.startStore(x, rec, 0)
}

// wasBuried takes the end of a burial.
func (r *Replica) wasBuried(key string, done bool) {
	p := r.collect
	if p == nil || p.step != collectBury {
		return
	}
	n := slices.IndexFunc(p.flights, func(i int) bool { return p.batch[i].key == key })
	if n < 0 {
		return
	}
	i := p.flights[n]
	p.flights = slices.Delete(p.flights, n, n+1)
	t := &p.batch[i]
	if t.done = done; !done && t.tries < collectTries {
		p.open = append(p.open, i)
	}
	p.at = min(p.at, r.now.Mono)
}

// collectWaited ends a fence or a rest, if that may be ended.
func (r *Replica) collectWaited() bool {
	p, v := r.collect, &r.membership.view
	if p.step == collectRest {
		for s := r.placement.nodes(); s != 0; {
			if r.row(s.pop()).Rested < p.mark {
				return false
			}
		}
		if p.fences == collectFences {
			p.step = collectForget
			return true
		}
		// All rows that this node has seen were told in this epoch or before.
		p.step, p.mark = collectFence, v.Epoch
	}
	if v.Epoch == p.mark || v.Floor < p.floor {
		if !p.bumping && r.membership.next == nil {
			p.bumping = true
			next := v.bumped(p.floor)
			r.proposeView(Request{}, &next, jobBump)
		}
		return false
	}
	p.step, p.mark = collectRest, v.Epoch
	p.fences++
	return true
}

// collectForget lets the replicas take out the tombstones of the round.
func (r *Replica) collectForget() {
	p := r.collect
	for n := 0; p.todo < len(p.batch); n++ {
		if n == collectPage {
			p.at = r.now.Mono + movePause
			return
		}
		t := p.batch[p.todo]
		p.todo++
		m := Message{Type: MsgForget, Boot: r.boot, Key: t.key, Record: Record{Stamp: t.stamp}}
		for homes := r.placement.voters(t.key).now; homes != 0; {
			r.send(homes.pop(), &m)
		}
		if rec, _, err := r.current(t.key); err != nil || rec.Deleted {
			r.entomb(t.key)
		}
	}
	r.collectEnd()
}

// collectEnd ends the round.
func (r *Replica) collectEnd() {
	p := r.collect
	p.rounds++
	p.step, p.batch, p.open, p.floor = collectIdle, nil, nil, 0
	p.at = r.now.Mono + r.cfg.Collect
}

// onForget takes out a tombstone that nothing is left of to hide.
func (r *Replica) onForget(m *Message) {
	rec, seq, err := r.current(m.Key)
	if err != nil || seq != 0 || r.inDoubt(m.Key) || !rec.Deleted || rec.Stamp != m.Record.Stamp || !r.cfg.rules(m.Key).collectable() {
		return
	}
	r.write(m.Key, rec, Record{})
	if p := r.collect; p != nil {
		p.forgotten++
		if _, ok := p.known[m.Key]; ok {
			p.known[m.Key] = r.now.Mono // should it come back
		}
	}
}

// rested says that the requests that began here before the epoch in force are
// over, and that there has been a moment without strays since.
func (r *Replica) rested() bool {
	oldest := r.byDeadline.head
	return (oldest == nil || oldest.message.ID > r.membership.entered) && r.HandoffStats().Clean
}
