package experiment

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/nemesis"
)

// ShrinkOptions bound the search for a smaller run.
type ShrinkOptions struct {
	// Time bounds the search; 1 minute when zero. What was found by then is
	// the answer.
	Time time.Duration
	// Progress is told after every run.
	Progress func(Shrunk)
}

// Shrunk is a smaller run that breaks the same claim.
type Shrunk struct {
	Spec   Spec
	Ops    int // operations that it invokes
	Faults int // episodes in its schedule
	Runs   int // how many were tried
	// Complete says that no further step makes it smaller. It is false if the
	// time ran out first.
	Complete bool
}

// Shrink looks for a smaller simulated run that breaks a claim: by running
// again, with the same seed, with fewer operations, keys and clients, then with
// fewer and shorter faults, then for a shorter time and with plain delays. Every
// step is kept if the claim is still broken, and all are tried again until none
// helps. The spec must break the claim; its answer does so too. Runs are
// deterministic, so the answer is the same wherever the time suffices.
func Shrink(ctx context.Context, s Spec, claim checkers.Claim, o ShrinkOptions) (Shrunk, error) {
	if s.World != Sim {
		return Shrunk{}, fmt.Errorf("a run in the world %s cannot be made smaller by running it again: nothing would happen in the same way", s.World)
	}
	if o.Time == 0 {
		o.Time = time.Minute
	}
	if s.Schedule == nil {
		specs, err := nemesis.Parse(s.Nemesis)
		if err != nil {
			return Shrunk{}, err
		}
		if s.Schedule, err = nemesis.Schedule(s.Seed, specs, s.Nodes, s.During); err != nil {
			return Shrunk{}, err
		}
	}
	k := &shrinker{ctx: ctx, opts: o, claim: claim, deadline: time.Now().Add(o.Time)}
	judged := s.Claims
	s.Claims = []checkers.Claim{claim}
	if !k.try(s) {
		if k.err != nil {
			return Shrunk{}, k.err
		}
		return Shrunk{}, fmt.Errorf("%s is not broken by this run, so there is nothing to make smaller", claim)
	}
	for k.helped = true; k.helped && !k.over(); {
		k.helped = false
		k.fewerOps()
		k.fewerFaults()
		k.shorter()
		k.plainer()
	}
	if k.err != nil {
		return Shrunk{}, k.err
	}
	k.best.Complete = !k.over()
	k.best.Spec.Claims = judged
	return k.best, ctx.Err()
}

type shrinker struct {
	ctx      context.Context
	opts     ShrinkOptions
	claim    checkers.Claim
	deadline time.Time
	best     Shrunk
	last     int  // place of the last operation of the violation, in its history
	helped   bool // something became smaller
	err      error
}

func (k *shrinker) over() bool {
	return k.err != nil || k.ctx.Err() != nil || !time.Now().Before(k.deadline)
}

// try runs a spec, and keeps it if the claim is broken by no more operations
// than so far.
func (k *shrinker) try(s Spec) bool {
	if k.over() || s.Validate() != nil {
		return false
	}
	out, err := Execute(k.ctx, s, Options{})
	if err != nil {
		if k.ctx.Err() == nil {
			k.err = err
		}
		return false
	}
	k.best.Runs++
	r := out.Result(k.claim)
	ops := len(out.Run.History.Ops)
	broken := r.Verdict == checkers.Broken && (k.best.Runs == 1 || ops <= k.best.Ops)
	if broken {
		k.best.Spec, k.best.Ops, k.best.Faults = s, ops, len(s.Schedule)
		k.last = ops - 1
		if n := len(r.Minimal); n > 0 {
			k.last = r.Minimal[n-1]
		}
		k.helped = true
	}
	if k.opts.Progress != nil {
		k.opts.Progress(k.best)
	}
	return broken
}

// vary tries the best spec with something changed.
func (k *shrinker) vary(change func(s *Spec)) bool {
	s := k.best.Spec
	s.Schedule = slices.Clone(s.Schedule)
	change(&s)
	return k.try(s)
}

// fewerOps ends the run where the violation does, and then looks for one that
// comes earlier with fewer keys and clients.
func (k *shrinker) fewerOps() {
	k.cut()
	for _, n := range []int{1, 2, k.best.Spec.Keys / 2} {
		if n > 0 && n < k.best.Spec.Keys && k.vary(func(s *Spec) { s.Keys = n }) {
			k.cut()
			break
		}
	}
	for _, n := range []int{1, 2, 3, k.best.Spec.Clients / 2, k.best.Spec.Clients - 1} {
		if n > 0 && n < k.best.Spec.Clients && k.vary(func(s *Spec) { s.Clients = n }) {
			k.cut()
			break
		}
	}
}

