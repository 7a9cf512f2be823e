package harness_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// runFaults runs faults at once, for 20 ms each.
func runFaults(t *testing.T, o harness.Options, fs ...harness.Fault) *history.History {
	t.Helper()
	test := newTest(&memSystem{})
	test.During = 40 * ms
	for _, f := range fs {
		test.Faults = append(test.Faults, harness.Episode{For: 20 * ms, Fault: f})
	}
	r, err := harness.Run(t.Context(), test, newMemWorld(t, 2), o)
	require.NoError(t, err)
	require.Len(t, r.History.Faults, len(fs))
	for _, f := range r.History.Faults {
		require.GreaterOrEqual(t, f.Start, r.History.Phases[1].Start)
	}
	return r.History
}

func TestFaultThatDidNotBite(t *testing.T) {
	noProof := func(context.Context, harness.World) (string, error) { return "", errors.New("still the same pid") }
	failed := func(context.Context, harness.World) error { return errors.New("permission denied") }
	tests := []struct {
		name             string
		f                *fault
		effect, recovery history.Proof
	}{
		{"not applied", &fault{kind: "kill", apply: failed},
			history.Proof{Evidence: "permission denied"}, history.Proof{OK: true, Evidence: "it is gone"}},
		{"not seen", &fault{kind: "kill", proveApplied: noProof},
			history.Proof{Evidence: "still the same pid"}, history.Proof{OK: true, Evidence: "it is gone"}},
		{"not healed", &fault{kind: "kill", heal: failed},
			history.Proof{OK: true, Evidence: "it bit"}, history.Proof{Evidence: "permission denied"}},
		{"not seen to be healed", &fault{kind: "kill", proveHealed: noProof},
			history.Proof{OK: true, Evidence: "it bit"}, history.Proof{Evidence: "still the same pid"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := runFaults(t, harness.Options{}, tt.f).Faults[0]
			f.Effect.At, f.Recovery.At = 0, 0
			require.Equal(t, tt.effect, f.Effect)
			require.Equal(t, tt.recovery, f.Recovery)
			require.Equal(t, tt.f.heal != nil, f.End == history.Never, "in force at the end if it could not be healed")
		})
	}
}

func TestFaultThatPanics(t *testing.T) {
	f := runFaults(t, harness.Options{}, &fault{kind: "kill", apply: func(context.Context, harness.World) error { panic("oh") }}).Faults[0]
	require.False(t, f.Effect.OK)
	require.Contains(t, f.Effect.Evidence, "panicked: oh")
}

func TestHealingIsTriedAgain(t *testing.T) {
	tries := 0
	f := runFaults(t, harness.Options{}, &fault{kind: "kill", heal: func(context.Context, harness.World) error {
		if tries++; tries < 3 {
			return errors.New("busy")
		}
		return nil
	}}).Faults[0]
	require.True(t, f.Recovery.OK)
	require.Equal(t, 3, tries)
}

// A fault that is stuck delays neither the others' healing nor, beyond its
// time limit, the run.
func TestHealingIsNotQueued(t *testing.T) {
	stuck := &fault{kind: "pause", apply: func(ctx context.Context, _ harness.World) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	h := runFaults(t, harness.Options{FaultTimeout: time.Second}, stuck, kill(1), kill(0))
	for _, f := range h.Faults {
		if f.Kind == "pause" {
			require.False(t, f.Effect.OK)
			require.GreaterOrEqual(t, f.End, f.Start+int64(time.Second))
			continue
		}
		require.True(t, f.Recovery.OK)
		require.Less(t, f.End, f.Start+int64(time.Second))
	}
}

// Faults are healed when the fault phase is over, whatever they were to last.
func TestFaultsEndWithTheirPhase(t *testing.T) {
	test := newTest(&memSystem{})
	test.During, test.Recovery = 30*ms, 10*ms
	test.Faults = []harness.Episode{{At: 10 * ms, For: time.Hour, Fault: kill(0)}}
	r, err := harness.Run(t.Context(), test, newMemWorld(t, 2), harness.Options{})
	require.NoError(t, err)
	require.True(t, r.History.Faults[0].Recovery.OK)
	require.LessOrEqual(t, r.History.Faults[0].End, r.History.Phases[2].Start)
}
