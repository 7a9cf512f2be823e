package harness

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// Options are the things about a run that do not change what it does. The zero
// value is fine.
type Options struct {
	// Log takes the history while the run goes on, in the file format of
	// package history. It is flushed every 100 ms of the world's time.
	Log io.Writer
	// Progress is called about twice a second of real time, and when a
	// phase begins; never concurrently.
	Progress func(Snapshot)
	// Observe is told of every operation when it is invoked, and again when it
	// has completed, in the order in which they are recorded; never
	// concurrently. Op.Err is not set. If it answers true the load ends there: no further
	// operation is invoked, and no phase or fault begins. The run still heals
	// what is in force, waits for what is in flight, and lets the replicas
	// settle. In a simulated world the answer must depend on nothing but the
	// events, or the run is not a function of its seed.
	Observe func(*history.Event) (stop bool)
	// OpenTimeout bounds how long the clients may take to connect before
	// the run starts. 0 means 30 s.
	OpenTimeout time.Duration
	// FaultTimeout bounds each step of a fault: applying it, proving it,
	// healing it, proving that. 0 means 30 s.
	FaultTimeout time.Duration
	// Sample is how often the replicas are read while the clients run, to see
	// how far they differ; 0: never. Where reading takes time, or loads the
	// system, it is part of what the run does. In the simulator with a store
	// that is read at once it changes nothing.
	Sample time.Duration
	// LeaseMargin is how much longer than planned a fault's lease is, so
	// that it is the run that ends the fault, unless the run is gone. 0
	// means 10 s.
	LeaseMargin time.Duration
}

// Snapshot is how far a run has come.
type Snapshot struct {
	// Elapsed is the world's time since the start. Total is how long the
	// phases are together; healing and settling may take longer.
	Elapsed, Total          time.Duration
	Phase                   string // as in the history, then PhaseSettle
	Invoked, OK, Fail, Info int
	InForce                 []string // faults, as "kind targets"
}

// Sample is how far the replicas differed at one time.
type Sample struct {
	At     int64 `json:"at"`     // nanoseconds of the history's time
	Differ int   `json:"differ"` // keys of which two replicas hold different values
	Unread int   `json:"unread"` // nodes that could not be read
}

// PhaseSettle is what a [Snapshot] calls the time after the clients have
// stopped. The history ends before it.
const PhaseSettle = "settle"

// Result is what a run observed.
type Result struct {
	History *history.History
	// Replicas are the final states, Replicas[node][key]; nil if they were
	// not taken, a nil row for a node that could not be read.
	Replicas [][]Replica
	// Members are the nodes that belonged to the cluster at the end,
	// ascending; nil if that never changed.
	Members []int
	// Settled is how long the replicas took to agree after the clients had
	// stopped; negative if they never did within Test.Settle.
	Settled time.Duration
	// ReadBack and ReadBackSettled are the same once more, counted from when
	// clients had read the keys that differed; nil where Test.ReadBack is 0,
	// and where there was nothing to read back.
	ReadBack        [][]Replica
	ReadBackSettled time.Duration
	// Samples are how far the replicas differed, by time: see Options.Sample.
	// Those of the time after the clients have stopped are always there.
	Samples []Sample
	// Start is the world's time at the history's time 0.
	Start int64
	// Stopped says that Options.Observe ended the load.
	Stopped bool
	// Warnings are things that went wrong without making the run useless,
	// as sentences for people.
	Warnings []string
}

// Run runs one test in a world, once: a world takes no second run.
//
// The clients are connected, then the generator's operations are invoked
// through three phases: before, faults and recovery. Then the clients stop, the
// replicas are given time to agree, and their final states are taken.
//
// The Result is never nil when the run has started: with an error it holds
// what there is, and its history is good up to the point where it ends. The
// error is ctx's if the run was interrupted. In every case all faults were
// healed, or the attempt was recorded as failed.
func Run(ctx context.Context, t Test, w World, o Options) (*Result, error) {
	if err := t.validate(w); err != nil {
		return nil, err
	}
	o.setDefaults()
	r := newRun(t, w, o)
	if err := r.openClients(ctx); err != nil {
		r.closeClients(ctx)
		return nil, fmt.Errorf("test %q in world %q: %w", t.Name, w.Name(), err)
	}

	r.begin()
	err := r.phases(ctx)
	r.stopFaults(ctx)
	// The first error is the cause; those of cleaning up follow from it.
	if e := r.drain(ctx); err == nil {
		err = e
	}
	stopped := r.now()
	if e := r.rec.Close(stopped); err == nil {
		err = e
	}
	if err == nil {
		err = r.settle(ctx, stopped)
	}
	r.closeClients(ctx)

	r.result.Members = r.roster.changedMembers()
	r.result.History = r.rec.History()
	if err != nil {
		return r.result, fmt.Errorf("test %q in world %q: %w", t.Name, w.Name(), err)
	}
	return r.result, nil
}

