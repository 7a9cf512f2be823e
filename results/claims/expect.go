// Package claims is what people claim of a quorum setting, and what theory says
// of it under given faults, with the reason in words. It knows settings and
// kinds of faults; what runs showed is compared with it elsewhere.
package claims

import (
	"fmt"
	"slices"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/nemesis"
)

// Setting is what theory needs to know of a store's configuration.
type Setting struct {
	Nodes     int // at least N; 0 is N
	N, R, W   int
	Agreed    bool // a majority agrees on each change (CASPaxos); Logical and WriteBack do not matter
	Logical   bool // stamps from a quorum, not from wall clocks
	WriteBack bool // reads make sure that W replicas hold what they return
	Fsync     bool // nothing is acknowledged before it is durable
	// AntiEntropy: replicas compare their records, and get what they lack.
	AntiEntropy bool
	// ReadRepair: a read sends the newest record to replicas that answered
	// with an older one.
	ReadRepair bool
	// Scrub: replicas read all their records again and again, to find damage.
	Scrub bool
	// Sloppy: other nodes stand in for replicas that do not answer.
	Sloppy bool
}

// overlap says whether every read quorum meets every write quorum.
func (s Setting) overlap() bool { return s.R+s.W > s.N }

// sloppy says whether quorums may have other nodes than replicas in them.
func (s Setting) sloppy() bool { return s.Sloppy && s.Nodes > s.N }

// Faults is what theory needs to know of a run's faults.
type Faults struct {
	Partition, Kill, Pause, Clock bool
	Bitflip                       bool // one disk spoils records
	SlowDisk                      bool // what is made durable takes longer
}

// FaultsOf reads the kinds out of a nemesis list.
func FaultsOf(specs []nemesis.Spec) Faults {
	has := func(kind string) bool {
		return slices.ContainsFunc(specs, func(s nemesis.Spec) bool { return s.Kind == kind })
	}
	return Faults{Partition: has("partition"), Kill: has("kill"), Pause: has("pause"), Clock: has("clock"),
		Bitflip: has("bitflip"), SlowDisk: has("slowdisk")}
}

// Expectation is what theory says of a claim.
type Expectation struct {
	// Holds: the claim is a promise, and one violation is one too many.
	// Otherwise nothing promises it, and it is expected to be broken
	// sooner or later.
	Holds  bool
	Reason string // one sentence
}

func holds(format string, args ...any) Expectation {
	return Expectation{Holds: true, Reason: fmt.Sprintf(format, args...)}
}

func breaks(format string, args ...any) Expectation {
	return Expectation{Reason: fmt.Sprintf(format, args...)}
}

// Expect says what the setting promises of the claim under the faults, and
// why. It is a function of the setting, not of a profile's name, so that it
// answers for any N, R and W.
//
// Sources: Gifford 1979 (overlapping quorums), Attiya, Bar-Noy and Dolev 1995
// (why reads must write back), Vogels 2009 and Bailis et al. 2012 (partial
// quorums), and the arguments in docs/claims.md.
func Expect(s Setting, claim checkers.Claim, f Faults) Expectation {
	switch claim {
	case checkers.Linearizable:
		return s.linearizable(f)
	case checkers.FreshReads:
		return s.freshReads(f)
	case checkers.NoLostWrites:
		return s.noLostWrites(f)
	case checkers.Converges:
		return s.converges(f)
	case checkers.Available:
		return s.available(f)
	case checkers.Recovers:
		return holds("once everything is healed all quorums can be reached again")
	case checkers.Tested:
		return holds("a run that tested nothing proves nothing")
	}
	if x, known := s.weaker(claim, f); known {
		return x
	}
	return breaks("nothing is known of the claim %q", claim)
}

// forgets says whether acknowledged records can be gone after a restart. In the
// simulator a crash takes what was not synced; in containers it takes what the
// engine had not yet handed to the kernel, which is as much.
func (s Setting) forgets(f Faults) bool { return !s.Fsync && f.Kill }

// repairs says whether what one disk has spoiled can be had from the others: a
// replica asks N-W+1 others for the record, or a majority that does without it
// (store/replica/damage.go). Until then, or for ever, it refuses.
func (s Setting) repairs() bool {
	if s.Agreed {
		return s.N > 2
	}
	return s.W > 1
}

func (s Setting) linearizable(f Faults) Expectation {
	switch {
	case !s.overlap():
		return breaks("R+W = %d does not exceed N = %d: a read may ask only replicas that the last write has not reached", s.R+s.W, s.N)
	case s.forgets(f):
		return breaks("without fsync a killed replica forgets what it acknowledged, and the quorums no longer overlap")
	case s.sloppy():
		return breaks("other nodes stand in for replicas that do not answer in time, so quorums need not share a node, although R+W = %d exceeds N = %d", s.R+s.W, s.N)
	case s.Agreed:
		return holds("a change is made to the value that a majority agreed on last, and promises and values are durable (CASPaxos)")
	case !s.Logical && f.Clock:
		return breaks("a clock that is wrong gives a later write the lower stamp: it is acknowledged and lost")
	case s.WriteBack:
		if s.Logical {
			return holds("quorums overlap, stamps come from a quorum, and a value once read is at W replicas before it is returned (ABD)")
		}
		return holds("quorums overlap, reads write back, and without clock faults stamps follow real time")
	case s.R == s.N:
		return holds("each read asks all replicas, so a value once seen is seen by every later read")
	}
	return breaks("a write in flight is at some replicas only: one read sees it, a later one does not (new/old inversion)")
}

