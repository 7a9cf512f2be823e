package results

import (
	"fmt"
	"io"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// Window is a part of a run to look at: a time, and which operations. Negative
// Key, Node and Client are any. To no later than From is the whole run.
type Window struct {
	From, To int64 // nanoseconds
	Key      int32
	Node     int
	Client   int32
}

// WholeRun is the window that leaves nothing out.
func WholeRun() Window { return Window{Key: -1, Node: -1, Client: -1} }

// Clip gives the window within the run.
func (v Window) Clip(h *history.History) Window {
	end := max(1, h.End())
	v.From = max(0, min(v.From, end-1))
	if v.To <= v.From {
		v.From, v.To = 0, end
	}
	v.To = min(v.To, end)
	return v
}

// counts says whether an operation of the history is one to be shown.
func (v Window) counts(o *history.Op, clients int) bool {
	return (v.Key < 0 || o.Key == v.Key) && (v.Node < 0 || int(o.Node) == v.Node) && (v.Client < 0 || laneOf(o, clients) == v.Client) &&
		o.Call < v.To && end(o) > v.From
}

// end is when an operation is over in a picture: a call that never returned is a
// point.
func end(o *history.Op) int64 {
	if o.Return == history.Never {
		return o.Call + 1
	}
	return o.Return + 1
}

// cell is a stretch of a lane in which there are too many operations to draw each.
type cell struct {
	X, Y, W, H float64
	Class      string
	Title      string
}

const (
	cellColumns = 232 // five points each
	cellLanes   = 48
)

// Explore draws the operations of a window, as a part of an HTML page: each as a
// bar where they are few, and how many there were and how they ended where they
// are many. It takes time in proportion to the operations of the run, and what it
// writes is bounded whatever their number.
func Explore(w io.Writer, run *Run, v Window) error {
	h := run.History
	if h == nil || len(h.Ops) == 0 {
		_, err := io.WriteString(w, "<p>No operation was recorded.</p>")
		return err
	}
	v = v.Clip(h)
	clients := run.Test.Clients
	n := 0
	for i := range h.Ops {
		if v.counts(&h.Ops[i], clients) {
			n++
		}
	}
	e := &excerpt{end: h.End()}
	if n <= mostBars {
		e.only = func(o *history.Op) bool { return v.counts(o, clients) }
		e.Caption = fmt.Sprintf("%s from %s s to %s s.", counted(n, "operation", "operations"), stamp(v.From, 3), stamp(v.To, 3))
		e.draw(run, [][2]int64{{v.From, v.To}}, nil, -1)
	} else {
		e.density(run, v, n)
	}
	return pageTemplate.ExecuteTemplate(w, "excerpt", e)
}

// endings is how the operations ended that are in one cell of a picture.
type endings struct{ ok, fail, info int }

func (t endings) total() int { return t.ok + t.fail + t.info }

// density draws how many operations there were.
func (e *excerpt) density(run *Run, v Window, n int) {
	h, clients := run.History, run.Test.Clients
	s := newScale([][2]int64{{v.From, v.To}}, paperLeft, paperRight, 0)
	e.from, e.to = v.From, v.To
	e.Width, e.Left, e.Right, e.Dense = paperWidth, paperLeft, paperRight, true
	e.drawFaults(h, s)
	lanes, per := v.lanes(h, clients)
	table := make([]endings, len(lanes)*cellColumns)
	perNano := float64(cellColumns) / float64(v.To-v.From)
	for i := range h.Ops {
		o := &h.Ops[i]
		if !v.counts(o, clients) {
			continue
		}
		lane, _ := slices.BinarySearch(lanes, laneOf(o, clients)/per)
		column := min(max(int(float64(max(o.Call, v.From)-v.From)*perNano), 0), cellColumns-1)
		t := &table[lane*cellColumns+column]
		switch o.Outcome {
		case history.OK:
			t.ok++
		case history.Fail:
			t.fail++
		default:
			t.info++
		}
	}
	busiest := 1
	for _, t := range table {
		busiest = max(busiest, t.total())
	}
	top := e.Top
	wide := (paperRight - paperLeft) / cellColumns
	for i, id := range lanes {
		label := fmt.Sprintf("client %d", id*per)
		if per > 1 {
			label = fmt.Sprintf("%d–%d", id*per, (id+1)*per-1)
		}
		e.Lanes = append(e.Lanes, lane{Y: top, Middle: top + laneHeight/2 + 4, Label: label, Odd: i%2 == 1})
		row := table[i*cellColumns : (i+1)*cellColumns]
		for c := 0; c < cellColumns; {
			// Neighbours that look alike are one.
			class, sum, from := row[c].class(busiest), endings{}, c
			for ; c < cellColumns && row[c].class(busiest) == class; c++ {
				sum.ok, sum.fail, sum.info = sum.ok+row[c].ok, sum.fail+row[c].fail, sum.info+row[c].info
			}
			if class == "" {
				continue
			}
			e.Cells = append(e.Cells, cell{
				X: round1(paperLeft + float64(from)*wide), Y: top + 3, W: round1(float64(c-from) * wide), H: laneHeight - 6, Class: class,
				Title: fmt.Sprintf("%s: %s ok, %s fail, %s info", label, count(sum.ok), count(sum.fail), count(sum.info)),
			})
		}
		top += laneHeight
	}
	e.AxisY, e.LanesHeight, e.Height = top, top-e.Top, top+26
	e.Ticks = s.timeTicks(110)
	e.Caption = fmt.Sprintf("%s from %s s to %s s: darker where there were more. Zoom in to see each.", counted(n, "operation", "operations"), stamp(v.From, 3), stamp(v.To, 3))
	e.Description = e.Caption
}

// class says what a cell looks like: how it ended for the worst, and how many there
// were in four steps.
func (t endings) class(busiest int) string {
	n := t.total()
	if n == 0 {
		return ""
	}
	step := 1
	for step < 4 && n*4 > busiest*step {
		step++
	}
	name := "ok"
	switch {
	case t.fail*2 > n:
		name = "fail"
	case t.info > 0:
		name = "info"
	case t.fail > 0:
		name = "some"
	}
	return fmt.Sprintf("d-%s d%d", name, step)
}

// lanes gives the lanes that occur, ascending, with so many clients in each that
// they are not too many.
func (v Window) lanes(h *history.History, clients int) (lanes []int32, per int32) {
	seen := map[int32]bool{}
	for i := range h.Ops {
		if o := &h.Ops[i]; v.counts(o, clients) {
			seen[laneOf(o, clients)] = true
		}
	}
	for id := range seen {
		lanes = append(lanes, id)
	}
	slices.Sort(lanes)
	per = 1
	if n := len(lanes); n > cellLanes {
		per = (lanes[n-1] + cellLanes) / cellLanes
	}
	for i := range lanes {
		lanes[i] /= per
	}
	return slices.Compact(lanes), per
}
