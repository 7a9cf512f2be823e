package gen

import (
	"math"
	"slices"
)

// Share is a number of workers set aside for one generator, for [Reserve].
type Share struct {
	n int
	g Generator
}

// Workers makes a share of a [Reserve].
func Workers(n int, g Generator) Share { return Share{n, g} }

// Reserve gives each share workers of its own, the first share the lowest
// ones, and what is left to rest. A slow kind of operation then cannot hold
// all workers. A nil rest leaves the others idle.
func Reserve(rest Generator, shares ...Share) Generator {
	if rest != nil {
		shares = append(slices.Clip(shares), Share{math.MaxInt, rest})
	}
	r := &reserve{}
	for _, s := range shares {
		r.sizes = append(r.sizes, s.n)
		r.parts = append(r.parts, s.g)
	}
	return r
}

type reserve struct {
	parts []Generator
	sizes []int // workers of each
}

func (r *reserve) Next(c Context) (Op, State, Generator) {
	rnd := c.Rand(streamReserve)
	n := len(r.parts)
	i, op, st, g := soonest(c.Time, rnd.IntN(n), n, func(i int) (Op, State, Generator) {
		return r.parts[i].Next(r.share(c, i))
	})
	if st != Ready {
		return Op{}, st, r
	}
	return op, Ready, r.with(i, g)
}

// share is what the i-th part may know.
func (r *reserve) share(c Context, i int) Context {
	c = c.Fork(streamReserve)
	for _, n := range r.sizes[:i] {
		n = min(n, c.Workers)
		c.First += n
		c.Workers -= n
	}
	c.Workers = min(c.Workers, r.sizes[i])
	c.Idle = c.Idle.Within(c.First, c.First+c.Workers)
	return c
}

func (r *reserve) Update(c Context, d Completion) Generator {
	for i := range r.parts {
		if s := r.share(c, i); d.Worker < s.First+s.Workers {
			return r.with(i, r.parts[i].Update(s, d))
		}
	}
	return r
}

func (r *reserve) with(i int, g Generator) Generator {
	if same(g, r.parts[i]) {
		return r
	}
	return &reserve{replace(r.parts, i, g), r.sizes}
}

// EachWorker lets every worker go through a generator of its own, made by each
// (which must be pure).
func EachWorker(each func(worker int) Generator) Generator {
	return &eachWorker{each: each}
}

type eachWorker struct {
	each  func(worker int) Generator
	parts []Generator // of worker Context.First + i; nil until first used
}

func (e *eachWorker) Next(c Context) (Op, State, Generator) {
	parts := e.all(c)
	r := c.Rand(streamEach)
	n := len(parts)
	i, op, st, g := soonest(c.Time, r.IntN(n), n, func(i int) (Op, State, Generator) {
		return parts[i].Next(one(c, i))
	})
	if st != Ready {
		return Op{}, st, e
	}
	return op, Ready, &eachWorker{e.each, replace(parts, i, g)}
}

// one is what the generator of the i-th worker may know.
func one(c Context, i int) Context {
	c = c.Fork(streamEach)
	c.First, c.Workers = c.First+i, 1
	c.Idle = c.Idle.Within(c.First, c.First+1)
	return c
}

func (e *eachWorker) Update(c Context, d Completion) Generator {
	parts := e.all(c)
	i := d.Worker - c.First
	return &eachWorker{e.each, replace(parts, i, parts[i].Update(one(c, i), d))}
}

// all gives the parts, made if need be.
func (e *eachWorker) all(c Context) []Generator {
	if e.parts != nil {
		return e.parts
	}
	parts := make([]Generator, c.Workers)
	for i := range parts {
		parts[i] = e.each(c.First + i)
	}
	return parts
}
