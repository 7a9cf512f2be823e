package checkers

import "github.com/assay-chaos/assay/harness/history"

// FailedCAS says what a failed compare-and-set tells that did not report the
// value it saw. One that did report it counts as a read of it in any case.
type FailedCAS string

const (
	// DropFailedCAS: nothing; it may have failed for any reason. The
	// default, also when empty.
	DropFailedCAS FailedCAS = "dropped"
	// ObserveFailedCAS: that the value was another than the expected one,
	// at some instant between call and return. Right for logs in which
	// "fail" means "compared and not equal" and nothing else.
	ObserveFailedCAS FailedCAS = "observed"
)

// NilRead says what an ok read of nil tells.
type NilRead string

const (
	// NilAbsent: that the key was absent. The default, also when empty.
	NilAbsent NilRead = "absent"
	// NilAny: nothing; the output was not recorded.
	NilAny NilRead = "any"
)

// Options say how the operations of a history are to be understood.
type Options struct {
	// Model is one of Models, or empty to choose by the functions that
	// occur.
	Model string
	// Initial is the value of every register before the first operation;
	// nil means absent (history.Nil).
	Initial *history.Value
	// Balances are those of every bank before the first transfer; nil: nobody
	// knows.
	Balances  history.List
	FailedCAS FailedCAS
	NilRead   NilRead
}

func (o Options) initial() history.Value {
	if o.Initial == nil {
		return history.Nil
	}
	return *o.Initial
}
