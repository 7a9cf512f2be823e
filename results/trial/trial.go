// Package trial runs one test in a world, has it judged, and keeps what it
// left: what a test of one's own store needs, in one call.
//
// It adds nothing of its own. The runner is harness.Run, the answers are
// checkers.Judge's, the directory and the page are of package results. It knows
// no store and no world; the caller starts one.
package trial

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results"
)

// Options of one trial. Start and Claims must be given.
type Options struct {
	// Start starts the world. Run closes it.
	Start func(ctx context.Context) (harness.World, error)
	// Claims are judged, beside checkers.Tested.
	Claims []checkers.Claim
	Judge  checkers.JudgeOptions
	// Budget bounds each check; the zero Budget is two minutes and 4 GiB.
	// With negative Time there is no bound of time.
	Budget checkers.Budget
	// Dir takes what the run leaves behind; nil to keep nothing.
	Dir *results.Dir
	// Describe is what readers should know beside what is in the test:
	// profile, N, R, W, nemesis, rate, how to run it again. Its other
	// fields are filled in where they are empty.
	Describe results.Test
	// StopOnViolation ends the load at the first moment at which it is certain
	// that a register is not linearizable. The run is then healed, settled and
	// judged like any other. It needs checkers.Linearizable among the claims,
	// and a model of registers in Judge.Linearizable.
	StopOnViolation bool
	// Progress is called now and then while the clients run.
	Progress func(harness.Snapshot)
	// Sample is how often the replicas are read while the clients run, to show
	// how far they differ; see harness.Options.
	Sample time.Duration
}

// Outcome is a run that was judged.
type Outcome struct {
	// Verdict is the worst of Results.
	Verdict checkers.Verdict
	Results []checkers.Result // checkers.Tested first
	Run     *harness.Result
	Phases  []results.PhaseStats
	Hash    string // of the history, in hexadecimal

	report results.Run
}

// Story tells the run in about 25 lines of plain text.
func (o *Outcome) Story() string { return results.Story(&o.report) }

// Result is the answer to one claim; Unknown if it was not judged.
func (o *Outcome) Result(c checkers.Claim) checkers.Result {
	for _, r := range o.Results {
		if r.Claim == c {
			return r
		}
	}
	return checkers.Result{Claim: c, Key: -1, Reason: "it was not judged"}
}

// AddTrace keeps the messages around a violation, and draws the page with them.
func (o *Outcome) AddTrace(dir *results.Dir, t results.Trace) error {
	if err := dir.WriteTrace(t); err != nil {
		return err
	}
	o.report.Trace = &t
	return dir.WritePage(&o.report)
}

// Run runs a test, judges it, and leaves its run directory.
//
// An error means that the run itself failed; the outcome is then nil if
// nothing was recorded. If ctx is done the faults are healed, the world is
// closed, and what was recorded so far is still judged and kept.
func Run(ctx context.Context, test harness.Test, o Options) (*Outcome, error) {
	t := &trial{ctx: ctx, test: test, opts: o}
	return t.run()
}

type trial struct {
	ctx    context.Context
	test   harness.Test
	opts   Options
	record results.Test
}

func (t *trial) run() (*Outcome, error) {
	if t.opts.Start == nil {
		return nil, errors.New("trial: Options.Start is nil: say how to start the world")
	}
	if t.opts.StopOnViolation {
		m := t.opts.Judge.Linearizable.Model
		if m != checkers.ModelRegister && m != checkers.ModelCASRegister || !slices.Contains(t.opts.Claims, checkers.Linearizable) {
			return nil, fmt.Errorf("trial: Options.StopOnViolation: only %s of a %s or %s can be judged while the run goes on", checkers.Linearizable, checkers.ModelRegister, checkers.ModelCASRegister)
		}
	}
	if err := t.describe(); err != nil {
		return nil, err
	}
	log, err := t.begin()
	if err != nil {
		return nil, err
	}
	run, runErr := t.inWorld(log)
	if log != nil {
		runErr = errors.Join(runErr, log.Close())
	}
	if run == nil {
		return nil, errors.Join(runErr, t.keep(func(d *results.Dir) error {
			return d.WriteVerdicts(results.Verdicts{Error: fmt.Sprint(runErr)})
		}))
	}
	out := t.judge(run, runErr)
	return out, errors.Join(runErr, t.keep(func(d *results.Dir) error { return t.finish(d, out) }))
}

// keep does something with the directory if there is one.
func (t *trial) keep(f func(*results.Dir) error) error {
	if t.opts.Dir == nil {
		return nil
	}
	return f(t.opts.Dir)
}

// describe fills in what the test itself says.
func (t *trial) describe() error {
	r, test := t.opts.Describe, &t.test
	if r.Name == "" {
		r.Name = test.Name
	}
	if r.Keys == 0 {
		r.Keys = len(test.Workload.Keys)
	}
	r.Workload, r.Clients, r.Seed, r.OpTimeout = test.Workload.Name, test.Clients, test.Seed, test.OpTimeout
	r.Before, r.During, r.Recovery, r.Settle = test.Before, test.During, test.Recovery, test.Settle
	r.StopOnViolation = t.opts.StopOnViolation
	r.Claims, r.Assay, r.Started = t.opts.Claims, results.ThisBuild(), time.Now().UTC()
	if test.System != nil {
		r.System = test.System.Name()
	}
	for _, e := range test.Faults {
		if c, ok := e.Fault.(interface{ Cuts() []harness.Link }); ok {
			r.Cuts = append(r.Cuts, results.Cut{Detail: e.Fault.String(), Links: c.Cuts()})
		}
	}
	schedule, err := nemesis.Encode(test.Faults)
	r.Schedule = schedule
	t.record = r
	return err
}

