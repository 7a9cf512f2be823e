package sim

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// silent is a system that never answers.
func silent() System {
	return toy{func(Host) (Node, error) { return &puppet{}, nil }}
}

// ticking never answers either, and its timers never end.
func ticking() System {
	return toy{func(h Host) (Node, error) {
		p := &puppet{wake: func() { h.WakeAt(h.Now() + time.Second) }}
		p.wake()
		return p, nil
	}}
}

func TestSleepAndTimeout(t *testing.T) {
	w := newWorld(t, Config{})
	await(t, w, func(ctx context.Context) error {
		require.NoError(t, w.Sleep(ctx, 0))
		require.NoError(t, w.Sleep(ctx, -time.Second))
		require.Zero(t, w.Now())

		short, cancel := w.Timeout(ctx, time.Second)
		defer cancel()
		long, cancelLong := w.Timeout(short, time.Hour)
		defer cancelLong()
		at, ok := long.Deadline()
		require.True(t, ok)
		require.Equal(t, Epoch.Add(time.Second), at, "the parent's deadline is earlier")
		require.ErrorIs(t, w.Sleep(long, time.Minute), context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Duration(w.Now()))
		<-long.Done()
		require.ErrorIs(t, w.Sleep(long, time.Minute), context.DeadlineExceeded)

		now, cancelNow := w.Timeout(ctx, 0)
		defer cancelNow()
		require.ErrorIs(t, now.Err(), context.DeadlineExceeded)
		return nil
	})
	require.Empty(t, w.watches)
	require.Empty(t, w.root.kids)
}

// Contexts that the standard library derives from a task's, and contexts that
// are cancelled by another task, wake whoever waits under them, at that time.
func TestDerivedContexts(t *testing.T) {
	type key struct{}
	for name, derive := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"WithCancel": context.WithCancel,
		"WithCancel twice": func(c context.Context) (context.Context, context.CancelFunc) {
			c, outer := context.WithCancel(context.WithValue(c, key{}, 1))
			c, inner := context.WithCancel(context.WithValue(c, key{}, 2))
			return c, func() { outer(); inner() }
		},
		"independent": func(context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(bg) },
		"Timeout":     func(c context.Context) (context.Context, context.CancelFunc) { return nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{System: silent()})
			await(t, w, func(ctx context.Context) error {
				sub, cancel := derive(ctx)
				if sub == nil {
					sub, cancel = w.Timeout(ctx, time.Hour)
				}
				w.Go(ctx, func(ctx context.Context) {
					require.NoError(t, w.Sleep(ctx, time.Second))
					cancel()
				})
				_, err := w.Call(sub, 0, "x")
				require.ErrorIs(t, err, context.Canceled)
				require.Equal(t, time.Second, time.Duration(w.Now()))
				return nil
			})
			require.Empty(t, w.watches, "nobody is watched any more")
		})
	}
	t.Run("deadline of the parent", func(t *testing.T) {
		w := newWorld(t, Config{System: silent()})
		await(t, w, func(ctx context.Context) error {
			ctx, cancel := w.Timeout(ctx, time.Second)
			defer cancel()
			sub, cancelSub := context.WithCancel(ctx)
			defer cancelSub()
			_, err := w.Call(sub, 0, "x")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, time.Second, time.Duration(w.Now()))
			return nil
		})
	})
}

func TestWorkers(t *testing.T) {
	cfg := still()
	w := newWorld(t, cfg)
	errNo := errors.New("no")
	w.Workers(3, func(ctx context.Context, worker int, op *history.Op) error {
		switch worker {
		case 0:
			_, err := w.Call(ctx, 0, "x")
			op.Out = op.Arg + 1
			return err
		case 1:
			return errNo
		}
		<-w.mustTimeOut(ctx)
		return ctx.Err()
	})
	ops := make([]history.Op, 3)
	ops[0].Arg = 41
	for i := range ops {
		w.Invoke(i, 5*time.Millisecond, &ops[i])
	}
	wait := func(until time.Duration) []harness.Completion {
		c, err := w.Wait(bg, int64(until), nil)
		require.NoError(t, err)
		return c
	}
	ms := time.Millisecond
	require.Equal(t, []harness.Completion{{Worker: 1, Op: &ops[1], Err: errNo}}, wait(time.Second))
	require.Empty(t, wait(ms))
	require.Equal(t, ms, time.Duration(w.Now()), "Wait returned at its time")
	require.Equal(t, []harness.Completion{{Worker: 0, Op: &ops[0], At: int64(2 * ms)}}, wait(time.Second))
	require.EqualValues(t, 42, ops[0].Out)
	require.Equal(t, []harness.Completion{{Worker: 2, Op: &ops[2], Err: context.DeadlineExceeded, At: int64(5 * ms)}}, wait(time.Second))
	require.Empty(t, wait(time.Second), "nothing happens, but time passes")
	require.Equal(t, time.Second, time.Duration(w.Now()))
	_, err := w.Wait(bg, never, nil)
	require.ErrorContains(t, err, "deadlock")
}

