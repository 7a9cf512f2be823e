package nightly

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/results/experiment"
	"github.com/assay-chaos/assay/results/matrix"
	"github.com/assay-chaos/assay/results/trial"
)

func config(t *testing.T) Config {
	return Config{Budget: 10 * time.Second, Date: "2026-11-25", Dir: t.TempDir(), Worlds: []string{experiment.Sim}, Profiles: []string{"abd"},
		DockerNemesis: "kill", DockerDuration: 8 * time.Second}
}

// A night with nothing to find is green, if the machine was fast enough for all of
// it. It uses its budget up, and leaves its files.
func TestNight(t *testing.T) {
	cfg := config(t)
	s, err := Run(t.Context(), cfg)
	require.NoError(t, err)
	if s.runs("matrix") > 0 {
		require.Empty(t, s.Doubts)
		require.Equal(t, results.ExitHeld, s.ExitStatus())
		require.FileExists(t, filepath.Join(s.Path, "matrix.html"))
	} else {
		require.Contains(t, strings.Join(s.Doubts, "\n"), "no time for the matrix")
		require.Equal(t, results.ExitUnknown, s.ExitStatus())
	}
	require.Positive(t, s.runs("sim"))
	require.Greater(t, s.total().Ops, 10_000)
	require.Greater(t, s.Took, cfg.Budget*9/10)
	for _, f := range []string{"summary.json", "summary.md", "junit.xml"} {
		require.FileExists(t, filepath.Join(s.Path, f))
	}
	nights, err := Nights(cfg.Dir)
	require.NoError(t, err)
	require.Len(t, nights, 1)
	require.Equal(t, s.total(), nights[0].total())
}

// The matrix of a night has as many runs as there is time for.
func TestMatrixOfANight(t *testing.T) {
	n := &night{cfg: config(t), start: time.Now(), pace: time.Second}
	require.NoError(t, n.makeDir())
	require.NoError(t, n.compare(t.Context(), time.Now().Add(40*time.Second))) // 40 runs
	require.Empty(t, n.summary.Doubts)
	require.Equal(t, 12, n.summary.runs("matrix"), "two sizes, six mixes, one run each")
	require.Greater(t, n.summary.total().Ops, 12*100, "a run has more than a hundred operations")
	require.FileExists(t, filepath.Join(n.dir, "matrix.html"))
	require.Equal(t, results.ExitHeld, n.summary.ExitStatus())

	n.pace = time.Hour
	require.NoError(t, n.compare(t.Context(), time.Now().Add(time.Minute)))
	require.Len(t, n.summary.Doubts, 1)
}

// The seeds of two nights differ, and so do those of two runs.
func TestSeeds(t *testing.T) {
	n := &night{cfg: Config{Date: "2026-11-25", Profiles: []string{"abd", "one-one"}}}
	m := &night{cfg: Config{Date: "2026-11-26", Profiles: []string{"abd", "one-one"}}}
	seen := map[uint64]bool{}
	cells := map[string]bool{}
	for i := range 100 {
		a, b := n.fresh(i), m.fresh(i)
		require.NoError(t, a.Validate())
		require.False(t, seen[a.Seed] || seen[b.Seed])
		seen[a.Seed], seen[b.Seed] = true, true
		cells[cellName(&a)] = true
	}
	require.Len(t, cells, 2*2*len(matrix.Mixes()), "profiles, sizes and mixes")
}

func outcome(v checkers.Verdict, c checkers.Claim) *trial.Outcome {
	return &trial.Outcome{Verdict: v, Run: &harness.Result{History: &history.History{Ops: make([]history.Op, 7)}},
		Results: []checkers.Result{{Claim: checkers.Tested, Verdict: checkers.Held}, {Claim: c, Verdict: v, Reason: "because"}}}
}

func abd(nemesis string) experiment.Spec {
	s := matrix.Base()
	s.Profile, s.Nemesis, s.Seed, s.Claims = "abd", nemesis, 7, claims.All()
	return s
}

