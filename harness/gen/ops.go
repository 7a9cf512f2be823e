package gen

import "github.com/assay-chaos/assay/harness/history"

// Repeat offers one operation for ever, to random idle workers. The fields
// Worker, Time and Route of op are ignored.
func Repeat(op Op) Generator { return &repeat{op} }

type repeat struct{ op Op }

func (r *repeat) Next(c Context) (Op, State, Generator) { return offer(c, r.op, r) }

func (r *repeat) Update(Context, Completion) Generator { return r }

// Once offers one operation one time.
func Once(op Op) Generator { return Limit(1, Repeat(op)) }

// Func offers whatever f says, for ever, to random idle workers. f must be
// pure: it may use c.Time and the random numbers of c, and nothing that
// changes. Fields Worker, Time and Route of its result are ignored.
func Func(f func(c Context) Op) Generator { return &fn{f} }

type fn struct{ f func(c Context) Op }

func (g *fn) Next(c Context) (Op, State, Generator) {
	if c.Idle.Empty() {
		return Op{}, Pending, g
	}
	return offer(c, g.f(c.Fork(streamFunc)), g)
}

func (g *fn) Update(Context, Completion) Generator { return g }

// Streams of random numbers, one for each purpose.
const (
	streamWorker = iota
	streamFunc
	streamPace
	streamMix
	streamAny
	streamReserve
	streamEach
	streamKeys
	streamFilter
)

// offer gives op to a random idle worker.
func offer(c Context, op Op, g Generator) (Op, State, Generator) {
	n := c.Idle.Count()
	if n == 0 {
		return Op{}, Pending, g
	}
	r := c.Rand(streamWorker)
	op.Worker, op.Time, op.Route = c.Idle.Nth(r.IntN(n)), c.Time, 0
	return op, Ready, g
}

// Unique gives every write of g a value of its own: 1, 2, 3, … in the order of
// invocation. It sets Arg of writes and Arg2 (the new value) of CAS, and
// leaves other functions alone. Checkers decide histories with unique values
// far faster.
func Unique(g Generator) Generator { return &unique{g: g, next: 1} }

type unique struct {
	g    Generator
	next history.Value
}

func (u *unique) Next(c Context) (Op, State, Generator) {
	op, st, g := u.g.Next(c)
	if st != Ready {
		return Op{}, st, u
	}
	next := u.next
	switch op.F {
	case history.Write:
		op.Arg = next
		next++
	case history.CAS:
		op.Arg2 = next
		next++
	}
	return op, Ready, u.with(g, next)
}

func (u *unique) Update(c Context, d Completion) Generator {
	return u.with(u.g.Update(c, d), u.next)
}

func (u *unique) with(g Generator, next history.Value) Generator {
	if same(g, u.g) && next == u.next {
		return u
	}
	return &unique{g, next}
}

// FilterF passes on only the operations of g that call one of fs. It is done
// when g is, or when g offered a thousand others in a row.
func FilterF(g Generator, fs ...history.F) Generator {
	f := &filter{g: g}
	for _, x := range fs {
		f.keep[x] = true
	}
	return f
}

type filter struct {
	g    Generator
	keep [256]bool
}

// filterTries bounds the search: a generator that never offers what is asked
// for must not hang the run.
const filterTries = 1000

func (f *filter) Next(c Context) (Op, State, Generator) {
	g := f.g
	for try := range uint64(filterTries) {
		op, st, next := g.Next(c.Fork(streamFilter + try<<8))
		if st != Ready {
			return Op{}, st, f
		}
		if f.keep[op.F] {
			return op, Ready, f.with(next)
		}
		g = next
	}
	return Op{}, Done, f
}

func (f *filter) Update(c Context, d Completion) Generator { return f.with(f.g.Update(c, d)) }

func (f *filter) with(g Generator) Generator {
	if same(g, f.g) {
		return f
	}
	return &filter{g, f.keep}
}
