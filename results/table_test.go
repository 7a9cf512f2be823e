package results

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/name; go test ./results -update rewrites it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// sampleMatrix has a cell of every state.
func sampleMatrix() *Matrix {
	return &Matrix{
		Title:   "Claims × profiles, seed 42, 50 runs a cell",
		Columns: []string{"linearizable", "no-lost-write", "converges"},
		Rows: []Row{
			{Group: "majority-lww", Name: "no fault", Cells: []Cell{
				{Expected: Breaks, Runs: 50, Ops: 204_000, Broken: 2, Note: "new-then-old reads while a write is partial", Path: "runs/lww-none-17"},
				{Expected: Holds, Runs: 50},
				{Expected: Holds, Runs: 50},
			}},
			{Group: "majority-lww", Name: "clock", Cells: []Cell{
				{Expected: Breaks, Runs: 50, Broken: 41, Path: "runs/lww-clock-1"},
				{Expected: Breaks, Runs: 50, Note: "a clock that is ahead wins over later writes"},
				{Expected: Holds, Runs: 50, Unknown: 3, Note: "hints and anti-entropy spread every write"},
			}},
			{Group: "abd", Name: "mix of all", Cells: []Cell{
				{Expected: Holds, Runs: 50, Broken: 1, Note: "quorums overlap and reads write back", Path: "runs/abd-mix-9"},
				{Runs: 50, Broken: 50},
			}},
			{Group: "abd", Name: "crash", Cells: []Cell{
				{Expected: Holds, Runs: 48, Failed: 2},
				{Expected: Holds, Runs: 50},
				{Expected: Holds, Runs: 50},
			}},
		},
		Command: "assay matrix --seed 42",
		Prices: &Prices{Title: "What it costs", Columns: []string{"no fault", "one node down"}, Rows: []PriceRow{
			{Name: "majority-lww", Cells: []Price{
				{Reads: served(100, 100, 1360, 12400), Writes: served(99, 100, 2100, 130000), Stale: 3, StaleOf: 100},
				{Reads: served(0, 40, 0, 0), Writes: served(1, 40, 9000, 9000)},
			}},
			{Name: "abd", Cells: []Price{{Reads: served(5, 5, 1, 1)}}},
		}},
	}
}

// served is what was measured of operations, with latencies in microseconds.
func served(ok, all int, p50, p99 time.Duration) checkers.Availability {
	return checkers.Availability{Node: -1, OK: ok, Fail: all - ok, P50: p50 * time.Microsecond, P99: p99 * time.Microsecond}
}

func TestTableGolden(t *testing.T) {
	for name, o := range map[string]TableOptions{
		"table.txt":        {},
		"table-ascii.txt":  {ASCII: true},
		"table-color.txt":  {Color: true},
		"table-narrow.txt": {Width: 60},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			require.NoError(t, sampleMatrix().Table(&b, o))
			golden(t, name, b.String())
		})
	}
	var md, js bytes.Buffer
	require.NoError(t, sampleMatrix().Markdown(&md))
	golden(t, "table.md", md.String())
	require.NoError(t, sampleMatrix().JSON(&js))
	golden(t, "table.json", js.String())
	require.True(t, json.Valid(js.Bytes()))
	var page bytes.Buffer
	require.NoError(t, sampleMatrix().HTML(&page, "runs"))
	golden(t, "matrix.html", strings.ReplaceAll(page.String(), pageStyle+matrixStyle, "…"))
}

// The page says what the table says, loads nothing, and its links lead from where
// it lies.
func TestMatrixPage(t *testing.T) {
	m := sampleMatrix()
	m.Rows[0].Name = `<script>alert(1)</script>`
	dir := t.TempDir()
	m.Rows[0].Cells[0].Path = filepath.ToSlash(filepath.Join(dir, "a b", "x"))
	require.NoError(t, m.Save(filepath.Join(dir, "saved")))
	text, err := os.ReadFile(filepath.Join(dir, "saved", "matrix.html"))
	require.NoError(t, err)
	page := string(text)
	require.NotContains(t, page, "<script")
	require.NotContains(t, page, "http://")
	require.Contains(t, page, `href="../a%20b/x/index.html"`)
	surprise, table := strings.Index(page, headings[Surprise]), strings.Index(page, "<table")
	require.True(t, 0 < surprise && surprise < table, "surprises come first")
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(page, -1) {
		require.Contains(t, page, `id="`+m[1]+`"`, "a link to nowhere")
	}
	for _, name := range []string{"matrix.txt", "matrix.md", "matrix.json"} {
		require.FileExists(t, filepath.Join(dir, "saved", name))
	}
	require.ErrorContains(t, m.Save(filepath.Join(dir, "saved", "matrix.txt")), "saving the matrix")
}

