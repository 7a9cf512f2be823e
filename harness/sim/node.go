package sim

import (
	"math/rand/v2"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// A System is one whose nodes can run in the simulator.
type System interface {
	harness.System
	// Boot makes the node that runs on h. It is called when the cluster
	// starts and after every crash, with what survived on h.Disk(). An
	// error fails the run.
	Boot(h Host) (Node, error)
}

// A Node is the deterministic part of one node: a state machine without I/O,
// goroutines, clock or global randomness. It acts only through its Host, only
// during these calls, and calls never overlap.
type Node interface {
	// Receive takes a message from another node. Messages may be shared
	// (duplicated ones are): they must be treated as immutable.
	Receive(from int, msg any)
	// Request takes a client's request; the node answers it, at most once,
	// with Host.Reply and the same id.
	Request(id uint64, req any)
	// Wake is called at the time given to Host.WakeAt.
	Wake()
	// Synced says that a Disk.Sync is complete.
	Synced(token uint64)
}

// Host is the machine that a node runs on.
type Host interface {
	// ID is the node's number. Nodes is how many nodes the cluster begins
	// with; a node with a higher number is a spare that was started.
	ID() int
	Nodes() int
	// Now is the node's monotonic clock: time since the host was made, not
	// since boot. It does not stop while the node is down.
	Now() time.Duration
	// Wall is the node's wall clock in Unix nanoseconds, with its offset
	// and drift.
	Wall() int64
	// Rand is seeded from the run's seed, the node and its incarnation.
	Rand() *rand.Rand
	// Send puts a message on the way to another node. It may be lost,
	// delayed, duplicated or overtaken. Sending to oneself is not allowed.
	Send(to int, msg any)
	// Reply answers a client's request. Unknown ids are ignored: the
	// client may have gone.
	Reply(id uint64, resp any)
	// WakeAt asks for Wake at the given time of Now; a second call replaces
	// the first, and a negative time cancels it.
	WakeAt(at time.Duration)
	// Disk is the machine's disk. What was synced survives crashes.
	Disk() *Disk
	// Logf writes a line to the node's log, stamped with the time.
	Logf(format string, args ...any)
}