// mustTimeOut waits on virtual time until ctx is done.
func (w *World) mustTimeOut(ctx context.Context) <-chan struct{} {
	_ = w.Sleep(ctx, time.Hour)
	return ctx.Done()
}

func TestInvokeMisuse(t *testing.T) {
	var op history.Op
	for want, misuse := range map[string]func(w *World){
		"worker 2: there are 2":      func(w *World) { w.Invoke(2, 0, &op) },
		"without an operation":       func(w *World) { w.Invoke(0, 0, nil) },
		"has an operation in flight": func(w *World) { w.Invoke(0, 0, &op); w.Invoke(0, 0, &op) },
		"Workers was called twice":   func(w *World) { w.Workers(2, nil) },
		"Wait was called from task: only": func(w *World) {
			require.Error(t, w.Await(bg, func(ctx context.Context) error { _, err := w.Wait(ctx, 1, nil); w.fail(err); return err }))
		},
	} {
		w := newWorld(t, Config{})
		w.Workers(2, func(context.Context, int, *history.Op) error { return nil })
		misuse(w)
		_, err := w.Wait(bg, 1, nil)
		require.ErrorContains(t, err, want)
	}
}

func TestDeadlock(t *testing.T) {
	w := newWorld(t, Config{System: silent(), Seed: 12})
	err := w.Await(bg, func(ctx context.Context) error {
		_, err := w.Call(ctx, 0, "x")
		return err
	})
	require.ErrorContains(t, err, "deadlock: a task waits for the answer to a call")
	require.ErrorContains(t, err, "seed 12")
	require.Empty(t, w.tasks, "the task was ended")
	pass(t, w, time.Second) // the world is as good as before
}

func TestAwaitLimit(t *testing.T) {
	w := newWorld(t, Config{System: ticking(), MaxAwait: time.Minute})
	err := w.Await(bg, func(ctx context.Context) error {
		_, err := w.Call(ctx, 0, "x")
		return err
	})
	require.ErrorContains(t, err, "not returned within 1m0s")
	require.Equal(t, time.Minute, time.Duration(w.Now()))
	require.Empty(t, w.tasks)
}

// A node that keeps its instant busy for ever must not hang the run.
func TestTimeStandsStill(t *testing.T) {
	w := newWorld(t, Config{Nodes: 1, System: toy{func(h Host) (Node, error) {
		p := &puppet{wake: func() { h.WakeAt(h.Now()) }}
		p.wake()
		return p, nil
	}}})
	_, err := w.Wait(bg, 1, nil)
	require.ErrorContains(t, err, "without any time passing")
}

// Nor must a client that tries again for ever under a context that is done.
func TestTaskIgnoresItsContext(t *testing.T) {
	w := newWorld(t, Config{Seed: 3})
	require.NoError(t, w.Kill(bg, 0, time.Hour))
	stubborn := func(ctx context.Context) error {
		ctx, cancel := w.Timeout(ctx, time.Second)
		defer cancel()
		for {
			if _, err := w.Call(ctx, 0, "x"); err == nil {
				return nil
			}
		}
	}
	require.ErrorContains(t, w.Await(bg, stubborn), "goes on calling the world under a context that is done")
}

func TestPanics(t *testing.T) {
	boom := toy{func(Host) (Node, error) {
		return &puppet{
			request: func(uint64, any) { panic("boom") },
			receive: func(from int, msg any) { _ = msg.([]int)[from] },
		}, nil
	}}
	w := newWorld(t, Config{System: boom, Seed: 8})
	_, err := w.Call(bg, 1, "x")
	require.ErrorContains(t, err, "seed 8")
	require.ErrorContains(t, err, "node 1 (incarnation 1): panicked: boom")
	require.ErrorContains(t, err, "task_test.go", "the stack shows where")
	_, err2 := w.Call(bg, 0, "x")
	require.Equal(t, err, err2, "the run has failed")

	w = newWorld(t, Config{System: boom})
	w.send(0, 1, "x")
	_, err = w.Wait(bg, int64(time.Second), nil)
	require.ErrorContains(t, err, "interface conversion")

	w = newWorld(t, Config{Seed: 9})
	err = w.Await(bg, func(context.Context) error { panic("client bug") })
	require.ErrorContains(t, err, "task panicked: client bug")
	require.ErrorContains(t, err, "seed 9")

	w = newWorld(t, Config{})
	w.Workers(1, func(context.Context, int, *history.Op) error { panic("worker bug") })
	w.Invoke(0, 0, new(history.Op))
	_, err = w.Wait(bg, 1, nil)
	require.ErrorContains(t, err, "worker 0 panicked: worker bug")
}

func TestNodeMustNotCallTheWorld(t *testing.T) {
	var w *World
	w = newWorld(t, Config{System: toy{func(h Host) (Node, error) {
		return &puppet{request: func(id uint64, _ any) { h.Reply(id, w.Sleep(bg, time.Second)) }}, nil
	}}})
	r, err := w.Call(bg, 0, "x")
	require.NoError(t, err)
	require.ErrorContains(t, r.(error), "a node called its world")
}

