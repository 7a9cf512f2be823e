package experiment

import (
	"context"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/trial"
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
	// Replay are the words of the command that runs it again, where those of
	// the spec do not say it all.
	Replay []string
	// Self are the arguments that make the running program a node; see
	// sut.System.RunSelf. Nil if none do.
	Self []string
}

// Execute runs a spec in its world and judges it; see [trial.Run].
func Execute(ctx context.Context, s Spec, o Options) (*trial.Outcome, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	p, err := s.profile()
	if err != nil {
		return nil, err
	}
	system := sut.New(p)
	if o.Self != nil {
		system.RunSelf(o.Self...)
	}
	test, err := s.test(system)
	if err != nil {
		return nil, err
	}
	about := s.describe(p)
	if o.Replay != nil {
		about.Replay = o.Replay
	}
	judge := s.judging()
	out, err := trial.Run(ctx, test, trial.Options{
		Start: func(ctx context.Context) (harness.World, error) {
			return s.start(ctx, system, nemesis.Spares(s.Nodes, test.Faults), o, judge.Staleness.Model)
		},
		Claims:   s.claimed(),
		Judge:    judge,
		Budget:   s.Budget,
		Dir:      o.Dir,
		Describe: about,
		Progress: o.Progress,
		Sample:   s.sample(o),

		StopOnViolation: s.StopOnViolation,
	})
	if err == nil && o.Dir != nil && s.World == Sim {
		err = s.traced(ctx, out, o.Dir)
	}
	return out, err
}

// samples is how many times the replicas are looked at while the clients run.
const samples = 200

// sample is how often that is. Where it costs nothing and changes nothing it is
// done for everybody who will look at the run; in containers it would load the
// nodes.
func (s *Spec) sample(o Options) time.Duration {
	if s.World != Sim || o.Dir == nil {
		return 0
	}
	return s.Duration() / samples
}

// start makes the world, and tells a model of it the delays that it knows; the
// model may be nil.
func (s *Spec) start(ctx context.Context, system *sut.System, spares int, o Options, model *checkers.PBS) (harness.World, error) {
	if s.World == Docker {
		return docker.Start(ctx, docker.Config{System: system, Nodes: s.Nodes, Spares: spares, Name: s.Profile, Logf: o.Logf})
	}
	w, err := sim.New(s.simulated(system, spares))
	if err != nil {
		return nil, err
	}
	if model != nil && s.Nodes > 1 {
		predictFrom(model, w)
	}
	return w, nil
}

// simulated describes the simulated world.
func (s *Spec) simulated(system *sut.System, spares int) sim.Config {
	c := sim.Config{System: system, Nodes: s.Nodes, Spares: spares, Seed: s.Seed}
	if s.PlainDelays {
		// The medians of what is otherwise drawn.
		c.Net.Latency = sim.Latency{Median: 500 * time.Microsecond}
		c.Net.Client = sim.Latency{Median: 200 * time.Microsecond}
		c.Disk.Sync = sim.Latency{Median: 500 * time.Microsecond}
	}
	return c
}
