package results

import (
	"fmt"
	"slices"
	"strings"

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
	Steps  []Step
	More   int // operations that the told ones rest on, and that are not told
	// Meanwhile are the faults in force between the first and the last step.
	Meanwhile []string
	// Because are the orders that contradict each other, each in a sentence
	// with the numbers of the steps; Circle are the same for the diagram.
	Because []string
	Circle  []checkers.Precedence
	// Plain says that some step already tells what is wrong.
	Plain bool
	// Ending is what the replicas held of the key at the end, "" if that is
	// not the point.
	Ending string
}

// Step is one operation of a story.
type Step struct {
	Op   int    `json:"op"`   // place in History.Ops
	When string `json:"when"` // "1.204–1.209 s"
	Text string `json:"text"` // "process 3 read 7 through node 1, although …"
}

// Violation tells why a result of the run is broken: its operations in words, and
// the orders that contradict each other. Both are empty for what no operations
// show.
func Violation(run *Run, r *checkers.Result) (steps []Step, because []string) {
	const most = 1000
	t := tell(run, r, most, 0)
	return t.Steps, t.Because
}

// ViolationStory tells the same in lines of plain text.
func ViolationStory(run *Run, r *checkers.Result) string {
	var b strings.Builder
	storyViolation(&b, tell(run, r, mostStorySteps, 2))
	return strings.TrimPrefix(b.String(), "\n")
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
	all := opsOf(h, r)
	t.Circle = checkers.Contradiction(h, all, run.Reading)
	ops := all
	if len(ops) > mostSteps {
		ops = mainSteps(all, t.Circle, mostSteps)
		t.More = len(all) - len(ops)
	}
	var times []int64
	for _, i := range ops {
		times = append(times, h.Ops[i].Call, h.Ops[i].Return)
	}
	decimals := decimalsFor(times)
	why := newClauses(run, all, ops, len(r.Minimal) > 0)
	for _, i := range ops {
		s := tellStep(h, i, decimals)
		if clause := why.clause(&h.Ops[i]); clause != "" {
			s.Text += clause
			t.Plain = true
		}
		t.Steps = append(t.Steps, s)
	}
	t.explain(h)
	if len(ops) > 0 {
		from, to := extent(h, ops)
		t.Meanwhile = inForce(h, from, to, mostFaults, decimals)
	}
	if t.HasKey && endsMatter(r.Claim) {
		t.Ending = endStates(run, r.Key)
	}
	return t
}

// endsMatter says that a claim is about what replicas hold at the end.
func endsMatter(c checkers.Claim) bool {
	return c == checkers.NoLostWrites || c == checkers.Converges
}

// mainSteps chooses what is told of many operations: those of the circle if they
// are few enough, or else the last ones, where the contradiction comes out.
func mainSteps(all []int, circle []checkers.Precedence, most int) []int {
	in := map[int]bool{}
	for _, o := range circle {
		in[o.Before], in[o.After] = true, true
		if o.Why == checkers.Replaced || o.Why == checkers.Hidden {
			in[o.Writer], in[o.Reader] = true, true
		}
	}
	delete(in, checkers.Initially)
	if len(in) == 0 || len(in) > most {
		return all[len(all)-most:]
	}
	return slices.DeleteFunc(slices.Clone(all), func(i int) bool { return !in[i] })
}

// opsOf gives the operations of the smallest violation, or those a result points
// at where none was looked for, in order of their calls. Indices out of range,
// from a damaged file, are left out.
func opsOf(h *history.History, r *checkers.Result) []int {
	ops, named := []int(nil), r.Minimal
	if len(named) == 0 {
		named = r.Ops
	}
	for _, i := range named {
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

func tellStep(h *history.History, i int, decimals int) Step {
	o := &h.Ops[i]
	s := Step{Op: i, When: stamp(o.Call, decimals) + "–" + stamp(o.Return, decimals) + " s"}
	switch {
	case o.Return == history.Never:
		s.When = "from " + stamp(o.Call, decimals) + " s"
	case decimals == 9 && o.Return < 1e6: // a history without a clock counts events
		s.When = fmt.Sprintf("%d–%d ns", o.Call, o.Return)
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
	return s
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
