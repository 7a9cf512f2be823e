package claims

import "github.com/assay-chaos/assay/checkers"

// Use is how a workload makes its operations of those of the store.
type Use uint8

const (
	Plain   Use = iota // each is one of the store's
	Changed            // a key is read, and changed by compare-and-set
	Blind              // a key is read, and changed by a plain put
	Spread             // several keys are read, or changed by plain puts
	Posted             // several keys are read, each of which is written once
	Cached             // a read may be answered from a cache
	Leased             // as Blind, under a lock that is a lease
	Fenced             // as Changed, under such a lock
)

// used is what follows from how the store is used, whatever the store is; false
// where the store decides.
func (s Setting) used(claim checkers.Claim, f Faults) (Expectation, bool) {
	type of struct {
		use   Use
		claim checkers.Claim
	}
	switch at := (of{s.Use, claim}); at {
	case of{Changed, checkers.Conserved}:
		return holds("all balances are one value, and each transfer makes one of the same total"), true

	case of{Blind, checkers.Linearizable}, of{Blind, checkers.NoLostElements}, of{Blind, checkers.Counted}:
		return breaks("two clients read one value, and the put of one overwrites what the other has added"), true

	case of{Spread, checkers.Linearizable}:
		return breaks("a transfer changes two keys one after the other, and others come between"), true
	case of{Spread, checkers.Conserved}:
		return breaks("a read sees one account before a transfer and another after it, and of two transfers at a time one account keeps half"), true

	case of{Posted, checkers.Linearizable}:
		return breaks("a timeline is read post by post, at no one instant"), true
	case of{Posted, checkers.MonotonicReads}:
		f.Clock = false // no post has a second version that a clock could prefer
		if s.linearizable(f).Holds {
			return holds("a post that was seen is at a write quorum, which every later read meets"), true
		}
		if s.forgets(f) {
			return breaks("without fsync a killed replica forgets posts that were seen there"), true
		}
		return breaks("one read asks a replica that has the post, and a later one others"), true
	case of{Posted, checkers.NoLostWrites}:
		if s.forgets(f) {
			return s.noLostWrites(f), true
		}
		return holds("an acknowledged post is durable at W replicas, and its key is written once: nothing can replace it"), true

	case of{Cached, checkers.Linearizable}, of{Cached, checkers.FreshReads}:
		return breaks("a glance shows what was fetched last, whatever the ledger says"), true
	case of{Cached, checkers.Converges}:
		return breaks("nobody tells a cache what has changed: it shows what was fetched last until somebody opens the details"), true

	case of{Cached, checkers.ConvergesWhenRead}:
		switch {
		case s.converges(f).Holds:
			return holds("opening the details fetches the balance from the ledger, whose replicas agree by then"), true
		case s.freshReads(f).Holds:
			return breaks("a write that failed half way may take effect after the details were opened at one node, and before they are at the next"), true
		}
		return breaks("opening the details fetches the balance from a ledger that tells different things at different nodes"), true

	case of{Leased, checkers.Recovers}, of{Fenced, checkers.Recovers}:
		return breaks("who waits for a lock gets it when nobody else does, and nothing bounds for how long"), true

	case of{Leased, checkers.Linearizable}, of{Leased, checkers.NoLostElements}:
		switch {
		case f.Pause:
			return breaks("a write waits in a paused node, the lease ends, and it lands on top of the next holder's"), true
		case f.Clock:
			return breaks("a node whose clock is ahead takes a lease for over that is not, and two clients hold the lock"), true
		case f.Kill, f.Partition:
			return breaks("a write that reached a minority before it failed takes effect when somebody reads it there, after the lease has ended"), true
		case s.linearizable(f).Holds:
			return holds("the lock is linearizable, clocks agree, and a write takes less time than its lease has left"), true
		}
	}
	return Expectation{}, false
}
