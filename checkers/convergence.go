package checkers

import (
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// CheckConverges judges whether the replicas, left alone, came to hold the
// same: each was read directly, without a client touching a key. Two replicas
// agree on a key when both lack it or both hold the same value; their stamps
// need not be equal. Nodes that are no replicas of a key do not count for it. Its
// rate is that of keys.
func CheckConverges(in Input, _ Budget) Result {
	return converged(Converges, in, in.Replicas, in.Settled, "after the clients had stopped")
}

// CheckConvergesWhenRead judges whether the replicas came to hold the same at the
// latest after clients had read every key on which they differed, at every node.
// A cache promises this much, and a store that only repairs what is read.
// Replicas that agree by themselves need not be read for it.
func CheckConvergesWhenRead(in Input, _ Budget) Result {
	if in.ReadBack != nil {
		return converged(ConvergesWhenRead, in, in.ReadBack, in.ReadBackSettled, "after they had been read")
	}
	res := converged(ConvergesWhenRead, in, in.Replicas, in.Settled, "after the clients had stopped, without being read")
	if res.Verdict == Broken {
		res.Verdict, res.Violations, res.Rate = Unknown, 0, nil
		res.Reason = "nobody read the keys that differ: " + res.Reason
	}
	return res
}

// converged judges final states, taken some time after something.
func converged(claim Claim, in Input, replicas [][]harness.Replica, settled time.Duration, since string) Result {
	res := Result{Claim: claim, Key: -1}
	var rows []int
	for node, row := range replicas {
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
		keys = max(keys, len(replicas[node]))
	}
	why := ""
	var siblings []int64                   // how many values each replica of a key holds
	copies, fewest := len(rows), int32(-1) // replicas read of the key with the fewest
	for key := range keys {
		var first harness.Replica
		at, n := -1, 0
		held, agree := false, true
		for _, node := range rows {
			r := replicaAt(replicas[node], key)
			if r.Elsewhere {
				continue
			}
			n++
			if r.Present && r.Values != nil {
				siblings = append(siblings, int64(len(r.Values)))
			}
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
	if keys > 0 {
		res.Rate = rateOf(res.Violations, keys, "key")
	}
	if len(siblings) > 0 {
		res.Figures = append(res.Figures, figureOf("values at a replica of a key", "values", siblings, 1))
	}
	name := func(key int32) string {
		if in.History == nil {
			return keyText(&history.History{}, key)
		}
		return keyText(in.History, key)
	}
	silent := len(replicas) - len(rows)
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
	case settled < 0:
		res.Verdict = Broken
		res.Violations = 1
		res.Reason = "the replicas did not agree within the bound"
	default:
		res.Verdict = Held
		res.Reason = fmt.Sprintf("%s on %s agree, %s %s", plural(copies, "replica"), plural(present, "key"), span(int64(settled)), since)
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
