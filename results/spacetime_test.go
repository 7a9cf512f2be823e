package results

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/history"
)

func TestSpacetime(t *testing.T) {
	run := &Run{
		Test: Test{Nodes: 2, Clients: 1},
		History: &history.History{Keys: []string{"k"}, Ops: []history.Op{
			{F: history.Write, Arg: 7, Call: 100, Return: 200, Outcome: history.OK, Out: history.Nil, Node: 0},
		}},
		Trace: &Trace{Key: 0, Events: []TraceEvent{
			{At: 90, Kind: "deliver", Node: 0, Peer: 1, ID: 1, Label: "sent before the trace begins"},
			{At: 110, Kind: "send", Node: 0, Peer: 1, ID: 2, Label: "store 7"},
			{At: 120, Kind: "send", Node: 0, Peer: 1, ID: 3, Label: "store 7"},
			{At: 130, Kind: "deliver", Node: 1, Peer: 0, ID: 2, Label: "store 7"},
			{At: 140, Kind: "drop", Node: 1, Peer: 0, ID: 3, Label: "store 7", Note: "lost"},
			{At: 150, Kind: "synced", Node: 1, Peer: -1},
			{At: 160, Kind: "crash", Node: 1, Peer: -1},
			{At: 170, Kind: "synced", Node: 9, Peer: -1}, // no such node
		}},
	}
	told := &telling{Result: &checkers.Result{Key: 0, Ops: []int{0}}, HasKey: true, Steps: []step{{Op: 0}}}
	p := drawSpacetime(run, told, 50)
	messages, lost := 0, 0
	for _, a := range p.Arrows {
		if !a.Client {
			messages++
		}
		if a.Lost {
			lost++
		}
	}
	require.Equal(t, 2, messages)
	require.Equal(t, 1, lost)
	require.Len(t, p.Arrows, 4, "the request and its answer too")
	require.Len(t, p.Dots, 2)
	require.Len(t, p.Lines, 3)
	require.Equal(t, []string{
		"store 7 from node 0 to node 1, 0.000000–0.000000 s (20 ns)",
		"store 7 from node 0 to node 1, 0.000000–0.000000 s (20 ns), lost: lost",
		"node 1: crash at 0.000000 s",
	}, p.Listed)
	told.Result.Key = 3
	require.Nil(t, drawSpacetime(run, told, 50), "the trace is of another key")
}
