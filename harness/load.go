package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

const (
	// tick is how long the loop sleeps at most, in the world's time. It is
	// also how often the history is flushed.
	tick = int64(100 * time.Millisecond)
	// overPoll is how often the loop asks whether all faults are healed,
	// once their time is over.
	overPoll = int64(2 * time.Millisecond)
)

// load is the loop of a run: offer operations to idle workers, wait, record
// what came back. It ends at the time end, or as soon after that as over says
// so, or when the observer has seen enough, with operations in flight.
func (r *run) load(ctx context.Context, end int64, over func() bool) error {
	for !r.result.Stopped {
		now := r.now()
		wake := min(end, now+tick)
		if now >= end {
			if over == nil || over() {
				return nil
			}
			wake = now + overPoll
		}
		next, err := r.offer(now)
		if err != nil {
			return err
		}
		if err := r.collect(ctx, min(wake, next)); err != nil {
			return err
		}
	}
	return nil
}

// observe tells the observer of an event that was recorded.
func (r *run) observe(id int, done bool, op *history.Op) {
	if r.opts.Observe != nil && r.opts.Observe(&history.Event{ID: id, Done: done, Op: *op}) {
		r.result.Stopped = true
	}
}

// collect waits until the time until for completions, and records them.
func (r *run) collect(ctx context.Context, until int64) error {
	var err error
	r.buf, err = r.world.Wait(ctx, r.start+until, r.buf[:0])
	for i := range r.buf {
		// What has come back is recorded even when the run ends here.
		err = errors.Join(err, r.complete(&r.buf[i]))
	}
	if err != nil {
		return err
	}
	return r.tick(ctx)
}

// offer invokes what the generator has to offer. It returns the time at which
// the generator should be asked again if no completion comes first.
func (r *run) offer(now int64) (next int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the generator of workload %q panicked: %v\n%s", r.test.Workload.Name, p, debug.Stack())
		}
	}()
	next = r.wakeRested(now)
	for !r.genDone && !r.idle.Empty() && !r.result.Stopped {
		op, st, g := r.gen.Next(r.genContext(now))
		switch st {
		case gen.Done:
			r.genDone = true
			return next, nil
		case gen.Pending:
			if r.inFlight == 0 && len(r.resting) == 0 {
				return 0, r.generatorError("is pending, but no operation is in flight whose completion could change that: it would wait for ever")
			}
			return next, nil
		}
		if err := r.checkOffer(op, now); err != nil {
			return 0, err
		}
		if op.Time > now {
			return min(next, op.Time), nil
		}
		r.gen = g
		now = r.now()
		if err := r.checkInstant(now); err != nil {
			return 0, err
		}
		r.invoke(op, now)
	}
	return next, nil
}

func (r *run) genContext(now int64) gen.Context {
	return gen.Context{
		Time:    now,
		Idle:    r.idle,
		Workers: len(r.slots),
		Seed:    gen.Derive(r.test.Seed, r.invoked),
	}
}

// checkOffer says what is wrong with an operation that a generator offers.
func (r *run) checkOffer(op gen.Op, now int64) error {
	keys := len(r.test.Workload.Keys)
	switch {
	case op.Worker < 0 || op.Worker >= len(r.slots):
		return r.generatorError("gave a %v to worker %d, but the workers are 0 to %d", op.F, op.Worker, len(r.slots)-1)
	case !r.idle.Has(op.Worker):
		return r.generatorError("gave a %v to worker %d, who is not idle: take one of Context.Idle", op.F, op.Worker)
	case op.Time < now:
		return r.generatorError("offered a %v for %v, but it was %v already: Op.Time must be Context.Time or later", op.F, time.Duration(op.Time), time.Duration(now))
	case op.F < history.Read || op.F > history.Transfer:
		return r.generatorError("offered an operation with the unknown function %v: set Op.F", op.F)
	case op.Key < 0 || int(op.Key) >= keys:
		return r.generatorError("offered a %v on key %d, but Workload.Keys has %d keys", op.F, op.Key, keys)
	}
	return nil
}

// instantLimit is how many operations a client may begin at one instant, on
// average. In a simulated world, where an operation can take no time at all,
// there would be no end of them.
const instantLimit = 10_000

