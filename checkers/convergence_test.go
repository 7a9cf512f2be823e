package checkers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

func TestConvergesWhenRead(t *testing.T) {
	h := parse(t, "w1@1-2")
	for _, c := range []struct {
		name         string
		alone, read  [][]harness.Replica
		settled      time.Duration // of alone
		readSettled  time.Duration
		alones, want Verdict
	}{
		{"agree by themselves", replicasOf("1", "1"), nil, time.Second, 0, Held, Held},
		{"agree when read", replicasOf("1", "nil"), replicasOf("1", "1"), -1, time.Second, Broken, Held},
		{"differ even then", replicasOf("1", "nil"), replicasOf("1", "nil"), -1, -1, Broken, Broken},
		{"nobody read", replicasOf("1", "nil"), nil, -1, 0, Broken, Unknown},
		{"agreed too late, and nobody read", replicasOf("1", "1"), nil, -1, 0, Broken, Unknown},
		{"one could not be inspected after the reads", replicasOf("1", "nil"), replicasOf("1", "-"), -1, -1, Broken, Unknown},
		{"nothing was inspected", nil, nil, -1, 0, Unknown, Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := Input{History: h, Replicas: c.alone, Settled: c.settled, ReadBack: c.read, ReadBackSettled: c.readSettled}
			require.Equal(t, c.alones, CheckConverges(in, Budget{}).Verdict)
			r := CheckConvergesWhenRead(in, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.Equal(t, ConvergesWhenRead, r.Claim)
		})
	}
	r := CheckConvergesWhenRead(Input{History: h, Replicas: replicasOf("1", "nil"), Settled: -1}, Budget{})
	require.Equal(t, `nobody read the keys that differ: replicas differ on 1 of 1 key, first on key "k0": node 0 holds 1 and node 1 holds nothing`, r.Reason)
}

// Keys that differ are a rate, and values side by side a figure.
func TestConvergesFigures(t *testing.T) {
	h := parse(t, "w1@1-2/0 w2@1-2/1")
	row := func(second history.Value) []harness.Replica {
		return []harness.Replica{{Present: true, Values: history.List{1, 2}}, {Present: true, Value: second}}
	}
	r := CheckConverges(Input{History: h, Replicas: [][]harness.Replica{row(2), row(3)}, Settled: -1}, Budget{})
	require.Equal(t, "1 of 2 keys broken (9.5–91 %)", r.Rate.String())
	require.Equal(t, "values at a replica of a key: p50 2, p95 2, p99 2, max 2 values, of 2", r.Figures[0].String())
}
