package results

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/history"
)

// diagram is a picture of the operations of one violation and of nothing else:
// a lane for each process, a bar for each operation, arrows for the orders that
// contradict each other. Time runs from left to right but not to scale: every
// instant at which something began or ended is as far from the next as the
// labels need.
type diagram struct {
	Number        int // of the violation
	Width, Height float64
	Left, Right   float64
	Title         string
	Description   string
	Lanes         []lane
	Bars          []bar
	Bands         []band
	Arrows        []orderArrow
	Ticks         []tick
	Top, AxisY    float64
	LanesHeight   float64
	Because       []string
	NoOrder       bool // none explains the operations, and no circle shows it
	HasRealTime   bool
	HasReads      bool
	HasInferred   bool
}

// orderArrow leads from what comes first to what comes after it.
type orderArrow struct {
	Class  string // realtime, reads, inferred
	Path   string
	Letter string
	X, Y   float64 // of the letter
	Title  string
}

const (
	diagramLane = 54.0
	diagramBar  = 24.0
	instantGap  = 30.0 // least, between two instants
	letterWidth = 6.6  // of a label
	mostDrawn   = 20   // operations
)

// drawDiagram draws a telling. It gives nil where there are too many operations
// for a picture in which they can be told apart.
func drawDiagram(run *Run, t *telling, number int) *diagram {
	h := run.History
	if len(t.Steps) == 0 || len(t.Steps) > mostDrawn || t.More > 0 && t.Circle == nil {
		return nil
	}
	d := &diagram{Number: number, Left: paperLeft, Because: t.Because,
		NoOrder: t.Result.Claim == checkers.Linearizable && len(t.Because) == 0 && len(t.Steps) > 1}
	var ops []int
	for _, s := range t.Steps {
		ops = append(ops, s.Op)
	}
	s := d.layOut(h, ops)
	d.Right = s[len(s)-1].X1
	d.Width = d.Right + 36 // half a label of the axis
	from, to := s[0].From, s[len(s)-1].To
	d.drawFaults(h, s, from, to)
	y := d.drawLanes(h, ops)
	for i, op := range ops {
		d.Bars = append(d.Bars, d.drawOp(h, op, i+1, s, y[h.Ops[op].Process]))
	}
	d.drawTicks(h, ops, s)
	d.drawArrows(t, ops)
	d.describe(t)
	return d
}

// ends gives the instants between which a bar is drawn; one of unknown outcome
// is open to the right.
func ends(o *history.Op) (int64, int64) {
	if o.Outcome == history.Info {
		return o.Call, history.Never
	}
	return o.Call, o.Return
}

func drawnLabel(h *history.History, o *history.Op, number int) string {
	label := fmt.Sprintf("%d  %s", number, brief(h, o))
	if o.F == history.Transact {
		v := o.Arg
		if o.Out != history.Nil {
			v = o.Out
		}
		label = fmt.Sprintf("%d  %s", number, clip(txnText(h, v), 30))
	}
	return label
}

// layOut gives every instant its place on the paper.
func (d *diagram) layOut(h *history.History, ops []int) scale {
	var times []int64
	for _, i := range ops {
		call, end := ends(&h.Ops[i])
		times = append(times, call, end)
	}
	slices.Sort(times)
	times = slices.Compact(times)
	place := make(map[int64]int, len(times))
	for i, at := range times {
		place[at] = i
	}
	x := make([]float64, len(times))
	for i := range x {
		x[i] = paperLeft + 16 + float64(i)*instantGap
	}
	// A bar must hold its label: what ends later moves to the right, until
	// all fit. Ends are looked at from left to right, so once is enough.
	order := slices.Clone(ops)
	slices.SortStableFunc(order, func(a, b int) int {
		_, x := ends(&h.Ops[a])
		_, y := ends(&h.Ops[b])
		return max(-1, min(1, place[x]-place[y]))
	})
	for _, i := range order {
		call, end := ends(&h.Ops[i])
		from, to := place[call], place[end]
		label := drawnLabel(h, &h.Ops[i], slices.Index(ops, i)+1)
		need := float64(len([]rune(label)))*letterWidth + 18
		if from == to { // an instant has no width; the label stands in a bar that is drawn wider
			continue
		}
		if short := need - (x[to] - x[from]); short > 0 {
			for k := to; k < len(x); k++ {
				x[k] += short
			}
		}
	}
	// A narrow picture is stretched to the width of the others.
	if last := x[len(x)-1]; last < paperWidth-36 && last > paperLeft {
		stretch := (paperWidth - 36 - paperLeft - 16) / max(1, last-x[0])
		for i := range x {
			x[i] = paperLeft + 16 + (x[i]-paperLeft-16)*stretch
		}
	}
	var s scale
	for i := 1; i < len(times); i++ {
		s = append(s, segment{times[i-1], times[i], x[i-1], x[i]})
	}
	if s == nil {
		s = scale{{times[0], times[0] + 1, x[0], x[0] + 200}}
	}
	return s
}

