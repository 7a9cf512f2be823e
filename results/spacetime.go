package results

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// Trace is what happened between the nodes around a violation of a simulated run.
type Trace struct {
	Schema int          `json:"schema"`
	Key    int32        `json:"key"`
	Events []TraceEvent `json:"events"`        // by time
	Cut    bool         `json:"cut,omitempty"` // there were more
}

// TraceEvent is one of them. Kinds are those of package sim: send, deliver, drop,
// request, reply, answer, synced, boot, crash, pause, resume, clock.
type TraceEvent struct {
	At    int64  `json:"at"` // nanoseconds of the history's time
	Kind  string `json:"kind"`
	Node  int    `json:"node"`
	Peer  int    `json:"peer"` // -1: none
	ID    uint64 `json:"id,omitempty"`
	Label string `json:"label,omitempty"`
	Note  string `json:"note,omitempty"`
}

// spacetime is the diagram of a trace: a line for each node and each client of the
// story, time to the right, messages as arrows between them.
type spacetime struct {
	Width, Height float64
	Left, Right   float64
	Caption       string
	Description   string
	Lines         []spaceLine
	Bars          []bar // the operations of the story
	Arrows        []arrow
	Dots          []dot
	Breaks        []timeBreak
	Ticks         []tick
	AxisY         float64
	Listed        []string
	More          int
}

type spaceLine struct {
	Y     float64
	Label string
	Node  bool
}

// arrow is a message. Lost ones end in a cross.
type arrow struct {
	X1, Y1, X2, Y2 float64
	Head           string // a path
	Lost           bool
	Client         bool
	Label          string
	LabelX, LabelY float64
	Title          string
}

// dot is something that happened at one node.
type dot struct {
	X, Y  float64
	Class string
	Title string
}

const (
	spaceRow     = 46.0
	mostArrows   = 400
	mostMessages = 200 // in the list
)

// drawSpacetime draws the messages of a run around the first violation told.
func drawSpacetime(run *Run, t *telling, latency int64) *spacetime {
	if run.Trace == nil || t == nil || len(t.Steps) == 0 || t.Result.Key != run.Trace.Key {
		return nil
	}
	h := run.History
	var points []int64
	for _, s := range t.Steps {
		o := &h.Ops[s.Op]
		points = append(points, o.Call)
		if o.Return != history.Never {
			points = append(points, o.Return)
		}
	}
	stretches := stretchesAround(points, max(latency/2, 1))
	s := newScale(stretches, paperLeft, paperRight, breakWidth)
	p := &spacetime{Width: paperWidth, Left: paperLeft, Right: paperRight}
	y := 24.0
	clients := map[int32]float64{}
	for _, st := range t.Steps {
		process := h.Ops[st.Op].Process
		if _, ok := clients[process]; !ok {
			clients[process] = y
			p.Lines = append(p.Lines, spaceLine{Y: y, Label: fmt.Sprintf("process %d", process)})
			y += spaceRow * 0.75
		}
	}
	y += 10
	nodes := make([]float64, run.Test.Nodes)
	for n := range nodes {
		nodes[n] = y
		p.Lines = append(p.Lines, spaceLine{Y: y, Label: fmt.Sprintf("node %d", n), Node: true})
		y += spaceRow
	}
	p.AxisY, p.Height = y-spaceRow/2, y+14
	p.Ticks = s.timeTicks(110)
	for i := 1; i < len(s); i++ {
		p.Breaks = append(p.Breaks, newBreak(s[i-1], s[i], 6, p.AxisY))
		p.Height = y + 30
	}
	for i, st := range t.Steps {
		o := &h.Ops[st.Op]
		b := (&excerpt{end: h.End()}).drawBar(h, st.Op, s, clients[o.Process]-laneHeight/2, i+1, t.Result.Key, 6)
		p.Bars = append(p.Bars, b)
		if o.Node >= 0 && int(o.Node) < len(nodes) {
			p.arrow(s, o.Call, o.Call, clients[o.Process]+8, nodes[o.Node], "", "", false).Client = true
			if o.Return != history.Never {
				p.arrow(s, o.Return, o.Return, nodes[o.Node], clients[o.Process]+8, "", "", false).Client = true
			}
		}
	}
	p.messages(run.Trace, s, nodes)
	p.Caption = "Messages between the nodes about this key, around the violation. Time goes to the right; arrows are messages, and end in a cross where they were lost; ticks on a line are writes made durable."
	if run.Trace.Cut {
		p.Caption += " There were more than are kept."
	}
	p.Description = fmt.Sprintf("%s between %s; the list below says the same.", counted(len(p.Arrows), "arrow", "arrows"), counted(len(nodes), "node", "nodes"))
	return p
}

