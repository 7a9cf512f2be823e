package checkers

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// nonsense makes a history of anything from bytes: functions, outcomes and
// indices out of range, times that go back, phases that overlap.
func nonsense(data []byte) (Input, Options) {
	at := 0
	next := func() int64 {
		if at >= len(data) {
			return 0
		}
		at++
		return int64(data[at-1])
	}
	value := func() history.Value {
		switch v := next(); {
		case v >= 250:
			return history.Nil
		case v >= 245:
			return history.Value(-v)
		case v >= 240:
			return history.Value(1) << (v - 180)
		default:
			return history.Value(v % 8)
		}
	}
	moment := func() int64 {
		switch v := next(); {
		case v >= 252:
			return history.Never
		case v >= 250:
			return -v
		default:
			return v
		}
	}
	h := &history.History{Keys: []string{"x"}, Texts: []string{"", "a"}, Txns: []history.Txn{{{F: history.Read, Key: 0, Value: 1}, {F: history.Write, Key: 1, Value: 1}}, {{F: history.F(next())}}}, Lists: []history.List{{1, 2}, {}, {3, 1, 1}}}
	if next()%2 == 0 {
		h.Texts = nil
	}
	collections := next()%3 == 0
	for range next() % 4 {
		h.Phases = append(h.Phases, history.Phase{Name: []string{history.PhaseBefore, history.PhaseFaults, history.PhaseRecovery, ""}[next()%4], Start: moment(), End: moment()})
		h.Faults = append(h.Faults, history.Fault{Start: moment(), End: moment(), Kind: "partition", Detail: "one: n0 | n1", Effect: history.Proof{OK: true, At: moment()}})
	}
	opts := Options{Model: append(Models(), "")[next()%6], FailedCAS: []FailedCAS{"", ObserveFailedCAS}[next()%2], NilRead: []NilRead{"", NilAny}[next()%2]}
	if next()%2 == 0 {
		opts.Initial = valuePtr(value())
	}
	in := Input{History: h, Settled: time.Duration(moment())}
	for range next() % 4 {
		var row []harness.Replica
		for range next() % 3 {
			row = append(row, harness.Replica{Present: next()%2 == 0, Value: value(), Elsewhere: next()%4 == 0})
		}
		in.Replicas = append(in.Replicas, row)
		if next()%2 == 0 {
			in.ReadBack = append(in.ReadBack, row)
		}
	}
	for at < len(data) && len(h.Ops) < 14 {
		o := history.Op{F: history.F(next() % 12), Outcome: history.Outcome(next() % 3), Call: moment(), Arg: value(), Arg2: value(), Out: value(), Process: int32(next()) - 3, Node: int16(next()%5) - 1, Err: uint16(next())}
		if o.Return = o.Call + next()%16; o.Call == history.Never || next()%32 == 0 {
			o.Return = moment()
		}
		if collections {
			o.F = []history.F{history.Add, history.ReadAll}[o.F%2]
		}
		if k := next(); k > 200 {
			o.Key = int32(k-240) << 20
		}
		h.Ops = append(h.Ops, o)
	}
	return in, opts
}

// FuzzNonsense asks that no checker panics or hangs, whatever the history, and
// that each gives the same answer twice, points at operations that are there,
// and has a reason.
func FuzzNonsense(f *testing.F) {
	f.Add([]byte("\x00"))
	f.Add([]byte("assay judges what it is given, and says so"))
	for i := range 64 {
		seed := make([]byte, 160)
		for k := range seed {
			seed[k] = byte((i*7919 + k*k*31 + k*(i+3)*17) >> (i % 5))
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, opts := nonsense(data)
		b := Budget{Time: 2 * time.Second, Memory: 4 << 20}
		judge := JudgeOptions{Linearizable: opts, Fresh: opts, Durability: DurabilityOptions{Options: opts, Overlap: true}, Values: opts,
			Sessions: SessionOptions{Options: opts, Order: []Order{"", SessionOrder}[len(data)%2]}, Staleness: StalenessOptions{Options: opts, Age: 5, Model: &PBS{N: 3, R: 1, W: 1, Trials: 50}},
			Sides: SideOptions{Read: 1, Write: 1, MinOps: 1}}
		results := Judge(in, Claims(), b, judge)
		require.Len(t, results, len(Claims()))
		for _, r := range results {
			require.NotEmpty(t, r.Reason, r.Claim)
			if r.Verdict == Broken {
				require.Positive(t, r.Violations, r.Reason)
			}
			for _, i := range r.Ops {
				require.GreaterOrEqual(t, i, 0)
				require.Less(t, i, len(in.History.Ops))
			}
		}
		require.Equal(t, results, Judge(in, Claims(), b, judge))
		// It may refuse, it must not panic.
		_ = Visualize(io.Discard, in.History, -1, results[1].Ops, VisualizeOptions{Options: opts, Time: 200 * time.Millisecond})
		_ = Visualize(io.Discard, in.History, results[1].Key, results[1].Ops, VisualizeOptions{Options: opts, Operations: 3, Time: 200 * time.Millisecond})
	})
}
