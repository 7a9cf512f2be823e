package sim

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// Latency is a distribution of delays, given by what one can measure: Min plus
// a log-normal delay with the given median and 99th percentile. It is heavy
// tailed: with P99 at ten times the median, one delay in a million is a
// hundred times the median.
//
// With P99 zero the delay is always Median. The zero Latency stands for the
// default of the field it is in.
type Latency struct {
	Min    time.Duration // no delay is less
	Median time.Duration
	P99    time.Duration
	Max    time.Duration // longer delays are cut to it; 0: no limit
}

func (l Latency) orDefault(d Latency) Latency {
	if l == (Latency{}) {
		return d
	}
	return l
}

func (l Latency) validate(field string) error {
	switch {
	case l.Min < 0 || l.Median < 0 || l.P99 < 0 || l.Max < 0:
		return fmt.Errorf("sim: %s: durations must not be negative", field)
	case l.Median < l.Min:
		return fmt.Errorf("sim: %s: Median %v is below Min %v", field, l.Median, l.Min)
	case l.P99 != 0 && l.P99 < l.Median:
		return fmt.Errorf("sim: %s: P99 %v is below Median %v; leave it 0 for a constant delay", field, l.P99, l.Median)
	case l.P99 > l.Median && l.Median == l.Min:
		return fmt.Errorf("sim: %s: Median must be above Min %v for delays that vary", field, l.Min)
	case l.Max != 0 && l.Max < max(l.Median, l.P99):
		return fmt.Errorf("sim: %s: Max %v is below Median or P99", field, l.Max)
	}
	return nil
}

// quantile gives the delay that is exceeded with probability p.
func (l Latency) quantile(p float64) int64 {
	if l.P99 <= l.Median {
		return int64(l.Median)
	}
	const z99 = 2.3263478740408408 // the normal distribution's 99th percentile
	body := float64(l.Median - l.Min)
	sigma := math.Log(float64(l.P99-l.Min)/body) / z99
	z := math.Sqrt2 * math.Erfinv(1-2*p)
	d := body * math.Exp(sigma*z)
	limit := float64(1 << 60) // no sum of times can overflow
	if l.Max != 0 {
		limit = float64(l.Max - l.Min)
	}
	return int64(l.Min) + int64(math.Round(min(d, limit)))
}

const (
	octaves = 32 // the tail is exact to one delay in 2^32
	steps   = 64
)

// sampler draws from a Latency: its quantiles in a table. The table has an
// octave for each halving of the tail's probability, so that rare delays are
// as exact as common ones. Drawing is integer arithmetic only: the same on
// every processor.
type sampler struct {
	at [octaves][steps + 1]int64
}

func newSampler(l Latency) *sampler {
	s := new(sampler)
	for o := range octaves {
		for i := range steps + 1 {
			p := math.Ldexp(float64(steps+i)/(2*steps), -o)
			s.at[o][i] = l.quantile(p)
		}
	}
	return s
}

// draw maps 64 random bits to a delay in nanoseconds.
func (s *sampler) draw(u uint64) int64 {
	o := bits.LeadingZeros64(u)
	if o >= octaves {
		return s.at[octaves-1][0]
	}
	u <<= o + 1 // what follows the leading one
	i := u >> 58
	row := &s.at[o]
	hi, lo := row[i], row[i+1] // the greater the probability to exceed it, the smaller the delay
	d, _ := bits.Mul64(uint64(hi-lo), u<<6)
	return hi - int64(d)
}
