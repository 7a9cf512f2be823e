package results

import (
	"fmt"
	"slices"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// replicaTable is what the replicas held at the end of keys that matter: the
// offending ones, and those on which they differ.
type replicaTable struct {
	Sentence string
	Nodes    []int
	Rows     []replicaRow
	More     int // keys that differ and are not shown
}

type replicaRow struct {
	Key    string
	Differ bool
	Cells  []replicaCell
}

type replicaCell struct {
	Text, Stamp string
	Unread      bool
	Elsewhere   bool // the node is no replica of the key
	Odd         bool // not what the most replicas hold
}

const mostReplicaRows = 12

func replicasOf(run *Run) *replicaTable {
	if run.Replicas == nil || run.History == nil {
		return nil
	}
	h, states := run.History, run.Replicas.States
	t := &replicaTable{}
	unread := 0
	for node, row := range states {
		t.Nodes = append(t.Nodes, node)
		if row == nil {
			unread++
		}
	}
	var keys []int
	differing := 0
	for key := range h.Keys {
		if differ(states, key) {
			differing++
			keys = append(keys, key)
		}
	}
	// The offending keys come first, in the order of their results.
	for _, r := range slices.Backward(brokenResults(run)) {
		if r.Key < 0 || int(r.Key) >= len(h.Keys) {
			continue
		}
		keys = slices.DeleteFunc(keys, func(k int) bool { return k == int(r.Key) })
		keys = slices.Insert(keys, 0, int(r.Key))
	}
	t.More = max(0, len(keys)-mostReplicaRows)
	for _, key := range keys[:len(keys)-t.More] {
		t.Rows = append(t.Rows, replicaRowOf(run, key))
	}
	switch settled := run.Replicas.Settled; {
	case differing > 0:
		t.Sentence = fmt.Sprintf("The replicas differ on %d of %s.", differing, counted(len(h.Keys), "key", "keys"))
	case settled < 0:
		t.Sentence = "The replicas did not come to agree within the time they had."
	default:
		t.Sentence = fmt.Sprintf("The replicas that could be read agree on all %s, %s after the clients had stopped.", counted(len(h.Keys), "key", "keys"), span(settled))
	}
	if unread > 0 {
		t.Sentence += fmt.Sprintf(" %s could not be read.", counted(unread, "node", "nodes"))
	}
	return t
}

// differ says whether two replicas of a key that could be read hold different
// values.
func differ(states [][]harness.Replica, key int) bool {
	var first *harness.Replica
	for _, row := range states {
		if key >= len(row) || row[key].Elsewhere {
			continue
		}
		if s := &row[key]; first == nil {
			first = s
		} else if !s.Agrees(first) {
			return true
		}
	}
	return false
}

// heldText writes what a replica has that has something.
func heldText(h *history.History, r *harness.Replica) string {
	if r.Values != nil {
		return listText(h, r.Values)
	}
	return valueText(h, r.Value)
}

func replicaRowOf(run *Run, key int) replicaRow {
	h, states := run.History, run.Replicas.States
	row := replicaRow{Key: clip(h.Keys[key], 60), Differ: differ(states, key)}
	votes := map[string]int{}
	for _, s := range states {
		c := replicaCell{Unread: key >= len(s)}
		c.Elsewhere = !c.Unread && s[key].Elsewhere
		if !c.Unread && !c.Elsewhere {
			c.Text, c.Stamp = "nothing", s[key].Stamp
			if s[key].Present {
				c.Text = heldText(h, &s[key])
			}
			votes[c.Text]++
		}
		row.Cells = append(row.Cells, c)
	}
	most := 0
	for i := range row.Cells {
		most = max(most, votes[row.Cells[i].Text])
	}
	for i := range row.Cells {
		c := &row.Cells[i]
		c.Odd = row.Differ && !c.Unread && !c.Elsewhere && votes[c.Text] < most
	}
	return row
}
