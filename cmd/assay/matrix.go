package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/results/experiment"
	"github.com/assay-chaos/assay/results/matrix"
	"github.com/assay-chaos/assay/store/sut"
)

const matrixHelp = `Compare what theory expects of quorum settings with what runs show.

Every profile is put under every mix of faults, in the simulator, with many
seeds, and every claim is judged in every run. The table shows for each cell
what theory expects and what was observed, and for a broken claim how many runs
broke it (with a 95 % interval) and where a counterexample lies.

Surprises come first. Below the table stands what each setting costs: operations
served and their latency, with no fault, with a node down and at either side of a
partition.

With the same --seed the table is the same to the byte. --grid 3 takes every R and
W of N = 3 instead of the profiles' own; --world docker runs it in containers, one
run after the other.

Exit status: 0 no claim that theory expects to hold was broken, 1 one was, 2 a
cell could not be decided, 3 a run failed.`

func matrixCommand() *cobra.Command {
	cfg := matrix.Config{Base: matrix.Base(), Runs: 20, Prices: true, Self: []string{"node"}}
	var profiles, mixes, claimList, workloads, format, save string
	var duration time.Duration
	var quiet, quick bool
	c := &cobra.Command{
		Use:   "matrix",
		Short: "compare claims with what simulated runs show",
		Long:  matrixHelp,
		Example: `  assay matrix
  assay matrix --profiles abd,majority-lww --nemesis none,clock --runs 200
  assay matrix --seed 7 --format markdown > matrix.md`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			flags := c.Flags()
			if cfg.Base.World != experiment.Sim {
				inContainers(&cfg, flags)
			}
			if quick && !flags.Changed("runs") {
				cfg.Runs = quickRuns
			}
			if flags.Changed("duration") {
				cfg.Base.SetDuration(duration)
			}
			cfg.Profiles, cfg.Workloads = splitList(profiles), splitList(workloads)
			if cfg.Grid > 0 && !flags.Changed("profiles") {
				cfg.Profiles = []string{gridProfile}
			}
			cfg.Command = commandLine(c)
			if cfg.Mixes, err = matrix.ParseMixes(mixes); err != nil {
				return err
			}
			if cfg.Claims, err = claims.Parse(claimList); err != nil {
				return err
			}
			print, err := printer(format)
			if err != nil {
				return err
			}
			say := newTeller(os.Stderr, quiet)
			start, runs := time.Now(), 0
			cfg.Progress = func(done, total int) {
				runs = done
				say.update(fmt.Sprintf("%d of %d runs  %.0f s", done, total, time.Since(start).Seconds()))
			}
			m, err := matrix.Run(c.Context(), cfg)
			say.end()
			if err != nil {
				return err
			}
			say.line("%d runs in %.1f s", runs, time.Since(start).Seconds())
			if err := print(m); err != nil {
				return err
			}
			if save != "" {
				if err := m.Save(save); err != nil {
					return err
				}
				say.line("kept in %s", save)
			}
			if code := m.ExitStatus(); code != results.ExitHeld {
				return status{code}
			}
			return nil
		},
	}
	var names []string
	for _, p := range sut.Profiles() {
		names = append(names, p.Name)
	}
	var mixNames []string
	for _, m := range matrix.Mixes() {
		mixNames = append(mixNames, m.Name)
	}
	f := c.Flags()
	f.StringVar(&profiles, "profiles", strings.Join(names, ","), "settings of the store")
	f.StringVar(&mixes, "nemesis", strings.Join(mixNames, ","), "mixes of faults")
	f.StringVar(&claimList, "claims", "all", "claims to judge: "+claimHelp()+", all")
	f.IntVar(&cfg.Runs, "runs", cfg.Runs, "runs a cell, each with its own seed")
	f.Uint64Var(&cfg.Base.Seed, "seed", 1, "seed of the first run; the others count up from it")
	f.DurationVar(&duration, "duration", cfg.Base.Duration(), "length of a run, in simulated time")
	f.StringVar(&cfg.Base.World, "world", cfg.Base.World, "sim, docker")
	f.IntSliceVar(&cfg.Nodes, "nodes", []int{3, 5}, "nodes in the cluster, one or more sizes")
	f.IntVar(&cfg.Grid, "grid", 0, "every R and W of that many replicas, for the profiles given (default: "+gridProfile+")")
	f.StringVar(&workloads, "workloads", "", "what clients do (default: as fits each profile)")
	f.BoolVar(&quick, "quick", false, fmt.Sprintf("%d runs a cell: a first look", quickRuns))
	f.BoolVar(&cfg.Prices, "prices", cfg.Prices, "measure what the settings cost")
	f.IntVar(&cfg.Base.N, "n", 0, "replicas of a key (default: all nodes)")
	f.IntVar(&cfg.Base.Clients, "clients", cfg.Base.Clients, "operations in flight at most")
	f.Float64Var(&cfg.Base.Rate, "rate", cfg.Base.Rate, "operations a second in all; 0: as fast as they go")
	f.IntVar(&cfg.Base.Keys, "keys", cfg.Base.Keys, "keys in use at a time")
	f.IntVar(&cfg.Workers, "workers", 0, "runs at a time (default: one a processor)")
	f.StringVar(&cfg.Out, "out", runsDir+"/matrix", "where counterexamples go")
	f.StringVar(&format, "format", "table", "table, markdown, json, html")
	f.StringVar(&save, "save", "", "directory that also takes the matrix in all these formats")
	f.BoolVarP(&quiet, "quiet", "q", false, "print no progress")
	return c
}

