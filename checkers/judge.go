package checkers

import "fmt"

// JudgeOptions are the options of all checkers.
type JudgeOptions struct {
	Linearizable Options
	Fresh        Options
	Durability   DurabilityOptions
	Availability AvailabilityOptions
	Recovery     RecoveryOptions
	Tested       TestedOptions
}

// Claims lists all claims that Judge has a checker for, Tested first.
func Claims() []Claim {
	return []Claim{Tested, Linearizable, FreshReads, NoLostWrites, Converges, Available, Recovers}
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
	}
	return nil
}

// Check answers one claim of a history from elsewhere, about whose recording
// nothing is asked: see Judge for a run that has to have tested something.
func (o JudgeOptions) Check(in Input, c Claim, b Budget) Result {
	check := o.checker(c)
	if check == nil {
		return Result{Claim: c, Key: -1, Reason: noChecker(c)}
	}
	return check(in, b)
}

func noChecker(c Claim) string {
	return fmt.Sprintf("there is no checker for the claim %q; there are %v", c, Claims())
}

// Judge answers the claims, Tested always first and then the others as they
// are given, each within the budget. A claim that would be Held by a run that
// did not test anything is Unknown; one that is Broken stays Broken, since a
// counterexample needs no minimum.
func Judge(in Input, claims []Claim, b Budget, opts JudgeOptions) []Result {
	tested := TestedWith(opts.Tested)(in, b)
	results := []Result{tested}
	for _, c := range claims {
		if c == Tested {
			continue
		}
		check := opts.checker(c)
		if check == nil {
			results = append(results, Result{Claim: c, Key: -1, Reason: noChecker(c)})
			continue
		}
		r := check(in, b)
		if r.Verdict == Held && tested.Verdict != Held {
			r.Verdict = Unknown
			r.Reason = fmt.Sprintf("nothing speaks against it (%s), but the run did not test enough: %s", r.Reason, tested.Reason)
		}
		results = append(results, r)
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
