package nightly

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/experiment"
	"github.com/assay-chaos/assay/results/trial"
)

// The files of a night.
const (
	summaryFile  = "summary.json"
	markdownFile = "summary.md"
	junitFile    = "junit.xml"
)

// Summary is what a night has shown.
type Summary struct {
	Schema   int           `json:"schema"`
	Date     string        `json:"date"`
	Started  time.Time     `json:"started"`
	Budget   time.Duration `json:"budget_ns"`
	Took     time.Duration `json:"took_ns"`
	Stages   []*Stage      `json:"stages"`
	Failures []Failure     `json:"failures"`
	// Doubts are why the night may have missed something, as sentences.
	Doubts []string      `json:"doubts"`
	Assay  results.Build `json:"assay"`
	Path   string        `json:"path"`
}

// Stage is one kind of work, by cells.
type Stage struct {
	Name  string        `json:"name"`
	Took  time.Duration `json:"took_ns"`
	Cells []*Cell       `json:"cells"`
}

// Cell is the runs of one setting under one mix of faults.
type Cell struct {
	Name string `json:"name"`
	Runs int    `json:"runs"`
	Ops  int    `json:"operations"`
	// Promises is how many answers there were to claims that should hold,
	// Broken and Unknown how many of these were bad.
	Promises int `json:"promises"`
	Broken   int `json:"broken"`
	Unknown  int `json:"unknown"`
	Failed   int `json:"failed"` // runs that failed themselves
	// Why is the first thing that went wrong.
	Why string `json:"why,omitempty"`
}

// Failure is a run that broke a promise, or failed.
type Failure struct {
	Stage   string           `json:"stage"`
	Cell    string           `json:"cell"`
	Claims  []checkers.Claim `json:"claims"`
	Reason  string           `json:"reason"`
	Command string           `json:"command"`
	Path    string           `json:"path"`
	Test    results.Test     `json:"test"`
}

func (s *Summary) note(format string, args ...any) {
	s.Doubts = append(s.Doubts, fmt.Sprintf(format, args...))
}

// stage gives a stage by name, and begins it if it is new.
func (s *Summary) stage(name string) *Stage {
	for _, st := range s.Stages {
		if st.Name == name {
			return st
		}
	}
	s.Stages = append(s.Stages, &Stage{Name: name})
	return s.Stages[len(s.Stages)-1]
}

// runs is how many runs a stage has done.
func (s *Summary) runs(stage string) int {
	n := 0
	for _, st := range s.Stages {
		if st.Name == stage {
			for _, c := range st.Cells {
				n += c.Runs
			}
		}
	}
	return n
}

func cellName(s *experiment.Spec) string {
	faults := cmp.Or(s.Nemesis, "no faults")
	name := s.Profile
	if p, err := s.Setting(); err == nil {
		name += fmt.Sprintf(" %d/%d/%d", p.N, p.R, p.W)
		if p.Nodes > p.N {
			name += fmt.Sprintf(" on %d nodes", p.Nodes)
		}
	}
	return name + " under " + faults
}

// cell gives a cell by name, and begins it if it is new.
func (st *Stage) cell(name string) *Cell {
	at, found := slices.BinarySearchFunc(st.Cells, name, func(c *Cell, name string) int { return strings.Compare(c.Name, name) })
	if !found {
		st.Cells = slices.Insert(st.Cells, at, &Cell{Name: name})
	}
	return st.Cells[at]
}

// add counts a run. It says whether the run has to be kept: a promise was broken,
// or the run failed in a world where it cannot be had again.
func (st *Stage) add(s *experiment.Spec, out *trial.Outcome, runErr error) (worse bool, err error) {
	c := st.cell(cellName(s))
	c.Runs++
	why := func(format string, args ...any) {
		if c.Why == "" {
			c.Why = fmt.Sprintf("seed %d: ", s.Seed) + fmt.Sprintf(format, args...)
		}
	}
	if runErr != nil {
		c.Failed++
		why("%v", runErr)
		worse = true
	}
	if out == nil {
		return worse, nil
	}
	c.Ops += len(out.Run.History.Ops)
	promises, err := promised(s)
	if err != nil {
		return worse, err
	}
	for _, r := range out.Results {
		if promises[r.Claim] == "" {
			continue
		}
		c.Promises++
		switch r.Verdict {
		case checkers.Broken:
			c.Broken++
			why("%s broken: %s", r.Claim, r.Reason)
			worse = true
		case checkers.Unknown:
			c.Unknown++
			why("%s unknown: %s", r.Claim, r.Reason)
		}
	}
	return worse, nil
}

