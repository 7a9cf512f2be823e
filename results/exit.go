package results

import "github.com/assay-chaos/assay/checkers"

// The exit statuses of every command that judges.
const (
	ExitHeld    = 0
	ExitBroken  = 1
	ExitUnknown = 2
	ExitFailed  = 3 // the run itself failed
)

// ExitStatus is what a command that found v, in a run that failed with err (nil
// if it did not), exits with. A broken claim is never masked by a run that
// failed afterwards: the counterexample stands.
func ExitStatus(v checkers.Verdict, err error) int {
	switch {
	case v == checkers.Broken:
		return ExitBroken
	case err != nil:
		return ExitFailed
	case v == checkers.Held:
		return ExitHeld
	}
	return ExitUnknown
}
