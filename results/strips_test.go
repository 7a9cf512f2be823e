package results

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

func TestReach(t *testing.T) {
	run := &Run{History: &history.History{
		Phases: []history.Phase{{Name: "before", End: 5}, {Name: "faults", Start: 5, End: 100}},
		Faults: []history.Fault{
			{Kind: "partition", Detail: "one", Start: 10, End: 20},
			{Kind: "partition", Detail: "one-way", Start: 30, End: 40},
			{Kind: "kill", Detail: "n1", Nodes: []int{1}, Start: 50, End: 60},
			{Kind: "clock", Detail: "n0", Nodes: []int{0}, Start: 70, End: 80},
		},
	}}
	run.Test.Cuts = []Cut{
		{"one", []harness.Link{{From: 0, To: 1}, {From: 1, To: 0}, {From: 0, To: 2}, {From: 2, To: 0}}},
		{"one-way", []harness.Link{{From: 2, To: 1}}},
	}
	p := drawReach(run)
	var got []string
	for _, r := range p.Rows {
		for _, b := range r.Bars {
			got = append(got, r.Label+" "+b.Class)
		}
	}
	require.Equal(t, []string{"0 ↔ 1 cut", "0 ↔ 2 cut", "node 1 down", "1 ↔ 2 half"}, got)
	require.Less(t, p.Rows[0].Bars[0].X, p.Rows[3].Bars[0].X, "later is farther right")
	require.Contains(t, p.Rows[3].Bars[0].Title, "nothing from 2 to 1")

	run.History.Faults = run.History.Faults[3:]
	require.Nil(t, drawReach(run), "a clock cuts nobody off")
}

func TestDivergence(t *testing.T) {
	run := &Run{History: &history.History{}}
	require.Nil(t, drawDivergence(run))
	run.Replicas = &Replicas{Samples: []harness.Sample{{At: 0}, {At: 50, Differ: 7, Unread: 1}, {At: 100, Differ: 2}}}
	p := drawDivergence(run)
	require.Contains(t, p.Description, "7 keys at most, and on 2 keys at the end")
	require.True(t, p.HasUnread)
	require.NotEmpty(t, p.Line)
}
