package harness_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

func newReal(t *testing.T) *harness.RealExecutor {
	e := harness.NewRealExecutor()
	t.Cleanup(e.Stop)
	return e
}

func TestRealWaitGivesEveryCompletionOnce(t *testing.T) {
	e := newReal(t)
	const workers, each = 20, 500
	var mu sync.Mutex
	done := map[int]int{}
	e.Workers(workers, func(_ context.Context, worker int, op *history.Op) error {
		mu.Lock()
		defer mu.Unlock()
		done[worker]++
		op.Out = history.Value(done[worker])
		if done[worker]%50 == 0 {
			return errors.New("no")
		}
		return nil
	})
	ops := make([]history.Op, workers)
	for i := range ops {
		e.Invoke(i, time.Second, &ops[i])
	}
	got := map[int]int{}
	var buf []harness.Completion
	last := e.Now()
	for n := 0; n < workers*each; {
		var err error
		buf, err = e.Wait(t.Context(), e.Now()+int64(time.Minute), buf[:0])
		require.NoError(t, err)
		require.NotEmpty(t, buf)
		for _, c := range buf {
			n++
			got[c.Worker]++
			require.Same(t, &ops[c.Worker], c.Op)
			require.EqualValues(t, got[c.Worker], c.Op.Out)
			require.Equal(t, got[c.Worker]%50 == 0, c.Err != nil)
			require.LessOrEqual(t, c.At, e.Now())
			if got[c.Worker] < each {
				e.Invoke(c.Worker, time.Second, c.Op)
			}
		}
		require.GreaterOrEqual(t, e.Now(), last)
		last = e.Now()
	}
	require.Len(t, got, workers)
}

func TestRealWaitKeepsTime(t *testing.T) {
	e := newReal(t)
	until := e.Now() + int64(5*ms)
	buf, err := e.Wait(t.Context(), until, nil)
	require.NoError(t, err)
	require.Empty(t, buf)
	require.GreaterOrEqual(t, e.Now(), until)

	buf, err = e.Wait(t.Context(), 0, buf)
	require.NoError(t, err, "a time that is past")
	require.Empty(t, buf)

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(5*ms, cancel)
	_, err = e.Wait(ctx, e.Now()+int64(time.Hour), nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestRealStop(t *testing.T) {
	e := newReal(t)
	ended := make(chan error, 1)
	e.Go(t.Context(), func(ctx context.Context) { ended <- e.Sleep(ctx, time.Hour) })
	e.Workers(1, func(ctx context.Context, _ int, _ *history.Op) error {
		<-ctx.Done()
		return ctx.Err()
	})
	e.Invoke(0, time.Hour, &history.Op{})
	time.AfterFunc(5*ms, e.Stop)
	_, err := e.Wait(t.Context(), e.Now()+int64(time.Hour), nil)
	if err == nil { // the operation was quicker
		_, err = e.Wait(t.Context(), e.Now()+int64(time.Hour), nil)
	}
	require.ErrorIs(t, err, harness.ErrClosed)
	require.ErrorIs(t, <-ended, context.Canceled)
	require.ErrorIs(t, e.Await(t.Context(), func(context.Context) error { return nil }), harness.ErrClosed)
}

func TestRealTaskThatPanics(t *testing.T) {
	e := newReal(t)
	e.Go(t.Context(), func(context.Context) { panic("oh") })
	_, err := e.Wait(t.Context(), e.Now()+int64(time.Hour), nil)
	require.ErrorContains(t, err, "a task panicked: oh")

	e = newReal(t)
	err = e.Await(t.Context(), func(context.Context) error { panic("oh") })
	require.ErrorContains(t, err, "a task panicked: oh")
}

func TestRealTasksEndWithTheirContext(t *testing.T) {
	e := newReal(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	e.Go(ctx, func(ctx context.Context) { ended <- e.Sleep(ctx, time.Hour) })
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)

	ctx, cancel = e.Timeout(t.Context(), ms)
	defer cancel()
	require.ErrorIs(t, e.Sleep(ctx, time.Hour), context.DeadlineExceeded)
}

// invokeOne runs one operation and returns what it returned.
func invokeOne(t *testing.T, timeout time.Duration, do func(ctx context.Context) error) error {
	t.Helper()
	e := newReal(t)
	e.Workers(1, func(ctx context.Context, _ int, _ *history.Op) error { return do(ctx) })
	e.Invoke(0, timeout, &history.Op{})
	buf, err := e.Wait(t.Context(), e.Now()+int64(time.Minute), nil)
	require.NoError(t, err)
	require.Len(t, buf, 1)
	return buf[0].Err
}

// The context of an operation is made only when it is needed, and must not
// differ from an ordinary one.
func TestOperationContext(t *testing.T) {
	t.Run("deadline", func(t *testing.T) {
		require.NoError(t, invokeOne(t, time.Hour, func(ctx context.Context) error {
			d, ok := ctx.Deadline()
			require.True(t, ok)
			require.InDelta(t, 60, time.Until(d).Minutes(), 1)
			return ctx.Err()
		}))
		err := invokeOne(t, 5*ms, func(ctx context.Context) error {
			<-ctx.Done()
			require.ErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
			return ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	t.Run("past its deadline without Done", func(t *testing.T) {
		err := invokeOne(t, time.Nanosecond, func(ctx context.Context) error {
			time.Sleep(ms)
			return ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	t.Run("derived", func(t *testing.T) {
		before := runtime.NumGoroutine()
		err := invokeOne(t, 5*ms, func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(context.WithValue(ctx, ctxKey{}, 7))
			defer cancel()
			require.Equal(t, 7, ctx.Value(ctxKey{}))
			require.Nil(t, ctx.Value(""))
			// The worker, and no goroutine that watches a context.
			require.LessOrEqual(t, runtime.NumGoroutine(), before+1)
			<-ctx.Done()
			return ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	for _, asked := range []bool{false, true} {
		t.Run("over when the operation is", func(t *testing.T) {
			var kept context.Context
			err := invokeOne(t, time.Hour, func(ctx context.Context) error {
				kept = ctx
				if asked {
					return ctx.Err()
				}
				return nil
			})
			require.NoError(t, err)
			<-kept.Done()
			require.ErrorIs(t, kept.Err(), context.Canceled)
		})
	}
}

type ctxKey struct{}
