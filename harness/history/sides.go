package history

import (
	"strconv"
	"strings"
)

// Sides gives the groups of nodes that a partition keeps apart, as its Detail
// names them ("majority: n0 | n1 n2"), in that order. It is nil for other faults,
// and for partitions whose sides are not apart: of one direction, with a bridge,
// in a ring.
func (f *Fault) Sides() [][]int {
	if f.Kind != "partition" {
		return nil
	}
	_, text, named := strings.Cut(f.Detail, ": ")
	if !named {
		text = f.Detail
	}
	var sides [][]int
	seen := make(map[int]bool)
	for _, part := range strings.Split(text, "|") {
		var side []int
		for _, word := range strings.Fields(part) {
			n, err := strconv.Atoi(strings.TrimPrefix(word, "n"))
			if err != nil || n < 0 || seen[n] {
				return nil
			}
			seen[n] = true
			side = append(side, n)
		}
		if len(side) == 0 {
			return nil
		}
		sides = append(sides, side)
	}
	if len(sides) < 2 {
		return nil
	}
	return sides
}
