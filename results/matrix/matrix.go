// Package matrix compares what theory expects of quorum settings with what
// simulated runs show: claims × profiles × mixes of faults, many seeds each.
//
// A cell that is broken gets a counterexample: its first broken run is run
// again, which in the simulator gives the same history, and this time leaves a
// run directory.
package matrix

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/results/experiment"
)

// Mix is a named mix of faults.
type Mix struct{ Name, Nemesis string }

// Mixes are the mixes of faults that every profile is put under.
func Mixes() []Mix {
	return []Mix{
		{"none", ""},
		{"partition", "partition"},
		{"kill", "kill"},
		{"pause", "pause"},
		{"clock", "clock"},
		{"all", "partition,kill,pause,clock"},
	}
}

// Config says what to compare.
type Config struct {
	// Base is the spec of every run, but for its profile, nemesis, claims
	// and seed. Run i of a cell has the seed Base.Seed + i.
	Base     experiment.Spec
	Profiles []string
	Mixes    []Mix
	Claims   []checkers.Claim
	Runs     int // a cell
	// Out takes the run directories of counterexamples; "" for none.
	Out string
	// Workers is how many runs go on at a time; 0: one a processor.
	Workers int
	// Progress is told after each run, never concurrently.
	Progress func(done, total int)
}

// cell is one profile under one mix: all its runs, judged.
type cell struct {
	profile string
	mix     Mix
	runs    []judged // by seed
}

// judged is what is kept of one run.
type judged struct {
	results []checkers.Result
	hash    string
	err     error
	ops     int
	proved  []string // the kinds of the faults that were seen to bite and to heal
}

// Run runs the matrix. The result depends on the config alone, not on timing.
// An error means that it could not be carried out; a run that failed by itself
// is a matter of its cell.
func Run(ctx context.Context, c Config) (*results.Matrix, error) {
	if c.Runs < 1 {
		return nil, fmt.Errorf("%d runs a cell: take at least 1", c.Runs)
	}
	var cells []*cell
	for _, p := range c.Profiles {
		for _, m := range c.Mixes {
			s := c.spec(p, m, 0)
			if err := s.Validate(); err != nil {
				return nil, err
			}
			cells = append(cells, &cell{profile: p, mix: m, runs: make([]judged, c.Runs)})
		}
	}
	if err := c.runAll(ctx, cells); err != nil {
		return nil, err
	}
	return c.table(ctx, cells)
}

// spec is run i of a cell.
func (c *Config) spec(profile string, m Mix, i int) experiment.Spec {
	s := c.Base
	s.Profile, s.Nemesis, s.Claims = profile, m.Nemesis, c.Claims
	s.Seed += uint64(i)
	s.MakeRoom()
	return s
}

// runAll fills the cells.
func (c *Config) runAll(ctx context.Context, cells []*cell) error {
	workers := c.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	total := len(cells) * c.Runs
	jobs := make(chan int)
	var mu sync.Mutex // of done
	var wg sync.WaitGroup
	done := 0
	for range workers {
		wg.Go(func() {
			for j := range jobs {
				cl, i := cells[j/c.Runs], j%c.Runs
				out, err := experiment.Execute(ctx, c.spec(cl.profile, cl.mix, i), experiment.Options{})
				r := judged{err: err}
				if out != nil {
					r.results, r.hash = out.Results, out.Hash
					r.count(out.Run.History)
				}
				cl.runs[i] = r
				mu.Lock()
				done++
				if c.Progress != nil {
					c.Progress(done, total)
				}
				mu.Unlock()
			}
		})
	}
	for j := range total {
		select {
		case jobs <- j:
		case <-ctx.Done():
		}
	}
	close(jobs)
	wg.Wait()
	return ctx.Err()
}

// count keeps how much was tested.
func (r *judged) count(h *history.History) {
	r.ops = len(h.Ops)
	for i := range h.Faults {
		if f := &h.Faults[i]; f.Effect.OK && f.Recovery.OK {
			r.proved = append(r.proved, f.Kind)
		}
	}
}

// tested tells how much was tested in all runs.
func tested(cells []*cell) string {
	runs, ops, faults := 0, 0, map[string]int{}
	for _, cl := range cells {
		for _, r := range cl.runs {
			runs++
			ops += r.ops
			for _, kind := range r.proved {
				faults[kind]++
			}
		}
	}
	text := fmt.Sprintf("%d runs, %d operations", runs, ops)
	for i, kind := range slices.Sorted(maps.Keys(faults)) {
		if i == 0 {
			text += "; faults seen to bite and to heal:"
		} else {
			text += ","
		}
		text += fmt.Sprintf(" %d %s", faults[kind], kind)
	}
	return text
}