// addMatrix takes the cells of the matrix whose claims should hold.
func (s *Summary) addMatrix(m *results.Matrix, runs int, took time.Duration) {
	st := s.stage("matrix")
	st.Took += took
	for _, row := range m.Rows {
		for j, c := range row.Cells {
			if c.Expected != results.Holds {
				continue
			}
			cell := st.cell(row.Name + " under " + m.Columns[j])
			cell.Runs = max(cell.Runs, c.Runs+c.Failed)
			cell.Ops = max(cell.Ops, c.Ops)
			cell.Promises += c.Runs
			cell.Broken += c.Broken
			cell.Unknown += c.Unknown
			cell.Failed = max(cell.Failed, c.Failed)
			if c.State() == results.Surprise {
				f := Failure{Stage: st.Name, Cell: cell.Name, Claims: []checkers.Claim{checkers.Claim(row.Group)}, Reason: fmt.Sprintf("%s: %d of %d runs broke it; %s", row.Group, c.Broken, c.Runs, c.Note), Path: c.Path}
				if run, err := results.Load(c.Path); err == nil {
					f.Test, f.Command = run.Test, run.Test.ReplayCommand()
				}
				s.Failures = append(s.Failures, f)
				if cell.Why == "" {
					cell.Why = f.Reason
				}
			} else if c.Unknown+c.Failed > 0 && cell.Why == "" {
				cell.Why = c.Note
			}
		}
	}
}

// total adds all cells up.
func (s *Summary) total() (t Cell) {
	for _, st := range s.Stages {
		for _, c := range st.Cells {
			t.Runs += c.Runs
			t.Ops += c.Ops
			t.Promises += c.Promises
			t.Broken += c.Broken
			t.Unknown += c.Unknown
			t.Failed += c.Failed
		}
	}
	return t
}

// ExitStatus is as for all commands that judge; see package results.
func (s *Summary) ExitStatus() int {
	switch t := s.total(); {
	case t.Broken > 0:
		return results.ExitBroken
	case t.Failed > 0:
		return results.ExitFailed
	case t.Unknown > 0 || len(s.Doubts) > 0 || t.Promises == 0:
		return results.ExitUnknown
	}
	return results.ExitHeld
}

// Word is the verdict of the night.
func (s *Summary) Word() string {
	switch s.ExitStatus() {
	case results.ExitHeld:
		return "held"
	case results.ExitBroken:
		return "broken"
	case results.ExitFailed:
		return "failed"
	}
	return "unknown"
}

// write leaves the summary in its three forms.
func (s *Summary) write(all, dir string) error {
	nights, err := Nights(all)
	if err != nil {
		return err
	}
	if err := results.WriteJSON(filepath.Join(dir, summaryFile), s); err != nil {
		return err
	}
	if err := results.WriteFile(filepath.Join(dir, markdownFile), func(w io.Writer) error { return s.Markdown(w, nights) }); err != nil {
		return err
	}
	return results.WriteFile(filepath.Join(dir, junitFile), s.JUnit)
}

// Nights reads the summaries of the nights in a directory, the oldest first. What
// is none is left out.
func Nights(dir string) ([]*Summary, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("nightly: reading the earlier nights: %w", err)
	}
	var nights []*Summary
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name(), summaryFile))
		if err != nil {
			continue // not every directory is a night's
		}
		s := new(Summary)
		if json.Unmarshal(text, s) == nil && s.Schema == results.Schema {
			nights = append(nights, s)
		}
	}
	slices.SortStableFunc(nights, func(a, b *Summary) int { return a.Started.Compare(b.Started) })
	return nights, nil
}

// trend is how many nights the summary shows.
const trend = 14