func (s Setting) freshReads(f Faults) Expectation {
	switch {
	case !s.overlap():
		return breaks("R+W = %d does not exceed N = %d: a read may miss every replica that has the last completed write", s.R+s.W, s.N)
	case s.forgets(f):
		return breaks("without fsync a killed replica forgets what it acknowledged")
	case s.sloppy():
		return breaks("other nodes stand in for replicas that do not answer in time, so a read may miss every node that has the last completed write")
	case s.Agreed:
		return holds("two majorities share a replica, and the highest ballot wins")
	case !s.Logical && f.Clock:
		return breaks("a completed write with a stamp from a slow clock loses to an older one with a stamp from a fast clock")
	}
	return holds("every read quorum meets every write quorum, and the highest stamp wins")
}

func (s Setting) noLostWrites(f Faults) Expectation {
	switch {
	case s.forgets(f):
		return breaks("without fsync a killed replica forgets what it acknowledged")
	case f.Bitflip && !s.repairs():
		return breaks("a damaged copy may be the only one of what was acknowledged")
	case s.Agreed:
		return holds("an acknowledged change is durable at a majority, and later ones are made on top of it")
	case !s.Logical && f.Clock:
		return breaks("last writer wins by clock: a write acknowledged by a node whose clock is behind is overruled by an older one")
	case s.Logical && !s.overlap():
		return breaks("the stamp is one above what R replicas know, which may be below that of a completed write")
	}
	if s.sloppy() {
		if s.Logical {
			return breaks("the stamp is one above what R nodes know, which need not be those that have the last completed write")
		}
		return holds("an acknowledged write is durable at W nodes, none of which lets go of it before all replicas have it, and only a newer stamp replaces it")
	}
	return holds("an acknowledged write is durable at W replicas, and only a newer stamp replaces it")
}

func (s Setting) converges(f Faults) Expectation {
	remedy := "there is no anti-entropy and no hint to tell it later"
	switch {
	case s.sloppy():
		remedy = "a hint for it was left only if the coordinator reached a fallback"
	case s.ReadRepair:
		remedy = "read repair tells it only if somebody reads the key"
	}
	switch {
	case s.N == 1:
		return holds("there is one replica, and nobody it could differ from")
	case f.Bitflip && !s.repairs():
		return breaks("no peer can tell what a damaged record was, and its replica refuses it for good")
	case f.Bitflip && !s.Scrub:
		return breaks("a damaged record is repaired when it is read, and nobody need read it")
	case s.AntiEntropy:
		return holds("replicas compare their records in pairs, and what one has missed it gets from the others")
	case f.Kill:
		return breaks("a replica that was down missed writes, and %s", remedy)
	case f.Partition:
		return breaks("a replica that was cut off missed writes, and %s", remedy)
	case f.Pause:
		return breaks("a coordinator that wakes up after its time limit no longer sends, and %s", remedy)
	}
	if s.Agreed {
		return breaks("a change that met a rival and ran out of time stays at a minority, and there is no anti-entropy")
	}
	return holds("every write is sent to all replicas, and nothing keeps it from arriving")
}

func (s Setting) available(f Faults) Expectation {
	switch {
	case f.Kill:
		return breaks("the clients of a killed node are refused until it is back")
	case f.Pause:
		return breaks("the clients of a paused node wait for ever")
	case f.Partition && max(s.R, s.W) > 1 && s.sloppy():
		return breaks("a side with fewer than %d nodes cannot serve", max(s.R, s.W))
	case f.Partition && max(s.R, s.W) > 1:
		return breaks("a side with fewer than %d replicas cannot serve", max(s.R, s.W))
	case f.SlowDisk:
		return breaks("a request may be over before enough disks have written what it needs")
	case f.Bitflip && max(s.R, s.W) > s.N-1 && !s.sloppy():
		return breaks("a replica that has lost a record refuses until it is repaired, and all %d are needed", s.N)
	case s.Agreed:
		return breaks("nodes that change one key at a time undo each other's ballots, and nothing bounds for how long")
	case f.Partition && s.sloppy():
		return holds("one node is enough, whichever it is, and each coordinator is one itself")
	case f.Partition && s.Nodes > s.N:
		return breaks("one replica is enough, but a coordinator that is none may be cut off from all %d", s.N)
	case f.Partition:
		return holds("one replica is enough, and each coordinator is one itself")
	}
	return holds("all replicas can be reached")
}
