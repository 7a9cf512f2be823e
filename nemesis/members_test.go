package nemesis_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/store/sut"
)

// gossiping is a store whose members can change, of three replicas a key.
func gossiping(t *testing.T) *sut.System {
	p, err := sut.ProfileByName("abd")
	require.NoError(t, err)
	p.Gossip = 50 * time.Millisecond
	return sut.New(p)
}

// inWorld runs f as a task in a simulated cluster with two spares.
func inWorld(t *testing.T, s sim.System, nodes int, f func(ctx context.Context, w *sim.World)) {
	w, err := sim.New(sim.Config{System: s, Nodes: nodes, Spares: 2, Seed: 1})
	require.NoError(t, err)
	require.NoError(t, w.Await(t.Context(), func(ctx context.Context) error { f(ctx, w); return nil }))
	require.NoError(t, w.Close(context.WithoutCancel(t.Context())))
}

// within gives a step as long as a run does.
func within(ctx context.Context, w harness.World, f func(ctx context.Context) error) error {
	ctx, cancel := w.Timeout(ctx, 30*time.Second)
	defer cancel()
	return f(ctx)
}

func TestChangesOfMembersProveThemselves(t *testing.T) {
	s := gossiping(t)
	for _, c := range []struct {
		nodes int
		fault nemesis.Members
		after []int
	}{
		{3, nemesis.Members{What: "join", Of: []int{0, 1, 2}, Add: []int{3}}, []int{0, 1, 2, 3}},
		{4, nemesis.Members{What: "leave", Of: []int{0, 1, 2, 3}, Remove: []int{1}}, []int{0, 2, 3}},
		{3, nemesis.Members{What: "replace", Of: []int{0, 1, 2}, Add: []int{4}, Remove: []int{0}}, []int{1, 2, 4}},
		{3, nemesis.Members{What: "replace", Of: []int{0, 1, 2}, Add: []int{3}, Remove: []int{2}, Lost: true}, []int{0, 1, 3}},
	} {
		f := &c.fault
		t.Run(f.String(), func(t *testing.T) {
			inWorld(t, s, c.nodes, func(ctx context.Context, w *sim.World) {
				require.Error(t, within(ctx, w, func(ctx context.Context) error { _, err := f.ProveApplied(ctx, w); return err }), "it is not applied yet")
				_, err := f.ProveHealed(ctx, w)
				require.Error(t, err, "nor is it through")
				require.NoError(t, within(ctx, w, func(ctx context.Context) error { return f.Apply(ctx, w, time.Minute) }))
				evidence, err := f.ProveApplied(ctx, w)
				require.NoError(t, err)
				require.NotEmpty(t, evidence)
				require.NoError(t, within(ctx, w, func(ctx context.Context) error { return f.Heal(ctx, w) }))
				evidence, err = f.ProveHealed(ctx, w)
				require.NoError(t, err)
				require.NotEmpty(t, evidence)
				for _, n := range c.after {
					v, err := s.Members(ctx, w, n)
					require.NoError(t, err)
					require.Equal(t, harness.Membership{Nodes: c.after}, v, "node %d", n)
				}
				for _, n := range f.Remove {
					st, err := w.Status(ctx, n)
					require.NoError(t, err)
					require.False(t, st.Up)
				}
			})
		})
	}
}

