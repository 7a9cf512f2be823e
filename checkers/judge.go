package checkers

import (
	"fmt"
	"slices"
)

// JudgeOptions are the options of all checkers.
type JudgeOptions struct {
	Linearizable Options
	Fresh        Options
	Durability   DurabilityOptions
	Availability AvailabilityOptions
	Recovery     RecoveryOptions
	Tested       TestedOptions
	// Values is for the claims about values beside those above.
	Values    Options
	Sessions  SessionOptions
	Staleness StalenessOptions
	Sides     SideOptions
	Bank      BankOptions
}

// Claims lists all claims that Judge has a checker for, Tested first.
func Claims() []Claim {
	return []Claim{Tested, Linearizable, FreshReads, NoLostWrites, Converges, Available, Recovers,
		Sequential, ReadYourWrites, MonotonicReads, MonotonicWrites, WritesFollowReads, BoundedStaleness,
		NoPhantoms, NoComebacks, NoResurrections, NoDuplicates, ConvergesWhenRead, ServesBySide, NoLostElements, Conserved}
}

// checker gives the checker of a claim, nil if there is none.
func (o JudgeOptions) checker(c Claim) Checker {
	switch c {
	case Tested:
		return TestedWith(o.Tested)
	case Linearizable:
		return LinearizableWith(o.Linearizable)
	case FreshReads:
		return FreshReadsWith(o.Fresh)
	case NoLostWrites:
		return NoLostWritesWith(o.Durability)
	case Converges:
		return CheckConverges
	case Available:
		return AvailableWith(o.Availability)
	case Recovers:
		return RecoversWith(o.Recovery)
	case Sequential:
		return SequentialWith(o.Values)
	case ReadYourWrites:
		return ReadYourWritesWith(o.Sessions)
	case MonotonicReads:
		return MonotonicReadsWith(o.Sessions)
	case MonotonicWrites:
		return MonotonicWritesWith(o.Sessions)
	case WritesFollowReads:
		return WritesFollowReadsWith(o.Sessions)
	case BoundedStaleness:
		return BoundedStalenessWith(o.Staleness)
	case NoPhantoms:
		return NoPhantomsWith(o.Values)
	case NoComebacks:
		return NoComebacksWith(o.Values)
	case NoResurrections:
		return NoResurrectionsWith(o.Values)
	case NoDuplicates:
		return NoDuplicatesWith(o.Values)
	case ConvergesWhenRead:
		return CheckConvergesWhenRead
	case ServesBySide:
		return ServesBySideWith(o.Sides)
	case NoLostElements:
		return CheckSets
	case Conserved:
		return BankWith(o.Bank)
	}
	return nil
}

// Judge answers the claims, Tested always first and then the others as they
// are given, each within the budget. A claim that would be Held by a run that
// did not test anything is Unknown; one that is Broken stays Broken, since a
// counterexample needs no minimum.
func Judge(in Input, claims []Claim, b Budget, opts JudgeOptions) []Result {
	tested := TestedWith(opts.Tested)(in, b)
	results := []Result{tested}
	claims = slices.DeleteFunc(slices.Clone(claims), func(c Claim) bool { return c == Tested })
	for _, r := range Check(in, claims, b, opts) {
		if r.Verdict == Held && tested.Verdict != Held {
			r.Verdict = Unknown
			r.Reason = fmt.Sprintf("nothing speaks against it (%s), but the run did not test enough: %s", r.Reason, tested.Reason)
		}
		results = append(results, r)
	}
	return results
}

// Check answers the claims in the order in which they are given, each within the
// budget, without asking whether a run tested anything: right for histories of
// other tools.
func Check(in Input, claims []Claim, b Budget, opts JudgeOptions) []Result {
	in.shared = new(shared)
	var results []Result
	for _, c := range claims {
		check := opts.checker(c)
		if check == nil {
			results = append(results, Result{Claim: c, Key: -1, Reason: fmt.Sprintf("there is no checker for the claim %q; there are %v", c, Claims())})
			continue
		}
		results = append(results, check(in, b))
	}
	return results
}

// Overall is the worst verdict of some results; Unknown for none.
func Overall(results []Result) Verdict {
	if len(results) == 0 {
		return Unknown
	}
	worst := Held
	for i := range results {
		worst = Worst(worst, results[i].Verdict)
	}
	return worst
}
