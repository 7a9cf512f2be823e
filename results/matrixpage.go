package results

import (
	_ "embed" // the parts of the page
	"fmt"
	"html/template"
	"io"
	"net/url"
	"path/filepath"
	"strings"
)

var (
	//go:embed assets/matrix.css
	matrixStyle string
	//go:embed assets/matrix.html
	matrixSource string

	matrixTemplate = template.Must(template.New("matrix.html").Parse(matrixSource))
)

// matrixModel is what the template sees.
type matrixModel struct {
	Style, MatrixStyle template.CSS
	Title, Summary     string
	Word, Mark, Class  string
	Command, Assay     string
	States             []matrixState
	Legend             []legendEntry
	Columns            []string
	Groups             []matrixGroup
	Prices             *matrixPrices
}

// matrixState is the cells of a state that need a look.
type matrixState struct {
	Anchor, Heading string
	Cells           []matrixCell
}

type legendEntry struct{ Mark, Class, Meaning string }

// matrixGroup is a claim.
type matrixGroup struct {
	Name, Anchor string
	Rows         []matrixRow
	Reasons      []matrixReason
}

type matrixRow struct {
	Name  string
	Cells []matrixCell
}

type matrixReason struct{ Anchor, Where, Text string }

type matrixCell struct {
	Cell
	Where, Class, Mark string
	Tell, Rate, Doubt  string
	Count              string
	Anchor, Link       string
}

type matrixPrices struct {
	Title   string
	Columns []string
	Rows    []matrixPriceRow
}

type matrixPriceRow struct {
	Name  string
	Cells []struct{ Reads, Writes, Stale string }
}

// HTML draws the matrix as one file that needs no other file and no network. The
// page will lie in the directory dir, from which its links to counterexamples
// lead.
func (m *Matrix) HTML(w io.Writer, dir string) error {
	p := matrixModel{
		Style: template.CSS(pageStyle), MatrixStyle: template.CSS(matrixStyle),
		Title: m.Title, Command: m.Command, Columns: m.Columns, Assay: ThisBuild().String(),
	}
	p.Word, p.Mark, p.Class = "as expected", "✓", "held"
	switch m.ExitStatus() {
	case ExitBroken:
		p.Word, p.Mark, p.Class = "a promise was broken", "✗", "broken"
	case ExitFailed:
		p.Word, p.Mark, p.Class = "a run failed", "!", "broken"
	case ExitUnknown:
		p.Word, p.Mark, p.Class = "undecided", "?", "unknown"
	}
	byState := map[State][]matrixCell{}
	tried := 0
	for i := range m.Rows {
		row := &m.Rows[i]
		if n := len(p.Groups); n == 0 || p.Groups[n-1].Name != row.Group {
			p.Groups = append(p.Groups, matrixGroup{Name: row.Group, Anchor: fmt.Sprintf("group-%d", n)})
		}
		g := &p.Groups[len(p.Groups)-1]
		out := matrixRow{Name: row.Name}
		for j := range m.Columns {
			c := matrixCell{Cell: Cell{}, Class: stateClass(NotTried)}
			if j < len(row.Cells) {
				c = m.pageCell(row, j, dir)
			}
			if c.Tried() {
				tried++
				byState[c.State()] = append(byState[c.State()], c)
			}
			if c.Note != "" {
				c.Anchor = fmt.Sprintf("why-%d-%d", i, j)
				g.Reasons = append(g.Reasons, matrixReason{c.Anchor, c.Where, c.Note})
			}
			out.Cells = append(out.Cells, c)
		}
		g.Rows = append(g.Rows, out)
	}
	var counts []string
	for _, s := range []State{Surprise, NotSeen, RunFailed, Undecided} {
		if cells := byState[s]; len(cells) > 0 {
			p.States = append(p.States, matrixState{Anchor: stateClass(s), Heading: headings[s], Cells: cells})
		}
	}
	for _, s := range allStates {
		if n := len(byState[s]); n > 0 {
			p.Legend = append(p.Legend, legendEntry{marks[s].unicode, stateClass(s), marks[s].meaning})
			counts = append(counts, fmt.Sprintf("%s %s", count(n), marks[s].meaning))
		}
	}
	p.Summary = fmt.Sprintf("%s: %s.", counted(tried, "cell", "cells"), strings.Join(counts, ", "))
	if m.Prices != nil {
		p.Prices = m.Prices.page()
	}
	if err := matrixTemplate.Execute(w, &p); err != nil {
		return fmt.Errorf("results: drawing the matrix: %w", err)
	}
	return nil
}

// pageCell is a cell with what the page says of it.
func (m *Matrix) pageCell(row *Row, j int, dir string) matrixCell {
	c := matrixCell{Cell: row.Cells[j], Where: where(row, m.Columns[j])}
	s := c.State()
	c.Class, c.Mark, c.Tell = stateClass(s), marks[s].unicode, c.tell()
	if c.Broken > 0 {
		c.Rate = c.rate()
	}
	if c.Ops > 0 {
		c.Count = counted(c.Ops, "operation", "operations")
	}
	if c.Unknown > 0 {
		c.Doubt = fmt.Sprintf("%d unknown", c.Unknown)
	}
	if c.Failed > 0 {
		c.Doubt = strings.TrimPrefix(fmt.Sprintf("%s, %d failed", c.Doubt, c.Failed), ", ")
	}
	if c.Path != "" {
		c.Link = linkTo(dir, c.Path)
	}
	return c
}

// linkTo gives the way from a page in dir to that of a run directory.
func linkTo(dir, runDir string) string {
	to := filepath.FromSlash(runDir)
	if rel, err := filepath.Rel(dir, to); err == nil {
		to = rel
	}
	return (&url.URL{Path: filepath.ToSlash(filepath.Join(to, pageFile))}).EscapedPath()
}

func stateClass(s State) string { return strings.ReplaceAll(string(s), " ", "-") }

func (t *Prices) page() *matrixPrices {
	p := &matrixPrices{Title: t.Title, Columns: t.Columns}
	for _, r := range t.Rows {
		out := matrixPriceRow{Name: r.Name}
		for j := range r.Cells {
			c := &r.Cells[j]
			out.Cells = append(out.Cells, struct{ Reads, Writes, Stale string }{priceText(c.Reads), priceText(c.Writes), c.staleText()})
		}
		p.Rows = append(p.Rows, out)
	}
	return p
}
