package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/experiment"
	"github.com/assay-chaos/assay/results/nightly"
	"github.com/assay-chaos/assay/store/sut"
)

const nightlyHelp = `Spend a given time on looking for broken promises, as a nightly CI job does.

First what broke in earlier nights is run again; then come fresh seeds in the
simulator, drawn from the date, over all profiles and mixes of faults; runs in
containers under a mix of faults; the claims matrix; and, until the budget is used
up, more fresh seeds. Claims that theory expects to break are no news here.

DIR/DATE gets summary.md for the job's page, summary.json, junit.xml, the matrix,
and a run directory for every broken promise. DIR/failing.json lists what broke:
keep DIR between nights.

Exit status: 0 all promises held, 1 one was broken, 2 unknown (something that was
asked for could not be done or decided), 3 a run failed.`

func nightlyCommand() *cobra.Command {
	cfg := nightly.Config{
		Budget: 30 * time.Minute, Date: time.Now().UTC().Format(time.DateOnly), Dir: "results/nightly",
		DockerNemesis: "partition,kill,pause,clock", DockerDuration: 30 * time.Second, Self: []string{"node"},
	}
	var worlds, profiles string
	var quiet bool
	var names []string
	for _, p := range sut.Profiles() {
		names = append(names, p.Name)
	}
	c := &cobra.Command{
		Use:   "nightly",
		Short: "spend a given time on looking for broken promises",
		Long:  nightlyHelp,
		Example: `  assay nightly --budget 30m
  assay nightly --budget 5m --world sim`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.Worlds, cfg.Profiles = splitList(worlds), splitList(profiles)
			say := newTeller(os.Stderr, quiet)
			cfg.Progress = say.update
			s, err := nightly.Run(c.Context(), cfg)
			say.end()
			if s == nil {
				return err
			}
			earlier, e := nightly.Nights(cfg.Dir)
			if e != nil {
				return e
			}
			if n := len(earlier); n > 0 { // the last one is this
				earlier = earlier[:n-1]
			}
			if e := s.Markdown(c.OutOrStdout(), earlier); e != nil {
				return e
			}
			say.line("kept in %s", s.Path)
			if err != nil {
				fmt.Fprintln(os.Stderr, "assay:", err)
			}
			if code := s.ExitStatus(); code != results.ExitHeld {
				return status{code}
			}
			return nil
		},
	}
	f := c.Flags()
	f.DurationVar(&cfg.Budget, "budget", cfg.Budget, "how long it may take, in all")
	f.StringVar(&cfg.Date, "date", cfg.Date, "the night; it decides the seeds")
	f.StringVar(&cfg.Dir, "dir", cfg.Dir, "where the nights are kept")
	f.StringVar(&worlds, "world", experiment.Sim+","+experiment.Docker, "where to run")
	f.StringVar(&profiles, "profiles", strings.Join(names, ","), "settings of the store")
	f.StringVar(&cfg.DockerNemesis, "docker-nemesis", cfg.DockerNemesis, "faults in containers")
	f.DurationVar(&cfg.DockerDuration, "docker-duration", cfg.DockerDuration, "length of a run in containers")
	f.IntVar(&cfg.Workers, "workers", 0, "simulated runs at a time (default: one a processor)")
	f.BoolVarP(&quiet, "quiet", "q", false, "print no progress")
	return c
}
