// Package nightly spends a given time on looking for broken promises: fresh seeds
// in the simulator over all profiles and mixes of faults, runs in containers, and
// the claims matrix. It leaves a directory for the night with a summary for
// people, one for machines, JUnit XML for a CI job, and a run directory for every
// broken promise.
//
//	known     what broke in earlier nights, again
//	sim       fresh seeds, drawn from the date
//	docker    the mix of all faults, in containers
//	matrix    as many runs a cell as there is time for
//	sim       the rest of the time
//
// What theory expects to break is no news here; package matrix shows it. A night
// that could not do all that it was asked for is unknown, never green.
package nightly

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/results/experiment"
	"github.com/assay-chaos/assay/results/matrix"
)

// Config says what a night is to do.
type Config struct {
	// Budget is how long the night may take, in all. It is used up.
	Budget time.Duration
	// Date names the night, as 2006-01-02, and decides its seeds.
	Date string
	// Dir has a directory for each night, and the file of what broke.
	Dir string
	// Worlds are where to run: experiment.Sim, experiment.Docker.
	Worlds   []string
	Profiles []string
	// DockerNemesis and DockerDuration are those of a run in containers.
	DockerNemesis  string
	DockerDuration time.Duration
	Workers        int // simulated runs at a time; 0: one a processor
	// Self are the arguments that make the running program a node, see
	// experiment.Options.
	Self []string
	// Progress is told now and then how far the night is; never concurrently.
	Progress func(text string)
}

// The parts of the budget, of 100, by which a stage has to end.
const (
	knownUntil     = 20
	simUntil       = 45 // with containers; else simAloneUntil
	dockerUntil    = 80
	matrixUntil    = 92
	simAloneUntil  = 60
	mostMatrixRuns = 20
)

// night is a night under way.
type night struct {
	cfg     Config
	start   time.Time
	summary Summary
	dir     string // of this night
	pace    time.Duration
	next    int // of the fresh seeds
}

// Run spends the budget. The summary is never nil when the directory of the night
// could be made, and is written there, also when ctx is done or something fails.
func Run(ctx context.Context, cfg Config) (*Summary, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := &night{cfg: cfg, start: time.Now(), pace: 50 * time.Millisecond}
	if err := n.makeDir(); err != nil {
		return nil, err
	}
	known, err := readKnown(cfg.Dir)
	if err != nil {
		return nil, err
	}
	n.summary = Summary{Schema: results.Schema, Date: cfg.Date, Started: n.start.UTC(), Budget: cfg.Budget, Assay: results.ThisBuild(), Path: n.dir}
	err = n.stages(ctx, known)
	if err != nil {
		n.summary.note("the night was cut short: %v", err)
	}
	return n.finish(known, err)
}

func (c *Config) validate() error {
	if _, err := time.Parse(time.DateOnly, c.Date); err != nil {
		return fmt.Errorf("nightly: the date is %q: write it as in 2026-11-25", c.Date)
	}
	switch {
	case c.Budget < 5*time.Second:
		return fmt.Errorf("nightly: a budget of %v is too little for anything: take at least 5s", c.Budget)
	case len(c.Worlds) == 0:
		return fmt.Errorf("nightly: no world to run in: take %s, %s or both", experiment.Sim, experiment.Docker)
	case len(c.Profiles) == 0:
		return errors.New("nightly: no profile to run")
	}
	for _, w := range c.Worlds {
		if w != experiment.Sim && w != experiment.Docker {
			return fmt.Errorf("nightly: unknown world %q; there are: %s, %s", w, experiment.Sim, experiment.Docker)
		}
	}
	return nil
}

// makeDir makes the directory of the night. One of an earlier try of the same
// night is left alone.
func (n *night) makeDir() error {
	for i := 1; ; i++ {
		n.dir = filepath.Join(n.cfg.Dir, n.cfg.Date)
		if i > 1 {
			n.dir += fmt.Sprintf("-%d", i)
		}
		if err := os.MkdirAll(n.cfg.Dir, 0o755); err != nil {
			return fmt.Errorf("nightly: making the directory: %w", err)
		}
		err := os.Mkdir(n.dir, 0o755)
		if err == nil {
			return nil
		}
		if !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("nightly: making the directory of the night: %w", err)
		}
	}
}

// until is when so much of the budget, of 100, is used up.
func (n *night) until(part int) time.Time {
	// What is left of the last hundredth is for writing the summary.
	return n.start.Add(n.cfg.Budget * time.Duration(part) / 100)
}

func (n *night) has(world string) bool { return slices.Contains(n.cfg.Worlds, world) }

