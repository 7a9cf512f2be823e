package checkers

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// Availability is how a store served in one phase.
type Availability struct {
	Phase string `json:"phase"`
	Node  int    `json:"node"` // -1: all nodes together
	OK    int    `json:"ok"`
	Fail  int    `json:"fail"`
	Info  int    `json:"info"`
	// Latencies of ok operations, from call to return (nearest rank); zero
	// when there were none.
	P50 time.Duration `json:"p50"`
	P95 time.Duration `json:"p95"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

// Total is how many operations were called.
func (a Availability) Total() int { return a.OK + a.Fail + a.Info }

// Ratio is the part of the operations that were ok, 0 to 1; 0 when there were
// none. A compare-and-set that failed because it saw another value was served
// and counts as ok.
func (a Availability) Ratio() float64 {
	if a.Total() == 0 {
		return 0
	}
	return float64(a.OK) / float64(a.Total())
}

// phasesOf gives the phases of a history; one without phases is one phase.
func phasesOf(h *history.History) []history.Phase {
	if len(h.Phases) > 0 {
		return h.Phases
	}
	return []history.Phase{{Name: "all", Start: beginning, End: history.Never}}
}

// phaseAt gives the phase of an operation called at t: the last one that has
// started. -1 is before the first.
func phaseAt(phases []history.Phase, t int64) int {
	for i := len(phases) - 1; i >= 0; i-- {
		if t >= phases[i].Start {
			return i
		}
	}
	return -1
}

// served says that the system answered with what the operation asked for.
func served(o *history.Op) bool {
	return o.Outcome == history.OK || o.F == history.CAS && o.Outcome == history.Fail && o.Out != history.Nil
}

// AvailabilityByPhase counts operations and measures latencies by the phase
// they were called in: a row a phase, in order, and with byNode a row for each
// node (ascending) below each.
func AvailabilityByPhase(h *history.History, byNode bool) []Availability {
	phases := phasesOf(h)
	nodes := []int{-1}
	if byNode {
		nodes = append(nodes, nodesOf(h)...)
	}
	place := make(map[int]int, len(nodes))
	for i, n := range nodes {
		place[n] = i
	}
	rows := make([]Availability, len(phases)*len(nodes))
	latencies := make([][]int64, len(rows))
	for p := range phases {
		for n, node := range nodes {
			rows[p*len(nodes)+n] = Availability{Phase: phases[p].Name, Node: node}
		}
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		p := phaseAt(phases, o.Call)
		if p < 0 {
			continue
		}
		add := func(row int) { latencies[row] = rows[row].add(o, latencies[row]) }
		add(p * len(nodes))
		if n, known := place[int(o.Node)]; known && n > 0 {
			add(p*len(nodes) + n)
		}
	}
	for i, l := range latencies {
		rows[i].measure(l)
	}
	return rows
}

// AvailabilityOf counts the operations that a function says yes to, and measures
// their latencies. The row is of no phase and no node.
func AvailabilityOf(h *history.History, counts func(*history.Op) bool) Availability {
	row := Availability{Node: -1}
	var latencies []int64
	for i := range h.Ops {
		if o := &h.Ops[i]; counts(o) {
			latencies = row.add(o, latencies)
		}
	}
	row.measure(latencies)
	return row
}

// add counts an operation, and its latency if it was served.
func (a *Availability) add(o *history.Op, latencies []int64) []int64 {
	switch {
	case served(o):
		a.OK++
		return append(latencies, o.Return-o.Call)
	case o.Outcome == history.Fail:
		a.Fail++
	default:
		a.Info++
	}
	return latencies
}

// measure sets the quantiles of the latencies, which it sorts.
func (a *Availability) measure(l []int64) {
	slices.Sort(l)
	a.P50, a.P95, a.P99, a.Max = quantile(l, 0.5), quantile(l, 0.95), quantile(l, 0.99), quantile(l, 1)
}

// quantile is the nearest-rank quantile of ascending values.
func quantile(sorted []int64, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return time.Duration(sorted[min(max(rank, 1), len(sorted))-1])
}

// nodesOf lists the nodes that clients talked to, ascending.
func nodesOf(h *history.History) []int {
	var nodes []int
	seen := make(map[int16]bool)
	for i := range h.Ops {
		if n := h.Ops[i].Node; n >= 0 && !seen[n] {
			seen[n] = true
			nodes = append(nodes, int(n))
		}
	}
	slices.Sort(nodes)
	return nodes
}

// AvailabilityOptions say what availability is expected.
type AvailabilityOptions struct {
	// MinRatio is the least part of a phase's operations that must be ok,
	// by phase name; for phases that are not in it Default counts. N, R, W
	// and the faults predict it: with f of N replicas out of reach writes
	// succeed while N - f >= W, and reads while N - f >= R.
	MinRatio map[string]float64
	// Default is 0.95 when zero.
	Default float64
	// MinOps is how many operations a phase must have for a verdict; 10
	// when zero.
	MinOps int
}

// AvailableWith judges whether operations succeed in every phase as often as
// expected.
func AvailableWith(opts AvailabilityOptions) Checker {
	if opts.Default == 0 {
		opts.Default = 0.95
	}
	if opts.MinOps == 0 {
		opts.MinOps = 10
	}
	return func(in Input, _ Budget) Result {
		res := Result{Claim: Available, Key: -1}
		if why := malformed(in.History); why != "" {
			res.Reason = why
			return res
		}
		text, few := "", ""
		for _, row := range AvailabilityByPhase(in.History, false) {
			want, given := opts.MinRatio[row.Phase]
			if !given {
				want = opts.Default
			}
			res.Checked += row.Total()
			if row.Total() < opts.MinOps {
				if few == "" {
					few = fmt.Sprintf("only %s in phase %q, fewer than %d", plural(row.Total(), "operation"), row.Phase, opts.MinOps)
				}
				continue
			}
			if row.Ratio() < want {
				res.Violations++
				if res.Violations == 1 {
					res.Reason = fmt.Sprintf("in phase %q %s of %s operations were ok, where %s or more was expected", row.Phase, percent(row.Ratio()), count(row.Total()), percent(want))
				}
			}
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%s %s", row.Phase, percent(row.Ratio()))
		}
		switch {
		case res.Violations > 0:
			res.Verdict = Broken
		case few != "":
			res.Reason = few
		default:
			res.Verdict = Held
			res.Reason = "ok by phase: " + text
		}
		return res
	}
}

// percent prints a ratio; it rounds down, so that 100 % means all.
func percent(r float64) string {
	return fmt.Sprintf("%.1f %%", math.Floor(r*1000)/10)
}

// RecoveryOptions bound the recovery.
type RecoveryOptions struct {
	// Within is how long after the start of the recovery phase every node
	// must serve again. When zero it is 5 s, or half the phase if that is
	// shorter.
	Within time.Duration
	// MinTries is how many operations of a kind must have been called at a
	// node, from its first call in the phase to the bound, before their
	// failure counts against it; 3 when zero.
	MinTries int
}

// RecoversWith judges whether the system serves again after everything was
// healed: at each node that clients talk to, an operation of each kind that
// the history has is ok within the bound.
func RecoversWith(opts RecoveryOptions) Checker {
	if opts.MinTries == 0 {
		opts.MinTries = 3
	}
	return func(in Input, _ Budget) Result {
		res := Result{Claim: Recovers, Key: -1}
		h := in.History
		if why := malformed(h); why != "" {
			res.Reason = why
			return res
		}
		var phase *history.Phase
		for i := range h.Phases {
			if h.Phases[i].Name == history.PhaseRecovery {
				phase = &h.Phases[i]
			}
		}
		if phase == nil {
			res.Reason = "the history has no recovery phase"
			return res
		}
		end := phase.End
		if end == history.Never {
			end = h.End()
		}
		within := int64(opts.Within)
		if within == 0 {
			within = min(int64(5*time.Second), (end-phase.Start)/2)
		}
		return recovery{h: h, start: phase.Start, end: end, bound: phase.Start + within, minTries: opts.MinTries}.judge(res)
	}
}

type recovery struct {
	h                 *history.History
	start, end, bound int64
	minTries          int
}

type nodeKind struct {
	node int
	f    history.F
}

func (r recovery) judge(res Result) Result {
	type seen struct {
		tries int
		first int64 // return of the first that was served; Never: none
		last  int   // the latest that was not
	}
	got := make(map[nodeKind]*seen)
	var all []nodeKind // in the order of a report
	for _, node := range append([]int{-1}, nodesOf(r.h)...) {
		for _, f := range kindsOf(r.h) {
			all = append(all, nodeKind{node, f})
			got[nodeKind{node, f}] = &seen{first: history.Never}
		}
	}
	for i := range r.h.Ops {
		o := &r.h.Ops[i]
		if o.Call < r.start || o.Call > r.end {
			continue
		}
		s := got[nodeKind{int(max(o.Node, -1)), o.F}]
		if s == nil {
			continue
		}
		res.Checked++
		if o.Call <= r.bound {
			s.tries++
		}
		if served(o) {
			s.first = min(s.first, o.Return)
		} else if o.Call <= r.bound {
			s.last = i
		}
	}
	slowest, few := int64(0), ""
	for _, k := range all {
		s := got[k]
		if k.node < 0 && len(all) > len(kindsOf(r.h)) && s.tries == 0 {
			continue // every operation names its node
		}
		name := "a client"
		if k.node >= 0 {
			name = fmt.Sprintf("node %d", k.node)
		}
		switch {
		case s.first <= r.bound:
			slowest = max(slowest, s.first-r.start)
		case s.tries < r.minTries:
			if few == "" {
				few = fmt.Sprintf("only %s at %s in the %s after healing, fewer than %d", plural(s.tries, k.f.String()+" operation"), name, span(r.bound-r.start), r.minTries)
			}
		default:
			res.Violations++
			if res.Violations == 1 {
				when := "never was until the end"
				if s.first != history.Never {
					when = "first was after " + span(s.first-r.start)
				}
				res.Ops = []int{s.last}
				res.Reason = fmt.Sprintf("no %s at %s was ok within %s after healing, in %s calls; one %s", k.f, name, span(r.bound-r.start), count(s.tries), when)
			}
		}
	}
	switch {
	case res.Violations > 0:
		res.Verdict = Broken
	case few != "":
		res.Reason = few
	case res.Checked == 0:
		res.Reason = "there are no operations in the recovery phase"
	default:
		res.Verdict = Held
		res.Reason = fmt.Sprintf("every node served every kind of operation within %s after healing", span(slowest))
	}
	return res
}

// kindsOf lists the functions that occur, ascending.
func kindsOf(h *history.History) []history.F {
	var seen [256]bool
	for i := range h.Ops {
		seen[h.Ops[i].F] = true
	}
	var kinds []history.F
	for f, yes := range seen {
		if yes {
			kinds = append(kinds, history.F(f))
		}
	}
	return kinds
}
