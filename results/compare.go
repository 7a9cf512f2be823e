package results

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/assay-chaos/assay/checkers"
)

// Comparison is two things side by side: two runs, or two nights.
type Comparison struct {
	Title string
	Names [2]string
	Parts []ComparisonPart
}

// ComparisonPart is a table of it.
type ComparisonPart struct {
	Heading string
	Columns []string // the first names the row
	Rows    []ComparisonRow
}

// ComparisonRow is one row; Changed says that the two differ where it matters.
type ComparisonRow struct {
	Cells   []string
	Changed bool
}

// CompareRuns puts two runs side by side: what differs in the test, the answers,
// and availability and latency by phase. It refuses runs that were not judged.
func CompareRuns(a, b *Run) (*Comparison, error) {
	for _, r := range []*Run{a, b} {
		if r.Verdicts == nil {
			return nil, fmt.Errorf("%s was not judged, so there is nothing to compare", r.Path)
		}
	}
	c := &Comparison{Title: "Two runs", Names: [2]string{a.Path, b.Path}}
	c.Parts = append(c.Parts, compareTests(a, b), compareClaims(a, b), comparePhases(a, b))
	return c, nil
}

// compareTests lists what differs in what was run.
func compareTests(a, b *Run) ComparisonPart {
	p := ComparisonPart{Heading: "What was run differently", Columns: []string{"", "first", "second"}}
	of := func(r *Run) map[string]string {
		m := map[string]string{}
		for _, f := range testFacts(r) {
			m[f.Name] = f.Value
		}
		m["assay"] = r.Test.Assay.String()
		return m
	}
	first, second := of(a), of(b)
	for _, f := range append(testFacts(a), fact{Name: "assay"}) {
		if f.Name == "started" || f.Name == "history hash" || f.Name == "test" || first[f.Name] == second[f.Name] {
			continue
		}
		p.Rows = append(p.Rows, ComparisonRow{Cells: []string{f.Name, first[f.Name], second[f.Name]}})
	}
	if len(p.Rows) == 0 {
		p.Rows = []ComparisonRow{{Cells: []string{"nothing", "", ""}}}
	}
	return p
}

// compareClaims lists the answers.
func compareClaims(a, b *Run) ComparisonPart {
	p := ComparisonPart{Heading: "Claims", Columns: []string{"claim", "first", "second", "first: violations of checked", "second"}}
	find := func(r *Run, c checkers.Claim) *checkers.Result {
		for i := range r.Verdicts.Results {
			if x := &r.Verdicts.Results[i]; x.Claim == c {
				return x
			}
		}
		return nil
	}
	var claims []checkers.Claim
	for _, r := range a.Verdicts.Results {
		claims = append(claims, r.Claim)
	}
	for _, r := range b.Verdicts.Results {
		if find(a, r.Claim) == nil {
			claims = append(claims, r.Claim)
		}
	}
	verdict := func(r *checkers.Result) string {
		if r == nil {
			return "not judged"
		}
		return r.Verdict.String()
	}
	rate := func(r *checkers.Result) string {
		if r == nil {
			return "—"
		}
		return fmt.Sprintf("%s of %s", count(r.Violations), count(r.Checked))
	}
	for _, claim := range claims {
		x, y := find(a, claim), find(b, claim)
		p.Rows = append(p.Rows, ComparisonRow{
			Cells:   []string{string(claim), verdict(x), verdict(y), rate(x), rate(y)},
			Changed: verdict(x) != verdict(y),
		})
	}
	return p
}

// comparePhases lists availability and latency by phase, with the ratio of the
// second to the first.
func comparePhases(a, b *Run) ComparisonPart {
	p := ComparisonPart{Heading: "Availability and latency", Columns: []string{"phase", "figure", "first", "second", "second / first"}}
	for _, x := range a.Verdicts.Phases {
		if x.Group != "all" {
			continue
		}
		for _, y := range b.Verdicts.Phases {
			if y.Group != "all" || y.Phase != x.Phase {
				continue
			}
			n, m := x.OK+x.Fail+x.Info, y.OK+y.Fail+y.Info
			if n == 0 || m == 0 {
				continue
			}
			p.Rows = append(p.Rows,
				ComparisonRow{Cells: []string{x.Phase, "operations", count(n), count(m), ratioText(float64(m), float64(n))}},
				ComparisonRow{Cells: []string{"", "ok", okShare(x.OK, n), okShare(y.OK, m), ratioText(float64(y.OK)/float64(m), float64(x.OK)/float64(n))}},
			)
			for _, q := range []struct {
				name string
				x, y time.Duration
			}{{"p50", x.P50, y.P50}, {"p99", x.P99, y.P99}, {"max", x.Max, y.Max}} {
				p.Rows = append(p.Rows, ComparisonRow{Cells: []string{"", q.name, span(q.x), span(q.y), ratioText(float64(q.y), float64(q.x))}})
			}
		}
	}
	return p
}

func ratioText(a, b float64) string {
	if b == 0 {
		return "—"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// Text writes the comparison for a terminal. Rows that matter have a mark.
func (c *Comparison) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n  first:  %s\n  second: %s\n", c.Title, printable(c.Names[0]), printable(c.Names[1]))
	for _, p := range c.Parts {
		fmt.Fprintf(&b, "\n%s\n", p.Heading)
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "  "+strings.Join(p.Columns, "\t"))
		for _, r := range p.Rows {
			mark := "  "
			if r.Changed {
				mark = "≠ "
			}
			cells := make([]string, len(r.Cells))
			for i, text := range r.Cells {
				cells[i] = printable(text)
			}
			fmt.Fprintln(t, mark+strings.Join(cells, "\t"))
		}
		t.Flush()
	}
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

var (
	//go:embed assets/compare.html
	compareSource   string
	compareTemplate = template.Must(template.New("compare.html").Parse(compareSource))
)

// HTML draws the comparison as one file that needs no other file and no network.
func (c *Comparison) HTML(w io.Writer) error {
	m := struct {
		*Comparison
		Style template.CSS
	}{c, template.CSS(pageStyle)}
	if err := compareTemplate.Execute(w, m); err != nil {
		return fmt.Errorf("results: drawing the comparison: %w", err)
	}
	return nil
}