// stages does the night's work.
func (n *night) stages(ctx context.Context, known []*Known) error {
	if len(known) > 0 {
		n.replay(ctx, known, n.until(knownUntil))
	}
	sim, docker := n.has(experiment.Sim), n.has(experiment.Docker)
	if sim {
		first := simUntil
		if !docker {
			first = simAloneUntil
		}
		if err := n.simulate(ctx, n.until(first)); err != nil {
			return err
		}
	}
	if docker {
		until := dockerUntil
		if !sim {
			until = 100
		}
		n.contain(ctx, n.until(until))
	}
	if sim {
		if err := n.compare(ctx, n.until(matrixUntil)); err != nil {
			return err
		}
		if err := n.simulate(ctx, n.until(100)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// seeds of a night are those of its date, so that no two nights have the same.
func (n *night) seed(i int) uint64 {
	day, _ := time.Parse(time.DateOnly, n.cfg.Date)
	return uint64(day.Year()*10_000+int(day.Month())*100+day.Day())*1_000_000 + uint64(i)
}

// fresh is the spec of the i-th simulated run: all profiles on three and five
// nodes under all mixes take turns, and then begin again with other seeds.
func (n *night) fresh(i int) experiment.Spec {
	mixes, sizes := matrix.Mixes(), []int{3, 5}
	s := matrix.Base()
	s.Seed = n.seed(i)
	s.Nemesis = mixes[i%len(mixes)].Nemesis
	i /= len(mixes)
	s.Profile = n.cfg.Profiles[i%len(n.cfg.Profiles)]
	s.Nodes = sizes[i/len(n.cfg.Profiles)%len(sizes)]
	s.Claims = claims.All()
	s.MakeRoom()
	return s
}

// workers is how many simulated runs go on at a time.
func (n *night) workers() int {
	if n.cfg.Workers > 0 {
		return n.cfg.Workers
	}
	return runtime.GOMAXPROCS(0)
}

func (n *night) tell(format string, args ...any) {
	if n.cfg.Progress != nil {
		left := n.cfg.Budget - time.Since(n.start)
		n.cfg.Progress(fmt.Sprintf("%4.0f s left  ", max(left, 0).Seconds()) + fmt.Sprintf(format, args...))
	}
}

// compare makes the claims matrix, with as many runs a cell as there is time for,
// and with clusters of three nodes only where that helps.
func (n *night) compare(ctx context.Context, until time.Time) error {
	cfg := matrix.Config{
		Base: matrix.Base(), Profiles: n.cfg.Profiles, Mixes: matrix.Mixes(), Claims: claims.All(),
		Out: filepath.Join(n.dir, "runs"), Workers: n.cfg.Workers, Prices: true,
		Progress: func(done, total int) { n.tell("matrix: %d of %d runs", done, total) },
	}
	cfg.Base.Seed = n.seed(500_000)
	cells := 0
	for _, cfg.Nodes = range [][]int{{3, 5}, {3}} {
		rows := len(cfg.Profiles) * len(cfg.Nodes)
		cells = rows * len(cfg.Mixes)
		// Prices take three runs a row that are three times as long;
		// counterexamples are run again and written.
		room := int(float64(time.Until(until)) / float64(n.pace))
		if cfg.Runs = min((room-9*rows)/(cells+cells/4), mostMatrixRuns); cfg.Runs > 0 {
			break
		}
	}
	if cfg.Runs < 1 {
		n.summary.note("there was no time for the matrix: one run a cell takes about %v, and there were %v", (time.Duration(2*cells) * n.pace).Round(time.Second), time.Until(until).Round(time.Second))
		return nil
	}
	cfg.Command = fmt.Sprintf("assay matrix --seed %d --runs %d", cfg.Base.Seed, cfg.Runs)
	began := time.Now()
	m, err := matrix.Run(ctx, cfg)
	if err != nil {
		return fmt.Errorf("the matrix: %w", err)
	}
	if err := m.Save(n.dir); err != nil {
		return err
	}
	n.summary.addMatrix(m, cells*cfg.Runs, time.Since(began))
	return nil
}

// finish writes what the night leaves.
func (n *night) finish(known []*Known, err error) (*Summary, error) {
	s := &n.summary
	if n.has(experiment.Sim) && s.runs(experiment.Sim) == 0 {
		s.note("nothing was run in the simulator")
	}
	if n.has(experiment.Docker) && s.runs(experiment.Docker) == 0 {
		s.note("nothing was run in containers")
	}
	s.Took = time.Since(n.start)
	known = n.learn(known)
	return s, errors.Join(err, writeKnown(n.cfg.Dir, known), s.write(n.cfg.Dir, n.dir))
}

// promised gives the claims that theory expects to hold for a spec.
func promised(s *experiment.Spec) (map[checkers.Claim]string, error) {
	setting, err := s.Setting()
	if err != nil {
		return nil, err
	}
	faults, err := s.Faults()
	if err != nil {
		return nil, err
	}
	p := map[checkers.Claim]string{checkers.Tested: "a run that tested nothing proves nothing"}
	for _, c := range s.Claims {
		if x := claims.Expect(setting, c, faults); x.Holds {
			p[c] = x.Reason
		}
	}
	return p, nil
}
