package harness

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// faults are the episodes of a run, a task each: no fault waits for another
// one, least of all to be healed. Only where the members change there is an order,
// see [run.before].
type faults struct {
	running atomic.Int32
	ended   []atomic.Bool      // by episode
	cancel  context.CancelFunc // makes every episode heal now
}

// over says that every episode is healed, or could not be.
func (f *faults) over() bool { return f.running.Load() == 0 }

// startFaults starts the episodes; their time counts from begin.
func (r *run) startFaults(ctx context.Context, begin int64) {
	ctx, r.faults.cancel = context.WithCancel(ctx)
	r.faults.running.Store(int32(len(r.test.Faults)))
	r.faults.ended = make([]atomic.Bool, len(r.test.Faults))
	for i, e := range r.test.Faults {
		before := r.before(i)
		r.world.Go(ctx, func(ctx context.Context) {
			defer r.faults.running.Add(-1)
			defer r.faults.ended[i].Store(true)
			if r.sleepUntil(ctx, begin+int64(e.At)) != nil {
				return // the run ended before it began
			}
			for _, j := range before {
				for !r.faults.ended[j].Load() {
					if r.world.Sleep(ctx, time.Duration(overPoll)) != nil {
						return
					}
				}
			}
			r.episode(ctx, e, begin)
		})
	}
}

// before gives the episodes for whose end an episode waits. How long a change of the
// members takes depends on the other faults. So a change waits for what was planned
// to be over by then and is not: another change, or a fault on the same nodes; and
// such a fault waits for a change.
func (r *run) before(i int) []int {
	e := r.test.Faults[i]
	_, change := e.Fault.(Reconfiguration)
	var all []int
	for j, f := range r.test.Faults {
		_, changed := f.Fault.(Reconfiguration)
		switch {
		case f.At+f.For > e.At || !change && !changed:
		case change && changed, slices.ContainsFunc(e.Fault.Nodes(), func(n int) bool { return slices.Contains(f.Fault.Nodes(), n) }):
			all = append(all, j)
		}
	}
	return all
}

// stopFaults heals what is still in force and waits for that, also when ctx is
// done.
func (r *run) stopFaults(ctx context.Context) {
	if r.faults.cancel == nil {
		return // the run ended before the fault phase
	}
	r.faults.cancel()
	if r.faults.over() {
		return
	}
	err := r.world.Await(context.WithoutCancel(ctx), func(ctx context.Context) error {
		ctx, cancel := r.world.Timeout(ctx, (2+healAttempts)*r.opts.FaultTimeout)
		defer cancel()
		for !r.faults.over() {
			if err := r.world.Sleep(ctx, time.Duration(overPoll)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.warn("not every fault could be healed (%v): what is left is healed when its lease is over", err)
	}
}

// healAttempts is how often healing is tried.
const healAttempts = 3

// episode is one fault from start to end.
func (r *run) episode(ctx context.Context, e Episode, begin int64) {
	f := e.Fault
	end := begin + int64(min(e.At+e.For, r.test.During))
	lease := max(0, time.Duration(end-r.now())) + r.opts.LeaseMargin
	id := r.rec.FaultStart(f.Kind(), f.String(), f.Nodes(), r.now())

	evidence, applied := "", false
	err := r.step(ctx, func(ctx context.Context) error { return f.Apply(ctx, r.world, lease) })
	if err == nil {
		applied = true
		err = r.step(ctx, func(ctx context.Context) (err error) {
			evidence, err = f.ProveApplied(ctx, r.world)
			return err
		})
	}
	r.rec.FaultEffect(id, r.proof(evidence, err))
	change, _ := f.(Reconfiguration)
	if applied {
		if change != nil {
			r.roster.leave(change.Change().Remove)
		}
		// An error means that the run is being stopped: time to heal.
		_ = r.sleepUntil(ctx, end)
	}

	// Healing goes on when the run is interrupted, and also when applying
	// failed, perhaps halfway.
	running := ctx
	ctx = context.WithoutCancel(ctx)
	evidence = ""
	for attempt := range healAttempts {
		if attempt > 0 && r.world.Sleep(ctx, 100*time.Millisecond) != nil {
			break
		}
		err = r.step(ctx, func(ctx context.Context) error { return f.Heal(ctx, r.world) })
		if err == nil {
			break
		}
	}
	healed := history.Never
	if err == nil {
		healed = r.now()
		err = r.step(ctx, func(ctx context.Context) (err error) {
			evidence, err = f.ProveHealed(ctx, r.world)
			return err
		})
	}
	if err == nil && change != nil {
		err = r.step(ctx, func(ctx context.Context) error {
			more, err := r.proveJoined(ctx, running, change.Change().Add)
			evidence += more
			return err
		})
	}
	r.rec.FaultRecovery(id, r.proof(evidence, err), healed)
}

// step performs one step of a fault, within its time.
func (r *run) step(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := r.world.Timeout(ctx, r.opts.FaultTimeout)
	defer cancel()
	return guard(func() error { return f(ctx) })
}

// proof is what a step observed. A failed one is no reason to end the run; the
// checkers will not call a claim held that rests on it.
func (r *run) proof(evidence string, err error) history.Proof {
	if err != nil {
		if evidence != "" {
			err = errors.Join(err, errors.New(evidence))
		}
		evidence = errorText(err)
	}
	return history.Proof{OK: err == nil, At: r.now(), Evidence: evidence}
}

func (r *run) sleepUntil(ctx context.Context, at int64) error {
	if d := at - r.now(); d > 0 {
		return r.world.Sleep(ctx, time.Duration(d))
	}
	return ctx.Err()
}
