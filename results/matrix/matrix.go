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
	"strconv"
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
	// Base is the spec of every run, but for what a row, a mix and the claims
	// decide. Run i of a cell has the seed Base.Seed + i.
	Base experiment.Spec
	// Profiles, Nodes, Grid and Workloads make the rows, see rows.go. Nodes
	// are sizes of the cluster; none: Base.Nodes.
	Profiles  []string
	Nodes     []int
	Grid      int
	Workloads []string
	Mixes     []Mix
	// Claims to judge, each of the rows whose workload it can be judged of; nil:
	// all that can be judged of any row.
	Claims []checkers.Claim
	Runs   int // a cell
	// Prices: measure also what each setting costs, see price.go.
	Prices bool
	// Command is what makes the table again, for its reader.
	Command string
	// Out takes the run directories of counterexamples; "" for none.
	Out string
	// Workers is how many runs go on at a time; 0: one a processor.
	Workers int
	// Self are the arguments that make the running program a node, for
	// containers; see experiment.Options.
	Self []string
	// Progress is told after each run, never concurrently.
	Progress func(done, total int)
}

// cell is one setting under one mix: all its runs, judged.
type cell struct {
	row  row
	mix  Mix
	runs []judged // by seed
}

// judged is what is kept of one run.
type judged struct {
	results []checkers.Result
	hash    string
	err     error
	ops     int
	proved  []string     // the kinds of the faults that were seen to bite and to heal
	dir     *results.Dir // of a run that cannot be run again
}

// Run runs the matrix. The result depends on the config alone, not on timing.
// An error means that it could not be carried out; a run that failed by itself
// is a matter of its cell.
func Run(ctx context.Context, c Config) (*results.Matrix, error) {
	if c.Runs < 1 {
		return nil, fmt.Errorf("%d runs a cell: take at least 1", c.Runs)
	}
	rows, err := c.rows()
	if err != nil {
		return nil, err
	}
	var cells []*cell
	for _, r := range rows {
		for _, m := range c.Mixes {
			cells = append(cells, &cell{row: r, mix: m, runs: make([]judged, c.Runs)})
		}
	}
	prices := c.prices(rows)
	if err := c.runAll(ctx, cells, prices); err != nil {
		return nil, err
	}
	m, err := c.table(ctx, rows, cells)
	if err != nil {
		return nil, err
	}
	m.Prices, err = priceTable(rows, prices)
	return m, err
}

// spec is run i of a cell.
func (c *Config) spec(r row, m Mix, i int) experiment.Spec {
	s := r.spec
	s.Nemesis, s.Claims = m.Nemesis, c.judged(&r)
	s.Seed += uint64(i)
	s.MakeRoom() // a mix may need some too
	return s
}

// runAll fills the cells, and measures the prices.
func (c *Config) runAll(ctx context.Context, cells []*cell, prices []priceRun) error {
	workers := c.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	if c.Base.World != experiment.Sim {
		workers = 1 // they would slow each other down
	}
	judging := len(cells) * c.Runs
	total := judging + len(prices)
	jobs := make(chan int)
	var mu sync.Mutex // of done
	var wg sync.WaitGroup
	done := 0
	for range workers {
		wg.Go(func() {
			for j := range jobs {
				if j < judging {
					c.runCell(ctx, cells[j/c.Runs], j%c.Runs)
				} else {
					prices[j-judging].run(ctx, c.Self)
				}
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

// runCell does run i of a cell. In a world where no run can be had again its
// directory is made now.
func (c *Config) runCell(ctx context.Context, cl *cell, i int) {
	r, o := judged{}, experiment.Options{Self: c.Self}
	if c.Base.World != experiment.Sim && c.Out != "" {
		if r.dir, r.err = results.Create(c.Out, cl.name(c, i)); r.err != nil {
			cl.runs[i] = r
			return
		}
		o.Dir = r.dir
	}
	out, err := experiment.Execute(ctx, c.spec(cl.row, cl.mix, i), o)
	r.err = err
	if out != nil {
		r.results, r.hash = out.Results, out.Hash
		r.count(out.Run.History)
	}
	cl.runs[i] = r
}

// name is that of the directory of a run.
func (cl *cell) name(c *Config, i int) string {
	return fmt.Sprintf("%s-%s-%d", cl.row.file, cl.mix.Name, c.Base.Seed+uint64(i))
}

// table makes the cells of the table, and the run directories they point to.
func (c *Config) table(ctx context.Context, rows []row, cells []*cell) (*results.Matrix, error) {
	var nodes []string
	for _, n := range c.sizes() {
		nodes = append(nodes, strconv.Itoa(n))
	}
	sizes, others := strings.Join(nodes, " or ")+" nodes", ""
	if n := max(c.Base.N, c.Grid); n != 0 {
		sizes += fmt.Sprintf(", %d replicas of a key", n)
	}
	for _, r := range rows {
		if s := &r.spec; s.N != max(c.Base.N, c.Grid) { // it was given room
			others += fmt.Sprintf("; %s: %d nodes, %d replicas of a key", r.label, s.Nodes, s.N)
		}
	}
	kind := "simulated runs"
	if c.Base.World != experiment.Sim {
		kind = "runs in containers"
	}
	m := &results.Matrix{Command: c.Command, Tested: tested(cells), Title: fmt.Sprintf("Claims and what %d %s a cell showed (%s, %v each, seeds %d to %d%s)",
		c.Runs, kind, sizes, c.Base.Duration(), c.Base.Seed, c.Base.Seed+uint64(c.Runs)-1, others)}
	for _, mix := range c.Mixes {
		m.Columns = append(m.Columns, mix.Name)
	}
	paths := map[string]string{} // of the run directories made, by cell and seed
	for _, claim := range c.claims(rows) {
		for p, r := range rows {
			if !slices.Contains(c.judged(&r), claim) {
				continue
			}
			row := results.Row{Group: string(claim), Name: r.label}
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

// entry counts the runs of a cell for one claim, and gives the first run that
// broke it.
func (c *Config) entry(cl *cell, claim checkers.Claim) (e results.Cell, first int, err error) {
	s := c.spec(cl.row, cl.mix, 0)
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
		e.Ops += r.ops
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
	if dir := cl.runs[i].dir; dir != nil {
		return filepath.ToSlash(dir.Path()), nil
	}
	s, name := c.spec(cl.row, cl.mix, i), cl.name(c, i)
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

// DockerBase is the spec of a matrix run in containers, where time is real: longer,
// with less load.
func DockerBase() experiment.Spec {
	s := experiment.Default(experiment.Docker)
	s.SetDuration(16 * time.Second)
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
