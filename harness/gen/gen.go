// Package gen holds generators: pure values that decide which operation comes
// next. A generator needs nothing from the world; given the same [Context]s
// and completions it produces the same operations.
//
// Operations come from [Repeat], [Once] and [Func]. They are combined:
//
//	what     Unique, FilterF
//	how many Limit, TimeLimit
//	when     Rate, Delay
//	in turn  Sequence, Phases
//	which    Mix, Any
//	by whom  Reserve, EachWorker
//	on what  Keys
//
// For example, reads and unique writes, nine to one, 500 a second for a
// minute:
//
//	reads := gen.Repeat(gen.Op{F: history.Read})
//	writes := gen.Unique(gen.Repeat(gen.Op{F: history.Write}))
//	load := gen.Mix(gen.Weight(9, reads), gen.Weight(1, writes))
//	gen.TimeLimit(time.Minute, gen.Rate(500, load))
//
// Package gentest plays a generator in simulated time, for tests.
//
// What may not enter: clocks, global randomness, anything that blocks, and
// anything that knows of clusters or clients.
package gen

import (
	"reflect"

	"github.com/assay-chaos/assay/harness/history"
)

// State says what a generator has to offer.
type State uint8

const (
	// Done: there will be no more operations.
	Done State = iota
	// Ready: here is one, to be invoked at Op.Time or later.
	Ready
	// Pending: nothing now; ask again after the next completion.
	Pending
)

// String gives "done", "ready" or "pending".
func (s State) String() string {
	switch s {
	case Ready:
		return "ready"
	case Pending:
		return "pending"
	}
	return "done"
}

// Op is an operation to invoke.
type Op struct {
	F         history.F
	Key       int32
	Arg, Arg2 history.Value
	// Worker is the idle worker that shall invoke it.
	Worker int
	// Time is the earliest time to invoke it, in nanoseconds.
	Time int64
	// Route leads the completion back to the part of a composed generator
	// that offered the operation. A generator with n parts that cannot tell
	// by key or worker sets Route*n + part on the way out, and takes it
	// apart again in Update. Others leave it alone.
	Route uint64
}

// Generator is a pure value. Next and Update return the generator to use from
// then on; the receiver stays as it was.
type Generator interface {
	// Next offers an operation. The caller either invokes it and goes on
	// with the returned generator, or drops both and asks again later: with
	// Ready and an Op.Time in the future the caller may ask again if a
	// completion comes first. With Pending and Done the op is zero and the
	// returned generator is of no use: a caller keeps the one it asked.
	Next(c Context) (Op, State, Generator)
	// Update tells what became of an operation that this generator (or a
	// part of it) offered. It is called once for each, when it completes.
	Update(c Context, d Completion) Generator
}

// Completion is an operation that has ended.
type Completion struct {
	*history.Op // must not be kept or changed
	Worker      int
	Route       uint64 // as in the Op that was offered
}

// Context is what a generator may know. It is a value; generators must not
// keep or change the set in it.
type Context struct {
	// Time is nanoseconds since the start of the run.
	Time int64
	// Idle are the workers without an operation in flight, as far as the
	// generator that is asked may use them.
	Idle Set
	// The generator that is asked may use the workers from First to below
	// First + Workers. First is 0 but within a Reserve.
	First, Workers int
	// Seed is the entropy of this call: derived from the test's seed and
	// the number of operations invoked so far, so that asking twice gives
	// the same answer.
	Seed uint64
}

// Rand gives the random numbers of this call for one purpose. Two purposes in
// one generator need two streams. A generator that asks another one passes on
// a [Context.Fork], else both draw the same numbers.
func (c Context) Rand(stream uint64) Rand {
	return Rand{Derive(c.Seed, stream)}
}

// Fork gives the context for a part of a composed generator: the same but for
// its entropy.
func (c Context) Fork(stream uint64) Context {
	c.Seed = Derive(c.Seed, ^stream)
	return c
}

// same says whether two generators are one and the same pointer, so that an
// unchanged part does not cause a copy of the whole. Interface values cannot
// just be compared: that panics for a user's generator that is a func.
func same(a, b Generator) bool {
	return a != nil && reflect.TypeOf(a).Kind() == reflect.Pointer && a == b
}
