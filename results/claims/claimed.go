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

// Special are the claims about data of one kind, which a workload brings with it.
func Special() []checkers.Claim {
	return []checkers.Claim{checkers.NoLostElements, checkers.Counted, checkers.Conserved}
}

// Any are all claims that can be judged of some workload.
func Any() []checkers.Claim { return append(Known(), Special()...) }

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
	case "causal-siblings":
		return []checkers.Claim{checkers.FreshReads, checkers.NoLostWrites, checkers.Converges, checkers.Recovers}
	case "sloppy-majority":
		return []checkers.Claim{checkers.FreshReads, checkers.NoLostWrites, checkers.Converges, checkers.Available, checkers.Recovers}
	}
	return nil
}

// Parse reads a list of claims such as "linearizable,converges"; "all" is
// All, and each of Any can be named.
func Parse(list string) ([]checkers.Claim, error) {
	var out []checkers.Claim
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		c := checkers.Claim(word)
		switch {
		case word == "":
		case word == "all":
			out = append(out, All()...)
		case slices.Contains(Any(), c):
			out = append(out, c)
		default:
			return nil, fmt.Errorf("unknown claim %q; there are: %s, all", word, List(Any()))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no claim given: name at least one")
	}
	return Sorted(out), nil
}

// Sorted gives claims in the order of the matrix, each once.
func Sorted(cs []checkers.Claim) []checkers.Claim {
	return slices.DeleteFunc(Any(), func(c checkers.Claim) bool { return !slices.Contains(cs, c) })
}

// List writes claims for people.
func List(cs []checkers.Claim) string {
	names := make([]string, len(cs))
	for i, c := range cs {
		names[i] = string(c)
	}
	return strings.Join(names, ", ")
}