func (r *run) checkInstant(now int64) error {
	if now != r.instant {
		r.instant, r.instantOps = now, 0
	}
	if r.instantOps++; r.instantOps > instantLimit*len(r.slots) {
		return fmt.Errorf("%d operations began at the time %v: the clients answer without any time passing, so the run would never end; limit the generator with gen.Rate", r.instantOps, time.Duration(now))
	}
	return nil
}

func (r *run) generatorError(format string, args ...any) error {
	return fmt.Errorf("after %d operations the generator of workload %q "+format, append([]any{r.invoked, r.test.Workload.Name}, args...)...)
}

// invoke records an operation and hands it to its worker.
func (r *run) invoke(op gen.Op, now int64) {
	s := &r.slots[op.Worker]
	r.place(op.Worker)
	s.op = history.Op{
		Call: now, Return: history.Never,
		Arg: op.Arg, Arg2: op.Arg2, Out: history.Nil,
		Process: s.process, Key: op.Key, Node: int16(s.node), F: op.F,
	}
	s.sent = s.op
	s.route = op.Route
	s.id = r.rec.Invoke(s.op)
	r.observe(s.id, false, &s.op)
	r.idle.Remove(op.Worker)
	s.inFlight = true
	r.inFlight++
	r.invoked++
	r.world.Invoke(op.Worker, r.test.OpTimeout, &s.op)
}

// complete records a completion and decides what its worker does next.
func (r *run) complete(c *Completion) error {
	s := &r.slots[c.Worker]
	s.inFlight = false
	r.inFlight--
	s.sent.Out = s.op.Out // all that a client may change
	if s.op != s.sent {
		c.Err = clientBug{fmt.Errorf("it changed more of the operation than Out: %+v became %+v", s.sent, s.op)}
		s.op = s.sent
	}

	text := ""
	if c.Err != nil {
		text = errorText(c.Err)
	}
	s.op.Outcome = outcome(s.op.F, c.Err)
	s.op.Return = c.At - r.start
	r.rec.Complete(s.id, s.op.Out, s.op.Outcome, s.op.Return, text)
	if s.op.Outcome == history.OK {
		r.roster.serves(s.node)
	}
	r.observe(s.id, true, &s.op)

	var bug clientBug
	if errors.As(c.Err, &bug) {
		return fmt.Errorf("client of node %d, %v on key %q: %w", s.node, s.op.F, r.test.Workload.Keys[s.op.Key], bug.err)
	}

	if c.Err != nil && !IsDefinite(c.Err) {
		// The answer to this operation may still come, on this connection.
		s.broken = true
	}
	if s.op.Outcome == history.Info {
		// The operation may still happen. A process does one thing at a
		// time, so it can do nothing more; the worker goes on as another.
		s.process += int32(len(r.slots))
	}
	if pause := s.backoff(c.Err); pause > 0 {
		r.rest(c.Worker, s.op.Return+int64(pause))
	} else {
		r.idle.Add(c.Worker)
	}
	return r.update(c.Worker)
}

// update tells the generator of a completion.
func (r *run) update(worker int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the generator of workload %q panicked: %v\n%s", r.test.Workload.Name, p, debug.Stack())
		}
	}()
	s := &r.slots[worker]
	r.gen = r.gen.Update(r.genContext(s.op.Return), gen.Completion{Op: &s.op, Worker: worker, Route: s.route})
	return nil
}

// outcome classes an operation's error.
func outcome(f history.F, err error) history.Outcome {
	switch {
	case err == nil:
		return history.OK
	case IsDefinite(err), f.ReadOnly():
		// A read that got no answer has no effect to wait for.
		return history.Fail
	}
	return history.Info
}

// errorText bounds what an error adds to the history.
func errorText(err error) string {
	const limit = 300
	s := err.Error()
	if len(s) > limit {
		s = s[:limit] + " …"
	}
	return s
}

// rest is a worker that takes nothing until some time.
type rest struct {
	worker int
	until  int64
}

func (r *run) rest(worker int, until int64) {
	r.resting = append(r.resting, rest{worker, until})
}

// wakeRested makes workers idle whose rest is over. It returns when the next
// one's is.
func (r *run) wakeRested(now int64) int64 {
	next := history.Never
	kept := r.resting[:0]
	for _, s := range r.resting {
		if s.until <= now {
			r.idle.Add(s.worker)
			continue
		}
		next = min(next, s.until)
		kept = append(kept, s)
	}
	r.resting = kept
	return next
}
