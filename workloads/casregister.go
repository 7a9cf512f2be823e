package workloads

import (
	"slices"
	"strconv"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// CASRegisterOptions are the dials of [CASRegister]. The zero value is a fair
// start.
type CASRegisterOptions struct {
	// RegisterOptions are as for [Register]; without deletes histories can be
	// judged without search. What is kept of each key in use is copied
	// whenever it changes, so a small Window is faster.
	RegisterOptions
	// CASFraction is the share of compare-and-sets, up to what reads and
	// deletes leave; the rest are writes. 0 means three tenths, and a
	// negative one means none.
	CASFraction float64
}

// CASRegister reads, writes, and compares and sets independent registers. Every
// new value is unique in the run, as those of [Register] are. A compare-and-set
// expects what clients have last seen of the key: read, written, or found when
// another one failed. So it often succeeds, and fails where clients get into
// each other's way. While nothing was seen of a key it is a write.
func CASRegister(o CASRegisterOptions) harness.Workload {
	o.RegisterOptions.setDefaults()
	if o.CASFraction == 0 {
		o.CASFraction = 0.3
	}
	o.CASFraction = min(max(o.CASFraction, 0), 1-o.ReadFraction-o.DeleteFraction)
	names := make([]string, o.Keys)
	for i := range names {
		names[i] = "c" + strconv.Itoa(i)
	}
	return harness.Workload{
		Name:      "cas-register",
		Keys:      names,
		Generator: gen.Rate(o.Rate, &casRegister{register: register{o: &o.RegisterOptions}, cas: o.CASFraction}),
	}
}

type casRegister struct {
	register
	cas  float64
	seen []sighting // of the keys in use, at the key modulo Window; never changed
}

// sighting is the value that was last seen of a key.
type sighting struct {
	key   int32
	known bool
	value history.Value
}

// Next implements [gen.Generator].
func (g *casRegister) Next(c gen.Context) (gen.Op, gen.State, gen.Generator) {
	op, st, plain := g.register.Next(c)
	if st != gen.Ready {
		return op, st, g
	}
	next := *g
	next.register = *plain.(*register)
	if op.F == history.Write {
		// Of the operations that would be writes a part is made into others.
		writes := 1 - g.o.ReadFraction - g.o.DeleteFraction
		r := c.Rand(1)
		if s := g.sighted(op.Key); s.known && r.Float64()*writes < g.cas {
			op.F, op.Arg, op.Arg2 = history.CAS, s.value, op.Arg
		}
	}
	return op, gen.Ready, &next
}

// Update implements [gen.Generator].
func (g *casRegister) Update(_ gen.Context, d gen.Completion) gen.Generator {
	s := sighting{key: d.Key, known: true}
	switch {
	case d.Outcome == history.OK && d.F == history.Write:
		s.value = d.Arg
	case d.Outcome == history.OK && d.F == history.CAS:
		s.value = d.Arg2
	case d.Outcome == history.OK && d.F == history.Delete:
		s.known = false
	case d.Outcome == history.OK, d.F == history.CAS && d.Outcome == history.Fail:
		s.value, s.known = d.Out, d.Out != history.Nil
	default:
		return g
	}
	if g.sighted(d.Key) == s {
		return g
	}
	next := *g
	if next.seen = slices.Clone(g.seen); next.seen == nil {
		next.seen = make([]sighting, g.o.Window)
	}
	next.seen[g.place(d.Key)] = s
	return &next
}

// sighted gives what was seen of a key.
func (g *casRegister) sighted(key int32) sighting {
	if g.seen == nil || g.seen[g.place(key)].key != key {
		return sighting{key: key}
	}
	return g.seen[g.place(key)]
}

func (g *casRegister) place(key int32) int { return int(key) % g.o.Window }
