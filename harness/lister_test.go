package harness_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// bag is a set that all clients share.
type bag struct {
	mu  sync.Mutex
	all history.List
}

func (b *bag) Invoke(_ context.Context, _ string, op *history.Op) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, op.Arg)
	return nil
}

func (b *bag) InvokeAll(context.Context, string, *history.Op) (history.List, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.all), nil
}

func (b *bag) Close() error { return nil }

// bagTest adds unique elements, and reads all.
func bagTest(s harness.System) harness.Test {
	test := newTest(s)
	of := func(f history.F) gen.Generator {
		return gen.Func(func(gen.Context) gen.Op { return gen.Op{F: f} })
	}
	test.Workload.Generator = gen.Rate(2000, gen.Mix(gen.Weight(1, of(history.ReadAll)), gen.Weight(1, gen.Unique(of(history.Add)))))
	return test
}

func TestListsAreRecorded(t *testing.T) {
	b := &bag{}
	s := &memSystem{open: func(int) (harness.Client, error) { return b, nil }}
	r, err := harness.Run(t.Context(), bagTest(s), newMemWorld(t, 3), harness.Options{})
	require.NoError(t, err)
	h := r.History
	require.NoError(t, h.Validate())
	longest := 0
	for i := range h.Ops {
		if o := &h.Ops[i]; o.F == history.ReadAll && o.Out != history.Nil {
			l := h.Lists[o.Out]
			require.Equal(t, b.all[:len(l)], l, "a read sees what was added so far")
			longest = max(longest, len(l))
		}
	}
	require.Greater(t, longest, 10)
	require.Positive(t, count(h, history.ReadAll, history.OK))
}

func TestListsNeedALister(t *testing.T) {
	_, err := harness.Run(t.Context(), bagTest(&memSystem{}), newMemWorld(t, 3), harness.Options{})
	require.ErrorContains(t, err, "is no harness.Lister")
}

func TestReplicasAgree(t *testing.T) {
	absent, one, two := harness.Replica{}, harness.Replica{Present: true, Value: 1}, harness.Replica{Present: true, Value: 2}
	both := harness.Replica{Present: true, Values: history.List{1, 2}}
	same := harness.Replica{Present: true, Values: history.List{1, 2}, Value: 9, Stamp: "x"}
	all := []harness.Replica{absent, one, two, both}
	for i := range all {
		for j := range all {
			require.Equal(t, i == j, all[i].Agrees(&all[j]), "%d and %d", i, j)
		}
	}
	require.True(t, both.Agrees(&same))
}
