package results

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// excerpt is a picture of single operations: a lane for each client, a bar for
// each operation. A history can hold millions; the excerpt shows those around
// one violation, or the first ones.
type excerpt struct {
	Violation     bool
	Width, Height float64
	Left, Right   float64
	Caption       string
	Description   string
	Lanes         []lane
	Bars          []bar
	Bands         []band
	Breaks        []timeBreak
	Ticks         []tick
	Top, AxisY    float64
	LanesHeight   float64
	GapTop        float64
	GapHeight     float64
	HasKey        bool // Listed holds one key only
	HasCAS        bool
	HasElse       bool
	Listed        []listedOp // the operations on the offending key, as a table
	ListedMore    int

	Dense bool // Cells stand for operations that are too many for bars
	Cells []cell

	only        func(*history.Op) bool // of the operations; nil: all
	from, to    int64                  // what is shown
	first, last int64                  // what is told
	end         int64                  // of the history
}

type lane struct {
	Y, Middle float64
	Label     string
	Involved  bool
	Odd       bool
}

// bar is an operation. Class says its function and outcome; the label repeats
// both in letters.
type bar struct {
	X, Y, W, H float64
	Class      string
	Outcome    string
	Label      string
	LabelX     float64
	LabelY     float64
	Title      string
	Beside     bool // the label stands beside the bar, for want of room
	Number     int  // of the step in the telling; 0 if not involved
}

// timeBreak is where time was left out.
type timeBreak struct {
	X     float64
	Label string
	Edge  string // a path
}

// listedOp is a row of the table beside the picture.
type listedOp struct {
	Index    int
	Number   int
	When     string
	Process  int32
	Node     string
	Deed     string
	Outcome  string
	Error    string
	Involved bool
}

const (
	laneHeight = 24.0
	barHeight  = 15.0
	mostLanes  = 40
	mostBars   = 1500
	mostListed = 150
	breakWidth = 34.0
	// Where nothing is broken: so many operations a lane at most, and so many
	// latencies from side to side.
	firstOps       = 40
	firstLatencies = 80
)

// drawExcerpt draws the surroundings of the operations of a telling, or with
// nil the beginning of the history. It gives nil if there is nothing to draw.
func drawExcerpt(run *Run, t *telling, latency int64) *excerpt {
	h := run.History
	if h == nil || len(h.Ops) == 0 {
		return nil
	}
	if t == nil {
		n := beginning(h, run.Test.Clients, latency)
		e := &excerpt{end: h.End(), Caption: "The first " + counted(n, "operation", "operations") + " of " + count(len(h.Ops)) + "."}
		from, to := h.Ops[0].Call, h.Ops[n-1].Call
		if n == len(h.Ops) {
			to = e.end // nothing follows the last operation, so show how it ended
		}
		e.draw(run, [][2]int64{{from, max(to, from+1)}}, nil, -1)
		return e
	}
	if len(t.Steps) == 0 {
		return nil
	}
	involved := make(map[int]int, len(t.Steps))
	var points []int64
	for i, s := range t.Steps {
		involved[s.Op] = i + 1
		o := &h.Ops[s.Op]
		points = append(points, o.Call)
		if o.Return != history.Never {
			points = append(points, o.Return)
		}
	}
	key := int32(-1)
	if t.HasKey {
		key = t.Result.Key
	}
	e := &excerpt{Violation: true, end: h.End()}
	e.first, e.last = slices.Min(points), slices.Max(points)
	stretches := stretchesAround(points, latency)
	e.draw(run, stretches, involved, key)
	e.Caption = "The operations around the violation; the numbers are those of the list above."
	if t.HasKey {
		e.Caption += " Operations on other keys are pale."
	}
	if len(stretches) > 1 {
		e.Caption += " Time between is left out where the axis is broken."
	}
	return e
}

// beginning is how many of the first operations make a picture in which they
// can still be told apart.
func beginning(h *history.History, clients int, latency int64) int {
	n := min(len(h.Ops), mostBars, firstOps*max(1, min(mostLanes, clients)))
	for n > firstOps && h.Ops[n-1].Call-h.Ops[0].Call > firstLatencies*latency {
		n--
	}
	return n
}

// stretchesAround gives the time to show around points: some latencies on each
// side, and nothing of long times in which none of them lies.
func stretchesAround(points []int64, latency int64) [][2]int64 {
	slices.Sort(points)
	pad := 6 * max(1, latency)
	var out [][2]int64
	for _, p := range points {
		from, to := max(0, p-pad), p+pad
		if n := len(out); n > 0 && from <= out[n-1][1]+4*pad {
			out[n-1][1] = to
			continue
		}
		out = append(out, [2]int64{from, to})
	}
	return out
}