// printer gives how to print a matrix.
func printer(format string) (func(*results.Matrix) error, error) {
	switch format {
	case "table":
		return func(m *results.Matrix) error { return m.Table(os.Stdout, results.OptionsFor(os.Stdout)) }, nil
	case "markdown":
		return func(m *results.Matrix) error { return m.Markdown(os.Stdout) }, nil
	case "html":
		return func(m *results.Matrix) error { return m.HTML(os.Stdout, ".") }, nil
	case "json":
		return func(m *results.Matrix) error { return m.JSON(os.Stdout) }, nil
	}
	return nil, fmt.Errorf("unknown format %q; there are: table, markdown, json, html", format)
}

const (
	quickRuns = 5
	// gridProfile promises nothing of R and W by itself: no clocks, no
	// write-back.
	gridProfile = "majority-query-tag"
)

// inContainers gives what was not given by a flag the value that is fit for
// containers. Prices are not measured there unless they were asked for.
func inContainers(cfg *matrix.Config, given *pflag.FlagSet) {
	base := matrix.DockerBase()
	base.World, base.Seed, base.N = cfg.Base.World, cfg.Base.Seed, cfg.Base.N
	if given.Changed("clients") {
		base.Clients = cfg.Base.Clients
	}
	if given.Changed("rate") {
		base.Rate = cfg.Base.Rate
	}
	if given.Changed("keys") {
		base.Keys = cfg.Base.Keys
	}
	cfg.Base = base
	if !given.Changed("runs") {
		cfg.Runs = 1
	}
	cfg.Prices = cfg.Prices && given.Changed("prices")
	if !given.Changed("nodes") {
		cfg.Nodes = []int{base.Nodes}
	}
}

// commandLine is the command with the flags that were given, but for those that
// only say how to show it.
func commandLine(c *cobra.Command) string {
	words := []string{c.CommandPath()}
	c.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "format", "quiet", "save", "workers", "out":
			return
		}
		value := f.Value.String()
		if f.Name == "nodes" {
			value = strings.Trim(value, "[]")
		}
		if f.Value.Type() == "bool" {
			words = append(words, "--"+f.Name+"="+value)
			return
		}
		words = append(words, "--"+f.Name, value)
	})
	return strings.Join(words, " ")
}

func splitList(list string) []string {
	var out []string
	for _, w := range strings.Split(list, ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}
