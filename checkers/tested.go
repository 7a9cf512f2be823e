package checkers

import (
	"fmt"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// TestedOptions say how much must have happened for a run to count as a test.
type TestedOptions struct {
	// MinOK is how many operations of each kind must have been ok in each
	// phase. When zero it is two a second of the phase, at least 5 and at
	// most 100.
	MinOK int
	// Kinds are the kinds to ask for; those that occur when empty. Name
	// them where a workload promises some: one that was never called
	// cannot be noticed otherwise.
	Kinds []history.F
	// MinConcurrent is how many operations must have overlapped an earlier
	// one on the same key; 5 when zero, negative for none. Without
	// concurrency there is little that a history could show.
	MinConcurrent int
	// MinFaults is how many fault episodes the history must hold.
	MinFaults int
}

// TestedWith judges whether the run tested anything. It is Held or Unknown,
// never Broken: a run that shows nothing shows nothing bad either.
//
// It asks that the history is whole, that in each phase (before, during and
// after faults; phases of no length aside) enough operations of each kind were
// ok, that enough operations were concurrent, and that every fault was
// observed to bite and observed to be gone afterwards.
func TestedWith(opts TestedOptions) Checker {
	if opts.MinConcurrent == 0 {
		opts.MinConcurrent = 5
	}
	return func(in Input, _ Budget) Result {
		res := Result{Claim: Tested, Key: -1}
		h := in.History
		if why := malformed(h); why != "" {
			res.Reason = why
			return res
		}
		why := untested(h, opts)
		for i := range h.Ops {
			if served(&h.Ops[i]) {
				res.Checked++
			}
		}
		res.Violations = len(why)
		switch {
		case len(why) == 0:
			res.Verdict = Held
			res.Reason = fmt.Sprintf("%s ok, no fault asked for", plural(res.Checked, "operation"))
			if len(h.Faults) > 0 {
				res.Reason = fmt.Sprintf("%s ok, %s that took effect and healed", plural(res.Checked, "operation"), plural(len(h.Faults), "fault"))
			}
		case len(why) == 1:
			res.Reason = why[0]
		default:
			res.Reason = fmt.Sprintf("%s (and %d more reasons)", why[0], len(why)-1)
		}
		return res
	}
}

// untested lists what is missing, the plainest first.
func untested(h *history.History, opts TestedOptions) []string {
	var why []string
	add := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	if h.Cut != nil {
		add("the history is cut off: %v", h.Cut)
	}
	if len(h.Ops) == 0 {
		add("there are no operations")
	}
	if len(h.Faults) < opts.MinFaults {
		add("%s happened, and %d were asked for", plural(len(h.Faults), "fault"), opts.MinFaults)
	}
	for i := range h.Faults {
		f := &h.Faults[i]
		if !f.Effect.OK {
			add("fault %d (%s %s) was not seen to take effect: %s", f.ID, f.Kind, f.Detail, evidence(f.Effect))
		}
		if !f.Recovery.OK {
			add("fault %d (%s %s) was not seen to be healed: %s", f.ID, f.Kind, f.Detail, evidence(f.Recovery))
		}
	}
	kinds := opts.Kinds
	if len(kinds) == 0 {
		kinds = kindsOf(h)
	}
	phases := phasesOf(h)
	served := servedByPhase(h, phases)
	for p := range phases {
		length := phases[p].End - phases[p].Start
		if len(h.Phases) > 0 && length <= 0 {
			continue
		}
		least := opts.MinOK
		if least == 0 {
			if phases[p].End == history.Never || len(h.Phases) == 0 {
				length = h.End() - max(phases[p].Start, 0)
			}
			least = int(min(max(2*length/1e9, 5), 100))
		}
		for _, f := range kinds {
			if n := served[p][f]; n < least {
				add("only %s in phase %q, fewer than %d", plural(n, "ok "+f.String()+" operation"), phases[p].Name, least)
			}
		}
	}
	if n := concurrent(h); opts.MinConcurrent > 0 && n < opts.MinConcurrent {
		add("only %s overlapped another on the same key, fewer than %d", plural(n, "operation"), opts.MinConcurrent)
	}
	return why
}

func evidence(p history.Proof) string {
	if p.Evidence == "" {
		return "no observation"
	}
	return p.Evidence
}

func servedByPhase(h *history.History, phases []history.Phase) []map[history.F]int {
	n := make([]map[history.F]int, len(phases))
	for i := range n {
		n[i] = make(map[history.F]int)
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		if p := phaseAt(phases, o.Call); p >= 0 && served(o) {
			n[p][o.F]++
		}
	}
	return n
}

// concurrent counts the operations that were called before an earlier one on
// the same key had ended, failed ones and those of unknown outcome aside (the
// latter end never and would be concurrent with everything).
func concurrent(h *history.History) int {
	n := 0
	for _, k := range byKey(h.Ops) {
		var ops []int32
		for i := range k.len() {
			if k.at(i).Outcome == history.OK {
				ops = append(ops, int32(i))
			}
		}
		byCall := func(a, b int32) int { return compare(k.at(int(a)).Call, k.at(int(b)).Call) }
		if !slices.IsSortedFunc(ops, byCall) {
			slices.SortStableFunc(ops, byCall)
		}
		end := int64(beginning)
		for _, i := range ops {
			o := k.at(int(i))
			if o.Call <= end {
				n++
			}
			end = max(end, o.Return)
		}
	}
	return n
}