// Markdown writes the summary for the page of a CI job; nights are the earlier
// ones.
func (s *Summary) Markdown(w io.Writer, nights []*Summary) error {
	var b strings.Builder
	t := s.total()
	fmt.Fprintf(&b, "## Night of %s: %s\n\n", s.Date, s.Word())
	fmt.Fprintf(&b, "%d runs with %d operations in %s of %s; %d answers to claims that should hold: %d broken, %d unknown. %d runs failed.\n",
		t.Runs, t.Ops, s.Took.Round(time.Second), s.Budget, t.Promises, t.Broken, t.Unknown, t.Failed)
	if len(s.Doubts) > 0 {
		b.WriteString("\n**Not green because**\n\n")
		for _, d := range s.Doubts {
			fmt.Fprintf(&b, "- %s\n", results.MarkdownText(d))
		}
	}
	if len(s.Failures) > 0 {
		b.WriteString("\n**What broke**\n\n")
		for _, f := range s.Failures {
			fmt.Fprintf(&b, "- %s (%s): %s  \n  `%s`  \n  kept in %s\n", results.MarkdownText(f.Cell), f.Stage, results.MarkdownText(f.Reason),
				strings.ReplaceAll(f.Command, "`", "'"), results.MarkdownText(f.Path))
		}
	}
	b.WriteString("\n| stage | cells | runs | operations | answers | broken | unknown | failed | time |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, st := range s.Stages {
		one := Summary{Stages: []*Stage{st}}
		t := one.total()
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d | %s |\n", st.Name, len(st.Cells), t.Runs, t.Ops, t.Promises, t.Broken, t.Unknown, t.Failed, st.Took.Round(time.Second))
	}
	if len(nights) > 0 {
		b.WriteString("\n**The last nights**\n\n| night | verdict | runs | operations | broken | unknown | failed |\n|---|---|---|---|---|---|---|\n")
		for _, n := range append(nights[max(0, len(nights)-trend+1):], s) {
			t := n.total()
			fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %d |\n", n.Date, n.Word(), t.Runs, t.Ops, t.Broken, t.Unknown, t.Failed)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// JUnit writes the summary as CI systems read it: a test case for each cell. What
// is unknown is a failure too.
func (s *Summary) JUnit(w io.Writer) error {
	type problem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
	type testcase struct {
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Failure *problem `xml:"failure"`
		Error   *problem `xml:"error"`
	}
	type testsuite struct {
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Time     string     `xml:"time,attr"`
		Cases    []testcase `xml:"testcase"`
	}
	out := struct {
		XMLName xml.Name    `xml:"testsuites"`
		Name    string      `xml:"name,attr"`
		Suites  []testsuite `xml:"testsuite"`
	}{Name: "assay nightly " + s.Date}
	suite := func(name string, took time.Duration, cases []testcase) {
		u := testsuite{Name: name, Tests: len(cases), Time: fmt.Sprintf("%.3f", took.Seconds()), Cases: cases}
		for _, c := range cases {
			if c.Failure != nil {
				u.Failures++
			}
			if c.Error != nil {
				u.Errors++
			}
		}
		out.Suites = append(out.Suites, u)
	}
	for _, st := range s.Stages {
		var cases []testcase
		for _, c := range st.Cells {
			k := testcase{Class: "assay." + st.Name, Name: c.Name}
			text := fmt.Sprintf("%d runs, %d answers: %d broken, %d unknown; %d runs failed", c.Runs, c.Promises, c.Broken, c.Unknown, c.Failed)
			switch {
			case c.Broken > 0:
				k.Failure = &problem{c.Why, "broken", text}
			case c.Failed > 0:
				k.Error = &problem{c.Why, "failed", text}
			case c.Unknown > 0:
				k.Failure = &problem{c.Why, "unknown", text}
			}
			cases = append(cases, k)
		}
		suite(st.Name, st.Took, cases)
	}
	whole := []testcase{{Class: "assay.night", Name: "did all that it was asked for"}}
	if len(s.Doubts) > 0 {
		whole[0].Failure = &problem{s.Doubts[0], "unknown", strings.Join(s.Doubts, "\n")}
	}
	suite("night", s.Took, whole)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
