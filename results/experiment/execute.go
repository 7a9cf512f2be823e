package experiment

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/store/sut"
)

// Options of one execution.
type Options struct {
	// Dir takes what the run leaves behind; nil to keep nothing.
	Dir *results.Dir
	// Progress is called now and then while the clients run.
	Progress func(harness.Snapshot)
	// Logf takes what the user should know, such as a slow image build.
	Logf func(format string, args ...any)
}

// Outcome is a run that was judged.
type Outcome struct {
	Spec     Spec
	Run      *harness.Result
	Results  []checkers.Result
	Verdict  checkers.Verdict
	Phases   []results.PhaseStats
	Hash     string // of the history, in hexadecimal
	KeyPages []string
}

// Execute runs a spec in its world and judges it. An error means that the run
// itself failed; the outcome then holds what there is, and may be nil. If ctx
// is done the faults are healed, the world is closed, and what was recorded is
// still judged and stored.
func Execute(ctx context.Context, s Spec, o Options) (*Outcome, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	p, err := s.profile()
	if err != nil {
		return nil, err
	}
	system := sut.New(p)
	test, err := s.test(system)
	if err != nil {
		return nil, err
	}
	log, err := s.begin(o.Dir, system.Name(), test.Faults)
	if err != nil {
		return nil, err
	}
	out := &Outcome{Spec: s}
	runErr := out.run(ctx, test, system, log, o)
	if log != nil {
		runErr = errors.Join(runErr, log.Close())
	}
	if out.Run == nil {
		return nil, errors.Join(runErr, store(o.Dir, func(d *results.Dir) error {
			return d.WriteVerdicts(results.Verdicts{Error: fmt.Sprint(runErr)})
		}))
	}
	out.judge()
	return out, errors.Join(runErr, out.finish(o.Dir, runErr))
}

// store does something with the directory if there is one.
func store(d *results.Dir, f func(*results.Dir) error) error {
	if d == nil {
		return nil
	}
	return f(d)
}

// begin writes down what will be run, before anything can go wrong with it.
func (s *Spec) begin(d *results.Dir, system string, faults []harness.Episode) (io.WriteCloser, error) {
	if d == nil {
		return nil, nil
	}
	rec, err := s.record(system)
	if err != nil {
		return nil, err
	}
	rec.Started = time.Now().UTC()
	rec.Claims = s.claimed()
	if rec.Schedule, err = nemesis.Encode(faults); err != nil {
		return nil, err
	}
	if err := d.WriteTest(rec); err != nil {
		return nil, err
	}
	return d.CreateHistory()
}

// run starts the world, runs the test in it, and takes the world down again.
func (out *Outcome) run(ctx context.Context, test harness.Test, system *sut.System, log io.Writer, o Options) (err error) {
	w, err := out.Spec.start(ctx, system, o)
	if err != nil {
		return err
	}
	defer func() {
		// Closing must work even after a Ctrl-C.
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, w.Close(closing))
	}()
	specs, err := nemesis.Parse(out.Spec.Nemesis)
	if err != nil {
		return err
	}
	for _, c := range nemesis.Needs(specs) {
		if err := w.Supports(c); err != nil {
			return fmt.Errorf("the %s world cannot do this: %w", w.Name(), err)
		}
	}
	out.Run, err = harness.Run(ctx, test, w, harness.Options{Log: log, Progress: o.Progress})
	return errors.Join(err, store(o.Dir, func(d *results.Dir) error {
		for n := range w.Nodes() {
			logs, err := w.Log(context.WithoutCancel(ctx), n)
			if err != nil {
				return fmt.Errorf("fetching the log of node %d: %w", n, err)
			}
			if err := d.WriteLog(n, logs); err != nil {
				return err
			}
		}
		return nil
	}))
}

// start makes the world.
func (s *Spec) start(ctx context.Context, system *sut.System, o Options) (harness.World, error) {
	if s.World == Docker {
		return docker.Start(ctx, docker.Config{System: system, Nodes: s.Nodes, Name: s.Profile, Logf: o.Logf})
	}
	return sim.New(sim.Config{System: system, Nodes: s.Nodes, Seed: s.Seed})
}

// judge answers the claims.
func (out *Outcome) judge() {
	in := checkers.Input{History: out.Run.History, Replicas: out.Run.Replicas, Settled: out.Run.Settled}
	out.Results = checkers.Judge(in, out.Spec.claimed(), out.Spec.Budget, out.Spec.judging())
	out.Verdict = results.Overall(out.Results)
	out.Phases = phaseStats(out.Run.History)
	sum := out.Run.History.Hash()
	out.Hash = hex.EncodeToString(sum[:])
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
func (out *Outcome) finish(d *results.Dir, runErr error) error {
	if d == nil {
		return nil
	}
	v := results.Verdicts{Verdict: out.Verdict, Results: out.Results, Phases: out.Phases, HistoryHash: out.Hash}
	if runErr != nil {
		v.Error = runErr.Error()
	}
	if err := d.WriteVerdicts(v); err != nil {
		return err
	}
	if err := d.WriteReplicas(results.Replicas{Settled: out.Run.Settled, States: out.Run.Replicas}); err != nil {
		return err
	}
	if err := out.writeKeyPage(d); err != nil {
		return err
	}
	run, err := results.Load(d.Path())
	if err != nil {
		return err
	}
	return d.WritePage(run)
}

// writeKeyPage has Porcupine draw the key at which linearizability broke.
func (out *Outcome) writeKeyPage(d *results.Dir) error {
	for _, r := range out.Results {
		if r.Claim != checkers.Linearizable || r.Verdict != checkers.Broken || r.Key < 0 {
			continue
		}
		name, err := d.WriteKeyPage(r.Key, func(w io.Writer) error {
			return checkers.Visualize(w, out.Run.History, r.Key, r.Ops, checkers.VisualizeOptions{})
		})
		if err != nil {
			return err
		}
		out.KeyPages = append(out.KeyPages, name)
	}
	return nil
}
