package history_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

func TestSides(t *testing.T) {
	for detail, want := range map[string][][]int{
		"majority: n3 | n0 n1 n2":        {{3}, {0, 1, 2}},
		"majority/minority: 0 1 2 | 3 4": {{0, 1, 2}, {3, 4}},
		"bridge: n1 | n0 sees both | n2": nil,
		"ring: ring n0 n1 n2 n3 n4":      nil,
		"one-way: n0 is not heard by n1": nil,
		"one: n0":                        nil,
		"one: n0 | ":                     nil,
		"one: n0 | n0":                   nil,
		"":                               nil,
	} {
		f := history.Fault{Kind: "partition", Detail: detail}
		require.Equal(t, want, f.Sides(), detail)
	}
	f := history.Fault{Kind: "kill", Detail: "n0 | n1"}
	require.Nil(t, f.Sides())
}