// typicalLatency is the median of the medians of the bins.
func (t *timeline) typicalLatency() int64 {
	var medians []int64
	for _, b := range t.bins {
		if b.p50 >= 0 {
			medians = append(medians, b.p50)
		}
	}
	if len(medians) == 0 {
		return max(1, t.end/100)
	}
	slices.Sort(medians)
	return max(1, quantile(medians, 0.5))
}

func (e *excerpt) draw(run *Run, stretches [][2]int64, involved map[int]int, key int32) {
	h := run.History
	s := newScale(stretches, paperLeft, paperRight, breakWidth)
	e.from, e.to = stretches[0][0], stretches[len(stretches)-1][1]
	e.Width, e.Left, e.Right = paperWidth, paperLeft, paperRight
	e.HasKey = key >= 0
	e.drawFaults(h, s)
	shown, seen := pickOps(h, s, involved, key, e.only)
	clients := run.Test.Clients
	lanes := pickLanes(h, shown, involved, clients)
	y := map[int32]float64{}
	top := e.Top
	for i, l := range lanes {
		name := "process"
		if clients > 0 {
			name = "client"
		}
		e.Lanes = append(e.Lanes, lane{Y: top, Middle: top + laneHeight/2 + 4, Label: fmt.Sprintf("%s %d", name, l.id), Involved: l.involved, Odd: i%2 == 1})
		y[l.id] = top
		top += laneHeight
	}
	e.AxisY, e.LanesHeight = top, top-e.Top
	e.GapTop, e.GapHeight = e.Top-2, top-e.Top+4
	e.Height = top + 26
	if len(stretches) > 1 {
		e.Height += 16 // for what is left out
	}
	e.Ticks = s.timeTicks(110)
	for i := 1; i < len(s); i++ {
		e.Breaks = append(e.Breaks, newBreak(s[i-1], s[i], e.GapTop, top+2))
	}
	// Times within a picture are told apart at its own resolution.
	decimals := decimalsFor([]int64{0, max(1, (e.to-e.from)/500)})
	for _, i := range shown {
		if at, ok := y[laneOf(&h.Ops[i], clients)]; ok {
			class := functionClass(h.Ops[i].F)
			e.HasCAS, e.HasElse = e.HasCAS || class == "cas", e.HasElse || class == "else"
			e.Bars = append(e.Bars, e.drawBar(h, i, s, at, involved[i], key, decimals))
		}
	}
	if len(e.Bars) < seen {
		e.Caption += fmt.Sprintf(" %s of the %s here are drawn.", count(len(e.Bars)), counted(seen, "operation", "operations"))
	}
	e.Description = fmt.Sprintf("%s of %s from %s s to %s s.", counted(len(e.Bars), "operation", "operations"),
		counted(len(lanes), "client", "clients"), stamp(e.from, 3), stamp(e.to, 3))
	e.list(h, shown, involved, key, decimals)
}

// drawFaults puts the faults in force over the lanes, one below the other, and
// the lanes below them.
func (e *excerpt) drawFaults(h *history.History, s scale) {
	const most = 8
	y := 4.0
	for i := range h.Faults {
		f := &h.Faults[i]
		if !s.shows(f.Start, f.End) {
			continue
		}
		if len(e.Bands) == most {
			break
		}
		b := faultBand(f, s, min(f.End, e.to))
		b.Y = y
		b.Label = fit(faultName(f), b.W)
		if b.Label == "" {
			b.Label = fit(fmt.Sprintf("#%d", f.ID), b.W)
		}
		e.Bands = append(e.Bands, b)
		y += faultRow
	}
	e.Top = y + 6
}

// newBreak draws the two zigzags between which time is left out.
func newBreak(before, after segment, top, bottom float64) timeBreak {
	x := (before.X1 + after.X0) / 2
	var p path
	for _, edge := range []float64{x - 11, x + 11} {
		p.to('M', edge, top)
		for i, y := 1, top+6; y <= bottom; i, y = i+1, y+6 {
			p.to('L', edge+float64(i%2)*4-2, y)
		}
	}
	return timeBreak{round1(x), span(time.Duration(after.From-before.To)) + " left out", p.String()}
}

// pickOps gives the operations to draw, by call: the involved ones always, then
// those on the key, then others, up to the most there can be. seen is how many
// there are.
func pickOps(h *history.History, s scale, involved map[int]int, key int32, only func(*history.Op) bool) (shown []int, seen int) {
	var rest, own []int
	for i := range h.Ops {
		o := &h.Ops[i]
		end := o.Return
		if end == history.Never {
			end = o.Call
		}
		switch {
		case involved[i] > 0:
			shown = append(shown, i)
		case !s.shows(o.Call, end), only != nil && !only(o):
		case o.Key == key:
			own = append(own, i)
		default:
			rest = append(rest, i)
		}
	}
	seen = len(shown) + len(own) + len(rest)
	for _, more := range [][]int{own, rest} {
		shown = append(shown, more[:min(len(more), max(0, mostBars-len(shown)))]...)
	}
	slices.Sort(shown)
	return shown, seen
}