// table makes the cells of the table, and the run directories they point to.
func (c *Config) table(ctx context.Context, cells []*cell) (*results.Matrix, error) {
	others := ""
	for _, p := range c.Profiles {
		if s := c.spec(p, Mix{}, 0); s.Nodes != c.Base.Nodes {
			others += fmt.Sprintf("; %s: %s", p, size(s))
		}
	}
	m := &results.Matrix{Title: fmt.Sprintf("Claims and what %d simulated runs a cell showed (%s, %v each, seeds %d to %d%s)",
		c.Runs, size(c.Base), c.Base.Duration(), c.Base.Seed, c.Base.Seed+uint64(c.Runs)-1, others), Tested: tested(cells)}
	for _, mix := range c.Mixes {
		m.Columns = append(m.Columns, mix.Name)
	}
	paths := map[string]string{} // of the run directories made, by cell and seed
	for _, claim := range c.Claims {
		for p, profile := range c.Profiles {
			row := results.Row{Group: string(claim), Name: profile}
			for k := range c.Mixes {
				cl := cells[p*len(c.Mixes)+k]
				entry, first, err := c.entry(cl, claim)
				if err != nil {
					return nil, err
				}
				if entry.Broken > 0 && c.Out != "" {
					if entry.Path, err = c.counterexample(ctx, cl, first, paths); err != nil {
						return nil, err
					}
				}
				row.Cells = append(row.Cells, entry)
			}
			m.Rows = append(m.Rows, row)
		}
	}
	return m, nil
}

// size tells the size of a cluster.
func size(s experiment.Spec) string {
	text := fmt.Sprintf("%d nodes", s.Nodes)
	if s.N != 0 && s.N != s.Nodes {
		text += fmt.Sprintf(", %d replicas of a key", s.N)
	}
	return text
}

// entry counts the runs of a cell for one claim, and gives the first run that
// broke it.
func (c *Config) entry(cl *cell, claim checkers.Claim) (e results.Cell, first int, err error) {
	s := c.spec(cl.profile, cl.mix, 0)
	setting, err := s.Setting()
	if err != nil {
		return e, 0, err
	}
	faults, err := s.Faults()
	if err != nil {
		return e, 0, err
	}
	x := claims.Expect(setting, claim, faults)
	e.Expected = results.Breaks
	if x.Holds {
		e.Expected = results.Holds
	}
	e.Note = x.Reason
	doubt := ""
	for i, r := range cl.runs {
		if r.err != nil {
			e.Failed++
			doubt = fmt.Sprintf("seed %d failed: %v", s.Seed+uint64(i), r.err)
			continue
		}
		e.Runs++
		for _, res := range r.results {
			if res.Claim != claim {
				continue
			}
			switch res.Verdict {
			case checkers.Broken:
				if e.Broken == 0 {
					first = i
				}
				e.Broken++
			case checkers.Unknown:
				e.Unknown++
				doubt = fmt.Sprintf("seed %d: %s", s.Seed+uint64(i), res.Reason)
			}
		}
	}
	if doubt != "" {
		e.Note += ". " + doubt
	}
	return e, first, nil
}

// counterexample runs a run again and keeps it. Different claims of one cell
// share the directory if they were broken by the same run.
func (c *Config) counterexample(ctx context.Context, cl *cell, i int, made map[string]string) (string, error) {
	s := c.spec(cl.profile, cl.mix, i)
	name := fmt.Sprintf("%s-%s-%d", cl.profile, cl.mix.Name, s.Seed)
	if path, ok := made[name]; ok {
		return path, nil
	}
	// The same matrix gives the same table, so its directories keep their
	// names: an earlier matrix's is replaced.
	if old, err := results.Open(filepath.Join(c.Out, name)); err == nil {
		if err := os.RemoveAll(old.Path()); err != nil {
			return "", fmt.Errorf("replacing the run directory of an earlier matrix: %w", err)
		}
	}
	dir, err := results.Create(c.Out, name)
	if err != nil {
		return "", err
	}
	out, err := experiment.Execute(ctx, s, experiment.Options{Dir: dir})
	if err != nil {
		return "", fmt.Errorf("running %s again for its counterexample: %w", name, err)
	}
	if out.Hash != cl.runs[i].hash {
		return "", fmt.Errorf("%s gave another history the second time (%.12s, then %.12s): the simulation is not deterministic, please report this", name, cl.runs[i].hash, out.Hash)
	}
	made[name] = filepath.ToSlash(dir.Path())
	return made[name], nil
}

// Base is the spec of a matrix run: short, with few keys under much load, so
// that operations on a key overlap, and time limits that faults outlast.
func Base() experiment.Spec {
	s := experiment.Default(experiment.Sim)
	s.SetDuration(3 * time.Second)
	s.Clients = 12
	s.Rate = 1500
	s.Keys = 2
	s.OpTimeout = 200 * time.Millisecond
	s.Settle = time.Second
	// No limit of time: what is decided must not depend on the machine.
	s.Budget = checkers.Budget{Time: -1, Memory: 4 << 30}
	return s
}

// ParseMixes reads a list of mixes; "" is all of Mixes. Beside the names of Mixes a
// mix can be kinds of faults with a plus between, as in "replace+partition".
func ParseMixes(list string) ([]Mix, error) {
	all := Mixes()
	if list == "" {
		return all, nil
	}
	var out []Mix
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		if i := slices.IndexFunc(all, func(m Mix) bool { return m.Name == word }); i >= 0 {
			out = append(out, all[i])
			continue
		}
		faults := strings.ReplaceAll(word, "+", ",")
		if _, err := nemesis.Parse(faults); err != nil {
			var names []string
			for _, m := range all {
				names = append(names, m.Name)
			}
			return nil, fmt.Errorf("unknown mix of faults %q: %w; there are the mixes %s, and kinds of faults with a + between", word, err, strings.Join(names, ", "))
		}
		out = append(out, Mix{word, faults})
	}
	return out, nil
}
