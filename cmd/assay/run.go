package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/results/experiment"
	"github.com/assay-chaos/assay/store/sut"
)

// runsDir is where runs go unless the user says otherwise.
const runsDir = "results/runs"

const runHelp = `Run one test: the reference store with a profile, in a world, under faults.

The profile's claims are judged (--claims to choose others). What happened is
kept in a run directory: the history, the verdicts, the nodes' logs, and a page
to open in a browser.

Profiles:
%s
Workloads for --workload (by default all that the profile can do with registers;
a workload with a setting in brackets needs no --profile):
%s
Faults for --nemesis (a list; "all" is each of them):
%s
Claims for --claims:
  %s

Exit status: 0 held, 1 broken, 2 unknown (nothing or too little was tested, a
fault did not bite, a budget ran out), 3 the run itself failed.`

func runCommand() *cobra.Command {
	spec := experiment.Default(experiment.Sim)
	var f runFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "run one test and judge it",
		Long:  fmt.Sprintf(runHelp, profileHelp(), workloadHelp(), nemesisHelp(), claimHelp()),
		Example: `  assay run --profile majority-lww --nemesis clock
  assay run --world docker --profile abd --nemesis partition,kill,pause,clock --duration 1m
  assay run --profile abd --nodes 5 --nemesis partition:ring --seed 7 --json
  assay run --profile abd --nodes 5 --n 3 --nemesis kill
  assay run --workload bank --nemesis partition`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.complete(&spec, c.Flags()); err != nil {
				return err
			}
			return runOne(c.Context(), spec, f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&spec.World, "world", spec.World, "where to run: sim, docker")
	fl.StringVar(&spec.Profile, "profile", "", "the store's setting, see above (default: the workload's)")
	fl.StringVar(&spec.Workload, "workload", "", "what clients do, see above")
	fl.StringVar(&spec.Nemesis, "nemesis", "", "faults to inject, see above")
	fl.DurationVar(&f.duration, "duration", spec.Duration(), "length of the run; an eighth of it comes before the faults, a quarter after them")
	fl.Uint64Var(&spec.Seed, "seed", 0, "decides everything that is left to chance (default: a fresh one)")
	fl.IntVar(&spec.Nodes, "nodes", spec.Nodes, "nodes in the cluster; if not given, more for a profile that needs them")
	fl.IntVar(&spec.N, "n", 0, "replicas of a key (default: all nodes)")
	fl.IntVar(&spec.R, "r", 0, "replicas that a read waits for (default: as the profile says, for that many replicas)")
	fl.IntVar(&spec.W, "w", 0, "replicas that a write waits for (default: as the profile says, for that many replicas)")
	fl.IntVar(&spec.Clients, "clients", spec.Clients, "operations in flight at most")
	fl.Float64Var(&spec.Rate, "rate", spec.Rate, "operations a second in all; 0: as fast as they go")
	fl.IntVar(&spec.Keys, "keys", spec.Keys, "keys in use at a time")
	fl.IntVar(&spec.MaxOps, "max-ops", 0, "operations after which the clients stop; 0: no bound")
	fl.BoolVar(&spec.PlainDelays, "plain-delays", false, "every message and every sync of the simulator takes the same time")
	fl.DurationVar(&spec.OpTimeout, "op-timeout", spec.OpTimeout, "how long a client waits for an operation")
	fl.DurationVar(&spec.Settle, "settle", spec.Settle, "how long the replicas may take to agree at the end")
	fl.BoolVar(&spec.StopOnViolation, "stop-on-violation", false, "end the load as soon as linearizability is certainly broken")
	fl.StringVar(&f.claims, "claims", "", "claims to judge, see above; all: each of them (default: what people claim of the profile)")
	fl.StringVar(&f.out, "out", runsDir, "where the run directory goes")
	fl.BoolVar(&f.shrink, "shrink", false, "of a simulated run that broke a claim, look for a smaller one that breaks it too, and tell that; see assay shrink")
	fl.BoolVar(&f.asJSON, "json", false, "print the verdicts as JSON, and no progress")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print no progress")
	return c
}

