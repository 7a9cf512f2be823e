package gen

// Part is a generator with a weight, for [Mix].
type Part struct {
	weight float64
	g      Generator
}

// Weight makes a part of a [Mix]. A weight that is not positive leaves the
// part out.
func Weight(w float64, g Generator) Part { return Part{w, g} }

// Mix takes each operation from a random part, with probabilities in
// proportion to the weights, until all parts are done. When the chosen part
// has nothing to offer now, the next one is asked. An operation that the
// chosen part offers for later is waited for: parts with a pace of their own
// belong in [Any].
func Mix(parts ...Part) Generator {
	m := &mix{parts: make([]Part, 0, len(parts))}
	for _, p := range parts {
		if p.weight > 0 {
			m.parts = append(m.parts, p)
			m.total += p.weight
		}
	}
	return m
}

type mix struct {
	parts []Part  // those that are done have no generator
	total float64 // weight of those that are not
}

func (m *mix) Next(c Context) (Op, State, Generator) {
	now, pending := m, false
	r := c.Rand(streamMix)
	i := m.pick(r.Float64())
	part := c.Fork(streamMix)
	for range m.parts {
		if p := now.parts[i]; p.g != nil {
			op, st, g := p.g.Next(part)
			switch st {
			case Ready:
				op.Route = op.Route*uint64(len(m.parts)) + uint64(i)
				return op, Ready, now.with(i, g)
			case Pending:
				pending = true
			case Done:
				now = now.without(i)
			}
		}
		i = (i + 1) % len(m.parts)
	}
	if pending {
		return Op{}, Pending, m
	}
	return Op{}, Done, m
}

// pick chooses a part; x is in [0, 1).
func (m *mix) pick(x float64) int {
	x *= m.total
	for i, p := range m.parts {
		if p.g == nil {
			continue
		}
		if x < p.weight {
			return i
		}
		x -= p.weight
	}
	return 0 // rounding at the upper end, or all are done
}

func (m *mix) Update(c Context, d Completion) Generator {
	n := uint64(len(m.parts))
	i := int(d.Route % n)
	if m.parts[i].g == nil {
		return m
	}
	d.Route /= n
	return m.with(i, m.parts[i].g.Update(c, d))
}

func (m *mix) with(i int, g Generator) *mix {
	if same(g, m.parts[i].g) {
		return m
	}
	parts := make([]Part, len(m.parts))
	copy(parts, m.parts)
	parts[i].g = g
	return &mix{parts, m.total}
}

func (m *mix) without(i int) *mix {
	c := m.with(i, nil)
	c.total -= c.parts[i].weight
	return c
}

// Any takes each operation from the part that offers the earliest one, and a
// random one of those that offer one now.
func Any(parts ...Generator) Generator { return &anyOf{parts} }

type anyOf struct{ parts []Generator }

func (a *anyOf) Next(c Context) (Op, State, Generator) {
	r := c.Rand(streamAny)
	i, op, st, g := soonest(c.Time, r.IntN(len(a.parts)), len(a.parts), func(i int) (Op, State, Generator) {
		return a.parts[i].Next(c.Fork(streamAny))
	})
	if st != Ready {
		return Op{}, st, a
	}
	op.Route = op.Route*uint64(len(a.parts)) + uint64(i)
	return op, Ready, a.with(i, g)
}

func (a *anyOf) Update(c Context, d Completion) Generator {
	n := uint64(len(a.parts))
	i := int(d.Route % n)
	d.Route /= n
	return a.with(i, a.parts[i].Update(c, d))
}

func (a *anyOf) with(i int, g Generator) Generator {
	if same(g, a.parts[i]) {
		return a
	}
	return &anyOf{replace(a.parts, i, g)}
}

// soonest asks n parts, from the start-th on, for the earliest operation. One
// that can be invoked now ends the search. It is Done when all are, and
// Pending when nothing is Ready.
func soonest(now int64, start, n int, ask func(i int) (Op, State, Generator)) (int, Op, State, Generator) {
	var (
		best  Op
		bestG Generator
		bestI int
		state = Done
	)
	for j := range n {
		i := (start + j) % n
		op, st, g := ask(i)
		switch {
		case st == Ready && (state != Ready || op.Time < best.Time):
			best, bestG, bestI, state = op, g, i, Ready
			if op.Time <= now {
				return bestI, best, state, bestG
			}
		case st == Pending && state == Done:
			state = Pending
		}
	}
	return bestI, best, state, bestG
}
