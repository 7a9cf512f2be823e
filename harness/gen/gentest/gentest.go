// Package gentest plays generators in simulated time, without a cluster, so
// that a test can look at what they would do.
package gentest

import (
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// Config says how operations fare. The zero value means one worker, and
// operations that succeed in no time.
type Config struct {
	Workers int
	Seed    uint64
	// Outcome gives the fate of an operation: how long it takes and how it
	// ends. Nil means at once and ok.
	Outcome func(op gen.Op) (time.Duration, history.Outcome)
	// Max ends the play after so many operations; 0 means 10,000.
	Max int
}

// Event is one operation of a play.
type Event struct {
	gen.Op
	Call, Return time.Duration
	Outcome      history.Outcome
}

// String gives the event as one line, for golden tests.
func (e Event) String() string {
	s := fmt.Sprintf("%v w%d %v k%d", e.Call, e.Worker, e.F, e.Key)
	switch e.F {
	case history.Write:
		s += " " + e.Arg.String()
	case history.CAS:
		s += " " + e.Arg.String() + " " + e.Arg2.String()
	}
	return s
}

// Play asks g until it is done, or Config.Max operations were invoked, and
// gives them in the order of invocation. Its error says what is wrong with the
// generator: that it gives an operation to a busy worker, goes back in time,
// or is pending with nothing in flight.
func Play(g gen.Generator, c Config) ([]Event, error) {
	if c.Workers == 0 {
		c.Workers = 1
	}
	if c.Max == 0 {
		c.Max = 10_000
	}
	p := player{g: g, c: c, idle: gen.FullSet(c.Workers), flying: make([]int, c.Workers)}
	for len(p.events) < c.Max {
		op, st, next := p.g.Next(p.context())
		if st == gen.Ready {
			if err := p.check(op); err != nil {
				return p.events, err
			}
			// Completions that come first may change the generator's mind.
			if at := time.Duration(op.Time); p.inFlight == 0 || at < p.firstReturn() {
				p.g = next
				p.invoke(op)
				continue
			}
		}
		if p.inFlight == 0 {
			if st == gen.Pending {
				return p.events, fmt.Errorf("after %d operations the generator is pending, but no operation is in flight: it would wait for ever", len(p.events))
			}
			return p.events, nil
		}
		p.complete()
	}
	for p.inFlight > 0 {
		p.complete()
	}
	return p.events, nil
}

type player struct {
	g        gen.Generator
	c        Config
	now      time.Duration
	idle     gen.Set
	inFlight int
	flying   []int // by worker: the event in flight
	events   []Event
}

func (p *player) context() gen.Context {
	return gen.Context{
		Time:    int64(p.now),
		Idle:    p.idle,
		Workers: p.c.Workers,
		Seed:    gen.Derive(p.c.Seed, uint64(len(p.events))),
	}
}

func (p *player) check(op gen.Op) error {
	switch {
	case !p.idle.Has(op.Worker):
		return fmt.Errorf("operation %d is for worker %d, who is not idle (idle are %v of %d)", len(p.events), op.Worker, p.idle.Count(), p.c.Workers)
	case op.Time < int64(p.now):
		return fmt.Errorf("operation %d is for %v, but it is %v already", len(p.events), time.Duration(op.Time), p.now)
	}
	return nil
}

func (p *player) invoke(op gen.Op) {
	p.now = time.Duration(op.Time)
	e := Event{Op: op, Call: p.now, Return: p.now, Outcome: history.OK}
	if p.c.Outcome != nil {
		var d time.Duration
		d, e.Outcome = p.c.Outcome(op)
		e.Return += d
	}
	p.idle.Remove(op.Worker)
	p.flying[op.Worker] = len(p.events)
	p.inFlight++
	p.events = append(p.events, e)
}

// first is the worker whose operation returns first.
func (p *player) first() int {
	best := -1
	for w, i := range p.flying {
		if !p.idle.Has(w) && (best < 0 || p.events[i].Return < p.events[p.flying[best]].Return) {
			best = w
		}
	}
	return best
}

func (p *player) firstReturn() time.Duration { return p.events[p.flying[p.first()]].Return }

func (p *player) complete() {
	w := p.first()
	e := p.events[p.flying[w]]
	p.now = max(p.now, e.Return)
	p.idle.Add(w)
	p.inFlight--
	p.g = p.g.Update(p.context(), gen.Completion{
		Op: &history.Op{
			Call: int64(e.Call), Return: int64(e.Return),
			F: e.F, Key: e.Key, Arg: e.Arg, Arg2: e.Arg2,
			Process: int32(w), Outcome: e.Outcome,
		},
		Worker: w,
		Route:  e.Route,
	})
}