// laneOf is the client of an operation where their number is known: process p
// belongs to client p mod clients, as retired processes are replaced so.
func laneOf(o *history.Op, clients int) int32 {
	if clients > 0 && o.Process >= 0 {
		return o.Process % int32(clients)
	}
	return o.Process
}

type pickedLane struct {
	id       int32
	involved bool
	ops      int
}

// pickLanes gives the lanes to draw: those involved, then the busiest.
func pickLanes(h *history.History, shown []int, involved map[int]int, clients int) []pickedLane {
	var lanes []pickedLane
	index := map[int32]int{}
	for _, i := range shown {
		id := laneOf(&h.Ops[i], clients)
		k, ok := index[id]
		if !ok {
			k = len(lanes)
			index[id] = k
			lanes = append(lanes, pickedLane{id: id})
		}
		lanes[k].ops++
		lanes[k].involved = lanes[k].involved || involved[i] > 0
	}
	slices.SortFunc(lanes, func(a, b pickedLane) int {
		switch {
		case a.involved != b.involved && a.involved:
			return -1
		case a.involved != b.involved:
			return 1
		case a.ops != b.ops:
			return b.ops - a.ops
		}
		return int(a.id) - int(b.id)
	})
	lanes = lanes[:min(len(lanes), mostLanes)]
	slices.SortFunc(lanes, func(a, b pickedLane) int { return int(a.id) - int(b.id) })
	return lanes
}

// functionClass is the part of a bar's class that names its function.
func functionClass(f history.F) string {
	switch f {
	case history.Read:
		return "read"
	case history.Write, history.Append, history.Delete:
		return "write"
	case history.CAS:
		return "cas"
	}
	return "else"
}

func (e *excerpt) drawBar(h *history.History, i int, s scale, y float64, number int, key int32, decimals int) bar {
	o := &h.Ops[i]
	end := o.Return
	if end == history.Never {
		end = e.end
	}
	x0, x1 := s.x(o.Call), s.x(end)
	b := bar{X: round1(x0), Y: y + (laneHeight-barHeight)/2 + 1, W: round1(max(2, x1-x0)), H: barHeight, Number: number}
	b.Class = functionClass(o.F) + " " + o.Outcome.String()
	b.Outcome = o.Outcome.String()
	pale := key >= 0 && o.Key != key && number == 0
	if pale {
		b.Class += " pale"
	}
	if number > 0 {
		b.Class += " involved"
	}
	if label := brief(h, o); !pale {
		b.LabelX, b.LabelY = round1(b.X+4), b.Y+11.5
		b.Label = fit(label, b.W)
		// Beside a bar at the right edge there is no room either.
		beside := round1(b.X + b.W + 4)
		if key >= 0 && b.Label == "" && fit(label, paperRight-beside) != "" {
			b.Label, b.Beside, b.LabelX = label, true, beside
		}
	}
	b.Title = "#" + strconv.Itoa(i) + "  " + stamp(o.Call, decimals) + "–" + stamp(o.Return, decimals) + " s"
	if o.Return != history.Never {
		b.Title += " (" + span(time.Duration(o.Return-o.Call)) + ")"
	}
	b.Title += fmt.Sprintf("\nprocess %d %s", o.Process, deed(h, o))
	if name := h.KeyName(o.Key); name != "" {
		b.Title += "\nkey " + clip(name, 60)
	}
	if o.Node >= 0 {
		b.Title += fmt.Sprintf("\nthrough node %d", o.Node)
	}
	if text := h.Error(o); text != "" {
		b.Title += "\n" + clip(text, 120)
	}
	return b
}

// list fills the table: the operations on the key, or all, as a text
// alternative of the picture.
func (e *excerpt) list(h *history.History, shown []int, involved map[int]int, key int32, decimals int) {
	for _, i := range shown {
		o := &h.Ops[i]
		if key >= 0 && o.Key != key && involved[i] == 0 {
			continue
		}
		if len(e.Listed) == mostListed {
			e.ListedMore++
			continue
		}
		l := listedOp{Index: i, Number: involved[i], When: stamp(o.Call, decimals) + "–" + stamp(o.Return, decimals),
			Process: o.Process, Deed: deed(h, o), Outcome: o.Outcome.String(), Error: clip(h.Error(o), 120), Involved: involved[i] > 0}
		if o.Node >= 0 {
			l.Node = strconv.Itoa(int(o.Node))
		}
		if key < 0 {
			l.Deed += ", key " + clip(h.KeyName(o.Key), 40)
		}
		e.Listed = append(e.Listed, l)
	}
}