func (o *Options) setDefaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&o.OpenTimeout, 30*time.Second)
	set(&o.FaultTimeout, 30*time.Second)
	set(&o.LeaseMargin, 10*time.Second)
}

// run is the state of a run. All of it but the faults' belongs to the
// goroutine of Run; a worker's slot belongs to the worker while its operation
// is in flight.
type run struct {
	test   Test
	world  World
	opts   Options
	rec    *history.Recorder
	result *Result
	start  int64 // world's time of the history's time 0

	gen     gen.Generator
	genDone bool
	invoked uint64
	// instantOps is how many operations began at the time instant.
	instant    int64
	instantOps int

	slots    []slot // by worker
	roster   roster
	idle     gen.Set
	inFlight int
	resting  []rest
	buf      []Completion

	faults   faults
	progress progress
	sampled  int64 // when the replicas were last sampled
}

func newRun(t Test, w World, o Options) *run {
	r := &run{
		test:   t,
		world:  w,
		opts:   o,
		rec:    history.NewRecorder(o.Log),
		result: &Result{Settled: -1},
		gen:    t.Workload.Generator,
		slots:  make([]slot, t.Clients),
		idle:   gen.NewSet(t.Clients),
		buf:    make([]Completion, 0, t.Clients),
	}
	r.roster.begin(w.Nodes())
	for i := range r.slots {
		r.slots[i].node = i % w.Nodes()
		r.slots[i].process = int32(i)
	}
	r.rec.SetKeys(t.Workload.Keys)
	w.Workers(t.Clients, r.do)
	return r
}

// now is the time of the history.
func (r *run) now() int64 { return r.world.Now() - r.start }

// startSpacing is the time between the first operations of two workers. A
// burst of first operations, all concurrent, tells little and is hard to check.
const startSpacing = time.Millisecond

// begin sets the history's time to 0.
func (r *run) begin() {
	r.start = r.world.Now()
	r.result.Start = r.start
	spacing := min(startSpacing, r.test.length()/time.Duration(10*len(r.slots)))
	for i := range r.slots {
		r.rest(i, int64(i)*int64(spacing))
	}
}

// length is how long the phases are together.
func (t *Test) length() time.Duration { return t.Before + t.During + t.Recovery }

// phases goes through the phases. Those without length are left out.
func (r *run) phases(ctx context.Context) error {
	t := &r.test
	if t.Before > 0 {
		begin := r.phase(history.PhaseBefore)
		if err := r.load(ctx, begin+int64(t.Before), nil); err != nil || r.result.Stopped {
			return err
		}
	}
	if t.During > 0 {
		begin := r.phase(history.PhaseFaults)
		r.startFaults(ctx, begin)
		if err := r.load(ctx, begin+int64(t.During), r.faults.over); err != nil || r.result.Stopped {
			return err
		}
	}
	if t.Recovery > 0 {
		begin := r.phase(history.PhaseRecovery)
		return r.load(ctx, begin+int64(t.Recovery), nil)
	}
	return nil
}

// phase begins a phase, now.
func (r *run) phase(name string) (begin int64) {
	begin = r.now()
	r.rec.Phase(name, begin)
	r.report(name)
	return begin
}

// drain waits for the operations in flight. It gives them as long as they may
// take, and then leaves them without completion.
func (r *run) drain(ctx context.Context) error {
	// The clients' own time limits end the operations, also when the run
	// was interrupted.
	ctx = context.WithoutCancel(ctx)
	end := r.now() + int64(r.test.OpTimeout+drainGrace)
	for r.inFlight > 0 && r.now() < end {
		if err := r.collect(ctx, end); err != nil {
			return err
		}
	}
	if r.inFlight > 0 {
		r.warn("%d operations were still in flight %v after their time limit of %v: Client.Invoke should return when its context is done", r.inFlight, drainGrace, r.test.OpTimeout)
	}
	return nil
}

// drainGrace is how long after its time limit an operation may come back.
const drainGrace = 250 * time.Millisecond

func (r *run) warn(format string, args ...any) {
	r.result.Warnings = append(r.result.Warnings, fmt.Sprintf(format, args...))
}
