package serve

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// mostListed are shown at most; filters find the others.
const mostListed = 500

// index is what the page of the folder shows.
type index struct {
	Filters  []filter
	Text     string
	Rows     []indexRow
	All      int // runs in the folder
	Matching int
	Matrices []indexLink
	Nights   []indexLink
}

// filter is a choice among the values that occur.
type filter struct {
	Name, Label string
	Values      []string
	Chosen      string
}

type indexRow struct {
	Link, Name, Started, World, Profile, Workload, Nemesis, Seed string
	Verdict, Class, Mark, Claims                                 string
}

type indexLink struct{ Link, Name, When string }

var filters = []struct {
	name, label string
	of          func(*found) string
}{
	{"verdict", "verdict", func(f *found) string { return verdictOf(f) }},
	{"profile", "profile", func(f *found) string { return f.Test.Profile }},
	{"workload", "workload", func(f *found) string { return f.Test.Workload }},
	{"nemesis", "faults", func(f *found) string { return faultsOf(f) }},
	{"world", "world", func(f *found) string { return f.Test.World }},
}

func verdictOf(f *found) string {
	if f.Verdict == "" {
		return "not judged"
	}
	return f.Verdict
}

func faultsOf(f *found) string {
	if f.Test.Nemesis == "" {
		return "none"
	}
	return f.Test.Nemesis
}

func newIndex(c contents, q url.Values) *index {
	m := &index{All: len(c.Runs), Text: q.Get("text")}
	shown := slices.Clone(c.Runs)
	for _, x := range filters {
		f := filter{Name: x.name, Label: x.label, Chosen: q.Get(x.name)}
		for i := range c.Runs {
			if v := x.of(&c.Runs[i]); v != "" && !slices.Contains(f.Values, v) {
				f.Values = append(f.Values, v)
			}
		}
		slices.Sort(f.Values)
		m.Filters = append(m.Filters, f)
		if f.Chosen != "" {
			shown = slices.DeleteFunc(shown, func(r found) bool { return x.of(&r) != f.Chosen })
		}
	}
	if words := strings.ToLower(m.Text); words != "" {
		shown = slices.DeleteFunc(shown, func(r found) bool {
			return !strings.Contains(strings.ToLower(strings.Join([]string{r.Path, r.Test.Name, r.Test.System, r.Claims, fmt.Sprint(r.Test.Seed)}, " ")), words)
		})
	}
	m.Matching = len(shown)
	for _, r := range shown[:min(len(shown), mostListed)] {
		row := indexRow{
			Link: "/run/" + escape(r.Path) + "/", Name: r.Path, Started: r.Test.Started.UTC().Format("2006-01-02 15:04:05"),
			World: r.Test.World, Profile: r.Test.Profile, Workload: r.Test.Workload, Nemesis: faultsOf(&r), Seed: fmt.Sprint(r.Test.Seed),
			Verdict: verdictOf(&r), Class: "unknown", Mark: "?", Claims: r.Claims,
		}
		switch r.Verdict {
		case "held":
			row.Class, row.Mark = "held", "✓"
		case "broken":
			row.Class, row.Mark = "broken", "✗"
		case "failed":
			row.Class, row.Mark = "broken", "!"
		}
		m.Rows = append(m.Rows, row)
	}
	for _, x := range []struct {
		from []found
		to   *[]indexLink
	}{{c.Matrices, &m.Matrices}, {c.Nights, &m.Nights}} {
		for _, f := range x.from {
			*x.to = append(*x.to, indexLink{"/file/" + escape(f.Path), f.Path, f.When.UTC().Format("2006-01-02 15:04")})
		}
	}
	return m
}
