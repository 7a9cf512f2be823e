package nightly

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/results/experiment"
	"github.com/assay-chaos/assay/results/trial"
)

// simulate runs fresh seeds until the time is over.
func (n *night) simulate(ctx context.Context, until time.Time) error {
	began := time.Now()
	stage := n.summary.stage("sim")
	first, done := n.next, 0
	var mu sync.Mutex // of everything below, and of n
	var wg sync.WaitGroup
	var broken []experiment.Spec
	var failed error
	longest := time.Duration(0)
	for range n.workers() {
		wg.Go(func() {
			for {
				mu.Lock()
				if ctx.Err() != nil || failed != nil || !time.Now().Add(longest/2).Before(until) {
					mu.Unlock()
					return
				}
				i := n.next
				n.next++
				mu.Unlock()
				s := n.fresh(i)
				start := time.Now()
				out, err := experiment.Execute(ctx, s, experiment.Options{})
				mu.Lock()
				if err != nil && ctx.Err() != nil {
					mu.Unlock()
					return
				}
				longest = max(longest, time.Since(start))
				worse, e := stage.add(&s, out, err)
				if e != nil {
					failed = e
				}
				if worse {
					broken = append(broken, s)
				}
				done++
				n.tell("simulator: %d runs, %d of them broke a promise", n.next-first, len(broken))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	stage.Took += took
	if done > 0 {
		n.pace = took / time.Duration(done)
	}
	for i := range broken {
		if err := n.keep(ctx, stage, &broken[i]); err != nil {
			return err
		}
	}
	return failed
}

// keep runs a simulated run again, which gives the same history, and keeps it.
func (n *night) keep(ctx context.Context, stage *Stage, s *experiment.Spec) error {
	dir, err := results.Create(filepath.Join(n.dir, "runs"), s.Name())
	if err != nil {
		return err
	}
	out, err := experiment.Execute(ctx, *s, experiment.Options{Dir: dir})
	if out == nil {
		return fmt.Errorf("running %s again for its counterexample: %w", s.Name(), err)
	}
	return n.fail(stage, s, out, err, dir)
}

// fail takes note of the promises that a run broke, or that the run failed.
func (n *night) fail(stage *Stage, s *experiment.Spec, out *trial.Outcome, err error, dir *results.Dir) error {
	f := Failure{Stage: stage.Name, Cell: cellName(s), Command: results.JoinCommand(s.Command()), Path: filepath.ToSlash(dir.Path())}
	if run, e := results.Load(dir.Path()); e == nil {
		f.Test = run.Test
	}
	if err != nil {
		f.Reason = "the run failed: " + err.Error()
	}
	promises, e := promised(s)
	if e != nil {
		return e
	}
	if out != nil {
		for _, r := range out.Results {
			if why, ok := promises[r.Claim]; ok && r.Verdict == checkers.Broken {
				f.Claims = append(f.Claims, r.Claim)
				if f.Reason == "" {
					f.Reason = fmt.Sprintf("%s: %s (it should hold: %s)", r.Claim, r.Reason, why)
				}
			}
		}
	}
	if f.Reason != "" {
		n.summary.Failures = append(n.summary.Failures, f)
	}
	return nil
}

// contain runs in containers until the time is over. Profiles take turns.
func (n *night) contain(ctx context.Context, until time.Time) {
	began := time.Now()
	stage := n.summary.stage("docker")
	profiles := n.promising()
	longest := n.cfg.DockerDuration + 30*time.Second
	for i := 0; ctx.Err() == nil; i++ {
		if time.Now().Add(longest).After(until) {
			if i == 0 {
				n.summary.note("there was no time for containers: a run takes about %v, and there were %v", longest, time.Until(until).Round(time.Second))
			}
			break
		}
		s := experiment.Default(experiment.Docker)
		s.SetDuration(n.cfg.DockerDuration)
		s.Seed = n.seed(900_000 + i)
		s.Profile, s.Nemesis = profiles[i%len(profiles)], n.cfg.DockerNemesis
		s.Claims = claims.Claimed(s.Profile)
		s.MakeRoom()
		n.tell("containers: run %d, %s", i+1, s.Profile)
		start := time.Now()
		if !n.containOne(ctx, stage, &s) {
			break
		}
		longest = time.Since(start) + 5*time.Second
	}
	stage.Took += time.Since(began)
}

// containOne does one run in containers. It says no when there is no engine.
func (n *night) containOne(ctx context.Context, stage *Stage, s *experiment.Spec) bool {
	dir, err := results.Create(filepath.Join(n.dir, "runs"), s.Name())
	if err != nil {
		n.summary.note("%v", err)
		return false
	}
	out, err := experiment.Execute(ctx, *s, experiment.Options{Dir: dir, Self: n.cfg.Self})
	if errors.Is(err, docker.ErrNoEngine) {
		n.summary.note("%v", err)
		return false
	}
	if ctx.Err() != nil {
		return false
	}
	worse, e := stage.add(s, out, err)
	if e == nil && worse {
		e = n.fail(stage, s, out, err, dir)
	}
	if e != nil {
		n.summary.note("%v", e)
	}
	return e == nil
}

// promising are the profiles that promise to be linearizable under everything that
// is done in containers; all if there is none. Runs there are too long to spend
// them on what is expected to break.
func (n *night) promising() []string {
	var out []string
	for _, p := range n.cfg.Profiles {
		s := experiment.Default(experiment.Docker)
		s.Profile, s.Nemesis, s.Claims = p, n.cfg.DockerNemesis, claims.All()
		if held, err := promised(&s); err == nil && held[checkers.Linearizable] != "" {
			out = append(out, p)
		}
	}
	if out == nil {
		return n.cfg.Profiles
	}
	return out
}
