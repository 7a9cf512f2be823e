package results

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/assay-chaos/assay/checkers"
)

// Expected is what theory says of a claim in one setting.
type Expected uint8

const (
	// NoOpinion: theory says nothing, or nobody wrote it down.
	NoOpinion Expected = iota
	// Holds: the claim is a promise; one violation is one too many.
	Holds
	// Breaks: nothing promises it; it is expected to be broken sooner or
	// later.
	Breaks
)

// String gives "holds", "breaks" or "—".
func (e Expected) String() string {
	switch e {
	case Holds:
		return "holds"
	case Breaks:
		return "breaks"
	}
	return "—"
}

// Matrix compares what theory expects with what runs showed: rows × columns of
// cells.
type Matrix struct {
	Title   string
	Columns []string
	Rows    []Row
	// Tested tells of all runs together: how many operations there were, and
	// which faults were proved. It may be empty.
	Tested  string
	Prices  *Prices // nil: they were not measured
	Command string  // what makes it again; "" if nobody knows
}

// Row is one row of a matrix; Cells is parallel to Matrix.Columns, and may be
// shorter.
type Row struct {
	// Group is the heading over this row and its neighbours of the same
	// group; "" for none.
	Group string
	Name  string
	Cells []Cell
}

// Cell is a claim in one setting. The zero Cell was not tried at all.
type Cell struct {
	Expected Expected
	// Runs is how many runs were judged, Broken how many of them broke the
	// claim and Unknown how many could not tell.
	Runs, Broken, Unknown int
	// Ops is how many operations these runs had; 0 where nobody counted.
	Ops int
	// Failed is how many further runs failed themselves, with no verdict.
	Failed int
	// Note is the reason in words: why it should hold or break.
	Note string
	// Path is where the counterexample lies, "" for none.
	Path string
}

// Tried says whether there is anything in the cell.
func (c Cell) Tried() bool { return c.Runs+c.Failed > 0 }

// Observed is the verdict of all runs of the cell together: the worst.
func (c Cell) Observed() checkers.Verdict {
	switch {
	case c.Broken > 0:
		return checkers.Broken
	case c.Unknown > 0 || c.Failed > 0 || c.Runs == 0:
		return checkers.Unknown
	}
	return checkers.Held
}

// State is what an observation means beside what was expected.
type State string

// The states, the most urgent first.
const (
	// Surprise: broken, though expected to hold.
	Surprise State = "surprise"
	// RunFailed: a run failed, and nothing worse was seen.
	RunFailed State = "run failed"
	// Undecided: a run could not tell.
	Undecided State = "undecided"
	// AsExpected: held where it should hold, or broken where it should break.
	AsExpected State = "as expected"
	// NotSeen: expected to break, but no run broke it. This proves nothing:
	// the upper end of the interval says how rare it may be.
	NotSeen State = "not seen"
	// Noted: observed, with nothing to compare with.
	Noted State = "noted"
	// NotTried: there was no run.
	NotTried State = "not tried"
)

// State compares observed with expected.
func (c Cell) State() State {
	observed := c.Observed()
	switch {
	case !c.Tried():
		return NotTried
	case observed == checkers.Broken && c.Expected == Holds:
		return Surprise
	case c.Failed > 0:
		return RunFailed
	case observed == checkers.Unknown:
		return Undecided
	case c.Expected == NoOpinion:
		return Noted
	case observed == checkers.Broken || c.Expected == Holds:
		return AsExpected
	}
	return NotSeen
}

// ExitStatus is [ExitBroken] if a claim that should hold was broken, else
// [ExitFailed] if a run failed, else [ExitUnknown] if a cell that was tried is
// undecided or none was tried, else [ExitHeld].
func (m *Matrix) ExitStatus() int {
	seen := map[State]bool{}
	tried := false
	m.each(func(_ *Row, _ string, c *Cell) {
		seen[c.State()] = true
		tried = tried || c.Tried()
	})
	switch {
	case seen[Surprise]:
		return ExitBroken
	case seen[RunFailed]:
		return ExitFailed
	case seen[Undecided] || !tried:
		return ExitUnknown
	}
	return ExitHeld
}

