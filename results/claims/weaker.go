package claims

import "github.com/assay-chaos/assay/checkers"

// Weaker are further claims about registers, most of them weaker than
// linearizable. They are judged where they are asked for by name: a matrix of all
// of them would hide the six that people speak of.
func Weaker() []checkers.Claim {
	return []checkers.Claim{
		checkers.Sequential, checkers.ReadYourWrites, checkers.MonotonicReads, checkers.MonotonicWrites, checkers.WritesFollowReads,
		checkers.BoundedStaleness, checkers.NoPhantoms, checkers.NoComebacks, checkers.NoResurrections, checkers.NoDuplicates,
		checkers.ConvergesWhenRead, checkers.ServesBySide,
	}
}

// Known are all claims that a run of the reference store can judge: All, then
// Weaker.
func Known() []checkers.Claim { return append(All(), Weaker()...) }

// weaker says what the setting promises of one of Weaker. Which promise implies
// which is tested in checkers/lattice_test.go; what is left here is where a
// weaker one is kept although the stronger ones are not.
func (s Setting) weaker(claim checkers.Claim, f Faults) (Expectation, bool) {
	switch claim {
	case checkers.Sequential:
		return s.ordered(f, "a session may see a new value and then the old one, and another session them in the order of writing"), true
	case checkers.MonotonicReads:
		return s.ordered(f, "a session's next read may ask replicas that a write in flight has not reached"), true
	case checkers.MonotonicWrites:
		return s.ordered(f, "who has seen the second write of a session, still in flight, may next ask replicas that only have the first"), true
	case checkers.WritesFollowReads:
		return s.ordered(f, "a session may have read a write in flight before it wrote, and who sees what it wrote may ask replicas that the former has not reached"), true
	case checkers.ReadYourWrites:
		return s.afterAcknowledgement(f, "a session's own write was acknowledged, so it is a case of no-stale-read"), true
	case checkers.NoComebacks, checkers.NoResurrections:
		return s.afterAcknowledgement(f, "what replaced the value was acknowledged, so it is a case of no-stale-read"), true
	case checkers.BoundedStaleness:
		return s.boundedStaleness(f), true
	case checkers.NoPhantoms:
		return holds("replicas hold what clients wrote and nothing else, and a write that may have reached one is not reported as failed"), true
	case checkers.NoDuplicates:
		return s.noDuplicates(f), true
	case checkers.ConvergesWhenRead:
		return s.convergesWhenRead(f), true
	case checkers.ServesBySide:
		return s.servesBySide(), true
	}
	return Expectation{}, false
}

// ordered is what needs an order of versions that all reads go along: nothing
// short of linearizability gives it here.
func (s Setting) ordered(f Faults, inversion string) Expectation {
	x := s.linearizable(f)
	if x.Holds {
		return holds("it is linearizable: %s", x.Reason)
	}
	if fresh := s.freshReads(f); !fresh.Holds {
		return fresh
	}
	return breaks("%s", inversion)
}

// afterAcknowledgement is what every regular register promises.
func (s Setting) afterAcknowledgement(f Faults, why string) Expectation {
	x := s.freshReads(f)
	if x.Holds {
		return holds("%s: %s", why, x.Reason)
	}
	return x
}

func (s Setting) boundedStaleness(f Faults) Expectation {
	if x := s.freshReads(f); x.Holds {
		return holds("no read is stale at all: %s", x.Reason)
	}
	switch {
	case s.forgets(f):
		return breaks("without fsync a killed replica forgets what it acknowledged, for as long as nobody tells it again")
	case !s.Logical && f.Clock:
		return breaks("an acknowledged write that lost to an older one by its stamp is never seen, and the older one for ever")
	case f.Partition || f.Kill || f.Pause:
		return breaks("a replica that was cut off or away does not know what it has missed, and is read like any other")
	}
	return holds("every write is sent to all replicas, and is there after a few milliseconds")
}

func (s Setting) noDuplicates(f Faults) Expectation {
	switch {
	case !s.Agreed:
		return breaks("there is no compare-and-set: what is made of a read and a write can be made twice")
	case s.forgets(f):
		return breaks("without fsync a killed replica forgets what it agreed to")
	}
	return holds("a compare-and-set is made on top of the value that a majority agreed on last, and once (CASPaxos)")
}

func (s Setting) convergesWhenRead(f Faults) Expectation {
	x := s.converges(f)
	switch {
	case x.Holds:
		return holds("they converge without being read: %s", x.Reason)
	case s.ReadRepair:
		return holds("a read asks all replicas, and sends the newest record to those that answered with an older one")
	case s.Agreed:
		return breaks("a read is answered when a majority agrees, and leaves a replica that it did not need as it is")
	case s.WriteBack:
		return breaks("a read writes back to as many replicas as it needs, which need not be all")
	}
	return breaks("a read repairs nothing, and nothing else does")
}

func (s Setting) servesBySide() Expectation {
	if s.Agreed {
		return breaks("nodes that change one key at a time undo each other's ballots, also at the side that has a majority")
	}
	return holds("a side serves what its number of replicas allows: reads with %d, writes with %d", s.NeedsRead(), s.NeedsWrite())
}

// NeedsRead is how many replicas a coordinator must reach to serve a read, and
// NeedsWrite a write: R and W, and more where reads write back and writes ask for
// the highest stamp first.
func (s Setting) NeedsRead() int {
	if s.WriteBack || s.Agreed {
		return max(s.R, s.W)
	}
	return s.R
}

// NeedsWrite is how many replicas a coordinator must reach to serve a write.
func (s Setting) NeedsWrite() int {
	if s.Logical || s.Agreed {
		return max(s.R, s.W)
	}
	return s.W
}
