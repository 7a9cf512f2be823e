package checkers

import (
	"fmt"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// CheckConverges judges whether the replicas, left alone, came to hold the
// same: each was read directly, without a client touching a key. Two replicas
// agree on a key when both lack it or both hold the same value; their stamps
// need not be equal. Nodes that are no replicas of a key do not count for it.
func CheckConverges(in Input, _ Budget) Result {
	res := Result{Claim: Converges, Key: -1}
	var rows []int
	for node, row := range in.Replicas {
		if row != nil {
			rows = append(rows, node)
		}
	}
	if len(rows) == 0 {
		res.Reason = "no replica was read"
		return res
	}
	keys, present := 0, 0
	for _, node := range rows {
		keys = max(keys, len(in.Replicas[node]))
	}
	why := ""
	copies, fewest := len(rows), int32(-1) // replicas read of the key with the fewest
	for key := range keys {
		var first harness.Replica
		at, n := -1, 0
		held, agree := false, true
		for _, node := range rows {
			r := replicaAt(in.Replicas[node], key)
			if r.Elsewhere {
				continue
			}
			n++
			held = held || r.Present
			if n == 1 {
				first, at = r, node
			}
			if r.Agrees(&first) {
				continue
			}
			if agree && res.Violations == 0 {
				res.Key = int32(key)
				why = fmt.Sprintf("node %d holds %s and node %d holds %s", at, replicaText(first), node, replicaText(r))
			}
			agree = false
		}
		if n < copies {
			copies, fewest = n, int32(key)
		}
		if held {
			present++
		}
		if !agree {
			res.Violations++
		}
	}
	res.Checked = present
	name := func(key int32) string {
		if in.History == nil {
			return keyText(&history.History{}, key)
		}
		return keyText(in.History, key)
	}
	silent := len(in.Replicas) - len(rows)
	switch {
	case res.Violations > 0:
		res.Verdict = Broken
		res.Reason = fmt.Sprintf("replicas differ on %s of %s, first on %s: %s", count(res.Violations), plural(keys, "key"), name(res.Key), why)
	case silent > 0:
		res.Reason = fmt.Sprintf("%s could not be read", plural(silent, "replica"))
	case copies == 0:
		res.Reason = fmt.Sprintf("every node says that %s lives on another", name(fewest))
	case copies < 2:
		res.Reason = "there is one replica only"
	case present == 0:
		res.Reason = "no replica holds anything"
	case in.Settled < 0:
		res.Verdict = Broken
		res.Violations = 1
		res.Reason = "the replicas did not agree within the bound"
	default:
		res.Verdict = Held
		res.Reason = fmt.Sprintf("%s on %s agree, %s after the clients had stopped", plural(copies, "replica"), plural(present, "key"), span(int64(in.Settled)))
	}
	return res
}

func replicaAt(row []harness.Replica, key int) harness.Replica {
	if key >= len(row) {
		return harness.Replica{}
	}
	return row[key]
}

func replicaText(r harness.Replica) string {
	if !r.Present {
		return "nothing"
	}
	text := r.Value.String()
	if r.Values != nil {
		text = listText(r.Values, history.Value.String)
	}
	if r.Stamp == "" {
		return text
	}
	return text + " (" + r.Stamp + ")"
}
