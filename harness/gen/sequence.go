package gen

// Sequence uses its parts in turn: each until it is done. Operations of one
// part may still be in flight when the next part starts; see [Phases].
func Sequence(parts ...Generator) Generator {
	return &sequence{parts: parts, n: uint64(len(parts))}
}

type sequence struct {
	parts []Generator // those not done; the first is in use
	n     uint64      // how many there were
}

func (s *sequence) Next(c Context) (Op, State, Generator) {
	for parts := s.parts; len(parts) > 0; parts = parts[1:] {
		op, st, g := parts[0].Next(c)
		switch st {
		case Ready:
			op.Route = op.Route*s.n + uint64(len(parts)-1)
			return op, Ready, s.with(parts, g)
		case Pending:
			return Op{}, Pending, s
		}
	}
	return Op{}, Done, s
}

func (s *sequence) Update(c Context, d Completion) Generator {
	// Parts are numbered from the end, which stays where it is.
	part := d.Route % s.n
	if len(s.parts) == 0 || part != uint64(len(s.parts)-1) {
		return s // of a part that is over
	}
	d.Route /= s.n
	return s.with(s.parts, s.parts[0].Update(c, d))
}

func (s *sequence) with(parts []Generator, first Generator) Generator {
	if len(parts) == len(s.parts) && same(first, parts[0]) {
		return s
	}
	return &sequence{replace(parts, 0, first), s.n}
}

// Phases uses its parts in turn, and starts each only when all operations of
// the one before have completed.
func Phases(parts ...Generator) Generator { return &phases{parts: parts} }

type phases struct {
	parts    []Generator // the first is in use
	inFlight int
}

func (p *phases) Next(c Context) (Op, State, Generator) {
	for parts := p.parts; len(parts) > 0; parts = parts[1:] {
		op, st, g := parts[0].Next(c)
		switch {
		case st == Ready:
			return op, Ready, &phases{replace(parts, 0, g), p.inFlight + 1}
		case st == Pending, p.inFlight > 0 && len(parts) > 1:
			return Op{}, Pending, p
		}
	}
	return Op{}, Done, p
}

// Update needs no route: whatever is in flight is of the phase in use.
func (p *phases) Update(c Context, d Completion) Generator {
	g := p.parts[0].Update(c, d)
	return &phases{replace(p.parts, 0, g), p.inFlight - 1}
}

// replace gives a copy of parts with another i-th one, or parts itself when
// that is the same.
func replace(parts []Generator, i int, g Generator) []Generator {
	if same(g, parts[i]) {
		return parts
	}
	c := make([]Generator, len(parts))
	copy(c, parts)
	c[i] = g
	return c
}
