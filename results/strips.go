package results

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// Cut is which links a fault cut.
type Cut struct {
	Detail string         `json:"detail"` // of the fault in the history
	Links  []harness.Link `json:"links"`
}

// strips are pictures on the axis of time of the whole run: who could reach whom,
// and on how many keys the replicas differed.
type strips struct {
	Width, Height float64
	Left, Right   float64
	Description   string
	Rows          []strip
	AxisY         float64
	Ticks         []tick
	Edges         []float64
	Bands         []band
	Top           float64
	Chart         *chart // divergence
	Line          string // a path
	Unread        string
	HasUnread     bool
}

// strip is a pair of nodes, or one node, over time.
type strip struct {
	Y, Middle float64
	Label     string
	Odd       bool
	Bars      []stripBar
}

type stripBar struct {
	X, Y, W, H float64
	Class      string
	Title      string
}

const stripHeight = 18.0

// drawReach draws who could reach whom; nil where everybody always could.
func drawReach(run *Run) *strips {
	h := run.History
	end := max(1, h.End())
	s := newScale([][2]int64{{0, end}}, paperLeft, paperRight, 0)
	p := &strips{Width: paperWidth, Left: paperLeft, Right: paperRight, Top: 4, Ticks: s.timeTicks(90)}
	rows := map[[2]int]*strip{}
	row := func(a, b int) *strip {
		if a > b {
			a, b = b, a
		}
		r := rows[[2]int{a, b}]
		if r == nil {
			r = &strip{Label: fmt.Sprintf("%d ↔ %d", a, b)}
			if a == b {
				r.Label = fmt.Sprintf("node %d", a)
			}
			rows[[2]int{a, b}] = r
		}
		return r
	}
	for i := range h.Faults[:min(len(h.Faults), mostFaults)] {
		f := &h.Faults[i]
		x0, x1 := s.x(f.Start), s.x(min(f.End, end))
		bar := stripBar{X: round1(x0), W: round1(max(2, x1-x0)), Title: fmt.Sprintf("%s, %s–%s s", faultName(f), stamp(f.Start, 3), stamp(f.End, 3))}
		switch f.Kind {
		case "kill", "pause":
			for _, n := range f.Nodes {
				bar.Class = "down"
				r := row(n, n)
				r.Bars = append(r.Bars, bar)
			}
		}
		cut := map[[2]int]bool{}
		for _, c := range run.Test.Cuts {
			if c.Detail == f.Detail {
				for _, l := range c.Links {
					cut[[2]int{l.From, l.To}] = true
				}
			}
		}
		for _, l := range sortedLinks(cut) {
			switch back := cut[[2]int{l[1], l[0]}]; {
			case back && l[0] > l[1]: // drawn with the other way
			case back:
				b := bar
				b.Class, b.Title = "cut", fmt.Sprintf("%d and %d cut off from each other\n%s", l[0], l[1], bar.Title)
				row(l[0], l[1]).Bars = append(row(l[0], l[1]).Bars, b)
			default:
				b := bar
				b.Class, b.Title = "half", fmt.Sprintf("nothing from %d to %d\n%s", l[0], l[1], bar.Title)
				row(l[0], l[1]).Bars = append(row(l[0], l[1]).Bars, b)
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	var keys [][2]int
	for k := range rows {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	y := p.Top
	for i, k := range keys {
		r := rows[k]
		r.Y, r.Middle, r.Odd = y, y+stripHeight/2+4, i%2 == 1
		for j := range r.Bars {
			b := &r.Bars[j]
			b.Y, b.H = y+3, stripHeight-6
			if b.Class == "half" {
				b.Y, b.H = y+6, stripHeight-12
			}
		}
		p.Rows = append(p.Rows, *r)
		y += stripHeight
	}
	p.AxisY, p.Height = y, y+24
	p.Description = fmt.Sprintf("Links that were cut and nodes that did not run, over %s: %s. The faults below say the same in words.", span(time.Duration(end)), counted(len(keys), "row", "rows"))
	p.edges(h, s)
	return p
}

func sortedLinks(cut map[[2]int]bool) [][2]int {
	var links [][2]int
	for l := range cut {
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	return links
}

func (p *strips) edges(h *history.History, s scale) {
	for _, ph := range h.Phases[min(1, len(h.Phases)):] {
		p.Edges = append(p.Edges, round1(s.x(ph.Start)))
	}
}

// drawDivergence draws on how many keys the replicas differed; nil where that was
// not looked at more than once.
func drawDivergence(run *Run) *strips {
	if run.Replicas == nil || len(run.Replicas.Samples) < 2 {
		return nil
	}
	h, samples := run.History, run.Replicas.Samples
	end := max(h.End(), samples[len(samples)-1].At, 1)
	s := newScale([][2]int64{{0, end}}, paperLeft, paperRight, 0)
	const top, height = 26.0, 110.0
	p := &strips{Width: paperWidth, Left: paperLeft, Right: paperRight, Top: top, Ticks: s.timeTicks(90), AxisY: top + height, Height: top + height + 38}
	p.Chart = &chart{Left: paperLeft, Right: paperRight, Top: top, Bottom: top + height, Title: "keys on which the replicas differ"}
	most := 0
	for _, x := range samples {
		most = max(most, x.Differ)
		p.HasUnread = p.HasUnread || x.Unread > 0
	}
	step := roundUp(max(1, float64(most)/3))
	scaleTop := max(1, math.Ceil(float64(most)/step)) * step
	y := func(n int) float64 { return p.AxisY - float64(n)/scaleTop*height }
	for v := 0.0; v <= scaleTop+step/2; v += step {
		p.Chart.Ticks = append(p.Chart.Ticks, tick{round1(y(int(v))), count(int(v))})
	}
	var line, unread path
	for i, x := range samples {
		command := byte('L')
		if i == 0 {
			command = 'M'
		}
		line.to(command, s.x(x.At), y(x.Differ))
		if x.Unread > 0 {
			unread.to('M', s.x(x.At), p.AxisY)
			unread.to('L', s.x(x.At), p.AxisY-4)
		}
	}
	p.Line, p.Unread = line.String(), unread.String()
	for i := range h.Faults[:min(len(h.Faults), mostFaults)] {
		f := &h.Faults[i]
		p.Bands = append(p.Bands, faultBand(f, s, min(f.End, end)))
	}
	last := samples[len(samples)-1]
	p.Description = fmt.Sprintf("Replicas differed on %s at most, and on %s at the end (%s).",
		counted(most, "key", "keys"), counted(last.Differ, "key", "keys"), span(time.Duration(last.At)))
	p.edges(h, s)
	return p
}
