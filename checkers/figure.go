package checkers

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Figure is the distribution of something that was measured.
type Figure struct {
	Name string `json:"name"`
	Unit string `json:"unit"` // "ms", "versions"
	N    int    `json:"n"`
	// The quantiles are nearest-rank. Low and High are their 95 % intervals, by
	// the band of Dvoretzky, Kiefer, Wolfowitz and Massart, which holds for all
	// of them at once; High is Max where the band reaches beyond what was seen.
	Quantiles []Quantile `json:"quantiles"`
	Max       float64    `json:"max"`
}

// Quantile is one of a figure's.
type Quantile struct {
	Q     float64 `json:"q"` // 0.5: the median
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// figureOf measures some values, which it sorts, in units of unit.
func figureOf(name, unitName string, values []int64, unit float64) Figure {
	slices.Sort(values)
	f := Figure{Name: name, Unit: unitName, N: len(values)}
	if len(values) == 0 {
		return f
	}
	at := func(q float64) float64 {
		rank := int(math.Ceil(q * float64(len(values))))
		return float64(values[min(max(rank, 1), len(values))-1]) / unit
	}
	band := dkw(len(values))
	for _, q := range []float64{0.5, 0.95, 0.99} {
		f.Quantiles = append(f.Quantiles, Quantile{Q: q, Value: at(q), Low: at(q - band), High: at(q + band)})
	}
	f.Max = at(1)
	return f
}

// String gives "stable after: p50 0 ms, p95 1.2 ms (0.9–3.1), p99 4 ms (…), max 9 ms, of 400".
func (f Figure) String() string {
	if f.N == 0 {
		return f.Name + ": nothing was measured"
	}
	s := f.Name + ":"
	for _, q := range f.Quantiles {
		s += fmt.Sprintf(" p%g %s", q.Q*100, short(q.Value))
		if q.Low != q.Value || q.High != q.Value {
			s += fmt.Sprintf(" (%s–%s)", short(q.Low), short(q.High))
		}
		s += ","
	}
	return fmt.Sprintf("%s max %s %s, of %s", s, short(f.Max), f.Unit, count(f.N))
}

// short prints three digits that mean something.
func short(x float64) string {
	if x >= 100 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}
