package gen

import "time"

// Rate offers the operations of g at perSecond a second on average, at random
// (exponentially distributed) intervals: a Poisson process, as of many
// independent users. A rate that is not positive means as fast as possible.
//
// When the workers cannot keep up, because all of them are waiting, what was
// missed is not made up for: a cluster that comes back is not met by a burst.
func Rate(perSecond float64, g Generator) Generator {
	if perSecond <= 0 {
		return g
	}
	return &pace{g: g, interval: float64(time.Second) / perSecond, random: true}
}

// Delay offers the operations of g at a fixed interval. When the workers
// cannot keep up, what was missed is not made up for.
func Delay(d time.Duration, g Generator) Generator {
	if d <= 0 {
		return g
	}
	return &pace{g: g, interval: float64(d)}
}

// slack is how late an operation may be without delaying those after it. It
// makes up for timers that are coarser than the interval, so that high rates
// are kept.
const slack = int64(10 * time.Millisecond)

type pace struct {
	g        Generator
	interval float64 // nanoseconds, mean
	random   bool
	started  bool
	next     int64 // when the next one is due, once started
}

func (p *pace) Next(c Context) (Op, State, Generator) {
	due := p.next
	if !p.started {
		// The first operation is due at once. Drawing a delay from now
		// would postpone it at every call.
		due = c.Time
	}
	due = max(due, c.Time-slack)

	// The part is asked for what it has to offer when the time has come.
	part := c.Fork(streamPace)
	part.Time = max(c.Time, due)
	op, st, g := p.g.Next(part)
	if st != Ready {
		return Op{}, st, p
	}
	if op.Time > part.Time {
		due = op.Time
	}

	d := p.interval
	if p.random {
		r := c.Rand(streamPace)
		d *= r.Exp()
	}
	return op, Ready, &pace{g, p.interval, p.random, true, due + int64(d)}
}

func (p *pace) Update(c Context, d Completion) Generator {
	g := p.g.Update(c, d)
	if same(g, p.g) {
		return p
	}
	return &pace{g, p.interval, p.random, p.started, p.next}
}