// drawFaults puts the faults in force above the lanes.
func (d *diagram) drawFaults(h *history.History, s scale, from, to int64) {
	y := 4.0
	last := int64(beginningOfTime)
	for i := range s {
		if s[i].To != history.Never {
			last = max(last, s[i].To)
		}
	}
	for i := range h.Faults {
		f := &h.Faults[i]
		if f.Start > min(to, max(last, from)) || f.End < from || len(d.Bands) == 6 {
			continue
		}
		b := faultBand(f, s, f.End)
		if f.End >= to {
			b.W = round1(d.Right - b.X)
		}
		b.Y = y
		b.Label = fit(faultName(f), b.W)
		if b.Label == "" {
			b.Label = fit(fmt.Sprintf("#%d", f.ID), b.W)
		}
		d.Bands = append(d.Bands, b)
		y += faultRow
	}
	d.Top = y + 22 // room for arrows above the first lane
}

const beginningOfTime = -1 << 63

// drawLanes gives each process a lane, in the order in which they come in.
func (d *diagram) drawLanes(h *history.History, ops []int) map[int32]float64 {
	y := map[int32]float64{}
	top := d.Top
	for _, i := range ops {
		p := h.Ops[i].Process
		if _, known := y[p]; known {
			continue
		}
		d.Lanes = append(d.Lanes, lane{Y: top, Middle: top + diagramLane/2 + 4, Label: fmt.Sprintf("process %d", p), Odd: len(d.Lanes)%2 == 1})
		y[p] = top
		top += diagramLane
	}
	d.LanesHeight = top - d.Top
	d.AxisY = top + 16
	d.Height = d.AxisY + 26
	return y
}

func (d *diagram) drawOp(h *history.History, op, number int, s scale, y float64) bar {
	o := &h.Ops[op]
	call, end := ends(o)
	x0, x1 := s.x(call), s.x(end)
	label := drawnLabel(h, o, number)
	if call == end {
		x1 = x0 + float64(len([]rune(label)))*letterWidth + 14
	}
	b := bar{X: round1(x0), Y: y + (diagramLane-diagramBar)/2, W: round1(x1 - x0), H: diagramBar, Number: number,
		Class: functionClass(o.F) + " " + o.Outcome.String(), Outcome: o.Outcome.String(), Label: label}
	b.LabelX, b.LabelY = round1(b.X+7), b.Y+16
	b.Title = fmt.Sprintf("%d: process %d %s\n%s–%s s", number, o.Process, deed(h, o), stamp(o.Call, 6), stamp(o.Return, 6))
	if name := h.KeyName(o.Key); name != "" {
		b.Title += "\nkey " + clip(name, 60)
	}
	if o.Node >= 0 {
		b.Title += fmt.Sprintf("\nthrough node %d", o.Node)
	}
	return b
}

// drawTicks tells the time of the instants for which there is room.
func (d *diagram) drawTicks(h *history.History, ops []int, s scale) {
	var times []int64
	for _, g := range s {
		times = append(times, g.From, g.To)
	}
	times = slices.Compact(times)
	if times[len(times)-1] == history.Never {
		times = times[:len(times)-1]
	}
	decimals := decimalsFor(times)
	free := paperLeft - 100.0
	for _, at := range times {
		label := stamp(at, decimals)
		wide := float64(len(label)) * letterWidth
		t := tick{At: round1(s.x(at)), Label: label}
		if t.At-wide/2 < free {
			t.Label = ""
		} else {
			free = t.At + wide/2 + 8
		}
		d.Ticks = append(d.Ticks, t)
	}
}

