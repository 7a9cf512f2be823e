package results

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// timeline is a history cut into equal bins of time, however long it is: what a
// picture of the whole run is drawn from.
type timeline struct {
	end  int64 // nanoseconds; the bins cover [0, end]
	bins []bin
}

// bin counts what completed in it. An operation that never did counts where it
// was called.
type bin struct {
	ok, fail, info int
	p50, p99       int64 // nanoseconds, latencies of the ok ones; -1 without any
}

const mostBins = 230 // about one every five points of the picture

// timelineOf takes O(n log n) time and 8 bytes an operation.
func timelineOf(h *history.History) timeline {
	t := timeline{end: max(1, h.End())}
	n := max(20, min(mostBins, len(h.Ops)/8))
	t.bins = make([]bin, n)
	at := func(o *history.Op) int {
		when := o.Return
		if when == history.Never {
			when = o.Call
		}
		return max(0, min(n-1, int(float64(when)/float64(t.end)*float64(n))))
	}
	for i := range h.Ops {
		b := &t.bins[at(&h.Ops[i])]
		switch h.Ops[i].Outcome {
		case history.OK:
			b.ok++
		case history.Fail:
			b.fail++
		default:
			b.info++
		}
	}
	// The latencies of each bin stand together in one array.
	next := make([]int, n)
	total := 0
	for i := range t.bins {
		next[i] = total
		total += t.bins[i].ok
	}
	latencies := make([]int64, total)
	for i := range h.Ops {
		if o := &h.Ops[i]; o.Outcome == history.OK {
			k := at(o)
			latencies[next[k]] = o.Return - o.Call
			next[k]++
		}
	}
	for i := range t.bins {
		b := &t.bins[i]
		own := latencies[next[i]-b.ok : next[i]]
		slices.Sort(own)
		b.p50, b.p99 = quantile(own, 0.50), quantile(own, 0.99)
	}
	return t
}

// quantile is the nearest-rank quantile of sorted values, -1 of none.
func quantile(sorted []int64, q float64) int64 {
	if len(sorted) == 0 {
		return -1
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// perSecond turns a count in a bin into a rate.
func (t *timeline) perSecond(n int) float64 {
	return float64(n) * float64(len(t.bins)) / (float64(t.end) / 1e9)
}

// round1 keeps one decimal: a tenth of a point is finer than any screen.
func round1(x float64) float64 { return math.Round(x*10) / 10 }

// segment is a stretch of time on the paper.
type segment struct {
	From, To int64
	X0, X1   float64
}

// scale maps time to the paper. Between segments time is left out.
type scale []segment

// newScale lays out stretches of time, in order and apart, between two points
// of the paper, all to the same scale, with a gap where time is left out.
func newScale(stretches [][2]int64, x0, x1, gap float64) scale {
	var total float64
	for _, s := range stretches {
		total += float64(s[1] - s[0])
	}
	perNano := (x1 - x0 - gap*float64(len(stretches)-1)) / max(1, total)
	out := make(scale, 0, len(stretches))
	for _, s := range stretches {
		w := float64(s[1]-s[0]) * perNano
		out = append(out, segment{s[0], s[1], x0, x0 + w})
		x0 += w + gap
	}
	return out
}

// x is where a time lies; times before the first and after the last segment lie
// at the ends.
func (s scale) x(t int64) float64 {
	for i, g := range s {
		if t < g.From {
			if i == 0 {
				return g.X0
			}
			// In a gap: as far along as it is in the time left out.
			p := s[i-1]
			return p.X1 + (g.X0-p.X1)*float64(t-p.To)/float64(g.From-p.To)
		}
		if t <= g.To {
			return g.X0 + (g.X1-g.X0)*float64(t-g.From)/max(1, float64(g.To-g.From))
		}
	}
	return s[len(s)-1].X1
}

// shows says whether anything of [from, to] lies in a segment.
func (s scale) shows(from, to int64) bool {
	return slices.ContainsFunc(s, func(g segment) bool { return from <= g.To && to >= g.From })
}

// tick is a mark of an axis.
type tick struct {
	At    float64
	Label string
}

// timeTicks puts ticks at round times, about so many points apart.
func (s scale) timeTicks(apart float64) []tick {
	var out []tick
	for _, g := range s {
		if g.X1-g.X0 < 1 {
			continue
		}
		step := roundUp(float64(g.To-g.From) * apart / (g.X1 - g.X0))
		decimals := max(0, 9-int(math.Floor(math.Log10(step)+1e-9)))
		for i := math.Ceil(float64(g.From) / step); i*step <= float64(g.To); i++ {
			t := int64(i * step)
			out = append(out, tick{round1(s.x(t)), stamp(t, min(9, decimals))})
		}
	}
	return out
}

// roundUp is the least of 1, 2, 5, 10, 20, … that is not below x.
func roundUp(x float64) float64 {
	if !(x > 1) {
		return 1
	}
	ten := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if m*ten >= x*(1-1e-9) {
			return m * ten
		}
	}
	return 10 * ten
}

// path builds the d attribute of an SVG path.
type path struct{ b []byte }

func (p *path) to(command byte, x, y float64) {
	p.b = append(p.b, command)
	p.b = strconv.AppendFloat(p.b, x, 'f', 1, 64)
	p.b = append(p.b, ' ')
	p.b = strconv.AppendFloat(p.b, y, 'f', 1, 64)
}

func (p *path) close() { p.b = append(p.b, 'Z') }

func (p *path) String() string { return string(p.b) }

// decades are the powers of ten of nanoseconds that enclose the latencies of a
// timeline; ok is false without latencies.
func (t *timeline) decades() (low, high int, ok bool) {
	least, most := int64(math.MaxInt64), int64(0)
	for _, b := range t.bins {
		if b.p50 >= 0 {
			least, most, ok = min(least, b.p50), max(most, b.p99), true
		}
	}
	if !ok {
		return 0, 0, false
	}
	low = int(math.Floor(math.Log10(float64(max(1, least)))))
	high = int(math.Ceil(math.Log10(float64(max(2, most)))))
	return low, max(high, low+1), true
}

func decadeLabel(d int) string { return span(time.Duration(math.Pow(10, float64(d)))) }
