package harness

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct{ places, nodes, want []int }{
		{[]int{0, 1, 2, 0, 1, 2}, []int{0, 1, 2}, []int{0, 1, 2, 0, 1, 2}},
		{[]int{0, 1, 2, 0, 1, 2}, []int{0, 2}, []int{0, 0, 2, 0, 2, 2}},
		{[]int{0, 0, 2, 0, 2, 2}, []int{0, 2, 3}, []int{0, 0, 2, 3, 2, 3}},
		{[]int{0, 1, 2, 0, 1, 2}, []int{0, 2, 3}, []int{0, 3, 2, 0, 3, 2}},
		{[]int{0}, []int{1, 2, 3}, []int{1}},
	} {
		places := slices.Clone(c.places)
		spread(places, c.nodes)
		require.Equal(t, c.want, places, "%v among %v", c.places, c.nodes)
	}
}

// Everybody has a node that is there, no node has two workers more than another,
// and nobody moves without need.
func TestSpreadIsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		places := rapid.SliceOfN(rapid.IntRange(0, 6), 1, 30).Draw(t, "places")
		nodes := rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 1, 8, rapid.ID).Draw(t, "nodes")
		slices.Sort(nodes)
		before := slices.Clone(places)
		spread(places, nodes)
		load := map[int]int{}
		for _, n := range places {
			load[n]++
		}
		most, least := 0, len(places)
		for _, n := range nodes {
			most, least = max(most, load[n]), min(least, load[n])
			delete(load, n)
		}
		if len(load) > 0 || most > least+1 {
			t.Fatalf("%v among %v: %v", before, nodes, places)
		}
		for w, n := range places {
			if n != before[w] && slices.Contains(nodes, before[w]) && !slices.ContainsFunc(nodes, func(n int) bool { return !slices.Contains(before, n) }) &&
				!slices.ContainsFunc(before, func(n int) bool { return !slices.Contains(nodes, n) }) && even(before, nodes) {
				t.Fatalf("worker %d moved from %d to %d, for nothing: %v among %v", w, before[w], n, before, nodes)
			}
		}
	})
}

func even(places, nodes []int) bool {
	var load []int
	for _, n := range nodes {
		k := 0
		for _, p := range places {
			if p == n {
				k++
			}
		}
		load = append(load, k)
	}
	return slices.Max(load) <= slices.Min(load)+1
}
