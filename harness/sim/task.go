package sim

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// A task is a coroutine: plain blocking Go code that runs only while the loop
// has resumed it, and gives control back when it waits. One runs at a time, so
// tasks need no locks, and the order in which they run is that of the events.
type task struct {
	w      *World
	name   string
	next   func() (struct{}, bool)
	yield  func(struct{}) bool
	ctx    *vctx
	doing  string // what it waits for, for people
	pos    int    // place in w.tasks
	queued bool   // is in w.ready
	stuck  int    // calls since it last waited that were refused, see refused
	done   bool
}

// spawn makes a task that starts when the loop comes to it.
func (w *World) spawn(ctx context.Context, name string, f func(ctx context.Context)) *task {
	t := &task{w: w, name: name, pos: len(w.tasks)}
	w.tasks = append(w.tasks, t)
	t.ctx = w.newContext(ctx, -1)
	t.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		defer t.finish()
		f(t.ctx)
	})
	w.wake(t)
	return t
}

// finish ends the task, also when it ends by a panic or by runtime.Goexit.
func (t *task) finish() {
	w := t.w
	if r := recover(); r == errStuck {
		w.fail(fmt.Errorf("%s: %w", t.name, errStuck))
	} else if r != nil {
		w.fail(fmt.Errorf("%s panicked: %v\n%s", t.name, r, debug.Stack()))
	}
	t.done = true
	t.ctx.end(context.Canceled)
	last := len(w.tasks) - 1
	w.tasks[t.pos] = w.tasks[last]
	w.tasks[t.pos].pos = t.pos
	w.tasks[last] = nil
	w.tasks = w.tasks[:last]
}

// wake lets a task run before the next event. It may find that what it waits
// for has not come: every wait is a loop around park.
func (w *World) wake(t *task) {
	if !t.queued && !t.done {
		t.queued = true
		w.ready = append(w.ready, t)
	}
}

// park gives control back until the task is woken.
func (t *task) park(doing string) {
	t.doing, t.stuck = doing, 0
	t.yield(struct{}{})
}

// stuckLimit is how often a task may go on trying to wait under a context that
// is done, without ever waiting.
const stuckLimit = 10_000

// errStuck ends a task that would go on for ever, with time standing still.
var errStuck = errors.New("it goes on calling the world under a context that is done")

// refused is the error of a call that could not wait since its context is done.
func (t *task) refused(err error) error {
	if t.stuck++; t.stuck > stuckLimit {
		panic(errStuck)
	}
	return err
}

// runReady resumes the tasks that can go on.
func (w *World) runReady() {
	for i := 0; i < len(w.ready); i++ {
		t := w.ready[i]
		t.queued = false
		if !t.done {
			w.current = t
			t.next()
			w.current = nil
		}
	}
	clear(w.ready)
	w.ready = w.ready[:0]
	w.stirred = true
}

// asTask runs f as a task: the one that is running, or else a new one.
func (w *World) asTask(ctx context.Context, f func(ctx context.Context, t *task) error) error {
	if w.current != nil {
		return f(ctx, w.current)
	}
	return w.Await(ctx, func(ctx context.Context) error { return f(ctx, w.current) })
}

// worker carries out the operations of one worker of the runner.
type worker struct {
	op      *history.Op // in flight; nil: idle
	timeout time.Duration
	task    *task
}

// Workers implements [harness.Executor].
func (w *World) Workers(n int, do func(ctx context.Context, worker int, op *history.Op) error) {
	if w.workers != nil {
		w.fail(fmt.Errorf("Workers was called twice"))
		return
	}
	w.workers = make([]worker, n)
	for i := range w.workers {
		wk := &w.workers[i]
		wk.task = w.spawn(context.Background(), fmt.Sprintf("worker %d", i), func(ctx context.Context) {
			for {
				for wk.op == nil {
					if ctx.Err() != nil {
						return
					}
					wk.task.park("an operation")
				}
				op := wk.op
				timeout := wk.timeout
				if timeout <= 0 {
					timeout = -1
				}
				opCtx := w.newContext(ctx, timeout)
				err := do(opCtx, i, op)
				opCtx.end(context.Canceled)
				wk.op = nil
				w.completions = append(w.completions, harness.Completion{Worker: i, Op: op, Err: err, At: w.now})
			}
		})
		wk.task.ctx.wait(wk.task)
	}
}

