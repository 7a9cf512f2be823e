package workloads

import (
	"strconv"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// SiblingsOptions are the dials of [Siblings]. The zero value is a fair start.
type SiblingsOptions struct {
	// RegisterOptions are as for [Register].
	RegisterOptions
	// BlindFraction is the share of the writes that replace nothing, up to 1. 0
	// means one quarter, and a negative one means none.
	BlindFraction float64
}

// Siblings reads and writes keys that can have several values at a time. Reads
// see them all (ReadAll); a Write replaces what its process has last read of the
// key, which may be nothing, and an Add replaces nothing. Every value is unique in
// the run, as those of [Register] are.
//
// So what a write has replaced is in the history: what the last ok ReadAll of the
// same process and key before it saw. The client has to do the same, or to replace
// less.
func Siblings(o SiblingsOptions) harness.Workload {
	o.RegisterOptions.setDefaults()
	if o.BlindFraction == 0 {
		o.BlindFraction = 0.25
	}
	names := make([]string, o.Keys)
	for i := range names {
		names[i] = "s" + strconv.Itoa(i)
	}
	return harness.Workload{
		Name:      "siblings",
		Keys:      names,
		Generator: gen.Rate(o.Rate, &siblings{register: register{o: &o.RegisterOptions}, blind: o.BlindFraction}),
	}
}

type siblings struct {
	register
	blind float64
}

// Next implements [gen.Generator].
func (g *siblings) Next(c gen.Context) (gen.Op, gen.State, gen.Generator) {
	op, st, plain := g.register.Next(c)
	if st != gen.Ready {
		return op, st, g
	}
	next := *g
	next.register = *plain.(*register)
	r := c.Rand(1)
	switch {
	case op.F == history.Read:
		op.F = history.ReadAll
	case op.F == history.Write && r.Float64() < g.blind:
		op.F = history.Add
	}
	return op, gen.Ready, &next
}

// Update implements [gen.Generator].
func (g *siblings) Update(gen.Context, gen.Completion) gen.Generator { return g }
