package results

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/history"
)

// telling is one violation in words: what happened, in order, and what was
// broken meanwhile.
type telling struct {
	Result *checkers.Result
	// Key is the offending key's name; HasKey is false if there is none.
	Key    string
	HasKey bool
	Steps  []step
	More   int // operations that were left out
	// Meanwhile are the faults in force between the first and the last step.
	Meanwhile []string
	// Ending is what the replicas held of the key at the end, "" if that is
	// not the point.
	Ending string
}

// step is one operation of a telling.
type step struct {
	Op   int    // index into History.Ops
	When string // "1.204–1.209 s"
	Text string // "process 3 read 7 through node 1, although …"
}

// tell puts the violation of a broken result into words, with so many steps and
// faults at most.
func tell(run *Run, r *checkers.Result, mostSteps, mostFaults int) telling {
	t := telling{Result: r}
	h := run.History
	if h == nil {
		return t
	}
	if r.Key >= 0 && int(r.Key) < len(h.Keys) {
		t.Key, t.HasKey = h.Keys[r.Key], true
	}
	ops := opsOf(h, r)
	if len(ops) > mostSteps {
		// The last ones are where the contradiction comes out.
		t.More = len(ops) - mostSteps
		ops = ops[t.More:]
	}
	var times []int64
	for _, i := range ops {
		times = append(times, h.Ops[i].Call, h.Ops[i].Return)
	}
	decimals := decimalsFor(times)
	origins := findOrigins(h, ops)
	for _, i := range ops {
		t.Steps = append(t.Steps, tellStep(h, i, ops, origins, decimals))
	}
	if len(ops) > 0 {
		from, to := extent(h, ops)
		t.Meanwhile = inForce(h, from, to, mostFaults, decimals)
	}
	if t.HasKey && (r.Claim == checkers.NoLostWrites || r.Claim == checkers.Converges) {
		t.Ending = endStates(run, r.Key)
	}
	return t
}

// opsOf gives the operations a result points at, in order of their calls.
// Indices out of range, from a damaged file, are left out.
func opsOf(h *history.History, r *checkers.Result) []int {
	var ops []int
	for _, i := range r.Ops {
		if i >= 0 && i < len(h.Ops) {
			ops = append(ops, i)
		}
	}
	slices.SortFunc(ops, func(a, b int) int {
		if c := h.Ops[a].Call - h.Ops[b].Call; c != 0 {
			return int(max(-1, min(1, c)))
		}
		return a - b
	})
	return slices.Compact(ops)
}

// extent is the time from the first call to the last known event of ops.
func extent(h *history.History, ops []int) (from, to int64) {
	from = history.Never
	for _, i := range ops {
		o := &h.Ops[i]
		from, to = min(from, o.Call), max(to, o.Call)
		if o.Return != history.Never {
			to = max(to, o.Return)
		}
	}
	return from, to
}

// place is a value of a key.
type place struct {
	key   int32
	value history.Value
}

// origin is who wrote a value.
type origin struct {
	op      *history.Op // nil: nobody
	several bool        // more than one; nothing can be said
}

// findOrigins looks for the writers of all values that ops write or see.
func findOrigins(h *history.History, ops []int) map[place]origin {
	origins := map[place]origin{}
	for _, i := range ops {
		o := &h.Ops[i]
		if v, ok := observed(o); ok {
			origins[place{o.Key, v}] = origin{}
		}
		if v, ok := written(o); ok {
			origins[place{o.Key, v}] = origin{}
		}
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		v, ok := written(o)
		if !ok {
			continue
		}
		p := place{o.Key, v}
		if was, wanted := origins[p]; wanted {
			origins[p] = origin{op: o, several: was.op != nil}
		}
	}
	return origins
}

