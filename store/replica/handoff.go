package replica

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// This file is the hand-off of strays. A stray is a record of a key that this
// node is no replica of. A sloppy quorum leaves strays at fallbacks (what Dynamo
// calls a hinted replica; here the hint is the placement itself, which says
// where the record belongs), and so does a change of the members.
//
//	stray at this node
//	   │ store    to every replica of the key, until all of them
//	   ├────────▶ hold it or a newer record, durably
//	   ▼
//	take it out, if it is still the record that was handed off
//
// A stray is dropped only when all replicas have it, so that a hand-off never
// leaves fewer copies than the writes were acknowledged for. That holds however
// often a node crashes in the middle: a stray that is there again is handed off
// again. A tombstone is a record like any other.
//
// The strays are found by a scan at the start and whenever nobody knows any more
// what Storage has, and by every write after that. They are tried in passes, one
// every handoffEvery. A replica that does not answer is left out for the rest of
// a pass, and the strays that it lacks are kept for the next one.

// roundHandoff marks the messages of a hand-off.
const roundHandoff uint8 = 6

// The bounds of a hand-off.
const (
	handoffFlight  = 8       // strays under way at a time
	handoffTries   = 3       // how often one is sent in a pass
	handoffRetries = 10      // pause between passes, in Config.Retry
	maxStrays      = 1 << 14 // known at a time; a scan finds the others later
)

// handoff is the state of the hand-off.
type handoff struct {
	// Keys whose hash is below next have been scanned; then whole is set.
	next  uint64
	whole bool
	// missed: a stray came when maxStrays were known, so another scan is needed.
	missed bool

	known       map[string]struct{} // the keys in todo, later and flights
	todo, later []stray             // of this pass, and of the next one
	flights     []delivery
	unreached   nodeSet       // did not answer in this pass
	wake        time.Duration // when handoffTick has something to do; 0: never

	taken     uint64 // ticket of the last stray that was taken out
	handedOff uint64
}

// stray is a record that does not belong here.
type stray struct {
	key   string
	stamp Stamp   // of the record that held is about
	held  nodeSet // the replicas that have it or a newer one, durably
}

// delivery is a stray under way to its replicas.
type delivery struct {
	stray
	message Message
	waiting nodeSet // for their answers
	tries   int
	retryAt time.Duration
}

// HandoffStats tells how far this node's hand-off is.
type HandoffStats struct {
	// Clean: this node holds no stray, not even on its disk after a crash.
	Clean     bool
	Strays    int    // known to be waiting; there may be more while Clean is false
	HandedOff uint64 // since the start
}

// HandoffStats gives the state of the hand-off. A node that cannot have strays
// is clean.
func (r *Replica) HandoffStats() HandoffStats {
	h := r.handoff
	if h == nil {
		return HandoffStats{Clean: true}
	}
	return HandoffStats{
		Clean:     h.whole && !h.missed && len(h.known) == 0 && h.taken <= r.gate.done,
		Strays:    len(h.known),
		HandedOff: h.handedOff,
	}
}

func newHandoff() *handoff {
	return &handoff{known: make(map[string]struct{}), wake: 1}
}

// handoffAll begins with a new scan: nobody knows what Storage has, or where it
// belongs.
func (r *Replica) handoffAll() {
	if r.handoff != nil {
		fresh := newHandoff()
		fresh.taken, fresh.handedOff = r.handoff.taken, r.handoff.handedOff
		r.handoff = fresh
	}
}

// isStray says whether a record of the key has to be handed off if it is here.
// CASPaxos never leaves one: there only the replicas are asked, and a store
// would overwrite what they have promised.
func (r *Replica) isStray(key string) bool {
	return r.cfg.rules(key).Protocol != CASPaxos && !r.placement.Holds(r.cfg.ID, key)
}

// strayed takes note of a record that was written here, if it is a stray. The
// next pass tries it: its replicas were not reached just now.
func (r *Replica) strayed(key string) {
	h := r.handoff
	if h == nil || !r.isStray(key) {
		return
	}
	if !h.add(key) {
		h.missed = true
		return
	}
	if h.wake == 0 {
		h.wake = r.now.Mono + r.handoffEvery()
	}
}

