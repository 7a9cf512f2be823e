package checkers

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/assay-chaos/assay/harness/history"
)

// VisualizeOptions bound a page. Zero fields mean the defaults.
type VisualizeOptions struct {
	Options
	// Operations is how many are shown at most, with the writes that they
	// depend on up to twice as many; 150 when zero.
	Operations int
	// Time is how long the search for partial orders may take; 5 s when
	// zero. What it has found by then is drawn.
	Time time.Duration
	// Memory is how many bytes of heap the search may add; 256 MiB when
	// zero.
	Memory uint64
}

// Visualize writes Porcupine's own page for one key (-1: the whole history):
// operations on a time axis with the partial orders that can explain them. The
// given operations (places in History.Ops, as in Result.Ops) and the faults of
// that time stand below as annotations.
//
// Call it after the verdict, for the offending key. It never takes much longer
// than opts.Time: of a long history it draws an excerpt around the given
// operations, and says so in the page. Where the key is a register with unique
// values the excerpt holds the write of every value that is seen in it, and is
// a proof on its own if the given operations are. Of other histories it is the
// part that ends with the given operations, starting in an unknown state.
func Visualize(w io.Writer, h *history.History, key int32, ops []int, opts VisualizeOptions) error {
	opts.Operations = cmp.Or(opts.Operations, 150)
	opts.Time = cmp.Or(opts.Time, 5*time.Second)
	opts.Memory = cmp.Or(opts.Memory, 256<<20)
	if why := malformed(h); why != "" {
		return fmt.Errorf("visualize key %d: %s", key, why)
	}
	for _, i := range ops {
		if i < 0 || i >= len(h.Ops) {
			return fmt.Errorf("visualize key %d: there is no operation %d among %d", key, i, len(h.Ops))
		}
	}
	m, err := modelFor(h, opts.Options)
	if err != nil {
		return fmt.Errorf("visualize key %d: %w", key, err)
	}
	v := view{ops: h.Ops}
	if key >= 0 {
		v = viewOf(h, key)
	}
	steps, err := prepare(h, v, m, opts.Options)
	if err != nil {
		return fmt.Errorf("visualize key %d: %w", key, err)
	}
	all := len(steps)
	initial := m.initial(opts.Options)
	if m.register {
		steps = relevant(steps, initial)
	}
	shown, fromUnknown := excerpt(h, v, m, steps, ops, opts)
	if fromUnknown {
		initial = m.unknown()
	}
	guarded := newSearch(len(shown), opts.Memory).guard(m, initial)
	drawn := operations(shown)
	lanes := lanesOf(h, shown)
	for i := range drawn {
		o := &h.Ops[shown[i].op]
		drawn[i].ClientId = lanes[o.Process]
		drawn[i].Metadata = html.EscapeString(fmt.Sprintf("operation %d, process %d, node %d", shown[i].op, o.Process, o.Node))
	}
	_, info := porcupine.CheckOperationsVerbose(guarded, drawn, opts.Time)
	info.AddAnnotations(annotations(h, shown, ops, all, fromUnknown))
	plain := porcupine.Model{ // replays what the search has found, without its budget
		Init: guarded.Init,
		Step: func(state, input, _ any) (bool, any) { return m.apply(state, input.(*step)) },
		DescribeOperation: func(input, _ any) string {
			o := &h.Ops[input.(*step).op]
			if o.Outcome == history.Info {
				return operationText(h, o) + " (outcome unknown)"
			}
			return operationText(h, o)
		},
		// The page puts these into its tooltips as HTML.
		DescribeState:             func(state any) string { return html.EscapeString(m.print(h, state)) },
		DescribeOperationMetadata: func(meta any) string { return fmt.Sprint(meta) },
	}
	if err := porcupine.Visualize(plain, info, w); err != nil {
		return fmt.Errorf("visualize key %d: %w", key, err)
	}
	return nil
}

// viewOf gives the operations of one key.
func viewOf(h *history.History, key int32) view {
	idx := []int32{}
	for i := range h.Ops {
		if h.Ops[i].Key == key {
			idx = append(idx, int32(i))
		}
	}
	return view{ops: h.Ops, idx: idx}
}

// lanesOf numbers the processes that occur, without gaps.
func lanesOf(h *history.History, steps []step) map[int32]int {
	var processes []int32
	for i := range steps {
		processes = append(processes, h.Ops[steps[i].op].Process)
	}
	slices.Sort(processes)
	lanes := make(map[int32]int)
	for i, p := range slices.Compact(processes) {
		lanes[p] = i
	}
	return lanes
}

