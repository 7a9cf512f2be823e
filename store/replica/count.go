package replica

import (
	"errors"
	"time"
)

// This file keeps the trees of anti-entropy as Storage is. They are counted at
// the start, follow every write, and are counted anew where nobody knows any
// more what Storage has: the leaf of a record that was damaged, and everything
// after Storage was opened again.

// count takes a new version of a key into the trees.
func (r *Replica) count(key string, old, now Stamp) {
	h := KeyHash(key)
	if r.repair.whole || h < r.repair.counted {
		r.addSum(key, h, versionSum(h, old)^versionSum(h, now))
	}
}

// addSum adds a difference to the trees that a key is in.
func (r *Replica) addSum(key string, hash, difference uint64) {
	u := r.cfg.rules(key)
	if u.Protocol == CASPaxos {
		return
	}
	if r.repair.alike {
		r.repair.trees[r.cfg.ID].add(hash, difference)
		return
	}
	holders := r.placement.voters(key).all()
	if !holders.has(r.cfg.ID) {
		return // it does not belong here
	}
	for holders != 0 {
		if n := holders.pop(); n != r.cfg.ID {
			r.repair.trees[n].add(hash, difference)
		}
	}
}

// countOn counts some more keys into the tree, and ends between two leaves.
func (r *Replica) countOn() {
	p := r.repair
	keys, leaf := 0, p.counted
	p.whole = true // unless there is more
	err := r.store.Scan(p.counted, func(key string, s Stamp, err error) bool {
		h := KeyHash(key)
		if keys++; keys > countKeys && h&^leafMask != leaf {
			p.counted, p.whole = h&^leafMask, false
			return false
		}
		leaf = h &^ leafMask
		if err != nil {
			p.stats.Unreadable++
			return true
		}
		r.addSum(key, h, versionSum(h, s))
		return true
	})
	switch {
	case p.unscanned(err): // from the beginning: nobody knows how far it came
		p.plant(r.placement)
		p.counted, p.whole = 0, false
		p.wake = r.now.Mono + r.cfg.AntiEntropy
	case !p.whole:
		p.wake = r.now.Mono + countPause
	default: // the nodes take turns within an interval
		all := r.placement.nodes()
		rank := (all & (1<<r.cfg.ID - 1)).len()
		p.wake = r.now.Mono + r.cfg.AntiEntropy*time.Duration(rank+1)/time.Duration(all.len())
	}
}

// unscanned says whether a scan failed. A part that cannot be read is no failure: the
// keys in it count as missing, until the peers tell of them.
func (p *repair) unscanned(err error) bool {
	if errors.Is(err, ErrGap) {
		p.stats.Unreadable++
		return false
	}
	return err != nil
}

// recountLeaf has a key's leaf counted anew at the next Tick, when Storage shows
// what has been written by then.
func (r *Replica) recountLeaf(key string) {
	if r.repair != nil {
		r.repair.recount = append(r.repair.recount, KeyHash(key)&^leafMask)
	}
}

// recountAll has everything counted anew: of the writes that failed nobody knows
// which are in Storage.
func (r *Replica) recountAll() {
	p := r.repair
	if p == nil {
		return
	}
	r.repairEnd()
	p.plant(r.placement)
	p.counted, p.whole, p.recount, p.wake = 0, false, nil, 1
}

// recountLeaves counts the leaves that may be wrong.
func (r *Replica) recountLeaves() {
	p := r.repair
	for _, leaf := range p.recount {
		if !p.whole && leaf >= p.counted {
			continue // it is still to be counted
		}
		for _, t := range p.trees {
			if t != nil {
				t.add(leaf, t.leaf(leaf)) // makes it 0
			}
		}
		err := r.store.Scan(leaf, func(key string, s Stamp, err error) bool {
			h := KeyHash(key)
			switch {
			case h > leaf|leafMask:
				return false
			case err != nil:
				p.stats.Unreadable++
			default:
				r.addSum(key, h, versionSum(h, s))
			}
			return true
		})
		if p.unscanned(err) {
			r.recountAll()
			return
		}
	}
	p.recount = p.recount[:0]
}