func TestStageCounts(t *testing.T) {
	s := abd("kill")
	lww := s
	lww.Profile = "majority-lww"
	st := &Stage{Name: "sim"}
	for _, c := range []struct {
		spec  *experiment.Spec
		out   *trial.Outcome
		err   error
		worse bool
	}{
		{&s, outcome(checkers.Held, checkers.Linearizable), nil, false},
		{&s, outcome(checkers.Broken, checkers.Linearizable), nil, true},
		{&s, outcome(checkers.Unknown, checkers.Linearizable), nil, false},
		{&s, outcome(checkers.Broken, checkers.Available), nil, false}, // nothing promises it under kills
		{&lww, outcome(checkers.Broken, checkers.Linearizable), nil, false},
		{&s, nil, errors.New("no room"), true},
	} {
		worse, err := st.add(c.spec, c.out, c.err)
		require.NoError(t, err)
		require.Equal(t, c.worse, worse)
	}
	require.Len(t, st.Cells, 2)
	require.Equal(t, Cell{Name: "abd 3/2/2 under kill", Runs: 5, Ops: 28, Promises: 7, Broken: 1, Unknown: 1, Failed: 1, Why: "seed 7: linearizable broken: because"}, *st.Cells[0])
	require.Equal(t, Cell{Name: "majority-lww 3/2/2 under kill", Runs: 1, Ops: 7, Promises: 1}, *st.Cells[1])
}

func TestExitStatus(t *testing.T) {
	for want, c := range map[int]Cell{
		results.ExitHeld:    {Promises: 3},
		results.ExitBroken:  {Promises: 3, Broken: 1, Failed: 1, Unknown: 1},
		results.ExitFailed:  {Promises: 3, Failed: 1, Unknown: 1},
		results.ExitUnknown: {Promises: 3, Unknown: 1},
	} {
		s := Summary{Stages: []*Stage{{Cells: []*Cell{&c}}}}
		require.Equal(t, want, s.ExitStatus())
	}
	require.Equal(t, results.ExitUnknown, (&Summary{}).ExitStatus(), "a night that tested nothing")
	doubtful := Summary{Stages: []*Stage{{Cells: []*Cell{{Promises: 3}}}}, Doubts: []string{"no engine"}}
	require.Equal(t, results.ExitUnknown, doubtful.ExitStatus())
}

// What broke is kept, and is the first thing that the next night does.
func TestFailuresAreRunAgain(t *testing.T) {
	cfg := config(t)
	cfg.Budget = 5 * time.Second
	first := &night{cfg: cfg, start: time.Now(), summary: Summary{Schema: results.Schema, Date: cfg.Date}}
	require.NoError(t, first.makeDir())
	s := abd("clock")
	dir, err := results.Create(filepath.Join(first.dir, "runs"), s.Name())
	require.NoError(t, err)
	_, err = experiment.Execute(t.Context(), s, experiment.Options{Dir: dir})
	require.NoError(t, err)
	stage := first.summary.stage("sim")
	_, err = stage.add(&s, outcome(checkers.Broken, checkers.Linearizable), nil)
	require.NoError(t, err)
	require.NoError(t, first.fail(stage, &s, outcome(checkers.Broken, checkers.Linearizable), nil, dir))
	require.Len(t, first.summary.Failures, 1)
	_, err = first.finish(nil, nil)
	require.NoError(t, err)
	require.Equal(t, results.ExitBroken, first.summary.ExitStatus())

	known, err := readKnown(cfg.Dir)
	require.NoError(t, err)
	require.Len(t, known, 1)
	require.Equal(t, []checkers.Claim{checkers.Linearizable}, known[0].Claims)
	require.Contains(t, known[0].Command, "--seed 7")

	cfg.Date = "2026-11-26"
	second, err := Run(t.Context(), cfg)
	require.NoError(t, err)
	require.Equal(t, "known", second.Stages[0].Name)
	require.Equal(t, 1, second.runs("known"))
	require.Zero(t, second.total().Broken, "it was never really broken")
	var b bytes.Buffer
	nights, err := Nights(cfg.Dir)
	require.NoError(t, err)
	require.NoError(t, second.Markdown(&b, nights[:1]))
	require.Contains(t, b.String(), "| 2026-11-25 | broken |", "the trend has the night before")
	again, err := readKnown(cfg.Dir)
	require.NoError(t, err)
	require.Len(t, again, 1, "it is kept")

	require.NoError(t, os.WriteFile(filepath.Join(cfg.Dir, knownFile), []byte("{"), 0o644))
	_, err = Run(t.Context(), cfg)
	require.ErrorContains(t, err, "failing.json cannot be read")
}