// A change is asked for again until there is a majority to agree on it, and no
// second one is made while the first is under way.
func TestChangeWaitsForWhatIsInItsWay(t *testing.T) {
	s := gossiping(t)
	inWorld(t, s, 3, func(ctx context.Context, w *sim.World) {
		require.NoError(t, w.Kill(ctx, 0, 5*time.Second))
		require.NoError(t, w.Kill(ctx, 1, 10*time.Second))
		f := &nemesis.Members{What: "join", Of: []int{0, 1, 2}, Add: []int{3}}
		require.NoError(t, within(ctx, w, func(ctx context.Context) error { return f.Apply(ctx, w, time.Minute) }))
		require.GreaterOrEqual(t, time.Duration(w.Now()), 5*time.Second)
		next := &nemesis.Members{What: "replace", Of: []int{0, 1, 2, 3}, Add: []int{4}, Remove: []int{0}, Lost: true}
		require.NoError(t, within(ctx, w, func(ctx context.Context) error { return next.Apply(ctx, w, time.Minute) }))
		_, err := next.ProveApplied(ctx, w)
		require.NoError(t, err)
		require.NoError(t, within(ctx, w, func(ctx context.Context) error { return next.Heal(ctx, w) }))
		_, err = next.ProveHealed(ctx, w)
		require.NoError(t, err)

		wrong := &nemesis.Members{What: "replace", Of: []int{0, 1, 2}, Add: []int{5}, Remove: []int{1}, Lost: true}
		require.ErrorContains(t, within(ctx, w, func(ctx context.Context) error { return wrong.Apply(ctx, w, time.Minute) }), "before the change: n0: who are the members?")
		st, err := w.Status(ctx, 1)
		require.NoError(t, err)
		require.True(t, st.Up, "nothing was done")
		require.NoError(t, wrong.Heal(ctx, w))
		_, err = wrong.ProveHealed(ctx, w)
		require.Error(t, err)
	})
}

// liar is a system that says yes to every change, and what it likes about it.
type liar struct {
	*sut.System
	told func(node int) harness.Membership
}

func (l liar) Reconfigure(ctx context.Context, w harness.World, _ int, c harness.Change) error {
	for _, n := range c.Add {
		if err := w.Start(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (l liar) Members(_ context.Context, _ harness.World, node int) (harness.Membership, error) {
	return l.told(node), nil
}

func TestChangesThatDoNotComeAreNoticed(t *testing.T) {
	old, after := []int{0, 1, 2}, []int{1, 2, 3}
	changed := false
	for name, c := range map[string]struct {
		told            func(node int) harness.Membership
		applied, healed bool
	}{
		"it never comes": {func(int) harness.Membership { return harness.Membership{Nodes: old} }, false, false},
		"another comes":  {func(int) harness.Membership { return harness.Membership{Nodes: []int{0, 1, 3}} }, false, false},
		"it never ends":  {func(int) harness.Membership { return harness.Membership{Nodes: after, Changing: true} }, true, false},
		"one does not follow": {func(node int) harness.Membership {
			return harness.Membership{Nodes: after, Changing: node == 2}
		}, true, false},
		"it comes": {func(int) harness.Membership { return harness.Membership{Nodes: after} }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			changed = false
			s := liar{gossiping(t), func(node int) harness.Membership {
				if !changed {
					return harness.Membership{Nodes: old}
				}
				return c.told(node)
			}}
			inWorld(t, s, 3, func(ctx context.Context, w *sim.World) {
				f := &nemesis.Members{What: "replace", Of: old, Add: []int{3}, Remove: []int{0}}
				require.NoError(t, within(ctx, w, func(ctx context.Context) error { return f.Apply(ctx, w, time.Minute) }))
				changed = true
				prove := func(ctx context.Context) error { _, err := f.ProveApplied(ctx, w); return err }
				require.Equal(t, c.applied, within(ctx, w, prove) == nil)
				heal := func(ctx context.Context) error { return f.Heal(ctx, w) }
				require.Equal(t, c.healed, within(ctx, w, heal) == nil)
				_, err := f.ProveHealed(ctx, w)
				require.Equal(t, c.healed, err == nil)
				require.NoError(t, w.Start(ctx, 0))
				_, err = f.ProveHealed(ctx, w)
				require.Error(t, err, "who has left still runs")
			})
		})
	}
}

// fixed is a system whose members cannot change.
type fixed struct{ s *sut.System }

func (f fixed) Name() string                      { return "fixed" }
func (f fixed) Boot(h sim.Host) (sim.Node, error) { return f.s.Boot(h) }
func (fixed) Open(context.Context, harness.World, int) (harness.Client, error) {
	return nil, errors.ErrUnsupported
}
func (fixed) Inspect(context.Context, harness.World, int, []string) ([]harness.Replica, error) {
	return nil, errors.ErrUnsupported
}

// A system or a world that cannot do it says so before the run.
func TestChangesThatCannotBeAreRefused(t *testing.T) {
	specs, err := nemesis.Parse("replace")
	require.NoError(t, err)
	eps, err := nemesis.Schedule(1, specs, 3, 20*time.Second)
	require.NoError(t, err)
	spares := nemesis.Spares(3, eps)
	require.Positive(t, spares)
	for _, c := range []struct {
		system sim.System
		spares int
		want   string
	}{
		{gossiping(t), spares, ""},
		{gossiping(t), spares - 1, "start it with as many as nemesis.Spares says"},
		{fixed{gossiping(t)}, spares, `the world sim cannot replace: the members of "fixed" cannot be changed: implement harness.Reconfigurable`},
	} {
		w, err := sim.New(sim.Config{System: c.system, Nodes: 3, Spares: c.spares})
		require.NoError(t, err)
		err = nemesis.Check(w, eps)
		if c.want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, c.want)
		}
		require.NoError(t, w.Close(t.Context()))
	}
}

