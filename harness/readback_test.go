package harness_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// A store whose replicas agree only on keys that were read: it repairs reads and
// does nothing by itself.
func TestReadBack(t *testing.T) {
	var mu sync.Mutex
	var stopped bool // the run is over, and what is read now is read back
	var read []string
	broken := errors.New("no answer")
	var fails map[int]bool
	s := &memSystem{
		invoke: func(_ context.Context, node int, key string, op *history.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if !stopped {
				return nil
			}
			require.Equal(t, history.Read, op.F)
			if fails[node] {
				return broken
			}
			read = append(read, fmt.Sprintf("%s at %d", key, node))
			return nil
		},
		inspect: func(node int, keys []string) ([]harness.Replica, error) {
			mu.Lock()
			defer mu.Unlock()
			stopped = true
			row := make([]harness.Replica, len(keys))
			row[0] = harness.Replica{Present: true, Value: history.Value(node)}
			if len(read) == 2 {
				row[0].Value = 7
			}
			return row, nil
		},
	}
	run := func() *harness.Result {
		stopped, read = false, nil
		test := newTest(s)
		test.ReadBack = history.Read
		r, err := harness.Run(t.Context(), test, newMemWorld(t, 2), harness.Options{})
		require.NoError(t, err)
		return r
	}
	r := run()
	require.Negative(t, r.Settled, "they did not agree by themselves")
	require.Equal(t, history.Value(1), r.Replicas[1][0].Value)
	key := newTest(s).Workload.Keys[0]
	require.Equal(t, []string{key + " at 0", key + " at 1"}, read, "the key that differs, at every node")
	require.GreaterOrEqual(t, r.ReadBackSettled, time.Duration(0))
	require.Equal(t, history.Value(7), r.ReadBack[1][0].Value)
	require.Empty(t, r.Warnings)

	fails = map[int]bool{1: true}
	r = run()
	require.Negative(t, r.ReadBackSettled)
	require.Contains(t, r.Warnings[0], "not every key could be read back: reading back at node 1: no answer")

	test := newTest(s)
	test.ReadBack = history.Write
	_, err := harness.Run(t.Context(), test, newMemWorld(t, 2), harness.Options{})
	require.ErrorContains(t, err, "Test.ReadBack is write")
}