// JUnit calls everything a failure that is not green.
func TestJUnit(t *testing.T) {
	s := Summary{Date: "2026-11-25", Doubts: []string{`no "engine" <here>`}, Stages: []*Stage{{Name: "sim", Took: 1500 * time.Millisecond, Cells: []*Cell{
		{Name: "good", Runs: 3, Promises: 3}, {Name: "bad", Runs: 3, Promises: 3, Broken: 1, Why: "x"}, {Name: "odd", Runs: 3, Promises: 3, Unknown: 1}, {Name: "off", Runs: 1, Failed: 1},
	}}}}
	var b bytes.Buffer
	require.NoError(t, s.JUnit(&b))
	var got struct {
		Suites []struct {
			Name     string `xml:"name,attr"`
			Tests    int    `xml:"tests,attr"`
			Failures int    `xml:"failures,attr"`
			Errors   int    `xml:"errors,attr"`
		} `xml:"testsuite"`
	}
	require.NoError(t, xml.Unmarshal(b.Bytes(), &got))
	require.Len(t, got.Suites, 2)
	require.Equal(t, 4, got.Suites[0].Tests)
	require.Equal(t, 2, got.Suites[0].Failures)
	require.Equal(t, 1, got.Suites[0].Errors)
	require.Equal(t, 1, got.Suites[1].Failures)
}

// Without an engine a night that was to run in containers is not green.
func TestNoEngineIsNotGreen(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
	cfg := config(t)
	cfg.Worlds, cfg.Budget = []string{experiment.Docker}, 2*time.Minute
	s, err := Run(t.Context(), cfg)
	require.NoError(t, err)
	require.Equal(t, results.ExitUnknown, s.ExitStatus())
	require.Contains(t, strings.Join(s.Doubts, "\n"), "no container engine")
}

// A night that is interrupted says what it has seen so far.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s, err := Run(ctx, config(t))
	require.Error(t, err)
	require.Positive(t, s.runs("sim"))
	require.NotEqual(t, results.ExitHeld, s.ExitStatus())
	require.FileExists(t, filepath.Join(s.Path, "summary.json"))
}

func TestMistakes(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"the date is":   func(c *Config) { c.Date = "yesterday" },
		"too little":    func(c *Config) { c.Budget = time.Second },
		"no world":      func(c *Config) { c.Worlds = nil },
		"unknown world": func(c *Config) { c.Worlds = []string{"moon"} },
		"no profile":    func(c *Config) { c.Profiles = nil },
	} {
		cfg := config(t)
		change(&cfg)
		_, err := Run(t.Context(), cfg)
		require.ErrorContains(t, err, want)
	}
}

func TestCompareNights(t *testing.T) {
	a := &Summary{Date: "a", Stages: []*Stage{{Name: "sim", Cells: []*Cell{{Name: "x", Runs: 1, Promises: 1}, {Name: "y", Runs: 1, Promises: 1}}}}}
	b := &Summary{Date: "b", Stages: []*Stage{{Name: "sim", Cells: []*Cell{{Name: "x", Runs: 2, Promises: 2, Broken: 1, Why: "because"}}}}}
	c := Compare(a, b)
	require.Equal(t, []results.ComparisonRow{
		{Cells: []string{"sim: x", "held", "broken", "because"}, Changed: true},
		{Cells: []string{"sim: y", "held", "not run", ""}, Changed: true},
	}, c.Parts[1].Rows)
	_, err := Load(t.TempDir())
	require.ErrorContains(t, err, "is no night's directory")
}