// Faults strike nodes that are there at the time; nobody joins twice, and changes are
// made one at a time of the members that there are.
func TestScheduleFollowsTheMembers(t *testing.T) {
	const length = 20 * time.Second
	for _, list := range []string{"replace", "join,leave", "leave,kill", "join,partition", "replace,kill,pause,clock", "join,leave,replace,partition,kill,pause,clock", "replace:lost,replace:live", "replace,bitflip,slowdisk"} {
		specs, err := nemesis.Parse(list)
		require.NoError(t, err)
		struck := 0 // new nodes, by other faults
		for seed := range uint64(100) {
			const nodes = 4
			eps, err := nemesis.Schedule(seed, specs, nodes, length)
			require.NoError(t, err)
			members, used := []int{0, 1, 2, 3}, nodes
			var end time.Duration
			for i, e := range eps {
				m, ok := e.Fault.(*nemesis.Members)
				if !ok {
					continue
				}
				require.GreaterOrEqual(t, e.At, end, "%s, seed %d: two changes at a time", list, seed)
				end = e.At + e.For
				require.Equal(t, members, m.Of, "%s, seed %d", list, seed)
				for _, n := range m.Add {
					require.Equal(t, used, n)
					used++
				}
				members = slices.DeleteFunc(append(members, m.Add...), func(n int) bool { return slices.Contains(m.Remove, n) })
				for j, other := range eps {
					_, change := other.Fault.(*nemesis.Members)
					if change || other.Fault.Kind() == "partition" {
						continue
					}
					for _, n := range m.Remove {
						if slices.Contains(other.Fault.Nodes(), n) {
							require.Less(t, other.At+other.For, e.At, "%s, seed %d: episode %d strikes n%d, which goes in %d", list, seed, j, n, i)
						}
					}
					for _, n := range m.Add {
						if slices.Contains(other.Fault.Nodes(), n) {
							require.Greater(t, other.At, e.At+e.For, "%s, seed %d: episode %d strikes n%d, which comes in %d", list, seed, j, n, i)
							struck++
						}
					}
				}
			}
			require.Equal(t, used-nodes, nemesis.Spares(nodes, eps))
			for _, s := range specs {
				require.True(t, slices.ContainsFunc(eps, func(e harness.Episode) bool { return e.Fault.Kind() == s.Kind }), "%s, seed %d: no %s", list, seed, s)
			}
		}
		if list == "replace,kill,pause,clock" {
			require.Positive(t, struck, "new nodes are left alone")
		}
	}
}

func TestAllLeavesTheMembersAlone(t *testing.T) {
	specs, err := nemesis.Parse("all")
	require.NoError(t, err)
	require.Len(t, specs, 4)
	require.False(t, slices.ContainsFunc(specs, nemesis.Spec.Reconfigures))
	_, err = nemesis.Parse("join:slowly")
	require.ErrorContains(t, err, "has no variants")
	specs, err = nemesis.Parse("replace,replace:lost,replace:live,leave")
	require.NoError(t, err)
	var lose []bool
	for _, s := range specs {
		lose = append(lose, s.LosesDisk())
	}
	require.Equal(t, []bool{true, true, false, false}, lose)
}
