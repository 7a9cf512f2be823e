package gen

import "time"

// Limit stops g after n operations.
func Limit(n int, g Generator) Generator { return &limit{g, n} }

type limit struct {
	g    Generator
	left int
}

func (l *limit) Next(c Context) (Op, State, Generator) {
	if l.left <= 0 {
		return Op{}, Done, l
	}
	op, st, g := l.g.Next(c)
	if st != Ready {
		return Op{}, st, l
	}
	return op, Ready, &limit{g, l.left - 1}
}

func (l *limit) Update(c Context, d Completion) Generator {
	g := l.g.Update(c, d)
	if same(g, l.g) {
		return l
	}
	return &limit{g, l.left}
}

// TimeLimit stops g when d has passed since its first operation: the first one
// later than that is not offered.
func TimeLimit(d time.Duration, g Generator) Generator {
	return &timeLimit{g: g, d: d}
}

type timeLimit struct {
	g        Generator
	d        time.Duration
	started  bool
	deadline int64 // once started
}

func (l *timeLimit) Next(c Context) (Op, State, Generator) {
	if l.started && c.Time >= l.deadline {
		return Op{}, Done, l
	}
	op, st, g := l.g.Next(c)
	if st != Ready {
		return Op{}, st, l
	}
	deadline := l.deadline
	if !l.started {
		deadline = op.Time + int64(l.d)
	}
	if op.Time >= deadline {
		return Op{}, Done, l
	}
	return op, Ready, l.with(g, true, deadline)
}

func (l *timeLimit) Update(c Context, d Completion) Generator {
	return l.with(l.g.Update(c, d), l.started, l.deadline)
}

func (l *timeLimit) with(g Generator, started bool, deadline int64) Generator {
	if same(g, l.g) && started == l.started {
		return l
	}
	return &timeLimit{g, l.d, started, deadline}
}
