package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ratios are of one round: a machine that slows down for both systems between
// two rounds changes neither ratio.
func TestRatiosAreOfOneRound(t *testing.T) {
	r := report{Options: options{Systems: []string{"store", "etcd"}, Ops: []string{opPut}, Rounds: 3}}
	for round, etcdRate := range []float64{1000, 100, 10} {
		r.Samples = append(r.Samples,
			sample{System: "store", Op: opPut, Round: round, Rate: float64(2+round) * etcdRate, P50: time.Millisecond},
			sample{System: "etcd", Op: opPut, Round: round, Rate: etcdRate, P50: 2 * time.Millisecond})
	}
	r.summarize()
	require.Len(t, r.Summary, 2)
	require.Equal(t, 300.0, r.Summary[0].Rate)
	e := r.Summary[1]
	require.Equal(t, 100.0, e.Rate)
	require.Equal(t, []float64{3, 2, 4}, []float64{e.Ratio, e.RatioMin, e.RatioMax})
	var out bytes.Buffer
	r.print(&out)
	require.Contains(t, out.String(), "3.00 ×")
}

func TestMedianAndQuantile(t *testing.T) {
	self := func(x float64) float64 { return x }
	require.Equal(t, 2.0, median([]float64{3, 1, 2}, self))
	require.Equal(t, 2.5, median([]float64{4, 3, 1, 2}, self))
	var took []time.Duration
	for i := range 101 {
		took = append(took, time.Duration(i))
	}
	require.EqualValues(t, 50, quantile(took, 0.50))
	require.EqualValues(t, 99, quantile(took, 0.99))
	require.EqualValues(t, 7, quantile([]time.Duration{7}, 0.99))
}

func TestOptionsThatCannotBe(t *testing.T) {
	good := options{Systems: []string{"store"}, Ops: []string{opPut}, Rounds: 1, Nodes: 1, Clients: 1, Conns: 1, Keys: 1, Value: 8, Measure: 1}
	require.NoError(t, good.validate())
	for want, change := range map[string]func(*options){
		"--systems": func(o *options) { o.Systems = nil },
		"--rounds":  func(o *options) { o.Rounds = 0 },
		"--conns":   func(o *options) { o.Conns = 2 },
		"--keys":    func(o *options) { o.Keys = 0 },
		"--value":   func(o *options) { o.Value = 7 },
		"--ops":     func(o *options) { o.Ops = []string{"scan"} },
	} {
		o := good
		change(&o)
		require.ErrorContains(t, o.validate(), want)
	}
	_, err := newSystem("mongo")
	require.ErrorContains(t, err, "etcd-leader")
}
