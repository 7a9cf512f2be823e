package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/experiment"
)

const shrinkHelp = `Look for a smaller run that breaks the same claim, by running again.

The run of the directory must be a simulated one that broke a claim. It is run
again with the same seed and with fewer operations, keys and clients, then with
fewer and shorter faults, then for a shorter time and with delays that are all
the same. Each step is kept if the claim is still broken. The smallest run is
left in a directory of its own and told; what is told last is how to run it
again.

This makes the run smaller. Which operations of a run contradict each other is
told by every run: see the counterexample in its directory.

Exit status: 1, as a claim is broken; 3 if the run cannot be made again.`

// shrinkTime is how long the search may take unless the user says otherwise.
const shrinkTime = time.Minute

func shrinkCommand() *cobra.Command {
	var k shrink
	c := &cobra.Command{
		Use:   "shrink DIR",
		Short: "look for a smaller run that breaks the same claim",
		Long:  shrinkHelp,
		Example: `  assay shrink results/runs/sim-majority-lww-clock-3
  assay shrink --claim no-lost-write --time 5m results/runs/sim-majority-lww-clock-3`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return k.run(c.Context(), args[0]) },
	}
	f := c.Flags()
	f.StringVar(&k.claim, "claim", "", "the claim to go on breaking (default: the first that is broken)")
	f.DurationVar(&k.limit, "time", shrinkTime, "how long the search may take")
	f.StringVar(&k.root, "out", runsDir, "where the directory of the smallest run goes")
	f.BoolVar(&k.asJSON, "json", false, "print the verdicts as JSON, and no progress")
	f.BoolVarP(&k.quiet, "quiet", "q", false, "print no progress")
	return c
}

// shrink is one call of the command.
type shrink struct {
	claim, root   string
	limit         time.Duration
	asJSON, quiet bool
}

func (k *shrink) run(ctx context.Context, path string) error {
	before, err := results.Load(path)
	if err != nil {
		return err
	}
	claim, err := k.broken(before)
	if err != nil {
		return err
	}
	spec, err := experiment.FromRecord(before.Test)
	if err != nil {
		return err
	}
	say := newTeller(os.Stderr, k.quiet || k.asJSON)
	say.line("%s is broken in %s: looking for a smaller run, for %v at most", claim, path, k.limit)
	small, err := experiment.Shrink(ctx, spec, claim, experiment.ShrinkOptions{Time: k.limit, Progress: func(s experiment.Shrunk) {
		say.update(fmt.Sprintf("%d runs: %d operations, %d faults, %v", s.Runs, s.Ops, s.Faults, s.Spec.Duration()))
	}})
	say.end()
	if err != nil {
		return err
	}
	dir, err := results.Create(k.root, small.Spec.Name()+"-small")
	if err != nil {
		return err
	}
	o := experiment.Options{Dir: dir}
	if !small.Spec.Told() {
		o.Replay = []string{"assay", "replay", dir.Path()}
	}
	out, err := experiment.Execute(ctx, small.Spec, o)
	if err != nil {
		return err
	}
	if r := out.Result(claim); r.Verdict != checkers.Broken {
		return fmt.Errorf("%s was broken and is %s when it is run again: the run is not deterministic, which is a fault of assay", claim, r.Verdict)
	}
	more := ""
	if !small.Complete {
		more = "; the time ran out, so an even smaller one may be found with more --time"
	}
	was := 0
	if before.History != nil {
		was = len(before.History.Ops)
	}
	say.line("%d runs: from %d to %d operations, from %d to %d faults, from %v to %v%s", small.Runs,
		was, small.Ops, len(spec.Schedule), small.Faults, spec.Duration(), small.Spec.Duration(), more)
	if err := report(os.Stdout, dir, k.asJSON); err != nil {
		return err
	}
	return exit(out.Verdict, nil)
}

// broken chooses the claim.
func (k *shrink) broken(run *results.Run) (checkers.Claim, error) {
	if run.Verdicts == nil {
		return "", errors.New("the run was never judged")
	}
	for _, r := range run.Verdicts.Results {
		switch {
		case k.claim == "" && r.Verdict == checkers.Broken:
			return r.Claim, nil
		case k.claim == string(r.Claim) && r.Verdict != checkers.Broken:
			return "", fmt.Errorf("%s is %s in that run: there is nothing to make smaller", r.Claim, r.Verdict)
		case k.claim == string(r.Claim):
			return r.Claim, nil
		}
	}
	if k.claim != "" {
		return "", fmt.Errorf("the claim %q was not judged in that run", k.claim)
	}
	return "", errors.New("no claim is broken in that run: there is nothing to make smaller")
}