// begin writes down what will be run, before anything can go wrong with it.
func (t *trial) begin() (log io.WriteCloser, err error) {
	err = t.keep(func(d *results.Dir) error {
		if err := d.WriteTest(t.record); err != nil {
			return err
		}
		log, err = d.CreateHistory()
		return err
	})
	return log, err
}

// inWorld starts the world, runs the test in it, and takes it down again.
func (t *trial) inWorld(log io.Writer) (run *harness.Result, err error) {
	// A Ctrl-C ends the starting, but not a world that has started: its
	// faults have to be healed and its logs fetched.
	world, cancel := context.WithCancel(context.WithoutCancel(t.ctx))
	defer cancel()
	stop := context.AfterFunc(t.ctx, cancel)
	w, err := t.opts.Start(world)
	stop()
	if err != nil {
		return nil, err
	}
	defer func() {
		// Closing must work even after a Ctrl-C.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, w.Close(ctx))
	}()
	t.record.World, t.record.Nodes = w.Name(), w.Nodes()
	if err := t.keep(func(d *results.Dir) error { return d.WriteTest(t.record) }); err != nil {
		return nil, err
	}
	if err := nemesis.Check(w, t.test.Faults); err != nil {
		return nil, err
	}
	run, err = harness.Run(t.ctx, t.test, w, harness.Options{Log: log, Progress: t.opts.Progress, Sample: t.opts.Sample, Observe: t.observer()})
	return run, errors.Join(err, t.keep(func(d *results.Dir) error { return t.writeLogs(d, w) }))
}

// observer is what may end the load, nil if nothing may.
func (t *trial) observer() func(*history.Event) bool {
	if !t.opts.StopOnViolation {
		return nil
	}
	online := checkers.NewOnline(t.opts.Judge.Linearizable)
	return func(e *history.Event) bool {
		online.See(e)
		_, broken := online.Broken()
		return broken
	}
}

func (t *trial) writeLogs(d *results.Dir, w harness.World) error {
	for n := range w.Nodes() + w.Spares() {
		text, err := w.Log(context.WithoutCancel(t.ctx), n)
		if err != nil {
			return fmt.Errorf("fetching the log of node %d: %w", n, err)
		}
		if n >= w.Nodes() && len(text) == 0 {
			continue // a spare that was not needed
		}
		if err := d.WriteLog(n, text); err != nil {
			return err
		}
	}
	return nil
}

// judge answers the claims.
func (t *trial) judge(run *harness.Result, runErr error) *Outcome {
	b := t.opts.Budget
	switch {
	case b == checkers.Budget{}:
		b = checkers.Budget{Time: 2 * time.Minute, Memory: 4 << 30}
	case b.Time < 0:
		b.Time = 0
	}
	in := checkers.Input{
		History: run.History, Replicas: run.Replicas, Settled: run.Settled,
		ReadBack: run.ReadBack, ReadBackSettled: run.ReadBackSettled,
		Members: run.Members,
	}
	sum := run.History.Hash()
	out := &Outcome{
		Run:     run,
		Results: checkers.Judge(in, t.opts.Claims, b, t.opts.Judge),
		Phases:  phaseStats(run.History),
		Hash:    hex.EncodeToString(sum[:]),
	}
	out.Verdict = checkers.Overall(out.Results)
	t.opts.Judge.Minimize(in, out.Results, checkers.MinimizeOptions{})
	v := &results.Verdicts{Verdict: out.Verdict, Results: out.Results, Phases: out.Phases, HistoryHash: out.Hash, Stopped: run.Stopped}
	if runErr != nil {
		v.Error = runErr.Error()
	}
	out.report = results.Run{
		Test: t.record, History: run.History, Verdicts: v,
		Replicas: &results.Replicas{Settled: run.Settled, States: run.Replicas, Samples: run.Samples},
	}
	if t.opts.Dir != nil {
		out.report.Path = t.opts.Dir.Path()
	}
	return out
}

// phaseStats gives the figures of each phase, for all operations and by node.
func phaseStats(h *history.History) []results.PhaseStats {
	var stats []results.PhaseStats
	for _, a := range checkers.AvailabilityByPhase(h, true) {
		group := "all"
		if a.Node >= 0 {
			group = fmt.Sprintf("node %d", a.Node)
		}
		stats = append(stats, results.PhaseStats{Phase: a.Phase, Group: group, OK: a.OK, Fail: a.Fail, Info: a.Info,
			P50: a.P50, P95: a.P95, P99: a.P99, Max: a.Max})
	}
	return stats
}

// finish writes everything that is known only now.
func (t *trial) finish(d *results.Dir, out *Outcome) error {
	if err := d.WriteVerdicts(*out.report.Verdicts); err != nil {
		return err
	}
	if err := d.WriteReplicas(*out.report.Replicas); err != nil {
		return err
	}
	// Porcupine draws the key at which linearizability broke.
	if r := out.Result(checkers.Linearizable); r.Verdict == checkers.Broken && r.Key >= 0 && !checkers.SeveralValues(out.Run.History) {
		_, err := d.WriteKeyPage(r.Key, func(w io.Writer) error {
			return checkers.Visualize(w, out.Run.History, r.Key, r.Ops, checkers.VisualizeOptions{Options: t.opts.Judge.Linearizable})
		})
		if err != nil {
			return err
		}
	}
	return d.WritePage(&out.report)
}
