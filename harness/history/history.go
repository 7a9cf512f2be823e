// Package history is the one format in which assay records and judges what
// happened: operations, faults and phases on one clock.
//
// Everything that observes a run writes through a [Recorder]; everything that
// judges or draws one reads a [History]. Files of other tools are imported
// into the same type. The package knows nothing of clusters, worlds or
// checkers, and imports nothing of assay.
package history

// History is one run as it was recorded, in memory.
type History struct {
	// Ops are the operations by time of invocation (ties: in recording
	// order).
	Ops    []Op
	Keys   []string // names of the keys, indexed by Op.Key
	Texts  []string // text values, indexed by Value
	Txns   []Txn    // transactions, indexed by Value
	Lists  []List   // lists of values seen, indexed by Value
	Errors []string // error texts, indexed by Op.Err; index 0 is ""
	Faults []Fault  // by Start
	Phases []Phase  // in order, without gaps
	// Cut is why the history ends before the run did (a damaged or cut-off
	// file), nil for a whole one. Operations without completion are Info.
	Cut error
}

// Mop is one micro-operation of a transaction.
type Mop struct {
	F     F // Read or Write
	Key   int32
	Value Value // read: the value seen, Nil when absent or not known
}

// Txn is a transaction: micro-operations that take effect at one instant.
type Txn []Mop

// List is the values that one operation saw, in the order in which they were
// told. They are texts where the history has texts.
type List []Value

// Phase is a named part of the run, [Start, End) in nanoseconds.
type Phase struct {
	Name       string
	Start, End int64
}

// The phases of a run, in order.
const (
	PhaseBefore   = "before"   // no fault yet
	PhaseFaults   = "faults"   // from the first fault's start to the last one's end
	PhaseRecovery = "recovery" // everything healed; the system must serve again
)

// Proof is what was observed of a fault taking effect, or of its healing.
type Proof struct {
	OK       bool
	At       int64  // nanoseconds; when the observation was complete
	Evidence string // what was seen, in words
}

// Fault is one fault episode: what was asked, and what was proved.
type Fault struct {
	ID     int
	Kind   string // partition, kill, pause, clock, …
	Detail string // e.g. "majority/minority: 0 1 2 | 3 4"
	Nodes  []int  // the nodes it acts on, ascending
	// Start is when applying it began, End when healing it was complete
	// (Never if it was still in force at the end of the history).
	Start, End int64
	Effect     Proof // it bit
	Recovery   Proof // it is gone
}

// KeyName gives the name of a key index, "" for one out of range.
func (h *History) KeyName(k int32) string {
	if k < 0 || int(k) >= len(h.Keys) {
		return ""
	}
	return h.Keys[k]
}

// Error gives the error text of an operation, "" for none.
func (h *History) Error(o *Op) string {
	if int(o.Err) >= len(h.Errors) {
		return ""
	}
	return h.Errors[o.Err]
}

// End is the time of the last event.
func (h *History) End() int64 {
	end := int64(0)
	for i := range h.Ops {
		o := &h.Ops[i]
		end = max(end, o.Call)
		if o.Return != Never {
			end = max(end, o.Return)
		}
	}
	for i := range h.Phases {
		if h.Phases[i].End != Never {
			end = max(end, h.Phases[i].End)
		}
	}
	return end
}
