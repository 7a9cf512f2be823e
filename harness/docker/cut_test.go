package docker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-chaos/assay/harness"
)

func TestUnionOfCuts(t *testing.T) {
	ab, ba, ac := harness.Link{From: 0, To: 1}, harness.Link{From: 1, To: 0}, harness.Link{From: 0, To: 2}
	c := cuts{byID: map[string]cut{
		"short": {links: []harness.Link{ac, ab}, until: 10},
		"long":  {links: []harness.Link{ba, ab, ab}, until: 30},
	}}
	links, left := c.union(5)
	require.Equal(t, []harness.Link{ab, ac, ba}, links)
	require.Equal(t, []time.Duration{25, 5, 25}, left, "the longer lease counts")

	links, left = c.union(10)
	require.Equal(t, []harness.Link{ab, ba}, links, "a lease is over at its deadline")
	require.Equal(t, []time.Duration{20, 20}, left)
	require.Len(t, c.byID, 1, "what is over is forgotten")

	links, _ = c.union(30)
	require.Empty(t, links)
}

// TestUnionIsWhatAnyIDCuts compares with the definition, link by link.
func TestUnionIsWhatAnyIDCuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		link := rapid.Custom(func(t *rapid.T) harness.Link {
			return harness.Link{From: rapid.IntRange(0, 3).Draw(t, "from"), To: rapid.IntRange(0, 3).Draw(t, "to")}
		})
		all := rapid.MapOf(rapid.String(), rapid.Custom(func(t *rapid.T) cut {
			return cut{links: rapid.SliceOf(link).Draw(t, "links"), until: rapid.Int64Range(0, 100).Draw(t, "until")}
		})).Draw(t, "cuts")
		now := rapid.Int64Range(0, 100).Draw(t, "now")
		want := map[harness.Link]time.Duration{}
		for _, c := range all {
			for _, l := range c.links {
				if left := time.Duration(c.until - now); left > want[l] {
					want[l] = left
				}
			}
		}
		links, left := (&cuts{byID: all}).union(now)
		got := map[harness.Link]time.Duration{}
		for i, l := range links {
			got[l] = left[i]
		}
		require.Equal(t, want, got)
		require.Len(t, links, len(want), "each link once")
	})
}