// cut looks for the least number of operations after which the claim is broken
// already. Up to there it is the same run.
func (k *shrinker) cut() {
	if n := k.last + 1; n < k.best.Ops {
		k.vary(func(s *Spec) { s.MaxOps = n })
	}
	for lo := 0; lo+1 < k.best.Ops && !k.over(); { // lo are too few
		mid := (lo + k.best.Ops) / 2
		if !k.vary(func(s *Spec) { s.MaxOps = mid }) {
			lo = mid
		}
	}
}

// fewerFaults leaves out what the violation does not need, at best everything,
// and shortens the rest.
func (k *shrinker) fewerFaults() {
	if len(k.best.Spec.Schedule) == 0 {
		return
	}
	if k.vary(func(s *Spec) { s.Schedule, s.Nemesis = []harness.Episode{}, "" }) {
		return
	}
	for i := len(k.best.Spec.Schedule) - 1; i >= 0; i-- {
		if len(k.best.Spec.Schedule) > 1 {
			k.vary(func(s *Spec) { s.Schedule = slices.Delete(s.Schedule, i, i+1) })
		}
	}
	// Only kinds that are left are asked for.
	k.best.Spec.Nemesis = kindsLeft(k.best.Spec.Nemesis, k.best.Spec.Schedule)
	const least = 50 * time.Millisecond
	for i := range k.best.Spec.Schedule {
		for k.best.Spec.Schedule[i].For/2 >= least && k.vary(func(s *Spec) { s.Schedule[i].For /= 2 }) {
		}
	}
	// Earlier faults need fewer operations in front of them.
	for {
		first := k.best.Spec.Schedule[0].At
		if first == 0 || !k.earlier(first) && (first/2 < time.Millisecond || !k.earlier(first/2)) {
			return
		}
		k.cut()
	}
}

// earlier moves all faults.
func (k *shrinker) earlier(by time.Duration) bool {
	return k.vary(func(s *Spec) {
		for i := range s.Schedule {
			s.Schedule[i].At -= by
		}
	})
}

// kindsLeft is a nemesis list without the kinds that a schedule does not have.
func kindsLeft(list string, schedule []harness.Episode) string {
	specs, err := nemesis.Parse(list)
	if err != nil {
		return list
	}
	var left []string
	for _, s := range specs {
		if slices.ContainsFunc(schedule, func(e harness.Episode) bool { return e.Fault.Kind() == s.Kind }) {
			left = append(left, s.String())
		}
	}
	return strings.Join(left, ",")
}

// shorter takes the time away that the violation does not need.
func (k *shrinker) shorter() {
	const least = 50 * time.Millisecond
	if len(k.best.Spec.Schedule) == 0 {
		for k.best.Spec.Duration()/2 >= 4*least && k.vary(func(s *Spec) { s.SetDuration(s.Duration() / 2) }) {
		}
		return
	}
	for k.best.Spec.Before/2 >= least && k.vary(func(s *Spec) { s.Before /= 2 }) {
	}
	for k.best.Spec.Recovery/2 >= least && k.vary(func(s *Spec) { s.Recovery /= 2 }) {
	}
	end := time.Duration(0)
	for _, e := range k.best.Spec.Schedule {
		end = max(end, e.At+e.For)
	}
	if end = max(end, least); end < k.best.Spec.During && !k.vary(func(s *Spec) { s.During = end }) {
		for k.best.Spec.During/2 >= end && k.vary(func(s *Spec) { s.During /= 2 }) {
		}
	}
}

// plainer makes all delays the same.
func (k *shrinker) plainer() {
	if !k.best.Spec.PlainDelays {
		k.vary(func(s *Spec) { s.PlainDelays = true })
	}
}

// Told says whether Command says all of the spec: its phases are those of its
// duration, and its schedule is the one that seed and nemesis draw.
func (s *Spec) Told() bool {
	usual := *s
	usual.SetDuration(s.Duration())
	if usual.Before != s.Before || usual.Recovery != s.Recovery {
		return false
	}
	if s.Schedule == nil {
		return true
	}
	specs, err := nemesis.Parse(s.Nemesis)
	if err != nil {
		return false
	}
	drawn, err := nemesis.Schedule(s.Seed, specs, s.Nodes, s.During)
	if err != nil {
		return false
	}
	a, err := nemesis.Encode(drawn)
	b, err2 := nemesis.Encode(s.Schedule)
	return err == nil && err2 == nil && bytes.Equal(a, b)
}