// drawArrows draws the circle, and without a letter who saw whose value where
// the circle rests on it.
func (d *diagram) drawArrows(t *telling, ops []int) {
	seen := map[[2]int]bool{}
	add := func(before, after int, class, letter, title string) {
		from, to := slices.Index(ops, before), slices.Index(ops, after)
		if from < 0 || to < 0 || from == to {
			return
		}
		a := orderArrow{Class: class, Letter: letter, Title: title}
		a.draw(&d.Bars[from], &d.Bars[to])
		d.Arrows = append(d.Arrows, a)
		switch class {
		case "realtime":
			d.HasRealTime = true
		case "reads":
			d.HasReads = true
			seen[[2]int{before, after}] = true
		default:
			d.HasInferred = true
		}
	}
	for i, o := range t.Circle {
		class := "inferred"
		switch o.Why {
		case checkers.EndedBefore:
			class = "realtime"
		case checkers.ReadsFrom:
			class = "reads"
		}
		add(o.Before, o.After, class, string(rune('a'+i%26)), t.Because[i])
	}
	for _, o := range t.Circle {
		if (o.Why == checkers.Replaced || o.Why == checkers.Hidden) && !seen[[2]int{o.Writer, o.Reader}] {
			add(o.Writer, o.Reader, "reads", "", "")
		}
	}
}

// draw leads an arrow from one bar to another: what is certain from time leaves
// at the end of a bar and comes in at the beginning, everything else goes from
// middle to middle. Arrows of the three kinds keep apart, so that two between the
// same bars can be told.
func (a *orderArrow) draw(from, to *bar) {
	part := map[string]float64{"realtime": 1, "reads": 0.62, "inferred": 0.38}[a.Class]
	x0, x1 := from.X+from.W*part, to.X+to.W*(1-part)
	if a.Class == "inferred" {
		x1 = to.X + to.W*0.5
	}
	var y0, y1, bow float64
	switch {
	case from.Y < to.Y: // down
		y0, y1 = from.Y+from.H, to.Y-5
	case from.Y > to.Y: // up
		y0, y1 = from.Y, to.Y+to.H+5
	default: // along one lane: over it, or under it where it goes back
		y0, y1, bow = from.Y, to.Y-5, -26
		if x1 < x0 {
			y0, y1, bow = from.Y+from.H, to.Y+to.H+5, 26
		}
	}
	if a.Class == "realtime" && bow == 0 {
		y0, y1 = from.Y+from.H/2, to.Y+to.H/2
		x1 -= 5
	}
	c0x, c0y, c1x, c1y := x0, y0+bow, x1, y1+bow
	if bow == 0 {
		c0y, c1y = (y0+y1)/2, (y0+y1)/2
		if a.Class == "realtime" {
			reach := max(24, (x1-x0)/2)
			c0x, c0y, c1x, c1y = x0+reach, y0, x1-reach, y1
		}
	}
	a.Path = fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", x0, y0, c0x, c0y, c1x, c1y, x1, y1)
	// The letters of two arrows that cross stand apart.
	at := map[string]float64{"realtime": 0.5, "reads": 0.35, "inferred": 0.7}[a.Class]
	on := func(p0, p1, p2, p3 float64) float64 {
		u := 1 - at
		return round1(u*u*u*p0 + 3*u*u*at*p1 + 3*u*at*at*p2 + at*at*at*p3)
	}
	a.X, a.Y = on(x0, c0x, c1x, x1), on(y0, c0y, c1y, y1)
}

// describe says in words what the picture shows.
func (d *diagram) describe(t *telling) {
	d.Title = fmt.Sprintf("The %s of the violation of %s", counted(len(d.Bars), "operation", "operations"), claimText(t.Result.Claim))
	var words []string
	for i, s := range t.Steps {
		words = append(words, fmt.Sprintf("%d: %s", i+1, s.Text))
	}
	d.Description = fmt.Sprintf("%s in %s, from left to right in time. %s.", counted(len(d.Bars), "bar", "bars"), counted(len(d.Lanes), "lane", "lanes"), strings.Join(words, ". "))
	if len(d.Arrows) > 0 {
		d.Description += " Arrows: " + strings.Join(t.Because, "; ") + "."
	}
}
