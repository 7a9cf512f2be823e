// Package checkers judges histories. A checker is a pure function of a
// history and the final replica states: it never sees a cluster, a world or a
// clock, and its answer is three-valued. What needs one of those does not
// belong here.
//
// [Judge] answers several claims about one run, and [Check] about a history from
// elsewhere. The checkers behind them are [LinearizableWith], [FreshReadsWith],
// [NoLostWritesWith], [CheckConverges], [AvailableWith], [RecoversWith] and
// [TestedWith].
//
// Of weaker promises about registers: [SequentialWith], [ReadYourWritesWith],
// [MonotonicReadsWith], [MonotonicWritesWith], [WritesFollowReadsWith],
// [BoundedStalenessWith], [NoPhantomsWith], [NoComebacksWith],
// [NoResurrectionsWith] and [NoDuplicatesWith]. Of replicas that are read:
// [CheckConvergesWhenRead]. Of partitions: [ServesBySideWith]. Of sets and banks:
// [CheckSets] and [BankWith]. Which promise implies which is a table in
// lattice_test.go.
//
// [CheckModel] judges one history by one of [Models]. [AvailabilityByPhase],
// [AvailabilityBySide], [MeasureStaleness], [MeasureVisibility] and [MeasureSets]
// measure, and [Visualize] draws the operations around a violation.
//
// Linearizability is decided without search where that is possible (zones in
// zone.go, chains of compare-and-sets in chain.go) and by Porcupine where it is
// not, with a budget of time and of memory that is kept (porcupine.go). Both
// are compared with each other, and with an oracle that tries everything, in
// agree_test.go.
package checkers

import (
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// Verdict answers one claim. Worst wins: Broken, then Unknown, then Held.
type Verdict uint8

const (
	// Unknown is the zero value: nothing is held until it was shown.
	Unknown Verdict = iota
	Held
	Broken
)

// String gives "held", "broken" or "unknown".
func (v Verdict) String() string {
	switch v {
	case Held:
		return "held"
	case Broken:
		return "broken"
	}
	return "unknown"
}

// MarshalText writes the verdict as its word.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads the word.
func (v *Verdict) UnmarshalText(text []byte) error {
	for _, known := range []Verdict{Unknown, Held, Broken} {
		if string(text) == known.String() {
			*v = known
			return nil
		}
	}
	return fmt.Errorf("%q is no verdict: want held, broken or unknown", text)
}

// GoString is the word too, for the messages of failing tests.
func (v Verdict) GoString() string { return v.String() }

// Worst gives the worse of two verdicts: Broken > Unknown > Held.
func Worst(a, b Verdict) Verdict {
	rank := [...]int{Unknown: 1, Held: 0, Broken: 2}
	if rank[a] >= rank[b] {
		return a
	}
	return b
}

// Input is what a checker may see.
type Input struct {
	History *history.History
	// Replicas are the final states, Replicas[node][key]; nil if they were
	// not taken, a nil row for a node that could not be read.
	Replicas [][]harness.Replica
	// Settled is how long the replicas took to agree after the clients had
	// stopped; negative if they never did within the bound.
	Settled time.Duration
	// ReadBack and ReadBackSettled are the same after clients had read the
	// keys on which replicas differed; nil if they had not.
	ReadBack        [][]harness.Replica
	ReadBackSettled time.Duration

	shared *shared // what Judge lets its checkers share; may be nil
}

// Budget bounds one check. Zero fields mean no bound.
type Budget struct {
	Time   time.Duration
	Memory uint64 // bytes of heap that the check may add
}

// Result is a checker's answer.
type Result struct {
	Claim   Claim   `json:"claim"`
	Verdict Verdict `json:"verdict"`
	// Reason is one sentence for people: why broken, or why unknown, or on
	// what held rests ("4,213 operations on 8 keys").
	Reason string `json:"reason"`
	// Checked is how many operations the verdict rests on.
	Checked int `json:"checked"`
	// Violations counts what was found, as far as the checker looked.
	Violations int `json:"violations"`
	// Key and Ops point at the first violation: the offending key (-1:
	// none) and operations, as indices into History.Ops.
	Key int32 `json:"key"`
	Ops []int `json:"ops,omitempty"`
	// Rate is how often it was broken, where that can be counted.
	Rate *Rate `json:"rate,omitempty"`
	// Figures and Visibility are what was measured on the way.
	Figures    []Figure     `json:"figures,omitempty"`
	Visibility []Visibility `json:"visibility,omitempty"`
}

// Claim names a promise that people make for a store.
type Claim string

// The claims.
const (
	Linearizable Claim = "linearizable"  // every operation takes effect at one instant between its call and return
	FreshReads   Claim = "no-stale-read" // a read sees the last write completed before it began, or a later one (a regular register)
	NoLostWrites Claim = "no-lost-write" // an acknowledged write is never missing at the end
	Converges    Claim = "converges"     // replicas left alone come to agree
	Available    Claim = "available"     // operations succeed in every phase, as N, R and W predict
	Recovers     Claim = "recovers"      // after healing the system serves again within the bound
	Tested       Claim = "tested"        // the run did test something: enough operations, faults that bit

	Sequential        Claim = "sequential-per-key"  // each key has one order that all its sessions agree with
	ReadYourWrites    Claim = "read-your-writes"    // a session sees what it wrote, or something newer
	MonotonicReads    Claim = "monotonic-reads"     // a session never reads something older than before
	MonotonicWrites   Claim = "monotonic-writes"    // who sees a write sees what its session had written before
	WritesFollowReads Claim = "writes-follow-reads" // who sees a write sees what its session had read before
	BoundedStaleness  Claim = "bounded-staleness"   // no read is out of date for longer than a bound
	NoPhantoms        Claim = "no-phantom"          // nothing is seen that nobody wrote
	NoComebacks       Claim = "no-comeback"         // a value that was seen replaced does not come back
	NoResurrections   Claim = "no-resurrection"     // a value that was seen deleted does not come back
	NoDuplicates      Claim = "no-duplicate"        // nothing takes effect twice
	NoLostElements    Claim = "no-lost-element"     // an element that is known to be in a set stays there
	ConvergesWhenRead Claim = "converges-when-read" // replicas agree at the latest when every key has been read
	ServesBySide      Claim = "serves-by-side"      // sides of a partition serve what N, R and W allow, and nothing else
	Conserved         Claim = "conserved"           // every read of a bank sees the same total
)

// Checker judges one claim.
type Checker func(in Input, b Budget) Result
