package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// slot is what a worker has.
type slot struct {
	node     int
	process  int32
	client   Client // nil when there is no connection
	broken   bool   // the client must be replaced
	fails    int    // failures in a row
	inFlight bool
	op       history.Op
	sent     history.Op // op as it was handed over
	id       int        // of the recording
	route    uint64     // of the generator
}

// clientBug is an error of the test's own code. It ends the run.
type clientBug struct{ err error }

func (b clientBug) Error() string { return b.err.Error() }
func (b clientBug) Unwrap() error { return b.err }

// do performs one operation, as a worker.
func (r *run) do(ctx context.Context, worker int, op *history.Op) error {
	s := &r.slots[worker]
	if s.broken {
		r.closeClient(s)
	}
	if s.client == nil {
		if err := r.openClient(ctx, s); err != nil {
			return Definite(err) // nothing was sent
		}
	}
	return r.invokeClient(ctx, s.client, r.test.Workload.Keys[op.Key], op)
}

// invokeClient calls the client, and turns a panic into an error.
func (r *run) invokeClient(ctx context.Context, c Client, key string, op *history.Op) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = clientBug{fmt.Errorf("Client.Invoke panicked: %v\n%s", p, debug.Stack())}
		}
	}()
	if op.F != history.ReadAll {
		return c.Invoke(ctx, key, op)
	}
	all, ok := c.(Lister)
	if !ok {
		return clientBug{fmt.Errorf("the workload reads lists, and the client (%T) is no harness.Lister", c)}
	}
	list, err := all.InvokeAll(ctx, key, op)
	if err == nil && list != nil {
		op.Out = r.rec.List(list)
	}
	return err
}

func (r *run) openClient(ctx context.Context, s *slot) error {
	var c Client
	err := guard(func() (err error) {
		c, err = r.test.System.Open(ctx, r.world, s.node)
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("open a client to node %d: %w", s.node, err)
	case c == nil:
		return clientBug{fmt.Errorf("System.Open of node %d gave neither a client nor an error", s.node)}
	}
	s.client, s.broken = c, false
	return nil
}

// closeClient lets a connection go. Nothing depends on its error: what was
// sent has been answered, or is recorded as unknown.
func (r *run) closeClient(s *slot) {
	c := s.client
	s.client = nil
	if c != nil {
		_ = guard(c.Close)
	}
}

// openClients connects all clients, and tries again while nodes are starting.
func (r *run) openClients(ctx context.Context) error {
	return r.world.Await(ctx, func(ctx context.Context) error {
		ctx, cancel := r.world.Timeout(ctx, r.opts.OpenTimeout)
		defer cancel()
		for i := range r.slots {
			if err := r.openPatiently(ctx, &r.slots[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *run) openPatiently(ctx context.Context, s *slot) error {
	for {
		err := r.openClient(ctx, s)
		var bug clientBug
		if err == nil || errors.As(err, &bug) {
			return err
		}
		if stop := r.world.Sleep(ctx, 50*time.Millisecond); stop != nil {
			return fmt.Errorf("before any fault, within %v: %w (%w)", r.opts.OpenTimeout, err, stop)
		}
	}
}

// closeClients lets all connections go but those of workers that never came
// back.
func (r *run) closeClients(ctx context.Context) {
	_ = r.world.Await(context.WithoutCancel(ctx), func(context.Context) error {
		for i := range r.slots {
			if s := &r.slots[i]; !s.inFlight {
				r.closeClient(s)
			}
		}
		return nil
	})
}

const (
	firstBackoff = 10 * time.Millisecond
	maxBackoff   = 100 * time.Millisecond
)

// backoff says how long the worker rests after an operation. A node that is
// down refuses within microseconds: without rests, most of a history would be
// refusals. Functions that a healthy system refuses too (a CAS of another
// value, a lock that is taken) are not slowed down, unless nothing was sent.
func (s *slot) backoff(err error) time.Duration {
	refused := IsDefinite(err) && s.client != nil && mayBeRefused(s.op.F)
	if err == nil || refused {
		s.fails = 0
		return 0
	}
	pause := min(firstBackoff<<min(s.fails, 10), maxBackoff)
	s.fails++
	return pause
}

func mayBeRefused(f history.F) bool {
	switch f {
	case history.CAS, history.Transact, history.Transfer, history.Acquire, history.Release:
		return true
	}
	return false
}
