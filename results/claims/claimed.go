package claims

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-chaos/assay/checkers"
)

// All are the claims that people speak of, in the order of the matrix; for others
// see Weaker. (Tested is not among them: it is a claim about the run.)
func All() []checkers.Claim {
	return []checkers.Claim{
		checkers.Linearizable, checkers.FreshReads, checkers.NoLostWrites,
		checkers.Converges, checkers.Available, checkers.Recovers,
	}
}

// Claimed is what people say of a profile of the reference store; a run judges
// this unless it is told otherwise. Nil for a profile nobody says anything of.
func Claimed(profile string) []checkers.Claim {
	strong := []checkers.Claim{checkers.Linearizable, checkers.FreshReads, checkers.NoLostWrites, checkers.Recovers}
	switch profile {
	case "read-repair-only", "one-one":
		return []checkers.Claim{checkers.Converges, checkers.NoLostWrites, checkers.Recovers}
	case "read-one-write-all", "write-one-read-all", "majority-lww", "majority-lww-writeback",
		"majority-query-tag", "abd", "abd-nofsync", "caspaxos":
		return strong
	case "sloppy-majority":
		return []checkers.Claim{checkers.FreshReads, checkers.NoLostWrites, checkers.Converges, checkers.Available, checkers.Recovers}
	}
	return nil
}

// Parse reads a list of claims such as "linearizable,converges"; "all" is
// All, and each of Known can be named.
func Parse(list string) ([]checkers.Claim, error) {
	var out []checkers.Claim
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		c := checkers.Claim(word)
		switch {
		case word == "":
		case word == "all":
			out = append(out, All()...)
		case slices.Contains(Known(), c):
			out = append(out, c)
		default:
			names := make([]string, 0, len(Known()))
			for _, c := range Known() {
				names = append(names, string(c))
			}
			return nil, fmt.Errorf("unknown claim %q; there are: %s, all", word, strings.Join(names, ", "))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no claim given: name at least one")
	}
	// In the order of Known, each once.
	return slices.DeleteFunc(Known(), func(c checkers.Claim) bool { return !slices.Contains(out, c) }), nil
}