// Ctrl-C comes from outside, in real time.
func TestInterrupt(t *testing.T) {
	w := newWorld(t, Config{System: ticking()})
	ctx, cancel := context.WithCancel(bg)
	ended := 0
	w.Go(ctx, func(ctx context.Context) {
		require.ErrorIs(t, w.Sleep(ctx, 1000*time.Hour), context.Canceled)
		ended++
	})
	w.Workers(1, func(ctx context.Context, _ int, _ *history.Op) error {
		_, err := w.Call(ctx, 0, "x")
		return err
	})
	w.Invoke(0, 0, new(history.Op))
	w.Go(bg, func(ctx context.Context) { require.NoError(t, w.Sleep(ctx, time.Hour)); cancel() })
	_, err := w.Wait(ctx, never, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, w.Now(), int64(2*time.Hour))
	_, err = w.Wait(ctx, never, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, w.Await(ctx, func(context.Context) error { panic("must not run") }), context.Canceled)

	// The runner goes on with another context, to heal.
	pass(t, w, time.Second)
	require.Equal(t, 1, ended)

	ctx, cancel = context.WithCancel(bg)
	err = w.Await(ctx, func(ctx context.Context) error {
		w.Go(bg, func(ctx context.Context) { cancel() })
		_, err := w.Call(ctx, 1, "x")
		ended++
		return err
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 2, ended, "the task came to its end")
}

// coroutines is how many tasks of all worlds have a goroutine.
func coroutines() int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte("created by iter.Pull"))
}

// Close ends every task, wherever it waits, and leaves no goroutine.
func TestCloseEndsTasks(t *testing.T) {
	require.Zero(t, coroutines())
	w, err := New(Config{System: silent(), Nodes: 3})
	require.NoError(t, err)
	ended := 0
	task := func(wait func(ctx context.Context) error) {
		w.Go(bg, func(ctx context.Context) {
			require.ErrorIs(t, wait(ctx), context.Canceled)
			require.Error(t, w.Start(ctx, 0), "and so does everything after")
			ended++
		})
	}
	task(func(ctx context.Context) error { return w.Sleep(ctx, time.Hour) })
	task(func(ctx context.Context) error { return w.Sleep(bg, time.Hour) })
	task(func(ctx context.Context) error { _, err := w.Call(ctx, 0, "x"); return err })
	task(func(ctx context.Context) error { return w.Start(ctx, 2) })
	task(func(ctx context.Context) error {
		links := make([]harness.Link, 1)
		links[0].To = 1
		_, err := w.Probe(ctx, links)
		return err
	})
	w.Workers(2, func(ctx context.Context, _ int, _ *history.Op) error {
		defer func() { ended++ }()
		_, err := w.Call(ctx, 1, "x")
		return err
	})
	require.NoError(t, w.Kill(bg, 2, time.Hour))
	require.NoError(t, w.Cut(bg, "c", []harness.Link{{From: 0, To: 1}}, time.Hour))
	w.Invoke(0, 0, new(history.Op))
	_, err = w.Wait(bg, int64(time.Millisecond), nil)
	require.NoError(t, err)
	w.Go(bg, func(ctx context.Context) { require.Error(t, ctx.Err()); ended++ }) // has not begun
	require.Equal(t, 8, coroutines())
	require.NoError(t, w.Close(bg))
	require.NoError(t, w.Close(bg), "twice is no error")
	require.Equal(t, 7, ended)
	require.Empty(t, w.tasks)
	require.Zero(t, coroutines())

	require.ErrorIs(t, w.Await(bg, func(context.Context) error { return nil }), harness.ErrClosed)
	require.ErrorIs(t, w.Kill(bg, 0, time.Second), harness.ErrClosed)
	require.ErrorIs(t, w.Cut(bg, "c", nil, time.Second), harness.ErrClosed)
	_, err = w.Wait(bg, never, nil)
	require.ErrorIs(t, err, harness.ErrClosed)
	_, err = w.Call(bg, 0, "x")
	require.ErrorIs(t, err, harness.ErrClosed)
	_, err = w.Log(bg, 0)
	require.NoError(t, err, "logs can be read after the end")
}

func TestCloseFromTask(t *testing.T) {
	w := newWorld(t, Config{System: silent()})
	ended := false
	w.Go(bg, func(ctx context.Context) {
		_, err := w.Call(ctx, 0, "x")
		require.Error(t, err)
		ended = true
	})
	require.NoError(t, w.Await(bg, func(ctx context.Context) error {
		require.NoError(t, w.Sleep(ctx, time.Second))
		return w.Close(ctx)
	}))
	require.True(t, ended)
	require.Empty(t, w.tasks)
}

// A test that gives up inside of a task (t.FailNow) ends it with
// runtime.Goexit; the world can still be closed.
func TestGoexitInTask(t *testing.T) {
	w := newWorld(t, Config{System: silent()})
	w.Go(bg, func(ctx context.Context) { _ = w.Sleep(ctx, time.Hour) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Await(bg, func(ctx context.Context) error {
			_ = w.Sleep(ctx, time.Second)
			runtime.Goexit()
			return nil
		})
		t.Error("Await returned")
	}()
	<-done
	require.NoError(t, w.Close(bg))
	require.Empty(t, w.tasks)
}