func tellStep(h *history.History, i int, ops []int, origins map[place]origin, decimals int) step {
	o := &h.Ops[i]
	s := step{Op: i, When: stamp(o.Call, decimals) + "–" + stamp(o.Return, decimals) + " s"}
	if o.Return == history.Never {
		s.When = "from " + stamp(o.Call, decimals) + " s"
	}
	s.Text = fmt.Sprintf("process %d %s", o.Process, deed(h, o))
	if o.Node >= 0 {
		s.Text += fmt.Sprintf(" through node %d", o.Node)
	}
	if o.Outcome != history.OK {
		if e := h.Error(o); e != "" {
			s.Text += " (" + clip(printable(e), 60) + ")"
		}
	}
	s.Text += contradiction(h, o, ops, origins)
	return s
}

// contradiction says why it is wrong that o saw what it saw, as far as the
// other operations show it plainly; otherwise it is "". It only states what is
// certain: that one write preceded another is said only if it ended before the
// other was called.
func contradiction(h *history.History, o *history.Op, ops []int, origins map[place]origin) string {
	v, ok := observed(o)
	if !ok {
		return ""
	}
	from := origins[place{o.Key, v}]
	switch {
	case from.several:
		return ""
	case from.op == nil && v != history.Nil:
		return ", which no operation had written"
	case from.op != nil && from.op.Outcome == history.Fail:
		return ", although writing it had failed"
	case from.op != nil && from.op.Call > o.Return:
		return fmt.Sprintf(", %s before anyone began to write it", span(time.Duration(from.op.Call-o.Return)))
	}
	// older says that v was certainly written before w was.
	older := func(w *history.Op) bool {
		return from.op == nil || from.op.End() < w.Call
	}
	var acked, seen *history.Op
	for _, j := range ops {
		p := &h.Ops[j]
		if p.Key != o.Key || p.End() >= o.Call {
			continue
		}
		if w, ok := written(p); ok && p.Outcome == history.OK && w != v && older(p) {
			if acked == nil || acked.Return < p.Return {
				acked = p
			}
		}
		if w, ok := observed(p); ok && w != v && w != history.Nil {
			if seen == nil || seen.Return < p.Return {
				seen = p
			}
		}
	}
	switch {
	case acked != nil:
		w, _ := written(acked)
		return fmt.Sprintf(", although %s had been acknowledged %s earlier", valueText(h, w), span(time.Duration(o.Call-acked.Return)))
	case seen != nil:
		w, _ := observed(seen)
		who := fmt.Sprintf("process %d", seen.Process)
		if seen.Process == o.Process {
			who = "it"
		}
		return fmt.Sprintf(", %s after %s had read %s", span(time.Duration(o.Call-seen.Return)), who, valueText(h, w))
	}
	return ""
}

// inForce names the faults between two times.
func inForce(h *history.History, from, to int64, most, decimals int) []string {
	var out []string
	more := 0
	for i := range h.Faults {
		f := &h.Faults[i]
		if f.Start > to || f.End < from {
			continue
		}
		if len(out) == most {
			more++
			continue
		}
		out = append(out, fmt.Sprintf("%s, %s–%s s", faultName(f), stamp(f.Start, min(3, decimals)), stamp(f.End, min(3, decimals))))
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return out
}

// faultName is a fault in a few words: "partition #2 (halves: 0 1 | 2 3)".
func faultName(f *history.Fault) string {
	s := fmt.Sprintf("%s #%d", f.Kind, f.ID)
	if f.Detail != "" {
		s += " (" + f.Detail + ")"
	}
	return s
}

// endStates says what each replica held of a key at the end.
func endStates(run *Run, key int32) string {
	if run.Replicas == nil || run.History == nil {
		return ""
	}
	var parts []string
	for node, row := range run.Replicas.States {
		switch {
		case row == nil:
			parts = append(parts, fmt.Sprintf("node %d could not be read", node))
		case int(key) >= len(row), row[key].Elsewhere:
		case !row[key].Present:
			parts = append(parts, fmt.Sprintf("node %d held nothing", node))
		default:
			parts = append(parts, fmt.Sprintf("node %d held %s", node, heldText(run.History, &row[key])))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "At the end " + strings.Join(parts, ", ") + "."
}
