package results

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/assay-chaos/assay/checkers"
)

// TableOptions say what the reader's screen can do. The zero value is plain
// Unicode text without a limit of width: right for files.
type TableOptions struct {
	Color bool
	ASCII bool
	// Width in characters; a wider table is printed as several, each with
	// as many columns as fit. 0 is no limit.
	Width int
}

// OptionsFor looks at where the table goes. Colour is for terminals only, and
// not if NO_COLOR is set (https://no-color.org).
func OptionsFor(f *os.File) TableOptions {
	if !term.IsTerminal(int(f.Fd())) {
		return TableOptions{}
	}
	var o TableOptions
	o.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if w, _, err := term.GetSize(int(f.Fd())); err == nil {
		o.Width = w
	}
	// The locale counts in this order (POSIX, section 8.2).
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			v = strings.ToLower(v)
			o.ASCII = !strings.Contains(v, "utf-8") && !strings.Contains(v, "utf8")
			break
		}
	}
	return o
}

// Table prints the matrix for a terminal: in words the surprises, the table,
// what its marks mean, the other cells that need a look, what the settings cost,
// and every counterexample.
func (m *Matrix) Table(w io.Writer, o TableOptions) error {
	var b strings.Builder
	if m.Title != "" {
		fmt.Fprintf(&b, "%s\n\n", o.clean(m.Title))
	}
	for _, s := range surprising {
		if m.printState(&b, o, s) {
			b.WriteString("\n")
		}
	}
	for i, block := range m.blocks(o) {
		if i > 0 {
			b.WriteString("\n")
		}
		m.printBlock(&b, o, block)
	}
	m.printLegend(&b, o)
	for _, s := range []State{RunFailed, Undecided} {
		var part strings.Builder
		if m.printState(&part, o, s) {
			b.WriteString("\n" + part.String())
		}
	}
	if m.Prices != nil {
		m.Prices.print(&b, o)
	}
	m.printPaths(&b, o)
	if m.Command != "" {
		fmt.Fprintf(&b, "\nMake it again: %s\n", o.clean(m.Command))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// marks give each state a shape, so that colour only repeats what is there.
var marks = map[State]struct{ unicode, ascii, color, meaning string }{
	Surprise:   {"✗", "!", "1;31", "BROKEN, though it should hold"},
	RunFailed:  {"E", "E", "1;33", "a run failed"},
	Undecided:  {"?", "?", "33", "undecided"},
	AsExpected: {"✓", "+", "32", "as expected"},
	NotSeen:    {"○", "o", "36", "expected to break, not seen to (no proof)"},
	Noted:      {"·", ".", "", "nothing was expected"},
	NotTried:   {"—", "-", "2", "not tried"},
}

// allStates is the order of the legend.
var allStates = []State{AsExpected, NotSeen, Noted, NotTried, Undecided, RunFailed, Surprise}

func (o TableOptions) mark(s State) string {
	if o.ASCII {
		return marks[s].ascii
	}
	return marks[s].unicode
}

func (o TableOptions) paint(color, s string) string {
	if !o.Color || color == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

// clean makes text that came from elsewhere safe to print on one line.
func (o TableOptions) clean(s string) string {
	s = printable(s)
	if !o.ASCII {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '–', r == '—':
			return '-'
		case r == '·':
			return '/'
		case r > unicode.MaxASCII:
			return '?'
		}
		return r
	}, s)
}

// printable replaces whatever could move the cursor or hide text: control
// characters, escapes, and marks of writing direction.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsPrint(r) {
			return r
		}
		if unicode.IsSpace(r) {
			return ' '
		}
		return '\uFFFD'
	}, s)
}

// lines are the two lines of a cell: what was expected and seen, and the rate.
func (o TableOptions) lines(c Cell) [2]string {
	if !c.Tried() {
		return [2]string{o.mark(NotTried)}
	}
	first := fmt.Sprintf("%s %-6s %-7s %d/%d", o.mark(c.State()), o.clean(c.Expected.String()), c.Observed(), c.Broken, c.Runs)
	second := ""
	if c.Broken > 0 {
		second = "  " + o.clean(c.rate())
	}
	for _, n := range []struct {
		count int
		word  string
	}{{c.Unknown, "unknown"}, {c.Failed, "failed"}} {
		if n.count > 0 {
			second += fmt.Sprintf("  %d %s", n.count, n.word)
		}
	}
	return [2]string{first, second}
}

// blocks cuts the columns into runs that fit the width.
func (m *Matrix) blocks(o TableOptions) [][]int {
	widths := make([]int, len(m.Columns))
	for j := range widths {
		widths[j] = m.columnWidth(o, j)
	}
	return columnBlocks(widths, m.nameWidth(o), o.Width)
}

// columnBlocks cuts columns of the given widths, with names before them, into runs
// that fit a width; 0 is no limit.
func columnBlocks(widths []int, name, width int) [][]int {
	var out [][]int
	var block []int
	used := name
	for j := range widths {
		w := 3 + widths[j]
		if width > 0 && len(block) > 0 && used+w > width {
			out, block, used = append(out, block), nil, name
		}
		block = append(block, j)
		used += w
	}
	return append(out, block)
}

func (m *Matrix) nameWidth(o TableOptions) int {
	w := 0
	for i := range m.Rows {
		indent := 0
		if m.Rows[i].Group != "" {
			indent = 2
		}
		w = max(w, indent+utf8.RuneCountInString(o.clean(m.Rows[i].Name)))
	}
	return w
}