// Invoke implements [harness.Executor]. A timeout of 0 is none.
func (w *World) Invoke(worker int, timeout time.Duration, op *history.Op) {
	switch {
	case worker < 0 || worker >= len(w.workers):
		w.fail(fmt.Errorf("Invoke of worker %d: there are %d", worker, len(w.workers)))
	case op == nil:
		w.fail(fmt.Errorf("Invoke of worker %d without an operation", worker))
	case w.workers[worker].op != nil:
		w.fail(fmt.Errorf("Invoke of worker %d, which has an operation in flight", worker))
	default:
		wk := &w.workers[worker]
		wk.op, wk.timeout = op, timeout
		w.wake(wk.task)
	}
}

// Wait implements [harness.Executor]: it runs the world until there is a
// completion, or virtual time is until.
func (w *World) Wait(ctx context.Context, until int64, buf []harness.Completion) ([]harness.Completion, error) {
	if w.current != nil {
		return buf, w.wrap(fmt.Errorf("Wait was called from %s: only the runner may", w.current.name))
	}
	err := w.run(ctx, max(until, w.now), func() bool { return len(w.completions) > 0 })
	if err == errIdle && until != never {
		w.now, err = max(until, w.now), nil
	}
	if err == errIdle {
		err = w.wrap(fmt.Errorf("deadlock: Wait for a completion, and nothing more will happen"))
	}
	buf = append(buf, w.completions...)
	clear(w.completions)
	w.completions = w.completions[:0]
	return buf, err
}

// Go implements [harness.Executor].
func (w *World) Go(ctx context.Context, f func(ctx context.Context)) {
	if !w.closed {
		w.spawn(ctx, "task", f)
	}
}

// Sleep implements [harness.Executor].
func (w *World) Sleep(ctx context.Context, d time.Duration) error {
	return w.asTask(ctx, func(ctx context.Context, t *task) error {
		return t.sleep(ctx, d)
	})
}

func (t *task) sleep(ctx context.Context, d time.Duration) error {
	w := t.w
	c := w.adopt(ctx)
	at := w.after(d)
	if c.err != nil {
		return t.refused(c.err)
	}
	if at == w.now {
		c.tidy()
		return nil
	}
	it, timer := w.queue.push(at, kindTimer)
	it.msg = t
	c.wait(t)
	for w.now < at && c.err == nil {
		t.park("Sleep")
	}
	w.queue.cancel(timer)
	c.unwait(t)
	if w.now >= at {
		return nil
	}
	return c.err
}

// Timeout implements [harness.Executor].
func (w *World) Timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	c := w.newContext(ctx, max(d, 0))
	if d <= 0 {
		c.end(context.DeadlineExceeded)
	}
	return c, func() { c.end(context.Canceled) }
}

// Await implements [harness.Executor]. Called from a task it just calls f. It
// is an error when nothing more can happen and f has not returned, or when f
// takes longer than Config.MaxAwait; f's context is then cancelled.
func (w *World) Await(ctx context.Context, f func(ctx context.Context) error) error {
	if w.current != nil {
		return f(ctx)
	}
	if err := w.usable(ctx); err != nil {
		return err
	}
	var result error
	t := w.spawn(ctx, "task", func(ctx context.Context) { result = f(ctx) })
	err := w.run(ctx, w.after(w.cfg.MaxAwait), func() bool { return t.done })
	if t.done && w.err == nil {
		return result
	}
	switch {
	case err == errIdle:
		err = w.wrap(fmt.Errorf("deadlock: a task waits for %s, and nothing more will happen", t.doing))
	case err == nil:
		err = w.wrap(fmt.Errorf("a task has waited for %s, and not returned within %v (Config.MaxAwait)", t.doing, w.cfg.MaxAwait))
	}
	w.cancelTask(t)
	return err
}

// cancelTask lets a task that is given up come to its end, as far as it gets
// without any time passing.
func (w *World) cancelTask(t *task) {
	var err error
	defer w.recovered(&err)
	t.ctx.end(context.Canceled)
	for len(w.ready) > 0 {
		w.runReady()
	}
}
