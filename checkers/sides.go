package checkers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-chaos/assay/harness/history"
)

// Side is how one side of a partition served, while it was in force.
type Side struct {
	Fault         int   `json:"fault"`
	Nodes         []int `json:"nodes"`
	Reads, Writes Availability
}

// AvailabilityBySide counts, for each partition that was proved to take effect,
// what clients of each of its sides asked for and got: operations that were
// called after the proof and had returned when the partition was healed, while no
// other fault was in force. Partitions without two sides that are apart are left
// out (see [history.Fault.Sides]).
func AvailabilityBySide(h *history.History) []Side {
	var rows []Side
	for i := range h.Faults {
		f := &h.Faults[i]
		sides := f.Sides()
		if sides == nil || !f.Effect.OK {
			continue
		}
		from, to := f.Effect.At, f.End
		calm := calmWithin(h, i, from, to)
		for _, nodes := range sides {
			of := func(reads bool) Availability {
				a := AvailabilityOf(h, func(o *history.Op) bool {
					return o.Call >= from && o.Return <= to && calm(o.Call, o.Return) && o.F.ReadOnly() == reads && slices.Contains(nodes, int(o.Node))
				})
				a.Phase = history.PhaseFaults
				return a
			}
			rows = append(rows, Side{Fault: f.ID, Nodes: nodes, Reads: of(true), Writes: of(false)})
		}
	}
	return rows
}

// calmWithin says whether no fault but one was in force at any time of an
// interval.
func calmWithin(h *history.History, but int, from, to int64) func(a, b int64) bool {
	type during struct{ start, end int64 }
	var others []during
	for i := range h.Faults {
		if f := &h.Faults[i]; i != but && f.Start <= to && f.End >= from {
			others = append(others, during{f.Start, f.End})
		}
	}
	return func(a, b int64) bool {
		for _, o := range others {
			if o.start <= b && o.end >= a {
				return false
			}
		}
		return true
	}
}

// SideOptions say what the sides of a partition should do.
type SideOptions struct {
	// Read and Write are how many nodes a side must have to serve reads, and
	// writes: R and W where every node is a replica, and more if reads write
	// back or writes ask for stamps. 0: nothing is predicted.
	Read, Write int
	// Ratio is the least part that a side that can serve should, and 1 - Ratio
	// the greatest part that one that cannot may; 0.9 when zero.
	Ratio float64
	// MinOps is how many operations of a kind a side must have been asked for;
	// 10 when zero.
	MinOps int
}

// ServesBySideWith judges whether the sides of partitions serve what their number
// of nodes allows, and nothing else: with f of N replicas out of reach, writes
// succeed iff N - f >= W, and reads iff N - f >= R. (D. Gifford, "Weighted voting
// for replicated data", SOSP 1979.) Its rate is that of sides, reads and writes
// apart.
func ServesBySideWith(opts SideOptions) Checker {
	if opts.Ratio == 0 {
		opts.Ratio = 0.9
	}
	if opts.MinOps == 0 {
		opts.MinOps = 10
	}
	return func(in Input, _ Budget) Result {
		res := Result{Claim: ServesBySide, Key: -1}
		h := in.History
		if why := malformed(h); why != "" {
			res.Reason = why
			return res
		}
		if opts.Read == 0 || opts.Write == 0 {
			res.Reason = "nothing predicts what a side can serve: it depends on which keys have how many replicas there"
			return res
		}
		rows := AvailabilityBySide(h)
		var told []string
		why := ""
		for _, s := range rows {
			for _, kind := range []struct {
				what string
				a    Availability
				need int
			}{{"reads", s.Reads, opts.Read}, {"writes", s.Writes, opts.Write}} {
				if kind.a.Total() < opts.MinOps {
					continue
				}
				res.Checked++
				should := "should not"
				wrong := kind.a.Ratio() > 1-opts.Ratio
				if len(s.Nodes) >= kind.need {
					should, wrong = "should", kind.a.Ratio() < opts.Ratio
				}
				text := fmt.Sprintf("%s served %s of %s %s", nodesText(s.Nodes), percent(kind.a.Ratio()), count(kind.a.Total()), kind.what)
				told = append(told, text)
				if wrong {
					if res.Violations++; res.Violations == 1 {
						why = fmt.Sprintf("in fault %d %s, and %s: it takes %d", s.Fault, text, should, kind.need)
					}
				}
			}
		}
		if res.Checked > 0 {
			res.Rate = rateOf(res.Violations, res.Checked, "side")
		}
		switch {
		case res.Violations > 0:
			res.Verdict = Broken
			res.Reason = fmt.Sprintf("%s: %s", res.Rate, why)
		case len(rows) == 0:
			res.Reason = "no partition kept two sides apart"
		case res.Checked == 0:
			res.Reason = fmt.Sprintf("no side was asked for %d reads or writes while nothing else was broken", opts.MinOps)
		default:
			const most = 4
			if len(told) > most {
				told = append(told[:most], fmt.Sprintf("and so on, %d in all", res.Checked))
			}
			res.Verdict = Held
			res.Reason = "as many as quorums allow: " + strings.Join(told, ", ")
		}
		return res
	}
}

func nodesText(nodes []int) string {
	words := make([]string, len(nodes))
	for i, n := range nodes {
		words[i] = fmt.Sprintf("n%d", n)
	}
	return strings.Join(words, " ")
}
