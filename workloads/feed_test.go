package workloads_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/gen/gentest"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/workloads"
)

func TestFeed(t *testing.T) {
	b := newBench(t, workloads.Feed(workloads.FeedOptions{Posts: 4}))
	require.Empty(t, b.all(0, "t0"))
	for _, n := range []history.Value{1, 4, 2} {
		_, err := b.do(1, history.Add, "t0", n)
		require.NoError(t, err)
	}
	require.Equal(t, history.List{1, 2, 4}, b.all(2, "t0"), "in their order, with one that nobody has seen yet missing")
	held := b.inspect(0, "t1", "t0")
	require.False(t, held[0].Present)
	require.Equal(t, history.List{1, 2, 4}, held[1].Values)
	b.store.before = func(op, key string) error {
		if key == "t0/2" {
			return errors.New("no answer")
		}
		return nil
	}
	_, err := b.open(0).InvokeAll(t.Context(), "t0", &history.Op{F: history.ReadAll})
	require.Error(t, err, "a timeline that could not be read whole is none")
}

// Each timeline's posts are numbered from 1, and no more than it takes.
func TestFeedNumbersPosts(t *testing.T) {
	o := workloads.FeedOptions{Posts: 5}
	o.Keys, o.Window, o.OpsPerKey = 50, 3, 30
	l := workloads.Feed(o)
	require.Len(t, l.Keys, 50)
	events, err := gentest.Play(l.Generator, gentest.Config{Workers: 3, Max: 1500})
	require.NoError(t, err)
	posts := map[int32]history.Value{}
	full := 0
	for _, e := range events {
		if e.F != history.Add {
			require.Equal(t, history.ReadAll, e.F)
			continue
		}
		posts[e.Key]++
		require.Equal(t, posts[e.Key], e.Arg)
		require.LessOrEqual(t, e.Arg, history.Value(5))
		if e.Arg == 5 {
			full++
		}
	}
	require.Greater(t, full, 40)
}

func TestWorkloadsArePure(t *testing.T) {
	o := workloads.RegisterOptions{Keys: 20, Window: 2, OpsPerKey: 20, Rate: 1000}
	for _, l := range []workloads.Layered{
		workloads.Set(workloads.CollectionOptions{RegisterOptions: o}), workloads.Counter(workloads.CollectionOptions{RegisterOptions: o}),
		workloads.Append(workloads.CollectionOptions{RegisterOptions: o}), workloads.Bank(workloads.BankOptions{RegisterOptions: o}),
		workloads.Feed(workloads.FeedOptions{RegisterOptions: o}), workloads.Balance(workloads.BalanceOptions{RegisterOptions: o}),
		workloads.Lock(workloads.LockOptions{RegisterOptions: o}),
	} {
		t.Run(l.Name, func(t *testing.T) {
			play := func(seed uint64) []gentest.Event {
				events, err := gentest.Play(l.Generator, gentest.Config{Workers: 4, Seed: seed, Max: 500})
				require.NoError(t, err)
				return events
			}
			first := play(1)
			require.Equal(t, first, play(1), "asked again from the beginning it offers the same")
			require.NotEqual(t, first, play(2))
		})
	}
}