// runFlags are the flags of run that are no part of the spec.
type runFlags struct {
	duration      time.Duration
	claims, out   string
	asJSON, quiet bool
	shrink        bool
}

// complete turns flags into a spec.
func (f *runFlags) complete(s *experiment.Spec, flags *pflag.FlagSet) error {
	s.SetDuration(f.duration)
	if s.Profile == "" {
		w, err := experiment.WorkloadByName(s.Workload)
		switch {
		case s.Workload == "" || err == nil && w.Profile == "":
			return errors.New("no --profile given: name the setting to test (see assay run --help)")
		case err != nil:
			return err
		}
		s.Profile = w.Profile
	}
	if !flags.Changed("seed") {
		s.Seed = rand.Uint64() >> 20 // short enough to type
	}
	if !flags.Changed("nodes") {
		s.MakeRoom()
	}
	switch f.claims {
	case "":
	case allClaims:
		s.Claims = s.Judged()
	default:
		var err error
		if s.Claims, err = claims.Parse(f.claims); err != nil {
			return err
		}
	}
	return s.Validate()
}

// runOne runs a spec and tells what happened.
func runOne(ctx context.Context, s experiment.Spec, f runFlags) error {
	dir, err := results.Create(f.out, s.Name())
	if err != nil {
		return err
	}
	say := newTeller(os.Stderr, f.quiet || f.asJSON)
	say.line("%s, seed %d, into %s", s.Name(), s.Seed, dir.Path())
	out, err := experiment.Execute(ctx, s, experiment.Options{Dir: dir, Progress: say.snapshot, Logf: say.line, Self: []string{"node"}})
	say.end()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errors.New("interrupted; what was recorded so far is in " + dir.Path())
	}
	if out == nil {
		return err
	}
	if f.shrink && err == nil && out.Verdict == checkers.Broken && s.World == experiment.Sim {
		k := shrink{root: f.out, limit: shrinkTime, asJSON: f.asJSON, quiet: f.quiet}
		return k.run(ctx, dir.Path())
	}
	if err := report(os.Stdout, dir, f.asJSON); err != nil {
		return err
	}
	return exit(out.Verdict, err)
}

// report prints what a run directory holds.
func report(w io.Writer, dir *results.Dir, asJSON bool) error {
	run, err := results.Load(dir.Path())
	if err != nil {
		return err
	}
	if !asJSON {
		_, err := io.WriteString(w, results.Story(run))
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Path string       `json:"path"`
		Page string       `json:"page"`
		Test results.Test `json:"test"`
		*results.Verdicts
	}{dir.Path(), dir.PagePath(), run.Test, run.Verdicts})
}

func profileHelp() string {
	var b strings.Builder
	for _, p := range sut.Profiles() {
		fmt.Fprintf(&b, "  %-22s %d/%d/%d  people say: %s\n", p.Name, p.N, p.R, p.W, p.Claim)
	}
	return b.String()
}

func workloadHelp() string {
	var b strings.Builder
	for _, w := range experiment.Workloads() {
		fmt.Fprintf(&b, "  %-14s %s", w.Name, w.Doc)
		if w.Profile != "" {
			fmt.Fprintf(&b, " [%s]", w.Profile)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func nemesisHelp() string {
	var b strings.Builder
	for _, k := range nemesis.Kinds() {
		fmt.Fprintf(&b, "  %-10s %s; %s:VARIANT with %s\n", k.Name, k.Doc, k.Name, strings.Join(k.Variants, ", "))
	}
	return b.String()
}

func claimHelp() string {
	var names []string
	for _, c := range claims.Any() {
		names = append(names, string(c))
	}
	return strings.Join(names, ", ")
}