// excerpt chooses what is shown. The second result says that it starts in an
// unknown state.
func excerpt(h *history.History, v view, m *model, steps []step, ops []int, opts VisualizeOptions) ([]step, bool) {
	if len(steps) <= opts.Operations {
		return steps, false
	}
	if m.register && decideZones(h, v, opts.Options).verdict != Unknown {
		return withWriters(steps, nearest(h, steps, ops, opts.Operations)), false
	}
	end := int64(history.Never)
	if len(ops) > 0 {
		end = beginning
		for _, i := range ops {
			end = max(end, h.Ops[i].End())
		}
	}
	var upTo []int
	for i := range steps {
		if steps[i].call <= end {
			upTo = append(upTo, i)
		}
	}
	if len(upTo) <= opts.Operations {
		return pick(steps, upTo), false
	}
	return pick(steps, upTo[len(upTo)-opts.Operations:]), true
}

// relevant leaves out the operations of unknown outcome that explain nothing
// and forbid nothing; each would be a bar from its call to the end of the page.
func relevant(steps []step, initial any) []step {
	kept := make(map[int]bool)
	for _, s := range tighten(steps, []any{initial}) {
		kept[s.op] = true
	}
	return slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return !kept[s.op] })
}

func pick(steps []step, places []int) []step {
	chosen := make([]step, 0, len(places))
	for _, i := range places {
		chosen = append(chosen, steps[i])
	}
	return chosen
}

// nearest chooses the n steps that lie closest in time to the given
// operations, those first. Places in steps, ascending.
func nearest(h *history.History, steps []step, ops []int, n int) []int {
	away := make([]int64, len(steps))
	for i := range steps {
		s := &steps[i]
		away[i] = history.Never
		// One of unknown outcome is near where it was tried.
		end := h.Ops[s.op].Return
		for _, k := range ops {
			o := &h.Ops[k]
			switch {
			case s.op == k:
				away[i] = -1
			case s.call > o.Return:
				away[i] = min(away[i], s.call-o.Return)
			case end < o.Call:
				away[i] = min(away[i], o.Call-end)
			default:
				away[i] = min(away[i], 0)
			}
		}
	}
	places := make([]int, len(steps))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(away[a], away[b]) })
	places = places[:min(max(n, len(ops)), len(places))]
	slices.Sort(places)
	return places
}

// withWriters adds the write of every value that the chosen ones saw. A
// register's history that is cut so is linearizable if the whole one is.
func withWriters(steps []step, places []int) []step {
	chosen := make(map[int]bool)
	saw := make(map[history.Value]bool)
	for _, i := range places {
		chosen[i] = true
		if steps[i].f == history.Read {
			saw[steps[i].out] = true
		}
	}
	var all []int
	for i := range steps {
		if chosen[i] || steps[i].f == history.Write && saw[steps[i].arg] {
			all = append(all, i)
		}
	}
	return pick(steps, all)
}

// annotations are the given operations, the faults of the time shown, and
// what is not shown.
func annotations(h *history.History, shown []step, ops []int, all int, fromUnknown bool) []porcupine.Annotation {
	if len(shown) == 0 {
		return nil
	}
	start, end := history.Never, int64(beginning)
	for i := range shown {
		start, end = min(start, shown[i].call), max(end, shown[i].call)
		if shown[i].end != history.Never {
			end = max(end, shown[i].end)
		}
	}
	var list []porcupine.Annotation
	// Each has a lane of its own: they overlap.
	for n, i := range ops {
		o := &h.Ops[i]
		list = append(list, porcupine.Annotation{
			Tag: fmt.Sprintf("violation %d", n+1), Start: o.Call, End: min(o.End(), max(end, o.Call)),
			Description: operationText(h, o), Details: describe(h, i), BackgroundColor: "#f4b6b0",
		})
	}
	for i := range h.Faults {
		f := &h.Faults[i]
		if f.Start > end || f.End < start {
			continue
		}
		list = append(list, porcupine.Annotation{
			Tag: fmt.Sprintf("fault %d: %s", f.ID, f.Kind), Start: max(f.Start, start), End: min(f.End, end),
			Description: f.Kind + " " + f.Detail,
			Details: fmt.Sprintf("fault %d, %s to %s; took effect: %s; healed: %s",
				f.ID, clock(f.Start), clock(f.End), evidence(f.Effect), evidence(f.Recovery)),
			BackgroundColor: "#ffe1a8",
		})
	}
	if len(shown) < all {
		text := "The verdict rests on the whole history, not on this excerpt."
		if fromUnknown {
			text += " It starts in an unknown state, so what is left out may be what makes an operation impossible, or possible."
		}
		list = append(list, porcupine.Annotation{
			Tag: "excerpt", Start: start, End: end,
			Description: fmt.Sprintf("%s of %s operations", count(len(shown)), count(all)), Details: text, BackgroundColor: "#dddddd",
		})
	}
	return list
}