// add takes a stray into the next pass. It says no if there is no room.
func (h *handoff) add(key string) bool {
	if _, ok := h.known[key]; ok {
		return true
	}
	if len(h.known) == maxStrays {
		return false
	}
	h.known[key] = struct{}{}
	h.later = append(h.later, stray{key: key})
	return true
}

// handoffEvery is the time from one pass to the next.
func (r *Replica) handoffEvery() time.Duration { return handoffRetries * r.cfg.Retry }

// handoffDeadline is when handoffTick is due; 0 means never.
func (r *Replica) handoffDeadline() time.Duration {
	if r.handoff == nil || !r.membership.member {
		return 0
	}
	return r.handoff.wake
}

// handoffTick does what is due: scans on, sends again, or begins a pass.
func (r *Replica) handoffTick() {
	h := r.handoff
	if d := r.handoffDeadline(); d == 0 || d > r.now.Mono {
		return
	}
	if len(h.flights) == 0 && len(h.todo) == 0 {
		if r.scanStrays() {
			h.wake = r.now.Mono + countPause
			return
		}
		h.todo, h.later = h.later, h.todo[:0]
		h.unreached = 0
	}
	r.handoffResend()
	r.handoffOn()
}

// scanStrays looks for strays in some more keys. It says whether it should go on
// before anything is sent.
func (r *Replica) scanStrays() (more bool) {
	h := r.handoff
	if len(h.known) == maxStrays && (!h.whole || h.missed) {
		// None of these could be handed off. The scan goes on behind them, and
		// comes round.
		clear(h.known)
		clear(h.later)
		h.later, h.missed = h.later[:0], true
	}
	if h.whole && h.missed {
		h.next, h.whole, h.missed = 0, false, false
	}
	if h.whole {
		return false
	}
	if h.next == 0 { // Storage may not show a stray whose removal has failed
		for _, key := range slices.Sorted(maps.Keys(r.doubtful)) {
			if r.isStray(key) && !h.add(key) {
				h.missed = true
			}
		}
	}
	keys, from, last := 0, h.next, h.next
	h.whole = true // unless there is more
	err := r.store.Scan(h.next, func(key string, _ Stamp, _ error) bool {
		// What is damaged is a stray too: it is mended before it is sent.
		hash := KeyHash(key)
		keys++
		if keys > countKeys && hash != last || r.isStray(key) && !h.add(key) {
			h.next, h.whole = hash, false
			return false
		}
		last = hash
		return true
	})
	if err != nil {
		h.next, h.whole = from, false // the next pass tries again
		return false
	}
	return !h.whole && len(h.known) < maxStrays
}

// handoffOn sends what may be sent now, and ends the pass when nothing is left
// to do.
func (r *Replica) handoffOn() {
	h := r.handoff
	for len(h.flights) < handoffFlight && len(h.todo) > 0 {
		s := h.todo[0]
		h.todo[0] = stray{}
		h.todo = h.todo[1:]
		r.handoffKey(s)
	}
	switch {
	case len(h.flights) > 0:
		h.wake = h.flights[0].retryAt
		for i := range h.flights {
			h.wake = min(h.wake, h.flights[i].retryAt)
		}
	case len(h.later) > 0 || !h.whole || h.missed:
		h.wake = r.now.Mono + r.handoffEvery()
	default:
		h.wake = 0
	}
}

