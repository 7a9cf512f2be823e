// Package gen holds generators: pure values that decide which operation comes
// next. A generator needs nothing from the world; given the same [Context]s
// and completions it produces the same operations.
package gen

import "github.com/assay-chaos/assay/harness/history"

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

// Op is an operation to invoke.
type Op struct {
	F         history.F
	Key       int32
	Arg, Arg2 history.Value
	// Worker is the idle worker that shall invoke it.
	Worker int
	// Time is the earliest time to invoke it, in nanoseconds.
	Time int64
}

// Generator is a pure value. Next and Update return the generator to use from
// then on; the receiver stays as it was.
type Generator interface {
	// Next offers an operation. The caller either invokes it and goes on
	// with the returned generator, or drops both and asks again later: with
	// Ready and an Op.Time in the future the caller may ask again if a
	// completion comes first. With Pending and Done the op is zero.
	Next(c Context) (Op, State, Generator)
	// Update tells what became of an operation that this generator (or a
	// part of it) offered.
	Update(c Context, op *history.Op) Generator
}

// Context is what a generator may know. It is a value; generators must not
// keep or change the set in it.
type Context struct {
	// Time is nanoseconds since the start of the run.
	Time int64
	// Idle are the workers without an operation in flight.
	Idle Set
	// Workers is how many workers there are.
	Workers int
	// Seed is the entropy of this call: derived from the test's seed and
	// the number of operations invoked so far, so that asking twice gives
	// the same answer.
	Seed uint64
}

// Set is a set of small numbers, a bit each.
type Set []uint64
