package results

import (
	"fmt"
	"math"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// The paper of the pictures, in points of their own coordinates.
const (
	paperWidth  = 1160.0
	paperLeft   = 92.0 // room for labels
	paperRight  = 1146.0
	faultRow    = 20.0
	mostFaults  = 300 // drawn and listed; a page with more helps nobody
	rateHeight  = 150.0
	delayHeight = 110.0
)

// overview is the picture of the whole run: phases and faults on top, under
// them operations a second and latencies, all on one axis of time.
type overview struct {
	Width, Height float64
	Left, Right   float64
	Description   string
	Phases        []phaseMark
	FaultRows     []faultLane
	Bands         []band // behind the charts
	BandTop       float64
	BandHeight    float64
	Rate          chart
	Delay         chart
	OK            string // paths
	Info, Fail    string
	P50, P99      string
	Ticks         []tick
	AxisY         float64
	Edges         []float64 // between phases, x
	Marks         []mark
	Kinds         []kindKey
	Unproved      bool // one of the faults is
}

// kindKey is a kind of fault in the legend.
type kindKey struct {
	Name    string
	Pattern int
}

// chart is the frame of one chart.
type chart struct {
	Left, Right, Top, Bottom float64
	Ticks                    []tick // At is y
	Title                    string
}

type phaseMark struct {
	X, W, Middle float64
	Name         string
}

// faultLane is a row of faults of one kind that do not overlap.
type faultLane struct {
	Kind string
	Y    float64
	Bars []band
}

// band is a fault on the axis of time.
type band struct {
	X, Y, W float64
	Label   string // "" where there is no room
	Title   string
	Kind    int // which pattern, see kindPattern
	Proved  bool
}

// mark is where a violation lies.
type mark struct {
	X, Y, W float64
	Label   string
}

// kindPattern gives the known kinds of faults a pattern each.
func kindPattern(kind string) int {
	for i, k := range []string{"partition", "kill", "pause", "clock"} {
		if k == kind {
			return i + 1
		}
	}
	return 0
}

func drawOverview(h *history.History, t *timeline, violations []violation) *overview {
	s := newScale([][2]int64{{0, t.end}}, paperLeft, paperRight, 0)
	o := &overview{Width: paperWidth, Left: paperLeft, Right: paperRight}
	y := 6.0
	if len(h.Phases) > 0 {
		for i, p := range h.Phases {
			x0, x1 := s.x(p.Start), s.x(min(p.End, t.end))
			o.Phases = append(o.Phases, phaseMark{round1(x0), round1(max(0, x1-x0)), round1((x0 + x1) / 2), fit(p.Name, x1-x0)})
			if i > 0 {
				o.Edges = append(o.Edges, round1(x0))
			}
		}
		y += 22
	}
	y = o.drawFaults(h, s, y)
	y = o.markViolations(violations, s, y)
	o.BandTop = y
	y += 26
	o.Rate = chart{Left: paperLeft, Right: paperRight, Top: y, Bottom: y + rateHeight, Title: "operations a second"}
	y += rateHeight + 34
	o.Delay = chart{Left: paperLeft, Right: paperRight, Top: y, Bottom: y + delayHeight, Title: "latency of ok operations"}
	y += delayHeight
	o.BandHeight = round1(y - o.BandTop)
	o.AxisY = y
	o.Ticks = s.timeTicks(90)
	o.drawRate(t, s)
	o.drawDelay(t, s)
	o.Height = y + 40
	o.Description = fmt.Sprintf("%s over %s, with %s. Phases and faults are on top; below, operations a second by outcome, and latency quantiles.",
		counted(len(h.Ops), "operation", "operations"), span(time.Duration(t.end)), counted(len(h.Faults), "fault", "faults"))
	return o
}

// markViolations gives each violation a row under the faults, with a bar where
// its operations are. It gives the y below them.
func (o *overview) markViolations(violations []violation, s scale, y float64) float64 {
	for _, v := range violations {
		if v.Excerpt == nil {
			continue
		}
		x0, x1 := s.x(v.Excerpt.first), s.x(v.Excerpt.last)
		o.Marks = append(o.Marks, mark{X: round1(x0), W: round1(max(3, x1-x0)), Y: y, Label: string(v.Result.Claim)})
		y += faultRow
	}
	return y
}

// drawFaults fills the rows of faults: a kind has as many rows as it has faults
// at once. It gives the y below them.
func (o *overview) drawFaults(h *history.History, s scale, y float64) float64 {
	end := s[len(s)-1].To
	type row struct {
		lane  faultLane
		until int64
	}
	var rows []row
	for i := range h.Faults[:min(len(h.Faults), mostFaults)] {
		f := &h.Faults[i]
		b := faultBand(f, s, min(f.End, end))
		o.Bands = append(o.Bands, b)
		o.Unproved = o.Unproved || !b.Proved
		at, last := -1, len(rows) // a further row of a kind goes under its others
		for k := range rows {
			if rows[k].lane.Kind != f.Kind {
				continue
			}
			last = k + 1
			if rows[k].until < f.Start {
				at = k
				break
			}
		}
		if at < 0 {
			at = last
			rows = append(rows[:at], append([]row{{lane: faultLane{Kind: f.Kind}}}, rows[at:]...)...)
		}
		rows[at].lane.Bars = append(rows[at].lane.Bars, b)
		rows[at].until = f.End
	}
	previous := ""
	for _, r := range rows {
		r.lane.Y = y
		if r.lane.Kind == previous {
			r.lane.Kind = ""
		} else {
			previous = r.lane.Kind
			o.Kinds = append(o.Kinds, kindKey{clip(r.lane.Kind, 20), kindPattern(r.lane.Kind)})
		}
		r.lane.Kind = clip(r.lane.Kind, 12)
		o.FaultRows = append(o.FaultRows, r.lane)
		y += faultRow
	}
	return y
}

func faultBand(f *history.Fault, s scale, end int64) band {
	x0, x1 := s.x(f.Start), s.x(end)
	b := band{X: round1(x0), W: round1(max(2, x1-x0)), Kind: kindPattern(f.Kind), Proved: f.Effect.OK}
	label := fmt.Sprintf("#%d", f.ID)
	if !f.Effect.OK {
		label += " !"
	}
	if b.Label = fit(label+" "+f.Detail, x1-x0); b.Label == "" {
		b.Label = fit(label, x1-x0)
	}
	b.Title = fmt.Sprintf("%s\n%s–%s s\neffect: %s\nhealing: %s", faultName(f), stamp(f.Start, 3), stamp(f.End, 3), proofWord(f.Effect), proofWord(f.Recovery))
	return b
}

func proofWord(p history.Proof) string {
	if p.OK {
		return "proved; " + proofText(p)
	}
	return "NOT PROVED; " + proofText(p)
}

// fit gives the text if it has room in so many points, else "".
func fit(text string, points float64) string {
	if float64(len([]rune(text)))*6.4+4 > points {
		return ""
	}
	return text
}

// drawRate draws the outcomes stacked on each other, as steps: between bins
// nothing is made up.
func (o *overview) drawRate(t *timeline, s scale) {
	most := 0.0
	for _, b := range t.bins {
		most = max(most, t.perSecond(b.ok+b.fail+b.info))
	}
	step := roundUp(most / 4)
	top := max(1, math.Ceil(most/step)) * step
	y := func(rate float64) float64 { return o.Rate.Bottom - rate/top*rateHeight }
	for v := 0.0; v <= top+step/2; v += step {
		o.Rate.Ticks = append(o.Rate.Ticks, tick{round1(y(v)), count(int(v))})
	}
	x := func(i int) float64 { return s.x(int64(float64(t.end) * float64(i) / float64(len(t.bins)))) }
	// A layer is drawn only where there is any of it, so that its edge marks
	// every bin that has some.
	layer := func(low, high func(b *bin) int) string {
		var p path
		has := func(i int) bool { return i < len(t.bins) && high(&t.bins[i]) > low(&t.bins[i]) }
		for from := 0; from < len(t.bins); from++ {
			if !has(from) {
				continue
			}
			to := from
			command := byte('M')
			for ; has(to); to++ {
				v := y(t.perSecond(high(&t.bins[to])))
				p.to(command, x(to), v)
				p.to('L', x(to+1), v)
				command = 'L'
			}
			for i := to - 1; i >= from; i-- {
				v := y(t.perSecond(low(&t.bins[i])))
				p.to('L', x(i+1), v)
				p.to('L', x(i), v)
			}
			p.close()
			from = to
		}
		return p.String()
	}
	none := func(*bin) int { return 0 }
	ok := func(b *bin) int { return b.ok }
	info := func(b *bin) int { return b.ok + b.info }
	all := func(b *bin) int { return b.ok + b.info + b.fail }
	o.OK, o.Info, o.Fail = layer(none, ok), layer(ok, info), layer(info, all)
}

// drawDelay draws the quantiles on a logarithmic axis. A bin without an ok
// operation is a gap.
func (o *overview) drawDelay(t *timeline, s scale) {
	low, high, ok := t.decades()
	if !ok {
		return
	}
	y := func(ns int64) float64 {
		return o.Delay.Bottom - (math.Log10(float64(max(1, ns)))-float64(low))/float64(high-low)*delayHeight
	}
	for d := low; d <= high; d++ {
		o.Delay.Ticks = append(o.Delay.Ticks, tick{round1(y(int64(math.Pow(10, float64(d))))), decadeLabel(d)})
	}
	x := func(i int) float64 { return s.x(int64(float64(t.end) * float64(i) / float64(len(t.bins)))) }
	line := func(q func(b *bin) int64) string {
		var p path
		gap := true
		for i := range t.bins {
			v := q(&t.bins[i])
			if v < 0 {
				gap = true
				continue
			}
			command := byte('L')
			if gap {
				command = 'M'
			}
			p.to(command, x(i), y(v))
			p.to('L', x(i+1), y(v))
			gap = false
		}
		return p.String()
	}
	o.P50, o.P99 = line(func(b *bin) int64 { return b.p50 }), line(func(b *bin) int64 { return b.p99 })
}