// handoffKey sends a stray to those of its replicas that may lack it.
func (r *Replica) handoffKey(s stray) {
	h := r.handoff
	homes := r.placement.voters(s.key).all()
	if homes.has(r.cfg.ID) {
		delete(h.known, s.key) // it belongs here now
		return
	}
	if homes&^(s.held|h.unreached) == 0 && s.held != homes {
		h.later = append(h.later, s)
		return
	}
	rec, seq, err := r.current(s.key)
	switch {
	case errors.Is(err, ErrCorrupt) && !r.mendable(s.key):
		delete(h.known, s.key) // it is lost, and has been reported
		return
	case err == nil && rec.IsZero():
		if r.inDoubt(s.key) { // the removal failed, and the next start may undo it
			h.taken = r.write(s.key, rec, rec)
		}
		delete(h.known, s.key)
		return
	case err == nil && r.inDoubt(s.key):
		r.write(s.key, rec, rec)
		h.later = append(h.later, s)
		return
	case err != nil || seq != 0: // not readable yet, or not durable
		h.later = append(h.later, s)
		return
	}
	if s.stamp != rec.Stamp {
		s.stamp, s.held = rec.Stamp, 0
	}
	r.lastID++
	d := delivery{
		stray:   s,
		message: Message{Type: MsgStore, ID: r.lastID, Boot: r.boot, Round: roundHandoff, Key: s.key, Record: rec},
		waiting: homes &^ (s.held | h.unreached),
	}
	if d.waiting == 0 {
		r.endDelivery(d)
		return
	}
	r.sendDelivery(&d)
	h.flights = append(h.flights, d)
}

// sendDelivery sends a stray to the replicas that have not answered.
func (r *Replica) sendDelivery(d *delivery) {
	for left := d.waiting; left != 0; {
		r.send(left.pop(), &d.message)
	}
	d.tries++
	d.retryAt = r.now.Mono + r.cfg.Retry
}

// handoffResend repeats what was not answered, and leaves a replica that goes on
// being silent out of this pass.
func (r *Replica) handoffResend() {
	h := r.handoff
	waiting := h.flights[:0]
	for i := range h.flights {
		d := h.flights[i]
		switch {
		case d.retryAt > r.now.Mono:
		case d.tries < handoffTries:
			r.sendDelivery(&d)
		default:
			h.unreached |= d.waiting
			r.endDelivery(d)
			continue
		}
		waiting = append(waiting, d)
	}
	clear(h.flights[len(waiting):])
	h.flights = waiting
}

// onHandoffAnswer takes a replica's answer. Late and repeated ones, and those to
// an earlier incarnation, change nothing.
func (r *Replica) onHandoffAnswer(from NodeID, m *Message) {
	h := r.handoff
	if h == nil || m.Boot != r.boot {
		return
	}
	for i := range h.flights {
		d := &h.flights[i]
		if d.message.ID != m.ID || !d.waiting.has(from) {
			continue
		}
		switch m.Type {
		case MsgStored:
			d.held.add(from)
		case MsgRefuse: // it is asked again in the next pass
		default:
			return
		}
		d.waiting.remove(from)
		r.landed(i)
		return
	}
}

// landed goes on when a delivery waits for nobody any more.
func (r *Replica) landed(i int) {
	h := r.handoff
	d := h.flights[i]
	if d.waiting != 0 {
		return
	}
	last := len(h.flights) - 1
	h.flights[i], h.flights[last] = h.flights[last], delivery{}
	h.flights = h.flights[:last]
	r.endDelivery(d)
	r.handoffOn()
}

// endDelivery takes the stray out if all its replicas have it, and keeps it for
// the next pass if not.
func (r *Replica) endDelivery(d delivery) {
	h := r.handoff
	if d.held == r.placement.voters(d.key).all() {
		rec, seq, err := r.current(d.key)
		if err == nil && seq == 0 && rec.Stamp == d.stamp {
			h.taken = r.write(d.key, rec, Record{})
			h.handedOff++
			delete(h.known, d.key)
			return
		}
	}
	h.later = append(h.later, d.stray)
}

// voidHandoff forgets what a replica has acknowledged for a key whose record it
// has lost, see damage.go. It is as if it had refused, so that what it answered
// before does not count when it arrives.
func (r *Replica) voidHandoff(replica NodeID, key string) {
	h := r.handoff
	if h == nil {
		return
	}
	if _, ok := h.known[key]; !ok {
		return
	}
	for _, list := range [][]stray{h.todo, h.later} {
		for i := range list {
			if list[i].key == key {
				list[i].held.remove(replica)
			}
		}
	}
	for i := range h.flights {
		if d := &h.flights[i]; d.key == key {
			d.held.remove(replica)
			if d.waiting.has(replica) {
				d.waiting.remove(replica)
				r.landed(i)
			}
			return
		}
	}
}
