package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/experiment"
)

const replayHelp = `Run a simulated run again, from its run directory, and say whether the history
is the same.

The same version of assay always gives the same history. Another version may
not: a change to the store, the simulator or a generator changes what happens.

Exit status: that of the run's verdict (0 held, 1 broken, 2 unknown) if the
history is the same, 3 if it is not or the run failed.`

func replayCommand() *cobra.Command {
	var quiet bool
	c := &cobra.Command{
		Use:   "replay DIR",
		Short: "run a simulated run again and compare",
		Long:  replayHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			before, err := results.Load(args[0])
			if err != nil {
				return err
			}
			if before.Test.World != experiment.Sim {
				return fmt.Errorf("%s is a run in the world %q: only simulated runs can be replayed; run the same test again with: %s",
					args[0], before.Test.World, before.Test.ReplayCommand())
			}
			if before.Verdicts == nil || before.Verdicts.HistoryHash == "" {
				return fmt.Errorf("%s was not finished, so there is nothing to compare with", args[0])
			}
			spec, err := experiment.FromRecord(before.Test)
			if err != nil {
				return err
			}
			say := newTeller(os.Stderr, quiet)
			out, err := experiment.Execute(c.Context(), spec, experiment.Options{Progress: say.snapshot})
			say.end()
			if err != nil {
				return err
			}
			if out.Hash != before.Verdicts.HistoryHash {
				fmt.Printf("%s: another history (%.16s, was %.16s)\n", args[0], out.Hash, before.Verdicts.HistoryHash)
				if now := results.ThisBuild(); now != before.Test.Assay {
					fmt.Printf("it was recorded by %s, this is %s\n", before.Test.Assay, now)
				}
				return status{results.ExitFailed}
			}
			fmt.Printf("%s: the same history, %d operations (%.16s): %s\n", args[0], len(out.Run.History.Ops), out.Hash, out.Verdict)
			return exit(out.Verdict, nil)
		},
	}
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print no progress")
	return c
}
