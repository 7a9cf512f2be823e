package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// ErrClosed is returned by the calls of a world that was closed.
var ErrClosed = errors.New("the world is closed")

// RealExecutor is the [Executor] of worlds that run in real time: the clock is
// the machine's monotonic clock, workers and tasks are goroutines. A world
// embeds it and calls Stop when it is closed.
type RealExecutor struct {
	start  time.Time
	ctx    context.Context // done when stopped
	cancel context.CancelFunc

	do   func(ctx context.Context, worker int, op *history.Op) error
	jobs []chan job // by worker

	// Completions are handed over in batches: workers append to done, and
	// only the first one of a batch has to wake the runner.
	mu      sync.Mutex
	done    []Completion
	waiting bool  // the runner is parked, or about to park
	failed  error // a task panicked
	wake    chan struct{}
	timer   *time.Timer // reused by Wait
}

// job is one invocation on its way to a worker.
type job struct {
	op      *history.Op
	timeout time.Duration
}

var _ Executor = (*RealExecutor)(nil)

// NewRealExecutor starts the clock. Stop must be called in the end.
func NewRealExecutor() *RealExecutor {
	e := &RealExecutor{
		start: time.Now(),
		wake:  make(chan struct{}, 1),
		timer: time.NewTimer(time.Hour),
	}
	e.timer.Stop()
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// Stop cancels every task and every operation in flight, and ends the workers
// as they become idle. It does not wait for them. It may be called twice.
func (e *RealExecutor) Stop() { e.cancel() }

// Now implements [Executor].
func (e *RealExecutor) Now() int64 { return int64(time.Since(e.start)) }

// Workers implements [Executor].
func (e *RealExecutor) Workers(n int, do func(ctx context.Context, worker int, op *history.Op) error) {
	e.do = do
	e.jobs = make([]chan job, n)
	for i := range e.jobs {
		e.jobs[i] = make(chan job, 1)
		go e.work(i)
	}
}

// work is the life of one worker.
func (e *RealExecutor) work(worker int) {
	var (
		current *history.Op
		ctx     *opContext
	)
	// A client that ends its goroutine (t.FailNow does) or panics must not
	// leave its operation in flight for ever, nor its worker dead.
	defer func() {
		if current == nil {
			return
		}
		err := errors.New("Client.Invoke ended its goroutine (runtime.Goexit, which t.FailNow and require call): return an error instead")
		if r := recover(); r != nil {
			err = fmt.Errorf("a worker panicked: %v\n%s", r, debug.Stack())
		}
		ctx.finish()
		e.complete(worker, current, clientBug{err})
		go e.work(worker)
	}()
	for {
		select {
		case <-e.ctx.Done():
			return
		case j := <-e.jobs[worker]:
			ctx = newOpContext(e.ctx, j.timeout)
			current = j.op
			err := e.do(ctx, worker, j.op)
			current = nil
			ctx.finish()
			e.complete(worker, j.op, err)
		}
	}
}

// complete stamps a completion and puts it into the batch.
func (e *RealExecutor) complete(worker int, op *history.Op, err error) {
	at := e.Now()
	e.mu.Lock()
	e.done = append(e.done, Completion{Worker: worker, Op: op, Err: err, At: at})
	wake := e.waiting
	e.waiting = false
	e.mu.Unlock()
	if wake {
		e.notify()
	}
}

func (e *RealExecutor) notify() {
	select {
	case e.wake <- struct{}{}:
	default: // a notification is already on its way
	}
}

// Invoke implements [Executor].
func (e *RealExecutor) Invoke(worker int, timeout time.Duration, op *history.Op) {
	e.jobs[worker] <- job{op, timeout}
}

// yields is how often Wait lets the workers run before it parks. Parking and
// being woken costs more than a short operation; a yield lets a whole batch of
// them complete.
const yields = 4

// Wait implements [Executor]. It returns an error also when a task panicked
// or the executor was stopped.
func (e *RealExecutor) Wait(ctx context.Context, until int64, buf []Completion) ([]Completion, error) {
	for try := 0; ; try++ {
		late := e.Now() >= until
		e.mu.Lock()
		if len(e.done) > 0 {
			buf = append(buf, e.done...)
			clear(e.done)
			e.done = e.done[:0]
			e.waiting = false
			e.mu.Unlock()
			return buf, nil
		}
		err := e.failed
		e.waiting = err == nil && !late && try >= yields
		park := e.waiting
		e.mu.Unlock()
		if err == nil {
			err = e.ended(ctx)
		}
		if err != nil || late {
			return buf, err
		}
		if !park {
			runtime.Gosched()
			continue
		}
		e.timer.Reset(time.Duration(until - e.Now()))
		select {
		case <-e.wake:
		case <-e.timer.C:
		case <-ctx.Done():
		case <-e.ctx.Done():
		}
		e.timer.Stop()
	}
}

// ended says why the runner has to stop, if it has.
func (e *RealExecutor) ended(ctx context.Context) error {
	if e.ctx.Err() != nil {
		return ErrClosed
	}
	return ctx.Err()
}

// Go implements [Executor]. A panic in f makes Wait and Await fail.
func (e *RealExecutor) Go(ctx context.Context, f func(ctx context.Context)) {
	ctx, cancel := e.bind(ctx)
	go func() {
		defer cancel()
		if err := guard(func() error { f(ctx); return nil }); err != nil {
			e.mu.Lock()
			e.failed = errors.Join(e.failed, err)
			e.mu.Unlock()
			e.notify()
		}
	}()
}

// Await implements [Executor]: it calls f, which must return soon after its
// context is done.
func (e *RealExecutor) Await(ctx context.Context, f func(ctx context.Context) error) error {
	if err := e.ended(ctx); err != nil {
		return err
	}
	ctx, cancel := e.bind(ctx)
	defer cancel()
	err := guard(func() error { return f(ctx) })
	e.mu.Lock()
	defer e.mu.Unlock()
	return errors.Join(err, e.failed)
}

// bind derives a context that is also done when the executor is stopped.
func (e *RealExecutor) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	unbind := context.AfterFunc(e.ctx, cancel)
	return ctx, func() { unbind(); cancel() }
}

// guard turns a panic into an error that shows where it was.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a task panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}

// Sleep implements [Executor].
func (e *RealExecutor) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Timeout implements [Executor].
func (e *RealExecutor) Timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// All implements [Executor].
func (e *RealExecutor) All(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := e.bind(ctx)
	defer cancel()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			errs[i] = guard(func() error { return f(ctx, i) })
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
