package nemesis_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/store/sut"
)

// cases has one fault of each kind and variant, for three nodes.
func cases() map[string]func() harness.Fault {
	order := []int{2, 0, 1}
	return map[string]func() harness.Fault{
		"partition one":      func() harness.Fault { return nemesis.NewPartition("p", "one", order) },
		"partition halves":   func() harness.Fault { return nemesis.NewPartition("p", "halves", order) },
		"partition majority": func() harness.Fault { return nemesis.NewPartition("p", "majority", order) },
		"partition bridge":   func() harness.Fault { return nemesis.NewPartition("p", "bridge", order) },
		"partition one-way":  func() harness.Fault { return nemesis.NewPartition("p", "one-way", order) },
		"kill one":           func() harness.Fault { return &nemesis.Kill{Targets: []int{1}} },
		"kill all":           func() harness.Fault { return &nemesis.Kill{Targets: []int{0, 1, 2}} },
		"pause two":          func() harness.Fault { return &nemesis.Pause{Targets: []int{0, 2}} },
		"clock jump":         func() harness.Fault { return &nemesis.Clock{Targets: []int{0, 1}, Offset: -3 * time.Second} },
		"bitflip":            func() harness.Fault { return &nemesis.Bitflip{Target: 1, Every: 10 * time.Millisecond} },
		"slow disks":         func() harness.Fault { return &nemesis.SlowDisk{Targets: []int{0, 2}, Delay: 100 * time.Millisecond} },
		"clock drift":        func() harness.Fault { return &nemesis.Clock{Targets: []int{2}, Drift: 0.5} },
	}
}

// world is a running store in the simulator, with whatever the test breaks
// about the world's mechanism.
func world(t *testing.T) *sim.World {
	p, err := sut.ProfileByName("abd")
	require.NoError(t, err)
	system := sut.New(p)
	w, err := sim.New(sim.Config{System: system, Nodes: 3, Seed: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close(context.WithoutCancel(t.Context()))) })
	// A record for the disks to spoil.
	require.NoError(t, w.Await(t.Context(), func(ctx context.Context) error {
		c, err := system.Open(ctx, w, 0)
		require.NoError(t, err)
		require.NoError(t, c.Invoke(ctx, "k", &history.Op{F: history.Write, Arg: 1}))
		return w.Sleep(ctx, time.Second)
	}))
	return w
}

func TestFaultsProveThemselves(t *testing.T) {
	for name, make := range cases() {
		t.Run(name, func(t *testing.T) {
			w := world(t)
			err := w.Await(t.Context(), func(ctx context.Context) error {
				f := make()
				if _, err := f.ProveHealed(ctx, w); f.Kind() != "kill" {
					require.NoError(t, err, "nothing is wrong yet")
				}
				_, err := f.ProveApplied(ctx, w)
				require.Error(t, err, "it is not applied yet")

				require.NoError(t, f.Apply(ctx, w, time.Minute))
				evidence, err := f.ProveApplied(ctx, w)
				require.NoError(t, err)
				require.NotEmpty(t, evidence)
				_, err = f.ProveHealed(ctx, w)
				require.Error(t, err, "it is still in force")

				require.NoError(t, f.Heal(ctx, w))
				require.NoError(t, w.Sleep(ctx, time.Second))
				evidence, err = f.ProveHealed(ctx, w)
				require.NoError(t, err)
				require.NotEmpty(t, evidence)
				return nil
			})
			require.NoError(t, err)
		})
	}
}

// deaf is a world that says yes to every fault and does nothing.
type deaf struct{ harness.World }

func (deaf) Cut(context.Context, string, []harness.Link, time.Duration) error  { return nil }
func (deaf) Kill(context.Context, int, time.Duration) error                    { return nil }
func (deaf) Start(context.Context, int) error                                  { return nil }
func (deaf) Pause(context.Context, int, time.Duration) error                   { return nil }
func (deaf) SetDisk(context.Context, int, harness.Disk, time.Duration) error   { return nil }
func (deaf) SetClock(context.Context, int, harness.Clock, time.Duration) error { return nil }

// A fault that the world did not carry out is found out.
func TestFaultsThatDoNotBiteAreNoticed(t *testing.T) {
	for name, make := range cases() {
		t.Run(name, func(t *testing.T) {
			w := deaf{world(t)}
			err := w.Await(t.Context(), func(ctx context.Context) error {
				f := make()
				require.NoError(t, f.Apply(ctx, w, time.Minute))
				evidence, err := f.ProveApplied(ctx, w)
				require.Error(t, err)
				require.Empty(t, evidence)
				return nil
			})
			require.NoError(t, err)
		})
	}
}

// leaky is a world whose cuts reach too far or not far enough.
type leaky struct {
	harness.World
	cut func([]harness.Link) []harness.Link
}

func (l leaky) Cut(ctx context.Context, id string, links []harness.Link, lease time.Duration) error {
	return l.World.Cut(ctx, id, l.cut(links), lease)
}

func TestPartitionsThatLeakAreNoticed(t *testing.T) {
	for name, cut := range map[string]func([]harness.Link) []harness.Link{
		"a link is left open": func(l []harness.Link) []harness.Link { return l[1:] },
		"one direction only":  func(l []harness.Link) []harness.Link { return l[:len(l)/2] },
		"a link too many": func(l []harness.Link) []harness.Link {
			return append(l, harness.Link{From: 0, To: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := leaky{world(t), cut}
			err := w.Await(t.Context(), func(ctx context.Context) error {
				f := nemesis.NewPartition("p", "one", []int{2, 0, 1})
				require.NoError(t, f.Apply(ctx, w, time.Minute))
				_, err := f.ProveApplied(ctx, w)
				require.Error(t, err)
				return nil
			})
			require.NoError(t, err)
		})
	}
}

// A clock that is off by something else than what was asked is no proof.
func TestClocksOffByAnotherAmountAreNoticed(t *testing.T) {
	for _, wrong := range []harness.Clock{{Offset: -time.Second}, {Offset: 990 * time.Millisecond}, {Drift: 0.5}} {
		w := world(t)
		err := w.Await(t.Context(), func(ctx context.Context) error {
			f := &nemesis.Clock{Targets: []int{1}, Offset: time.Second}
			require.NoError(t, f.Apply(ctx, w, time.Minute))
			require.NoError(t, w.SetClock(ctx, 1, wrong, time.Minute))
			_, err := f.ProveApplied(ctx, w)
			require.Error(t, err, "%+v", wrong)
			return nil
		})
		require.NoError(t, err)
	}
}