// each visits the cells that have a column, in order.
func (m *Matrix) each(visit func(row *Row, column string, c *Cell)) {
	for i := range m.Rows {
		row := &m.Rows[i]
		for j := range row.Cells[:min(len(row.Cells), len(m.Columns))] {
			visit(row, m.Columns[j], &row.Cells[j])
		}
	}
}

// where names a cell in a sentence.
func where(row *Row, column string) string {
	if row.Group == "" {
		return row.Name + " · " + column
	}
	return row.Group + " · " + row.Name + " · " + column
}

// rate is the share of broken runs with its interval, in percent.
func (c Cell) rate() string {
	lo, hi := checkers.Wilson(c.Broken, c.Runs)
	return fmt.Sprintf("%s–%s %%", percent(lo), percent(hi))
}

// percent keeps two digits that mean something, without a sign.
func percent(share float64) string {
	p := 100 * share
	switch {
	case p == 0 || p >= 9.95:
		return fmt.Sprintf("%.0f", p)
	case p >= 0.095:
		return fmt.Sprintf("%.1f", p)
	}
	return fmt.Sprintf("%.2g", p)
}

// JSON writes the matrix for machines: one object a cell, rates in [0, 1].
func (m *Matrix) JSON(w io.Writer) error {
	type cell struct {
		Group    string           `json:"group,omitempty"`
		Row      string           `json:"row"`
		Column   string           `json:"column"`
		Expected string           `json:"expected"`
		Observed checkers.Verdict `json:"observed"`
		State    State            `json:"state"`
		Runs     int              `json:"runs"`
		Ops      int              `json:"operations,omitempty"`
		Broken   int              `json:"broken"`
		Unknown  int              `json:"unknown"`
		Failed   int              `json:"failed"`
		Rate     *float64         `json:"rate"` // null without runs
		Low      float64          `json:"rate_low"`
		High     float64          `json:"rate_high"`
		Note     string           `json:"note,omitempty"`
		Path     string           `json:"path,omitempty"`
	}
	type price struct {
		Row    string `json:"row"`
		Column string `json:"column"`
		Price
	}
	out := struct {
		Schema  int     `json:"schema"`
		Title   string  `json:"title"`
		Command string  `json:"command,omitempty"`
		Exit    int     `json:"exit"`
		Cells   []cell  `json:"cells"`
		Prices  []price `json:"prices,omitempty"`
	}{Schema: Schema, Title: m.Title, Command: m.Command, Exit: m.ExitStatus(), Cells: []cell{}}
	m.each(func(row *Row, column string, c *Cell) {
		j := cell{Group: row.Group, Row: row.Name, Column: column, Expected: c.Expected.String(), Observed: c.Observed(), State: c.State(),
			Runs: c.Runs, Ops: c.Ops, Broken: c.Broken, Unknown: c.Unknown, Failed: c.Failed, Note: c.Note, Path: c.Path}
		if c.Expected == NoOpinion {
			j.Expected = "none"
		}
		if c.Runs > 0 {
			rate := float64(c.Broken) / float64(c.Runs)
			j.Rate = &rate
		}
		j.Low, j.High = checkers.Wilson(c.Broken, c.Runs)
		out.Cells = append(out.Cells, j)
	})
	if m.Prices != nil {
		for _, r := range m.Prices.Rows {
			for j := range r.Cells[:min(len(r.Cells), len(m.Prices.Columns))] {
				out.Prices = append(out.Prices, price{r.Name, m.Prices.Columns[j], r.Cells[j]})
			}
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

// The files of a saved matrix, one in each format.
const (
	savedTable    = "matrix.txt"
	savedMarkdown = "matrix.md"
	savedJSON     = "matrix.json"
	savedPage     = "matrix.html"
)

// Save writes the matrix into a directory, in every format.
func (m *Matrix) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("results: saving the matrix: %w", err)
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{savedTable, func(w io.Writer) error { return m.Table(w, TableOptions{}) }},
		{savedMarkdown, m.Markdown},
		{savedJSON, m.JSON},
		{savedPage, func(w io.Writer) error { return m.HTML(w, dir) }},
	} {
		if err := WriteFile(filepath.Join(dir, f.name), f.write); err != nil {
			return err
		}
	}
	return nil
}

// Markdown writes the matrix as a table of GitHub's dialect, with the notes
// below.
func (m *Matrix) Markdown(w io.Writer) error {
	var b strings.Builder
	if m.Title != "" {
		fmt.Fprintf(&b, "### %s\n\n", mdText(m.Title))
	}
	if m.Command != "" {
		fmt.Fprintf(&b, "Made by `%s`.\n\n", strings.ReplaceAll(m.Command, "`", ""))
	}
	for _, s := range surprising {
		first := true
		m.each(func(row *Row, column string, c *Cell) {
			if c.State() != s {
				return
			}
			if first {
				fmt.Fprintf(&b, "**%s**\n\n", headings[s])
				first = false
			}
			fmt.Fprintf(&b, "- %s: %s\n", mdText(where(row, column)), mdText(c.tell()))
		})
		if !first {
			b.WriteString("\n")
		}
	}
	b.WriteString("| |")
	for _, c := range m.Columns {
		fmt.Fprintf(&b, " %s |", mdText(c))
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(m.Columns)) + "\n")
	group := ""
	for i := range m.Rows {
		row := &m.Rows[i]
		if row.Group != group {
			group = row.Group
			fmt.Fprintf(&b, "| **%s** |%s\n", mdText(group), strings.Repeat(" |", len(m.Columns)))
		}
		fmt.Fprintf(&b, "| %s |", mdText(row.Name))
		for j := range m.Columns {
			var c Cell
			if j < len(row.Cells) {
				c = row.Cells[j]
			}
			fmt.Fprintf(&b, " %s |", mdCell(c))
		}
		b.WriteString("\n")
	}
	b.WriteString("\nEach cell: expected, observed, broken runs of runs, 95 % interval of the rate (Wilson).\n")
	first := true
	m.each(func(row *Row, column string, c *Cell) {
		if c.Note == "" || !c.Tried() {
			return
		}
		if first {
			b.WriteString("\n")
			first = false
		}
		fmt.Fprintf(&b, "- %s: %s. %s\n", mdText(where(row, column)), c.State(), mdText(c.Note))
	})
	if m.Prices != nil {
		m.Prices.markdown(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func mdCell(c Cell) string {
	if !c.Tried() {
		return "—"
	}
	observed := c.Observed().String()
	if c.State() == Surprise {
		observed = "**" + strings.ToUpper(observed) + "**"
	}
	s := fmt.Sprintf("%s · %s %d/%d", c.Expected, observed, c.Broken, c.Runs)
	if c.Runs > 0 {
		s += " (" + c.rate() + ")"
	}
	if c.Unknown > 0 {
		s += fmt.Sprintf(", %d unknown", c.Unknown)
	}
	if c.Failed > 0 {
		s += fmt.Sprintf(", %d failed", c.Failed)
	}
	if c.Path != "" {
		s += " [counterexample](<" + mdPath.Replace(c.Path) + ">)"
	}
	return s
}

var (
	mdEscape = strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", ">", "&gt;", "&", "&amp;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`, `\`, `\\`)
	mdPath   = strings.NewReplacer("|", "%7C", "\n", "%0A", "\r", "%0D", "<", "%3C", ">", "%3E")
)

// MarkdownText makes any text stand in Markdown as it is.
func MarkdownText(s string) string { return mdText(s) }

// mdText makes any text stand in a Markdown table as it is.
func mdText(s string) string { return mdEscape.Replace(s) }
