package sim

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAllRunsAtTheSameTime(t *testing.T) {
	w := newWorld(t, Config{System: silent(), Nodes: 1})
	before := w.Now()
	var order []int
	err := w.All(t.Context(), 3, func(ctx context.Context, i int) error {
		if err := w.Sleep(ctx, time.Duration(3-i)*time.Second); err != nil {
			return err
		}
		order = append(order, i)
		if i == 1 {
			return errors.New("one went wrong")
		}
		return nil
	})
	require.EqualError(t, err, "one went wrong")
	require.Equal(t, []int{2, 1, 0}, order)
	require.Equal(t, 3*time.Second, time.Duration(w.Now()-before))
}

func TestAllEndsWithItsContext(t *testing.T) {
	w := newWorld(t, Config{System: silent(), Nodes: 1})
	err := w.Await(t.Context(), func(ctx context.Context) error {
		ctx, cancel := w.Timeout(ctx, time.Second)
		defer cancel()
		return w.All(ctx, 2, func(ctx context.Context, _ int) error { return w.Sleep(ctx, time.Hour) })
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, time.Second, time.Duration(w.Now()))
}
