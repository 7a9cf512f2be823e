package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
)

// The quantiles are those of the configuration, also where one link differs.
func TestDelays(t *testing.T) {
	slow := Latency{Median: time.Second}
	w, err := New(Config{System: toy{boot: func(Host) (Node, error) { return &puppet{}, nil }}, Nodes: 2, Net: NetConfig{Links: []LinkLatency{{Link: harness.Link{From: 0, To: 1}, Latency: slow}}}})
	require.NoError(t, err)
	link, client, sync := w.Delays(1000)
	require.Len(t, link, 1000)
	slices.Sort(link)
	slices.Sort(client)
	slices.Sort(sync)
	require.InDelta(t, float64(200*time.Microsecond), float64(client[500]), 3e4)
	require.Equal(t, int64(time.Second), link[600], "every other one is of the slow link")
	require.InDelta(t, float64(500*time.Microsecond), float64(link[250]), 3e4)
	require.InDelta(t, float64(500*time.Microsecond), float64(sync[500]), 3e4)
	require.InDelta(t, float64(5*time.Millisecond), float64(sync[990]), 5e5)
	w, err = New(Config{System: toy{boot: func(Host) (Node, error) { return &puppet{}, nil }}, Nodes: 1})
	require.NoError(t, err)
	link, client, sync = w.Delays(10)
	require.Empty(t, link)
	require.Len(t, client, 10)
	require.Len(t, sync, 10)
}
