package sim

import (
	"context"
	"errors"
)

// All implements [harness.Executor]. The tasks start in the order of their
// numbers.
func (w *World) All(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	return w.asTask(ctx, func(ctx context.Context, t *task) error {
		errs := make([]error, n)
		left := n
		for i := range n {
			w.spawn(ctx, "task", func(ctx context.Context) {
				// Also after a panic: the waiting task must come to its end.
				defer func() {
					left--
					w.wake(t)
				}()
				errs[i] = f(ctx, i)
			})
		}
		for left > 0 {
			t.park("the tasks of All")
		}
		return errors.Join(errs...)
	})
}
