package results

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/assay-chaos/assay/checkers"
)

// Prices are what settings cost: a row a setting, a column a situation.
type Prices struct {
	Title   string
	Columns []string
	Rows    []PriceRow
}

// PriceRow is a setting; Cells is parallel to Prices.Columns, and may be shorter.
type PriceRow struct {
	Name  string
	Cells []Price
}

// Price is what a setting costs in one situation. Writes are all operations that
// are no reads.
type Price struct {
	Reads  checkers.Availability `json:"reads"`
	Writes checkers.Availability `json:"writes"`
	// Stale of StaleOf reads missed a write that was complete before they
	// began; StaleOf is 0 where that was not counted.
	Stale   int `json:"stale"`
	StaleOf int `json:"stale_of"`
}

// priceText is served, p50 and p99: "99.8 % 1.2 / 4.1 ms".
func priceText(a checkers.Availability) string {
	if a.Total() == 0 {
		return "—"
	}
	if a.OK == 0 {
		return "none served"
	}
	return fmt.Sprintf("%s  %s / %s ms", okShare(a.OK, a.Total()), millis(a.P50), millis(a.P99))
}

// millis keeps two or three digits.
func millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms >= 99.5:
		return fmt.Sprintf("%.0f", ms)
	case ms >= 9.95:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.2f", ms)
}

// staleText is the share of stale reads.
func (p Price) staleText() string {
	if p.StaleOf == 0 {
		return ""
	}
	lo, hi := checkers.Wilson(p.Stale, p.StaleOf)
	return fmt.Sprintf("%s %% stale (%s–%s %%)", percent(float64(p.Stale)/float64(p.StaleOf)), percent(lo), percent(hi))
}

// lines are what a cell shows.
func (p Price) lines() []string {
	lines := []string{"r " + priceText(p.Reads), "w " + priceText(p.Writes)}
	if s := p.staleText(); s != "" {
		lines = append(lines, "  "+s)
	}
	return lines
}

// print writes the prices as a table for terminals.
func (t *Prices) print(b *strings.Builder, o TableOptions) {
	vertical, horizontal, cross := "│", "─", "┼"
	if o.ASCII {
		vertical, horizontal, cross = "|", "-", "+"
	}
	name := 0
	widths := make([]int, len(t.Columns))
	for j, c := range t.Columns {
		widths[j] = utf8.RuneCountInString(c)
	}
	for _, r := range t.Rows {
		name = max(name, utf8.RuneCountInString(r.Name))
		for j := range r.Cells {
			for _, l := range r.Cells[j].lines() {
				widths[j] = max(widths[j], utf8.RuneCountInString(o.clean(l)))
			}
		}
	}
	fmt.Fprintf(b, "\n%s\n\n", o.paint("1", o.clean(t.Title)))
	for i, block := range columnBlocks(widths, name, o.Width) {
		if i > 0 {
			b.WriteString("\n")
		}
		line := func(head string, cell func(j int) string) {
			l := head + spaces(name-utf8.RuneCountInString(head))
			for _, j := range block {
				c := o.clean(cell(j))
				l += " " + vertical + " " + c + spaces(widths[j]-utf8.RuneCountInString(c))
			}
			b.WriteString(strings.TrimRight(l, " ") + "\n")
		}
		line("", func(j int) string { return t.Columns[j] })
		b.WriteString(strings.Repeat(horizontal, name))
		for _, j := range block {
			b.WriteString(horizontal + cross + strings.Repeat(horizontal, widths[j]+1))
		}
		b.WriteString("\n")
		for _, r := range t.Rows {
			high := 0
			for _, j := range block {
				if j < len(r.Cells) {
					high = max(high, len(r.Cells[j].lines()))
				}
			}
			for k := range high {
				head := ""
				if k == 0 {
					head = o.clean(r.Name)
				}
				line(head, func(j int) string {
					if j >= len(r.Cells) {
						return ""
					}
					if l := r.Cells[j].lines(); k < len(l) {
						return l[k]
					}
					return ""
				})
			}
		}
	}
}

// markdown writes the prices as a table of GitHub's dialect.
func (t *Prices) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s\n\n| |", mdText(t.Title))
	for _, c := range t.Columns {
		fmt.Fprintf(b, " %s |", mdText(c))
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(t.Columns)) + "\n")
	for _, r := range t.Rows {
		fmt.Fprintf(b, "| %s |", mdText(r.Name))
		for j := range t.Columns {
			if j >= len(r.Cells) {
				b.WriteString(" — |")
				continue
			}
			var parts []string
			for _, l := range r.Cells[j].lines() {
				parts = append(parts, mdText(strings.TrimSpace(l)))
			}
			fmt.Fprintf(b, " %s |", strings.Join(parts, "<br>"))
		}
		b.WriteString("\n")
	}
	b.WriteString("\nr: reads, w: writes and changes; the share that was served, and p50 / p99 of those.\n")
}
