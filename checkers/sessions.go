package checkers

import (
	"fmt"

	"github.com/assay-chaos/assay/harness/history"
)

// Session guarantees: what one client may rely on, whatever others do.
//
// Source: D. Terry et al., "Session guarantees for weakly consistent replicated
// data", PDIS 1994. A session is a process: a worker whose operation ended
// without an answer goes on as a new one. What the paper says of the states of
// servers is said here of what clients see, since that is what a history holds:
//
//   - read-your-writes: a session that wrote a key (and was told so) never reads
//     an older version of it.
//   - monotonic-reads: a session that read a version of a key never reads an
//     older one.
//   - monotonic-writes: who has seen a write sees what its session had written
//     before it, or newer versions: of the same key (then what it sees is not one
//     of the session's earlier writes) and of others.
//   - writes-follow-reads: who has seen a write sees what its session had read
//     before it, or newer versions: of the same key and of others.
//
// The last two are promises about the order of writes, and a history tells of it
// only through readers. They take a reader's session at its word: what it has
// seen once it should not lose. A reader that goes back breaks them too, if what
// it had seen came from the session in question.
//
// "Older" needs an order of the versions, which no history has. See [Order] for
// what is taken as certain; a read is counted as broken only if the version it
// saw is older in every order of versions that agrees with that. Reads of values
// that nobody wrote are left to [NoPhantoms].
//
// read-your-writes and monotonic-reads cost O(n) after the index, key by key. The
// other two are in transitive.go.

// Order says what is certain of the order of a key's versions.
type Order string

const (
	// RealTime: of two writes that do not overlap the later one's version is
	// the newer. The default, also when empty. It holds where stamps follow
	// real time, and it is what people expect of "older".
	RealTime Order = "real-time"
	// SessionOrder: of two writes of one session the later one's version is
	// the newer, and the initial value is the oldest; nothing else. It needs
	// no clock, and it is all that sequential consistency implies.
	SessionOrder Order = "session"
)

// SessionOptions say how sessions are judged.
type SessionOptions struct {
	Options
	Order Order
}

// older says whether version a is certainly older than b.
func (o Order) older(a, b *version) bool {
	if o == SessionOrder {
		// What may be the initial value is older than something, not newer;
		// a write of unknown outcome may come after all others.
		if b.first == beginning || a.writes > 1 || b.writes > 1 || a.last == history.Never {
			return false
		}
		return a.write < 0 || a.session == b.session && a.write < b.write
	}
	return a.last < b.first
}

// ReadYourWritesWith judges whether sessions see what they wrote themselves.
func ReadYourWritesWith(opts SessionOptions) Checker {
	return bySession(ReadYourWrites, opts, readYourWrites, "each of its session's last write or something newer",
		"no session read what it had written")
}

// MonotonicReadsWith judges whether sessions never go back.
func MonotonicReadsWith(opts SessionOptions) Checker {
	return bySession(MonotonicReads, opts, monotonicReads, "none older than what its session had read before",
		"no session read a key twice")
}

// bySession makes a checker of a rule that looks at one key at a time.
func bySession(claim Claim, opts SessionOptions, rule func(h *history.History, r *register, o Order) tally, held, none string) Checker {
	return func(in Input, _ Budget) Result {
		if why := unfitForSessions(in.History); why != "" {
			return Result{Claim: claim, Key: -1, Reason: why}
		}
		index := in.registers(opts.Options)
		found := make([]tally, len(index.keys))
		inParallel(len(found), shares, func(i int) { found[i] = rule(index.h, &index.keys[i], opts.Order) })
		return together(index.h, claim, found, "read", held, none)
	}
}

func unfitForSessions(h *history.History) string {
	if why := unfitForRegisters(h); why != "" {
		return why
	}
	return sessionsOverlap(h)
}

func readYourWrites(h *history.History, r *register, order Order) tally {
	var t tally
	// By session: the own write that was called last.
	own := make([]int32, r.sessions)
	for s := range own {
		own[s] = -1
	}
	for i, n := 0, r.len(); i < n; i++ {
		s := r.session[i]
		if r.wrote(i) {
			if r.at(i).Outcome == history.OK {
				own[s] = int32(i)
			}
			continue
		}
		ver, saw := r.read(i)
		if !saw || own[s] < 0 {
			continue
		}
		t.checked++
		w := own[s]
		mine := version{first: r.at(int(w)).Call, write: w, writes: 1, session: s}
		if v := &r.versions[ver]; order.older(v, &mine) {
			t.add(r.key, func() ([]int, string) {
				return r.proof(int32(i), w, v.write), fmt.Sprintf("%s saw %s, older than its own %s", describe(h, r.index(i)), r.name(h, ver), describe(h, r.index(int(w))))
			})
		}
	}
	return t
}

func monotonicReads(h *history.History, r *register, order Order) tally {
	if order == SessionOrder {
		return monotonicReadsBySession(h, r)
	}
	var t tally
	// By session: the read whose version was called last.
	seen := make([]int32, r.sessions)
	for s := range seen {
		seen[s] = -1
	}
	for i, n := 0, r.len(); i < n; i++ {
		ver, saw := r.read(i)
		if !saw {
			continue
		}
		v, before := &r.versions[ver], &seen[r.session[i]]
		if *before < 0 {
			*before = int32(i)
			continue
		}
		t.checked++
		u := &r.versions[r.ver[*before]]
		if order.older(v, u) {
			t.wentBack(h, r, i, *before)
		} else if v.first > u.first {
			*before = int32(i)
		}
	}
	return t
}

// wentBack adds a read that saw something older than an earlier one.
func (t *tally) wentBack(h *history.History, r *register, i int, before int32) {
	t.add(r.key, func() ([]int, string) {
		v, u := r.ver[i], r.ver[before]
		return r.proof(int32(i), before, r.versions[v].write, r.versions[u].write),
			fmt.Sprintf("%s saw %s, although %s had seen %s, which is newer", describe(h, r.index(i)), r.name(h, v), describe(h, r.index(int(before))), r.name(h, u))
	})
}

// pair is a session that reads and one that writes.
type pair struct{ reader, writer int32 }

// monotonicReadsBySession compares what a session reads of each writing session
// apart.
func monotonicReadsBySession(h *history.History, r *register) tally {
	var t tally
	newest := make(map[pair]int32) // the read whose version that session wrote last
	written := make([]int32, r.sessions)
	read := make([]bool, r.sessions)
	for s := range written {
		written[s] = -1 // a read of anything but the initial value
	}
	for i, n := 0, r.len(); i < n; i++ {
		ver, saw := r.read(i)
		if !saw {
			continue
		}
		v, s := &r.versions[ver], r.session[i]
		if read[s] {
			t.checked++
		}
		read[s] = true
		switch {
		case v.writes > 1 || ver == initially && v.writes > 0:
		case ver == initially:
			if written[s] >= 0 {
				t.wentBack(h, r, i, written[s])
			}
		default:
			before, known := newest[pair{s, v.session}]
			if known && v.write < r.versions[r.ver[before]].write {
				if v.last != history.Never {
					t.wentBack(h, r, i, before)
				}
				break
			}
			newest[pair{s, v.session}] = int32(i)
			if written[s] < 0 {
				written[s] = int32(i)
			}
		}
	}
	return t
}