func (m *Matrix) columnWidth(o TableOptions, j int) int {
	w := utf8.RuneCountInString(o.clean(m.Columns[j]))
	for i := range m.Rows {
		if j < len(m.Rows[i].Cells) {
			for _, line := range o.lines(m.Rows[i].Cells[j]) {
				w = max(w, utf8.RuneCountInString(line))
			}
		}
	}
	return w
}

func (m *Matrix) printBlock(b *strings.Builder, o TableOptions, columns []int) {
	vertical, horizontal, cross := "│", "─", "┼"
	if o.ASCII {
		vertical, horizontal, cross = "|", "-", "+"
	}
	name := m.nameWidth(o)
	widths := make([]int, len(columns))
	for i, j := range columns {
		widths[i] = m.columnWidth(o, j)
	}
	line := func(head, headColor string, cells []string, colors []string) {
		var l strings.Builder
		l.WriteString(o.paint(headColor, head) + spaces(name-utf8.RuneCountInString(head)))
		for i, c := range cells {
			l.WriteString(" " + vertical + " " + o.paint(colors[i], c) + spaces(widths[i]-utf8.RuneCountInString(c)))
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}

	cells, colors := make([]string, len(columns)), make([]string, len(columns))
	for i, j := range columns {
		cells[i], colors[i] = o.clean(m.Columns[j]), "1"
	}
	line("", "", cells, colors)
	b.WriteString(strings.Repeat(horizontal, name))
	for _, w := range widths {
		b.WriteString(horizontal + cross + strings.Repeat(horizontal, w+1))
	}
	b.WriteString("\n")

	group := ""
	for i := range m.Rows {
		row := &m.Rows[i]
		if row.Group != group {
			group = row.Group
			b.WriteString(o.paint("1", o.clean(group)) + "\n")
		}
		head := o.clean(row.Name)
		if row.Group != "" {
			head = "  " + head
		}
		second, two := make([]string, len(columns)), false
		for k, j := range columns {
			var c Cell
			if j < len(row.Cells) {
				c = row.Cells[j]
			}
			l := o.lines(c)
			cells[k], second[k], colors[k] = l[0], l[1], marks[c.State()].color
			two = two || l[1] != ""
		}
		line(head, "", cells, colors)
		if two {
			line("", "", second, colors)
		}
	}
}

func spaces(n int) string { return strings.Repeat(" ", max(0, n)) }

// printLegend explains the marks that occur.
func (m *Matrix) printLegend(b *strings.Builder, o TableOptions) {
	seen := map[State]bool{}
	m.each(func(_ *Row, _ string, c *Cell) { seen[c.State()] = true })
	b.WriteString("\nA cell: mark, expected, observed, broken runs of runs; below, the 95 % interval of the rate.\n")
	for _, s := range allStates {
		if seen[s] {
			fmt.Fprintf(b, "  %s %s\n", o.paint(marks[s].color, o.mark(s)), marks[s].meaning)
		}
	}
}

// surprising are the states in which theory and runs disagree, or seem to.
var surprising = []State{Surprise, NotSeen}

// headings are over the cells that need a look.
var headings = map[State]string{
	Surprise:  "Broken, though they should hold",
	RunFailed: "Runs that failed",
	Undecided: "Undecided",
	NotSeen:   "Expected to break, but not seen to (no proof that they hold)",
}

// printState tells in words of the cells in a state. It says whether there are
// any.
func (m *Matrix) printState(b *strings.Builder, o TableOptions, s State) (any bool) {
	m.each(func(row *Row, column string, c *Cell) {
		if c.State() != s {
			return
		}
		if !any {
			fmt.Fprintf(b, "%s:\n", o.paint("1", headings[s]))
			any = true
		}
		fmt.Fprintf(b, "  %s %s: %s\n", o.paint(marks[s].color, o.mark(s)), o.clean(where(row, column)), o.clean(c.tell()))
	})
	return any
}

// tell says what happened in a cell that is not plainly as expected.
func (c Cell) tell() string {
	var s string
	_, hi := checkers.Wilson(c.Broken, c.Runs)
	switch c.State() {
	case Surprise:
		s = fmt.Sprintf("%d of %d runs broke it", c.Broken, c.Runs)
	case RunFailed:
		s = fmt.Sprintf("%d of %d runs failed", c.Failed, c.Runs+c.Failed)
	case Undecided:
		s = fmt.Sprintf("%d of %d runs could not tell", c.Unknown, c.Runs)
	case NotSeen:
		s = fmt.Sprintf("0 of %d runs broke it, so fewer than %s %% do (95 %%)", c.Runs, percent(hi))
	}
	if c.Note != "" {
		s += "; " + c.Note
	}
	return s
}

// mostPaths are listed at most; more would hide what stands above them.
const mostPaths = 40

func (m *Matrix) printPaths(b *strings.Builder, o TableOptions) {
	first, paths := true, map[string]bool{}
	m.each(func(_ *Row, _ string, c *Cell) {
		if c.Path != "" {
			paths[c.Path] = true
		}
	})
	if len(paths) > mostPaths {
		fmt.Fprintf(b, "\n%s: %d run directories; the page and the JSON name the one of each cell (--save, --format)\n", o.paint("1", "Counterexamples"), len(paths))
		return
	}
	m.each(func(row *Row, column string, c *Cell) {
		if c.Path == "" {
			return
		}
		if first {
			fmt.Fprintf(b, "\n%s:\n", o.paint("1", "Counterexamples"))
			first = false
		}
		fmt.Fprintf(b, "  %s: %s\n", o.clean(where(row, column)), o.clean(c.Path))
	})
}
