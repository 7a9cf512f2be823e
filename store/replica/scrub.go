package replica

import (
	"errors"
	"time"
)

// This file looks for damage before a client meets it. A record that nobody reads
// is damaged for as long as it takes until the other copies are, too; and
// anti-entropy does not notice, since the tree it compares was counted when the
// record was whole. So the node reads all its records again and again, slowly. What
// it finds is repaired as damage.go says.

// scrubPage is how many records are read for one input.
const scrubPage = 64

// scrubber is how far a pass has come.
type scrubber struct {
	from  uint64 // the hash to go on at
	at    time.Duration
	stats ScrubStats

	// The page being read. It lies here, and visit is made once, so that reading
	// takes no memory: a store is read for as long as it lives.
	keys       int
	last, next uint64
	damaged    []string
	visit      func(key string, _ Stamp, err error) bool
}

// see takes note of one record, and says whether the page goes on.
func (p *scrubber) see(key string, _ Stamp, err error) bool {
	h := KeyHash(key)
	if p.keys >= scrubPage && h != p.last {
		p.next = h
		return false
	}
	p.keys++
	p.last = h
	if err != nil {
		p.damaged = append(p.damaged, key)
	}
	return true
}

// ScrubStats counts what scrubbing has done since the start.
type ScrubStats struct {
	Passes uint64 // over all records
	Read   uint64 // records
	Found  uint64 // damaged ones, each time
}

// ScrubStats tells what scrubbing has done.
func (r *Replica) ScrubStats() ScrubStats { return r.scrub.stats }

// scrubDeadline is when scrubTick is due; 0 means never.
func (r *Replica) scrubDeadline() time.Duration {
	if r.cfg.Scrub == 0 || !r.membership.member {
		return 0
	}
	return max(1, r.scrub.at)
}

// scrubTick reads a page, if it is time.
func (r *Replica) scrubTick() {
	p := &r.scrub
	if d := r.scrubDeadline(); d == 0 || d > r.now.Mono {
		return
	}
	if p.visit == nil {
		p.visit = p.see
	}
	p.keys, p.last, p.next, p.damaged = 0, p.from, 0, p.damaged[:0] // next: unless there is more
	err := r.store.Scan(p.from, p.visit)
	p.stats.Read += uint64(p.keys)
	p.stats.Found += uint64(len(p.damaged))
	p.at = r.now.Mono + max(time.Duration(p.keys), 1)*time.Second/time.Duration(r.cfg.Scrub)
	switch {
	case err != nil && !errors.Is(err, ErrGap): // from the beginning, later
		p.from, p.at = 0, r.now.Mono+max(time.Second, r.cfg.Timeout)
	case p.next == 0:
		p.stats.Passes++
		p.from, p.at = 0, max(p.at, r.now.Mono+scrubPause)
	default:
		p.from = p.next
	}
	for _, key := range p.damaged {
		r.scrubbed(key)
	}
}

// scrubPause is between two passes, however few records there are.
const scrubPause = 100 * time.Millisecond

// scrubbed begins to repair what was found.
func (r *Replica) scrubbed(key string) {
	switch {
	case r.gate.holds(key): // it is being replaced
	case key == viewKey: // not of the peers; the view is in force here, so it is known
		r.out.Damage = append(r.out.Damage, Damage{Key: key})
		rec := r.membership.view.record()
		r.write(key, Record{}, rec)
		r.out.Damage = append(r.out.Damage, Damage{Key: key, Repaired: true, Stamp: rec.Stamp})
	default:
		_, _, _ = r.current(key) // it takes note
	}
}
