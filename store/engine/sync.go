package engine

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// syncLoop is the group commit. Apply appends to Pebble's log without waiting;
// here one empty log entry is committed with sync, and since the log is
// sequential it makes everything durable that was appended before. Writes that
// arrive while the disk is busy share the next sync. So a lone write waits for
// one fsync and no timer, and under load the number of writes in a sync grows
// by itself.
//
// (Pebble has ApplyNoSyncWait for the same end. It is marked experimental, and
// costs a waiter for every batch.)
func (e *Engine) syncLoop() {
	for range e.wake {
		e.mu.Lock()
		to, from, closing, failed := e.applied, e.durable, e.closing, e.failed
		e.mu.Unlock()
		if failed != nil {
			return
		}
		if to > from {
			start := time.Now()
			err := guard(func() error { return e.db.LogData(nil, pebble.Sync) })
			if err != nil {
				_ = e.fail(fmt.Errorf("engine: sync %s: %w", e.dir, err)) // the owner hears it from Progress
				return
			}
			e.heard(time.Since(start))
			e.mu.Lock()
			e.durable = to
			e.mu.Unlock()
			poke(e.moved)
		}
		if closing {
			return
		}
	}
}

// fail records the first error, which ends all further writing: after a failed
// fsync nobody knows what the disk holds, and a second fsync that succeeds
// proves nothing (Rebello et al., USENIX ATC 2020).
func (e *Engine) fail(err error) error {
	e.mu.Lock()
	if e.failed == nil {
		e.failed = err
	}
	err = e.failed
	e.mu.Unlock()
	poke(e.moved)
	return err
}

// fatal is how logger hands Pebble's last words to guard.
type fatal struct {
	text  string
	cause error // nil if they name none
}

func (f fatal) Error() string { return f.text }
func (f fatal) Unwrap() error { return f.cause }

// logger is Pebble's logger. Pebble reports an unusable log by Fatalf and
// expects not to go on; we unwind to guard, and the process stays up to answer
// with an error. In a background goroutine of Pebble nobody catches it, and
// the process ends, as it would with Pebble's own logger.
type logger struct{ log *slog.Logger }

// Infof drops Pebble's talk about flushes and compactions.
func (logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) { l.log.Error(fmt.Sprintf(format, args...)) }

func (l logger) Fatalf(format string, args ...any) {
	f := fatal{text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			f.cause = err
		}
	}
	l.log.Error(f.text)
	panic(f)
}

// guard turns a panic inside Pebble into an error. Pebble panics with what it
// cannot handle, a log file that does not close for example.
func guard(f func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			err = p
		default:
			err = fmt.Errorf("pebble: %v", p)
		}
	}()
	return f()
}
