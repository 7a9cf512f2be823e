// Package harness runs a test: a workload against a system under test, while a
// nemesis breaks the world it lives in, with every operation recorded.
//
// One test runs in two worlds. In harness/sim the network, disks, clocks and
// scheduling are simulated from one seed; in harness/docker they are real. The
// runner in this package ([Run]) is one piece of code that does not know which
// world it is in: it asks the world's [Executor] for the time, gives it
// invocations and takes completions.
//
// What belongs here: the vocabulary ([Test], [System], [Client], [World],
// [Fault]) and the runner. Kinds of faults are policy and live in nemesis;
// judging histories lives in checkers. Neither may be imported here.
package harness

import (
	"context"
	"slices"
	"time"

	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// A System is a replicated store under test. A world needs more of it than
// this (how to boot a simulated node, or which image to start): see
// sim.System and docker.System. One type may implement both.
type System interface {
	// Name is how reports call it, for example "assay-store abd 3/2/2".
	Name() string
	// Open connects a client to one node. The context bounds the opening
	// only.
	Open(ctx context.Context, w World, node int) (Client, error)
	// Inspect reads what one replica itself holds for the keys, asking no
	// other node and repairing nothing. The result is parallel to keys. Where
	// not every node holds every key, see [Replica.Elsewhere].
	Inspect(ctx context.Context, w World, node int, keys []string) ([]Replica, error)
}

// A Client performs one operation at a time against the node it was opened
// for. It is used by one process and never concurrently.
type Client interface {
	// Invoke performs op on the key, and sets op.Out where the function has
	// an output. Its error says what is known: nil means that the operation
	// happened; an error marked [Definite] that it certainly did not; any
	// other error that it may or may not have, now or later. A CAS that
	// was refused returns a Definite error, with the value seen in op.Out
	// if the system told.
	//
	// In a simulated world Invoke runs as a coroutine on virtual time: it
	// must not block on anything but the world's own calls.
	Invoke(ctx context.Context, key string, op *history.Op) error
	Close() error
}

// A Lister is a Client whose [history.ReadAll] answers with a list of values.
type Lister interface {
	Client
	// InvokeAll performs a ReadAll on the key, and gives what it saw: nil for
	// a key that is absent. For its error Invoke's rules hold. The list must
	// not change any more.
	InvokeAll(ctx context.Context, key string, op *history.Op) (history.List, error)
}

// Replica is what one replica holds for one key.
type Replica struct {
	Present bool
	Value   history.Value
	// Values are all that it holds, ascending, where a key can have several
	// values; then Value means nothing. nil: it has one.
	Values history.List
	Stamp  string // the version, as the system prints it; may be empty
	// Elsewhere says that the node is no replica of the key: the key lives on
	// other nodes, and what this one holds does not matter. A replica that
	// should have the key and lacks it is not Elsewhere, it is not Present.
	Elsewhere bool
}

// Agrees says that two replicas of a key show the same. Stamps are not compared:
// what a client sees is the values.
func (r *Replica) Agrees(other *Replica) bool {
	if !r.Present || !other.Present {
		return r.Present == other.Present
	}
	if r.Values != nil || other.Values != nil {
		return slices.Equal(r.Values, other.Values)
	}
	return r.Value == other.Value
}

// Workload says what the clients do.
type Workload struct {
	Name      string
	Keys      []string // names of the keys, indexed by Op.Key
	Generator gen.Generator
}

// Test is one test, a value: the same Test runs in either world.
type Test struct {
	Name     string
	Seed     uint64
	System   System
	Workload Workload
	Faults   []Episode // by At
	// Clients is how many operations may be in flight. Client i talks to
	// node i mod nodes.
	Clients int
	// OpTimeout is how long a client waits for one operation.
	OpTimeout time.Duration
	// Before, During and Recovery are the lengths of the three phases. The
	// episodes' times count from the start of the second. Recovery starts
	// when every fault is healed.
	Before, During, Recovery time.Duration
	// Settle bounds how long replicas may take to agree by themselves after
	// the clients have stopped. The final replica states are taken as soon
	// as all replicas agree, or when Settle is over.
	Settle time.Duration
	// ReadBack, if not 0, is the function that reads a key (Read or ReadAll).
	// Where replicas have not agreed within Settle, clients read the keys that
	// differ, at every node, and the replicas get as long again.
	ReadBack history.F
}

// Episode is one fault with its place in time.
type Episode struct {
	At    time.Duration // from the start of the fault phase
	For   time.Duration // how long it stays in force
	Fault Fault
}

// Fault is one fault of one kind on chosen targets, in terms of what a world
// can do. Every fault is a lease: the world heals it by itself when the lease
// is over, even if the harness is gone.
type Fault interface {
	Kind() string   // partition, kill, pause, clock, …
	String() string // the targets, for people
	Nodes() []int   // the nodes it acts on, ascending
	Apply(ctx context.Context, w World, lease time.Duration) error
	// ProveApplied observes that the fault is in force, with the evidence
	// in words. An error says that it did not bite.
	ProveApplied(ctx context.Context, w World) (evidence string, err error)
	Heal(ctx context.Context, w World) error
	// ProveHealed observes that it is gone.
	ProveHealed(ctx context.Context, w World) (evidence string, err error)
}
