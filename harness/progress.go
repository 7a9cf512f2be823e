package harness

import (
	"context"
	"time"
)

// progress is when somebody was last told how the run goes, or the history
// was last flushed.
type progress struct {
	phase   string
	told    time.Time // real time: people wait in it, also for simulations
	flushed int64     // the world's time, so that a simulated run writes the same file every time
}

// progressInterval is how often people are told.
const progressInterval = 500 * time.Millisecond

// tick does what is due from time to time.
func (r *run) tick(ctx context.Context) error {
	r.progressNow()
	now := r.now()
	if every := int64(r.opts.Sample); every > 0 && now-r.sampled >= every {
		r.sampled = now
		if err := r.sample(ctx); err != nil {
			return err
		}
	}
	if r.opts.Log == nil || now-r.progress.flushed < tick {
		return nil
	}
	r.progress.flushed = now
	return r.rec.Flush()
}

// progressNow reports if it is time to.
func (r *run) progressNow() {
	if r.opts.Progress != nil && time.Since(r.progress.told) >= progressInterval {
		r.report(r.progress.phase)
	}
}

// report tells how the run goes.
func (r *run) report(phase string) {
	r.progress.phase = phase
	if r.opts.Progress == nil {
		return
	}
	r.progress.told = time.Now()
	c := r.rec.Counts()
	r.opts.Progress(Snapshot{
		Elapsed: time.Duration(r.now()),
		Total:   r.test.length(),
		Phase:   phase,
		Invoked: c.Invoked, OK: c.OK, Fail: c.Fail, Info: c.Info,
		InForce: c.InForce,
	})
}
