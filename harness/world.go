package harness

import (
	"context"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// A World is a running cluster and what can be done to it: mechanism, no
// policy. Nodes are numbered from 0. Methods may be called from any task of
// the world's Executor, concurrently. Times are on the clock of Executor.Now.
type World interface {
	Executor

	// Name is "sim" or "docker".
	Name() string
	// Nodes is how many nodes the cluster has.
	Nodes() int
	// Supports says whether the world can do something here and now; the
	// error tells what is missing, and what it costs.
	Supports(c Capability) error

	// Cut drops everything sent over the given links, until Restore is
	// called with the same id or the lease is over. Cuts of different ids
	// overlap: a link is open when no id cuts it.
	Cut(ctx context.Context, id string, links []Link, lease time.Duration) error
	// Restore ends the cuts of one id. Unknown ids are no error.
	Restore(ctx context.Context, id string) error

	// Kill ends a node's process at once, as SIGKILL does, and returns when
	// it is gone. Start runs it again on the same disk and address, and
	// returns when the process runs (not: when it serves). When the lease
	// is over the world starts it by itself.
	Kill(ctx context.Context, node int, lease time.Duration) error
	Start(ctx context.Context, node int) error

	// Pause stops a node's process from running, without its noticing.
	Pause(ctx context.Context, node int, lease time.Duration) error
	Resume(ctx context.Context, node int) error

	// SetClock changes a node's wall clock, and only that: its monotonic
	// clock and its timers go on as before. The zero Clock is the true
	// time. A restarted node keeps the clock in force.
	SetClock(ctx context.Context, node int, c Clock, lease time.Duration) error

	// SetDisk changes what is wrong with a node's disk; the zero Disk is a
	// healthy one. What was spoiled by then stays spoiled until the node writes
	// it again.
	SetDisk(ctx context.Context, node int, d Disk, lease time.Duration) error

	// Status is the truth about a node's process, as the world sees it.
	Status(ctx context.Context, node int) (Status, error)
	// Probe sends probes over the links, from one node's place in the
	// network to another's, all links at once, and says which arrive. It
	// needs neither node's process.
	Probe(ctx context.Context, links []Link) ([]bool, error)
	// ClockOffset reads a node's wall clock through the node's process and
	// gives its difference from the true time, and how far the true
	// difference may be from that (half of the reading's round trip).
	ClockOffset(ctx context.Context, node int) (offset, within time.Duration, err error)
	// ProbeDisk tries a node's disk. It needs no process.
	ProbeDisk(ctx context.Context, node int) (DiskProbe, error)
	// Log is what the node wrote to its log so far.
	Log(ctx context.Context, node int) ([]byte, error)

	// Close stops the cluster and leaves nothing of it behind.
	Close(ctx context.Context) error
}

// Link is one direction between two nodes.
type Link struct{ From, To int }

// Clock is what is wrong with a node's wall clock.
type Clock struct {
	Offset time.Duration // added at once
	Drift  float64       // +0.01 gains 1 % from now on
}

// Disk is what is wrong with a node's disk.
type Disk struct {
	// Rot spoils a record at once, and another one whenever so much time has
	// passed: one bit of it is not what was written. Only what has been durable
	// and is still in use is spoiled. 0: none.
	Rot time.Duration
	// Delay is how much longer it takes to make something durable.
	Delay time.Duration
}

func (d Disk) String() string {
	if d == (Disk{}) {
		return "healthy"
	}
	return fmt.Sprintf("rot %v, delay %v", d.Rot, d.Delay)
}

// DiskProbe is what was seen of a node's disk.
type DiskProbe struct {
	Disk               // what is wrong with it now
	Sync time.Duration // how long it took to make something durable
	// Spoiled is how many records were spoiled since the world began.
	Spoiled int
}

// Status is the state of a node's process.
type Status struct {
	Up          bool
	Paused      bool
	Incarnation uint64 // differs after every restart
	// Work grows while the process does anything (instructions, CPU time,
	// events handled); it stands still while it is paused or down.
	Work uint64
}

// Capability names one thing that a world may not be able to do.
type Capability string

// The capabilities.
const (
	CanCut   Capability = "cut"
	CanKill  Capability = "kill"
	CanPause Capability = "pause"
	CanClock Capability = "clock"
	// CanRot: records at rest can be spoiled. CanDelayDisk: syncs can be made
	// slow.
	CanRot       Capability = "rot"
	CanDelayDisk Capability = "delay disk"
)

// Observed is a World that can be looked at without anything happening in it.
type Observed interface {
	// Observe calls f at this instant. f must not wait for anything.
	Observe(ctx context.Context, f func(ctx context.Context) error) error
}

// Executor is how the runner sees time and concurrency. In the simulator it is
// the event queue on virtual time, where tasks are coroutines that run one at
// a time; elsewhere it is the monotonic clock and goroutines.
//
// Invoke and Wait are called by the runner only, from one goroutine.
type Executor interface {
	// Now is nanoseconds since the world's clock started; it never goes
	// back.
	Now() int64
	// Workers prepares n workers, each of which runs do for the invocations
	// it is given, one at a time. It is called once.
	Workers(n int, do func(ctx context.Context, worker int, op *history.Op) error)
	// Invoke hands an operation to an idle worker and returns at once. The
	// op's pointer stays the executor's until Wait gives it back.
	Invoke(worker int, timeout time.Duration, op *history.Op)
	// Wait returns when at least one completion is there or the time is
	// until, whichever is first, with all completions so far appended to
	// buf. It returns early, with an error, when ctx is done.
	Wait(ctx context.Context, until int64, buf []Completion) ([]Completion, error)
	// Go starts a task. Its context carries the task, and is done when the
	// world is closed or ctx is.
	Go(ctx context.Context, f func(ctx context.Context))
	// All runs f for 0 to n-1 as tasks, all at the same time, and waits for
	// them. The error joins theirs.
	All(ctx context.Context, n int, f func(ctx context.Context, i int) error) error
	// Sleep blocks the calling task. It returns ctx's error if ctx is done
	// first.
	Sleep(ctx context.Context, d time.Duration) error
	// Timeout derives a context that is done after d on the world's clock.
	Timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
	// Await runs the world until f, called as a task, returns. The runner
	// uses it for everything that is not an operation.
	Await(ctx context.Context, f func(ctx context.Context) error) error
}

// Completion is an operation that has come back.
type Completion struct {
	Worker int
	Op     *history.Op // with Out set where the function has an output
	Err    error       // see Client.Invoke
	At     int64       // nanoseconds, when the client had its answer
}
