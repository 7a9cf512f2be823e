package checkers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// apart makes a history with a partition of n0 from n1 and n2, from 1,000 on, in
// which the given parts of 100 reads and 100 writes at each side are served.
func apart(near, far float64) *history.History {
	h := &history.History{Keys: []string{"x"}, Faults: []history.Fault{{ID: 1, Kind: "partition", Detail: "one: n0 | n1 n2", Nodes: []int{0, 1, 2},
		Start: 900, End: 5000, Effect: history.Proof{OK: true, At: 1000}, Recovery: history.Proof{OK: true, At: 5000}}}}
	for i := range 200 {
		for node, part := range []float64{far, near, near} {
			o := history.Op{F: history.F(1 + i%2), Call: int64(1000 + i), Return: int64(1005 + i), Node: int16(node), Process: int32(node), Outcome: history.OK}
			if float64(i) >= part*200 {
				o.Outcome = history.Fail
			}
			h.Ops = append(h.Ops, o)
		}
	}
	return h
}

func TestServesBySide(t *testing.T) {
	for _, c := range []struct {
		name      string
		near, far float64
		opts      SideOptions
		want      Verdict
	}{
		{"majority serves, minority refuses", 1, 0, SideOptions{Read: 2, Write: 2}, Held},
		{"minority serves too", 1, 1, SideOptions{Read: 2, Write: 2}, Broken},
		{"majority refuses", 0.5, 0, SideOptions{Read: 2, Write: 2}, Broken},
		{"any node serves", 1, 1, SideOptions{Read: 1, Write: 1}, Held},
		{"any node should serve", 1, 0, SideOptions{Read: 1, Write: 1}, Broken},
		{"nobody can serve", 0, 0, SideOptions{Read: 3, Write: 3}, Held},
		{"nothing is predicted", 1, 0, SideOptions{}, Unknown},
		{"too few operations", 1, 0, SideOptions{Read: 2, Write: 2, MinOps: 1000}, Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ServesBySideWith(c.opts)(Input{History: apart(c.near, c.far)}, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.NotEmpty(t, r.Reason)
		})
	}
	r := ServesBySideWith(SideOptions{Read: 2, Write: 2})(Input{History: apart(1, 1)}, Budget{})
	require.Equal(t, "2 of 4 sides broken (15–85 %): in fault 1 n0 served 100.0 % of 100 reads, and should not: it takes 2", r.Reason)
	r = ServesBySideWith(SideOptions{Read: 2, Write: 2})(Input{History: apart(1, 0)}, Budget{})
	require.Equal(t, "as many as quorums allow: n0 served 0.0 % of 100 reads, n0 served 0.0 % of 100 writes, n1 n2 served 100.0 % of 200 reads, n1 n2 served 100.0 % of 200 writes", r.Reason)

	h := apart(1, 0)
	h.Faults[0].Effect.OK = false
	require.Empty(t, AvailabilityBySide(h), "it was not proved")
	h = apart(1, 0)
	h.Faults = append(h.Faults, history.Fault{ID: 2, Kind: "pause", Start: 1000, End: 1099})
	rows := AvailabilityBySide(h)
	require.Len(t, rows, 2)
	require.Equal(t, 50, rows[0].Reads.Total(), "what another fault may have touched does not count")
	h.Faults = h.Faults[1:]
	require.Empty(t, AvailabilityBySide(h))
}
