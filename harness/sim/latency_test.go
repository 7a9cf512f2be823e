package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLatencyQuantiles(t *testing.T) {
	l := Latency{Min: 100 * time.Microsecond, Median: 600 * time.Microsecond, P99: 5 * time.Millisecond}
	s := newSampler(l)
	r := rand.NewPCG(1, 2)
	const n = 200_000
	d := make([]int64, n)
	for i := range d {
		d[i] = s.draw(r.Uint64())
	}
	slices.Sort(d)
	require.GreaterOrEqual(t, d[0], int64(l.Min))
	for _, q := range []float64{0.01, 0.1, 0.5, 0.9, 0.99, 0.999} {
		want := l.quantile(1 - q)
		require.InEpsilon(t, want, d[int(q*n)], 0.06, "quantile %v", q)
	}
	require.InEpsilon(t, int64(l.Median), l.quantile(0.5), 1e-9)
	require.InEpsilon(t, int64(l.P99), l.quantile(0.01), 1e-6)
	require.Greater(t, d[n-1], int64(2*l.P99), "the tail is heavy")
}

// The whole range of random bits gives the whole range of delays, in order.
func TestSamplerIsMonotonic(t *testing.T) {
	l := Latency{Median: time.Millisecond, P99: 20 * time.Millisecond, Max: 50 * time.Millisecond}
	s := newSampler(l)
	require.Equal(t, int64(l.Max), s.draw(0))
	require.InDelta(t, 0, s.draw(math.MaxUint64), 10)
	last := int64(math.MaxInt64)
	for u := uint64(1); u > 0 && u < math.MaxUint64-math.MaxUint64/50; u += u/50 + 1 {
		d := s.draw(u)
		require.LessOrEqual(t, d, last, "u=%#x", u)
		last = d
	}
	require.InEpsilon(t, int64(time.Millisecond), s.draw(1<<63), 1e-3)
	// Halfway between two entries of the table.
	p := math.Ldexp(64.5/128, -3)
	require.InEpsilon(t, l.quantile(p), s.draw(uint64(math.Ldexp(p, 64))), 1e-3)
}

func TestConstantLatency(t *testing.T) {
	s := newSampler(exactly(3 * time.Millisecond))
	for _, u := range []uint64{0, 1, 1 << 40, math.MaxUint64} {
		require.Equal(t, int64(3*time.Millisecond), s.draw(u))
	}
}

func TestConfigErrors(t *testing.T) {
	sys := echoSystem()
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"no system":    {Config{Nodes: 3}, "Config.System"},
		"no nodes":     {Config{System: sys}, "Config.Nodes is 0"},
		"probability":  {Config{System: sys, Nodes: 3, Net: NetConfig{Loss: 1.5}}, "Net.Loss is 1.5"},
		"not a number": {Config{System: sys, Nodes: 3, Net: NetConfig{Duplicate: math.NaN()}}, "Net.Duplicate"},
		"reorder":      {Config{System: sys, Nodes: 3, Net: NetConfig{Reorder: 0.5}}, "needs InOrder"},
		"percentile":   {Config{System: sys, Nodes: 3, Net: NetConfig{Latency: Latency{Median: 2, P99: 1}}}, "P99 1ns is below Median 2ns"},
		"negative":     {Config{System: sys, Nodes: 3, Boot: Latency{Median: -1}}, "Config.Boot"},
		"min":          {Config{System: sys, Nodes: 3, Boot: Latency{Min: 2, Median: 2, P99: 4}}, "Median must be above Min"},
		"max":          {Config{System: sys, Nodes: 3, Disk: DiskConfig{Sync: Latency{Median: 2, Max: 1}}}, "Config.Disk.Sync: Max"},
		"link":         {Config{System: sys, Nodes: 3, Net: NetConfig{Links: make([]LinkLatency, 1)}}, "Links[0]: link 0→0"},
	} {
		_, err := New(c.cfg)
		require.ErrorContains(t, err, c.want, name)
	}
}