// messages draws the events of a trace.
func (p *spacetime) messages(t *Trace, s scale, nodes []float64) {
	within := func(n int) bool { return n >= 0 && n < len(nodes) }
	sent := map[uint64]TraceEvent{}
	for _, e := range t.Events {
		if !within(e.Node) {
			continue
		}
		if e.Kind == "send" {
			sent[e.ID] = e
			continue
		}
		if !s.shows(e.At, e.At) {
			continue
		}
		when := stamp(e.At, 6)
		switch e.Kind {
		case "deliver", "drop":
			from, ok := sent[e.ID]
			if !ok || !within(e.Peer) {
				continue // it was sent before the trace begins
			}
			title := fmt.Sprintf("%s from node %d to node %d\n%s–%s s (%s)", e.Label, e.Peer, e.Node, stamp(from.At, 6), when, span(time.Duration(e.At-from.At)))
			if e.Kind == "drop" {
				title += "\nlost: " + e.Note
			}
			if len(p.Arrows) < mostArrows {
				p.arrow(s, from.At, e.At, nodes[e.Peer], nodes[e.Node], e.Label, title, e.Kind == "drop")
			}
			p.list(strings.ReplaceAll(title, "\n", ", "))
		case "synced", "boot", "crash", "pause", "resume", "clock":
			title := fmt.Sprintf("node %d: %s at %s s", e.Node, e.Kind, when)
			if e.Note != "" {
				title += " (" + e.Note + ")"
			}
			p.Dots = append(p.Dots, dot{X: round1(s.x(e.At)), Y: nodes[e.Node], Class: "t-" + e.Kind, Title: title})
			if e.Kind != "synced" {
				p.list(title)
			}
		}
	}
}

func (p *spacetime) list(line string) {
	if len(p.Listed) == mostMessages {
		p.More++
		return
	}
	p.Listed = append(p.Listed, line)
}

// arrow adds an arrow.
func (p *spacetime) arrow(s scale, from, to int64, y1, y2 float64, label, title string, lost bool) *arrow {
	a := arrow{X1: round1(s.x(from)), Y1: y1, X2: round1(s.x(to)), Y2: y2, Title: title, Lost: lost}
	dx, dy := a.X2-a.X1, a.Y2-a.Y1
	if n := max(abs(dx), abs(dy), 1); true {
		ux, uy := dx/n, dy/n
		var h path
		if lost {
			h.to('M', a.X2-3, a.Y2-3)
			h.to('L', a.X2+3, a.Y2+3)
			h.to('M', a.X2-3, a.Y2+3)
			h.to('L', a.X2+3, a.Y2-3)
		} else {
			h.to('M', a.X2-7*ux-3*uy, a.Y2-7*uy+3*ux)
			h.to('L', a.X2, a.Y2)
			h.to('L', a.X2-7*ux+3*uy, a.Y2-7*uy-3*ux)
		}
		a.Head = h.String()
	}
	if label != "" && abs(dx) > 26 {
		a.Label, a.LabelX, a.LabelY = label, round1(a.X1+dx*0.4), round1(a.Y1+dy*0.4-3)
	}
	p.Arrows = append(p.Arrows, a)
	return &p.Arrows[len(p.Arrows)-1]
}

func abs(x float64) float64 { return max(x, -x) }

// sortTrace keeps the promise of the order.
func sortTrace(t *Trace) {
	slices.SortStableFunc(t.Events, func(a, b TraceEvent) int { return int(min(max(a.At-b.At, -1), 1)) })
}
