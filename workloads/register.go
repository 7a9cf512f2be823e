package workloads

import (
	"strconv"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// RegisterOptions are the dials of [Register]. The zero value is a fair start.
type RegisterOptions struct {
	// Keys is how many independent registers there are. 0 means 8.
	Keys int
	// Rate is how many operations a second are offered, on all keys
	// together, at random intervals. 0 means as fast as the clients go.
	Rate float64
	// ReadFraction is the share of reads, up to 1. 0 means one half, and a
	// negative one means no reads.
	ReadFraction float64
	// DeleteFraction is the share of deletes, up to what the reads leave;
	// the rest are writes. Histories with deletes are harder to check.
	DeleteFraction float64
	// Window is how many neighbouring keys are in use at a time. It moves
	// on by one key every OpsPerKey operations, and from the last key to
	// the first, so that a key gets OpsPerKey operations on average in one
	// passage of the window. That keeps the history of each key short. 0
	// means that all keys are in use all the time.
	Window int
	// OpsPerKey goes with Window. 0 means 200.
	OpsPerKey int
}

// Register reads and writes independent registers. Every value written is
// unique in the run: the values are 1, 2, 3, … in the order of invocation, so
// that a read tells which write it saw.
func Register(o RegisterOptions) harness.Workload {
	o.setDefaults()
	names := make([]string, o.Keys)
	for i := range names {
		names[i] = "r" + strconv.Itoa(i)
	}
	return harness.Workload{
		Name:      "register",
		Keys:      names,
		Generator: gen.Rate(o.Rate, &register{o: &o}),
	}
}

func (o *RegisterOptions) setDefaults() {
	if o.Keys <= 0 {
		o.Keys = 8
	}
	if o.ReadFraction == 0 {
		o.ReadFraction = 0.5
	}
	o.ReadFraction = min(max(o.ReadFraction, 0), 1)
	o.DeleteFraction = min(max(o.DeleteFraction, 0), 1-o.ReadFraction)
	if o.Window <= 0 || o.Window > o.Keys {
		o.Window = o.Keys
	}
	if o.OpsPerKey <= 0 {
		o.OpsPerKey = 200
	}
}

// register is the generator. One struct instead of a composition of Mix, Keys
// and Unique: choosing a key then costs the same however many there are.
type register struct {
	o       *RegisterOptions // never changed
	invoked int
	written history.Value // the last value
}

// Next implements [gen.Generator].
func (g *register) Next(c gen.Context) (gen.Op, gen.State, gen.Generator) {
	n := c.Idle.Count()
	if n == 0 {
		return gen.Op{}, gen.Pending, g
	}
	r := c.Rand(0)
	next := *g
	next.invoked++
	op := gen.Op{Worker: c.Idle.Nth(r.IntN(n)), Time: c.Time, Key: g.key(&r)}
	switch x := r.Float64(); {
	case x < g.o.ReadFraction:
		op.F = history.Read
	case x < g.o.ReadFraction+g.o.DeleteFraction:
		op.F = history.Delete
	default:
		next.written++
		op.F, op.Arg = history.Write, next.written
	}
	return op, gen.Ready, &next
}

// key draws one of the keys in use.
func (g *register) key(r *gen.Rand) int32 {
	if g.o.Window == g.o.Keys {
		return int32(r.IntN(g.o.Keys))
	}
	first := g.invoked / g.o.OpsPerKey
	return int32((first + r.IntN(g.o.Window)) % g.o.Keys)
}

// Update implements [gen.Generator].
func (g *register) Update(gen.Context, gen.Completion) gen.Generator { return g }
