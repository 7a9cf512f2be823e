package harness_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// change is a fault that changes the members.
type change struct {
	*fault
	add, remove []int
}

func (c change) Change() harness.Change { return harness.Change{Add: c.add, Remove: c.remove} }

func (c change) Nodes() []int { return append(slices.Clone(c.remove), c.add...) }

// changeMembers runs changes of the members of three nodes with spares: each is
// planned to take 20 ms, and they follow each other every 40 ms.
func changeMembers(t *testing.T, s *memSystem, o harness.Options, changes ...change) *harness.Result {
	t.Helper()
	w := newMemWorld(t, 3)
	w.spares = 3
	test := newTest(s)
	test.During, test.Recovery = time.Duration(len(changes))*40*ms, 50*ms
	for i, c := range changes {
		test.Faults = append(test.Faults, harness.Episode{At: time.Duration(i) * 40 * ms, For: 20 * ms, Fault: c})
	}
	r, err := harness.Run(t.Context(), test, w, o)
	require.NoError(t, err)
	requireSane(t, r.History)
	require.Len(t, r.History.Faults, len(changes))
	return r
}

// Clients leave a node when its leaving is certain, and come to a new one when it has
// joined; at the end the members are looked at, and only they.
func TestClientsFollowTheMembers(t *testing.T) {
	s := &memSystem{}
	r := changeMembers(t, s, harness.Options{}, change{&fault{kind: "replace"}, []int{3}, []int{0}})
	f := r.History.Faults[0]
	require.True(t, f.Recovery.OK, f.Recovery.Evidence)
	require.Equal(t, "it is gone; n3 serves clients and holds 2 keys", f.Recovery.Evidence)
	require.Equal(t, []int{1, 2, 3}, r.Members)
	first, last := int64(history.Never), int64(0)
	for _, o := range r.History.Ops {
		switch o.Node {
		case 0:
			last = max(last, o.Call)
		case 3:
			first = min(first, o.Call)
		}
	}
	require.Positive(t, last, "it had clients")
	require.Less(t, last, f.End, "they stayed")
	require.GreaterOrEqual(t, first, f.End, "it was talked to before it had joined")
	require.Less(t, first, int64(history.Never))
	require.Len(t, r.Replicas, 4)
	require.True(t, r.Replicas[0][0].Elsewhere, "a node that has left is no replica of anything")
	require.True(t, r.Replicas[3][0].Present)
	require.GreaterOrEqual(t, r.Settled, time.Duration(0))
}

// Without changes nothing is as if there were some.
func TestMembersThatDoNotChange(t *testing.T) {
	w := newMemWorld(t, 2)
	w.spares = 1
	r, err := harness.Run(t.Context(), newTest(&memSystem{}), w, harness.Options{})
	require.NoError(t, err)
	require.Nil(t, r.Members)
	require.Len(t, r.Replicas, 2)
}

// A change that takes longer than planned holds up the next one, and faults on the
// nodes that it is about.
func TestChangesFollowEachOther(t *testing.T) {
	var busy atomic.Int32
	slow := func(ctx context.Context, w harness.World) error {
		if busy.Add(1) > 1 {
			return errors.New("two changes at a time")
		}
		defer busy.Add(-1)
		return w.Sleep(ctx, 70*ms)
	}
	r := changeMembers(t, &memSystem{}, harness.Options{},
		change{&fault{kind: "replace", heal: slow}, []int{3}, []int{0}},
		change{&fault{kind: "join", heal: slow}, []int{4}, nil},
		change{&fault{kind: "leave", heal: slow}, nil, []int{4}})
	for i, f := range r.History.Faults {
		require.True(t, f.Recovery.OK, f.Recovery.Evidence)
		if i > 0 {
			require.GreaterOrEqual(t, f.Start, r.History.Faults[i-1].Recovery.At)
		}
	}
	require.Equal(t, []int{1, 2, 3}, r.Members)
}

// A new node that serves nobody, or got nothing, has not taken part.
func TestNewNodesThatTakeNoPartAreNoticed(t *testing.T) {
	for _, c := range []struct {
		name string
		s    *memSystem
		want string
	}{
		{"it refuses", &memSystem{invoke: func(_ context.Context, node int, _ string, op *history.Op) error {
			if node == 3 {
				return harness.Definite(errors.New("not a member"))
			}
			op.Out = history.Nil
			return nil
		}}, "no client's operation was ok there"},
		{"it holds nothing", &memSystem{inspect: func(node int, keys []string) ([]harness.Replica, error) {
			return slices.Repeat([]harness.Replica{{Present: node != 3, Value: 1}}, len(keys)), nil
		}}, "it holds no record, and others have some of its keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := changeMembers(t, c.s, harness.Options{FaultTimeout: 100 * ms}, change{&fault{kind: "replace"}, []int{3}, []int{0}})
			require.False(t, r.History.Faults[0].Recovery.OK)
			require.Contains(t, r.History.Faults[0].Recovery.Evidence, c.want)
		})
	}
	elsewhere := &memSystem{inspect: func(node int, keys []string) ([]harness.Replica, error) {
		return slices.Repeat([]harness.Replica{{Present: node != 3, Value: 1, Elsewhere: node == 3}}, len(keys)), nil
	}}
	r := changeMembers(t, elsewhere, harness.Options{}, change{&fault{kind: "join"}, []int{3}, nil})
	require.True(t, r.History.Faults[0].Recovery.OK)
	require.Contains(t, r.History.Faults[0].Recovery.Evidence, "nobody holds any of its keys")
}

// What does not change its members says so.
func TestSystemsWithoutMembers(t *testing.T) {
	require.ErrorContains(t, harness.CheckReconfigurable(&memSystem{}), `the members of "memory map" cannot be changed: implement harness.Reconfigurable`)
}
