package checkers

import (
	"fmt"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// Monotonic writes and writes-follow-reads, as far as readers see them.
//
// A session S wrote w2 after something else: after writing u (monotonic writes),
// or after reading it (writes follow reads). Who has read w2 may therefore rely
// on u. A read is broken if its session had read w2 before and it sees a version
// of u's key that is certainly older than u. The keys of u and w2 may differ, so
// this looks at all keys at once.
//
// S must be another session than the reader's: what one knows from its own
// writes and reads is the matter of the other two guarantees. One step is
// followed, from w2 to what S had done itself; what S knew from others is not.
//
// O(n log n + n·s), where s is how many sessions use a key, in the worst case;
// a read whose version is at most s versions old costs as many steps as that.

// MonotonicWritesWith judges whether the writes of a session are seen in its order.
func MonotonicWritesWith(opts SessionOptions) Checker {
	return acrossSessions(MonotonicWrites, opts, writesOf,
		"none older than what had been written before a write that was seen", "no session read after it had seen another one's write")
}

// WritesFollowReadsWith judges whether who sees a write also sees what its
// session had read before.
func WritesFollowReadsWith(opts SessionOptions) Checker {
	return acrossSessions(WritesFollowReads, opts, seenBy,
		"none older than what had been read before a write that was seen", "no session read after it had seen another one's write")
}

// fact is what a session did with a version: wrote it, or read it.
type fact struct {
	place   int32 // in the key's view
	session int32 // of the key
	ver     int32
	first   int64 // the version is not older than a write called then
}

// facts are those of one key, twice: by first, and by session.
type facts struct {
	byFirst   []fact
	bySession []fact  // of one session in its order, with first the greatest so far
	start     []int32 // of each session
}

func writesOf(r *register) []fact {
	var all []fact
	for i, n := 0, r.len(); i < n; i++ {
		if o := r.at(i); r.wrote(i) && o.Outcome == history.OK {
			all = append(all, fact{place: int32(i), session: r.session[i], ver: r.ver[i], first: o.Call})
		}
	}
	return all
}

func seenBy(r *register) []fact {
	var all []fact
	for i, n := 0, r.len(); i < n; i++ {
		if ver, saw := r.read(i); saw && ver != initially {
			all = append(all, fact{place: int32(i), session: r.session[i], ver: ver, first: r.versions[ver].first})
		}
	}
	return all
}

func arrange(all []fact, sessions int) facts {
	f := facts{bySession: make([]fact, len(all)), start: make([]int32, sessions+1)}
	for i := range all {
		f.start[all[i].session+1]++
	}
	for s := range sessions {
		f.start[s+1] += f.start[s]
	}
	next := slices.Clone(f.start[:sessions])
	for _, x := range all {
		f.bySession[next[x.session]] = x
		next[x.session]++
	}
	for s := range sessions {
		greatest := int64(beginning)
		for at := f.start[s]; at < f.start[s+1]; at++ {
			greatest = max(greatest, f.bySession[at].first)
			f.bySession[at].first = greatest
		}
	}
	f.byFirst = all
	slices.SortStableFunc(f.byFirst, func(a, b fact) int { return compare(a.first, b.first) })
	return f
}

// places says where the operations of a history stand in its registers.
type places struct {
	key, place []int32 // by operation
	bySession  []int32 // operations, session by session
	start      []int32 // of each session
	number     *numbering
}

func (r *registerIndex) places() *places {
	n := len(r.h.Ops)
	p := &places{key: make([]int32, n), place: make([]int32, n), bySession: make([]int32, n), number: sessionNumbers(r.h)}
	for k := range r.keys {
		key := &r.keys[k]
		for i, n := 0, key.len(); i < n; i++ {
			at := key.index(i)
			p.key[at], p.place[at] = int32(k), int32(i)
		}
	}
	p.start = make([]int32, p.number.n+1)
	for i := range r.h.Ops {
		p.start[p.number.of(r.h.Ops[i].Process)+1]++
	}
	for s := range p.number.n {
		p.start[s+1] += p.start[s]
	}
	next := slices.Clone(p.start[:p.number.n])
	for i := range r.h.Ops {
		s := p.number.of(r.h.Ops[i].Process)
		p.bySession[next[s]] = int32(i)
		next[s]++
	}
	return p
}

// acrossSessions makes a checker of one kind of facts.
func acrossSessions(claim Claim, opts SessionOptions, factsOf func(r *register) []fact, held, none string) Checker {
	return func(in Input, _ Budget) Result {
		if why := unfitForSessions(in.History); why != "" {
			return Result{Claim: claim, Key: -1, Reason: why}
		}
		index := in.registers(opts.Options)
		c := &crossing{registerIndex: index, order: opts.Order, claim: claim, places: index.places(), facts: make([]facts, len(index.keys)), global: make([][]int32, len(index.keys))}
		inParallel(len(index.keys), shares, func(k int) {
			r := &index.keys[k]
			c.facts[k] = arrange(factsOf(r), r.sessions)
			c.global[k] = make([]int32, r.sessions)
			for i, n := 0, r.len(); i < n; i++ {
				c.global[k][r.session[i]] = c.places.number.of(r.at(i).Process)
			}
		})
		// The readers in a few parts, each of which takes its readers one
		// after the other.
		parts := min(4*shares, max(c.places.number.n, 1))
		found := make([]tally, parts)
		inParallel(parts, shares, func(part int) {
			k := &knowledge{crossing: c, last: make([]int32, c.places.number.n), by: make([]int32, c.places.number.n), era: make([]int32, c.places.number.n)}
			for s := part; s < c.places.number.n; s += parts {
				k.read(int32(s), &found[part])
			}
		})
		return together(index.h, claim, found, "read", held, none)
	}
}

type crossing struct {
	*registerIndex
	*places
	order  Order
	claim  Claim
	facts  []facts
	global [][]int32 // by key and its session: the session's number
}

// knowledge is what one reader has seen: of each session its last write, and
// the read that saw it, as places in the history.
type knowledge struct {
	*crossing
	reader   int32
	last, by []int32
	era      []int32
	now      int32
}

// knows says whether the reader should see what a session had done with a key, of
// which it sees version v. A write that was itself seen counts only against an
// older one of the same session; otherwise it is the matter of monotonic reads.
func (k *knowledge) knows(key int32, r *register, x *fact, v *version) bool {
	s := k.global[key][x.session]
	if s == k.reader || k.era[s] != k.now {
		return false
	}
	op := int32(r.index(int(x.place)))
	return op < k.last[s] || op == k.last[s] && v.write >= 0 && v.session == x.session
}

func (k *knowledge) read(reader int32, t *tally) {
	k.reader = reader
	k.now++
	any := false
	for _, at := range k.bySession[k.start[reader]:k.start[reader+1]] {
		key := k.key[at]
		r, i := &k.keys[key], int(k.place[at])
		ver, saw := r.read(i)
		if !saw {
			continue
		}
		if any {
			t.checked++
			if f := k.missed(key, r, i, &r.versions[ver]); f != nil {
				k.tell(t, key, r, i, ver, f)
			}
		}
		v := &r.versions[ver]
		if v.writes != 1 || ver == initially {
			continue
		}
		s := k.global[key][v.session]
		if s == reader {
			continue
		}
		if w := int32(r.index(int(v.write))); k.era[s] != k.now || w > k.last[s] {
			k.era[s], k.last[s], k.by[s] = k.now, w, at
		}
		any = true
	}
}

// missed gives what the reader should have seen, or something newer.
func (k *knowledge) missed(key int32, r *register, i int, v *version) *fact {
	f := &k.facts[key]
	if k.order == SessionOrder {
		for at := range f.bySession {
			x := &f.bySession[at]
			if k.order.older(v, &r.versions[x.ver]) && k.knows(key, r, x, v) {
				return x
			}
		}
		return nil
	}
	call := r.at(i).Call
	from := firstAt(len(f.byFirst), func(a int) bool { return f.byFirst[a].first > v.last })
	for a, steps := from, 0; ; a, steps = a+1, steps+1 {
		if a == len(f.byFirst) || f.byFirst[a].first > call {
			return nil
		}
		if steps > r.sessions {
			break
		}
		if x := &f.byFirst[a]; k.knows(key, r, x, v) {
			return x
		}
	}
	for s := range r.sessions {
		lo, hi := f.start[s], f.start[s+1]
		a := int(lo) + firstAt(int(hi-lo), func(a int) bool { return f.bySession[int(lo)+a].first > v.last })
		if a == int(hi) {
			continue
		}
		// It is the first that new, so it is itself newer.
		if x := &f.bySession[a]; k.knows(key, r, x, v) {
			return x
		}
	}
	return nil
}

func (k *knowledge) tell(t *tally, key int32, r *register, i int, ver int32, f *fact) {
	t.add(r.key, func() ([]int, string) {
		s := k.global[key][f.session]
		proof := append(r.proof(int32(i), r.versions[ver].write, f.place, r.versions[f.ver].write), int(k.last[s]), int(k.by[s]))
		did := "had written"
		if !r.wrote(int(f.place)) {
			did = "had read"
		}
		return sorted(proof...), fmt.Sprintf("%s saw %s; but its session had seen %s, before which that one's session %s something newer: %s",
			describe(k.h, r.index(i)), r.name(k.h, ver), describe(k.h, int(k.last[s])), did, describe(k.h, r.index(int(f.place))))
	})
}
