package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/nightly"
)

const compareHelp = `Put two runs, or two nights, side by side: what differs in the test, the answers,
availability and latency by phase; of nights, the settings that went from good to
bad or back. Rows that matter are marked ≠.

The arguments are run directories, or directories of nights (results/nightly/DATE).`

func compareCommand() *cobra.Command {
	var page string
	c := &cobra.Command{
		Use:     "compare FIRST SECOND",
		Short:   "put two runs or two nights side by side",
		Long:    compareHelp,
		Example: "  assay compare results/runs/sim-abd-kill-1 results/runs/sim-abd-kill-2\n  assay compare results/nightly/2026-11-24 results/nightly/2026-11-25 --html nights.html",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			cmp, err := compare(args[0], args[1])
			if err != nil {
				return fmt.Errorf("compare: %w", err)
			}
			if page != "" {
				if err := results.WriteFile(page, cmp.HTML); err != nil {
					return err
				}
			}
			return cmp.Text(c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&page, "html", "", "file that also takes it as a page")
	return c
}

// compare compares two runs, or two nights.
func compare(first, second string) (*results.Comparison, error) {
	isNight := func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "summary.json"))
		return err == nil
	}
	if a, b := isNight(first), isNight(second); a != b {
		return nil, fmt.Errorf("%s and %s are a run and a night: give two of a kind", first, second)
	} else if a {
		x, err := nightly.Load(first)
		if err != nil {
			return nil, err
		}
		y, err := nightly.Load(second)
		if err != nil {
			return nil, err
		}
		return nightly.Compare(x, y), nil
	}
	x, err := results.Load(first)
	if err != nil {
		return nil, err
	}
	y, err := results.Load(second)
	if err != nil {
		return nil, err
	}
	return results.CompareRuns(x, y)
}
