package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-chaos/assay/checkers"
)

// parseClaims reads a list of claims of any kind of history. "regular" is another
// name of no-stale-read.
func parseClaims(list string) ([]checkers.Claim, error) {
	all := slices.DeleteFunc(checkers.Claims(), func(c checkers.Claim) bool { return c == checkers.Tested })
	var out []checkers.Claim
	for _, word := range splitList(list) {
		c := checkers.Claim(word)
		if word == "regular" {
			c = checkers.FreshReads
		}
		if !slices.Contains(all, c) {
			names := make([]string, len(all))
			for i := range all {
				names[i] = string(all[i])
			}
			return nil, fmt.Errorf("unknown claim %q; there are: %s", word, strings.Join(names, ", "))
		}
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no claim given: name at least one")
	}
	return out, nil
}

// printClaims prints a line for each claim, and if asked what was measured on the
// way.
func printClaims(b *strings.Builder, found []checkers.Result, figures bool) {
	for _, r := range found {
		fmt.Fprintf(b, "  %-19s %-7s  %s\n", r.Claim, r.Verdict, r.Reason)
		if !figures {
			continue
		}
		for _, f := range r.Figures {
			fmt.Fprintf(b, "  %-28s %s\n", "", f)
		}
		for _, v := range r.Visibility {
			fmt.Fprintf(b, "  %-28s seen %s\n", "", v)
		}
	}
}
