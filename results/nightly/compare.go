package nightly

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/assay-chaos/assay/results"
)

// Load reads the summary of a night from its directory.
func Load(dir string) (*Summary, error) {
	text, err := os.ReadFile(filepath.Join(dir, summaryFile))
	if err != nil {
		return nil, fmt.Errorf("nightly: %s is no night's directory: %w", dir, err)
	}
	s := new(Summary)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("nightly: the summary in %s cannot be read: %w", dir, err)
	}
	return s, nil
}

// Compare puts two nights side by side: the sums, and the cells that went from good
// to bad or back.
func Compare(a, b *Summary) *results.Comparison {
	c := &results.Comparison{Title: "Two nights", Names: [2]string{a.Path, b.Path}}
	sums := results.ComparisonPart{Heading: "In all", Columns: []string{"", "first", "second"}}
	x, y := a.total(), b.total()
	row := func(name, first, second string, matters bool) {
		sums.Rows = append(sums.Rows, results.ComparisonRow{Cells: []string{name, first, second}, Changed: matters && first != second})
	}
	row("night", a.Date, b.Date, false)
	row("verdict", a.Word(), b.Word(), true)
	for _, n := range []struct {
		name          string
		first, second int
		matters       bool
	}{
		{"runs", x.Runs, y.Runs, false}, {"operations", x.Ops, y.Ops, false}, {"answers", x.Promises, y.Promises, false},
		{"broken", x.Broken, y.Broken, true}, {"unknown", x.Unknown, y.Unknown, true}, {"failed", x.Failed, y.Failed, true},
	} {
		row(n.name, strconv.Itoa(n.first), strconv.Itoa(n.second), n.matters)
	}
	changed := results.ComparisonPart{Heading: "Settings that changed", Columns: []string{"stage and setting", "first", "second", "why"}}
	first, second := a.cells(), b.cells()
	var names []string
	for name := range first {
		names = append(names, name)
	}
	for name := range second {
		if _, ok := first[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		p, q := first[name], second[name]
		if p.word() != q.word() {
			why := q.Why
			if why == "" {
				why = p.Why
			}
			changed.Rows = append(changed.Rows, results.ComparisonRow{Cells: []string{name, p.word(), q.word(), why}, Changed: q.word() != "held"})
		}
	}
	if len(changed.Rows) == 0 {
		changed.Rows = []results.ComparisonRow{{Cells: []string{"none", "", "", ""}}}
	}
	c.Parts = []results.ComparisonPart{sums, changed}
	return c
}

// cells are those of all stages, by stage and name.
func (s *Summary) cells() map[string]Cell {
	m := map[string]Cell{}
	for _, st := range s.Stages {
		for _, c := range st.Cells {
			m[st.Name+": "+c.Name] = *c
		}
	}
	return m
}

// word is the verdict of a cell.
func (c Cell) word() string {
	switch {
	case c.Runs == 0:
		return "not run"
	case c.Broken > 0:
		return "broken"
	case c.Failed > 0:
		return "failed"
	case c.Unknown > 0:
		return "unknown"
	}
	return "held"
}