func TestTableOptionsAreKept(t *testing.T) {
	var ascii, narrow bytes.Buffer
	require.NoError(t, sampleMatrix().Table(&ascii, TableOptions{ASCII: true}))
	for _, r := range strings.ReplaceAll(ascii.String(), "\n", "") {
		require.True(t, r >= ' ' && r < 0x7f, "%q in an ASCII table", r)
	}
	require.NoError(t, sampleMatrix().Table(&narrow, TableOptions{Width: 60}))
	for _, line := range strings.Split(narrow.String(), "\n") {
		if strings.Contains(line, "│") {
			require.LessOrEqual(t, utf8.RuneCountInString(line), 60)
		}
	}
}

// A name from elsewhere must not drive the reader's terminal or break the
// table.
func TestTableHostileNames(t *testing.T) {
	m := &Matrix{Columns: []string{"a|b\n\x1b[2J"}, Rows: []Row{{Name: "<b>\u202ereversed", Cells: []Cell{{Runs: 1, Broken: 1, Path: "x>\n|y"}}}}}
	var term, md bytes.Buffer
	require.NoError(t, m.Table(&term, TableOptions{}))
	require.NotContains(t, term.String(), "\x1b")
	require.NotContains(t, term.String(), "\u202e")
	require.NoError(t, m.Markdown(&md))
	require.NotContains(t, md.String(), "<b>")
	for _, line := range strings.Split(md.String(), "\n") {
		if strings.HasPrefix(line, "|") {
			bars := strings.Count(line, "|") - strings.Count(line, `\|`)
			require.Equal(t, 3, bars, line)
		}
	}
}

func TestCellStates(t *testing.T) {
	for _, c := range []struct {
		cell     Cell
		observed checkers.Verdict
		state    State
		exit     int
	}{
		{Cell{}, checkers.Unknown, NotTried, ExitUnknown},
		{Cell{Expected: Holds, Runs: 5}, checkers.Held, AsExpected, ExitHeld},
		{Cell{Expected: Breaks, Runs: 5, Broken: 1}, checkers.Broken, AsExpected, ExitHeld},
		{Cell{Expected: Breaks, Runs: 5}, checkers.Held, NotSeen, ExitHeld},
		{Cell{Runs: 5, Broken: 1}, checkers.Broken, Noted, ExitHeld},
		{Cell{Expected: Holds, Runs: 5, Unknown: 1}, checkers.Unknown, Undecided, ExitUnknown},
		{Cell{Expected: Breaks, Runs: 5, Broken: 1, Unknown: 4}, checkers.Broken, AsExpected, ExitHeld},
		{Cell{Expected: Holds, Runs: 5, Failed: 1}, checkers.Unknown, RunFailed, ExitFailed},
		{Cell{Expected: Holds, Runs: 5, Broken: 1, Failed: 1, Unknown: 1}, checkers.Broken, Surprise, ExitBroken},
	} {
		require.Equal(t, c.observed, c.cell.Observed(), "%+v", c.cell)
		require.Equal(t, c.state, c.cell.State(), "%+v", c.cell)
		m := Matrix{Columns: []string{"c"}, Rows: []Row{{Name: "r", Cells: []Cell{c.cell}}}}
		require.Equal(t, c.exit, m.ExitStatus(), "%+v", c.cell)
	}
}

func TestExitStatus(t *testing.T) {
	fail := os.ErrClosed
	require.Equal(t, ExitHeld, ExitStatus(checkers.Held, nil))
	require.Equal(t, ExitBroken, ExitStatus(checkers.Broken, nil))
	require.Equal(t, ExitUnknown, ExitStatus(checkers.Unknown, nil))
	require.Equal(t, ExitFailed, ExitStatus(checkers.Held, fail))
	require.Equal(t, ExitFailed, ExitStatus(checkers.Unknown, fail))
	require.Equal(t, ExitBroken, ExitStatus(checkers.Broken, fail), "a counterexample is never masked")

	require.Equal(t, checkers.Unknown, checkers.Overall(nil))
	require.Equal(t, checkers.Held, checkers.Overall([]checkers.Result{{Verdict: checkers.Held}}))
	require.Equal(t, checkers.Broken, checkers.Overall([]checkers.Result{{Verdict: checkers.Broken}, {Verdict: checkers.Unknown}}))
}
