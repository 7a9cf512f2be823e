package results

import (
	"crypto/sha256"
	_ "embed" // the parts of the page
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"slices"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/history"
)

var (
	//go:embed assets/page.css
	pageStyle string
	//go:embed assets/page.js
	pageScript string
	//go:embed assets/explore.js
	exploreScript string
	//go:embed assets/page.html
	pageSource string

	pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
		"count":   count,
		"span":    span,
		"mark":    markOf,
		"stamp":   func(t int64) string { return stamp(t, 3) },
		"nodes":   nodeList,
		"add":     func(a, b float64) float64 { return round1(a + b) },
		"neg":     func(a float64) float64 { return -a },
		"inc":     func(i int) int { return i + 1 },
		"fileURL": func(f string) string { return (&url.URL{Path: f}).EscapedPath() },
	}).Parse(pageSource))
)

// policyFor forbids a page everything but its own style and its own script, so
// that nothing in a key's name or an error can load or run anything.
func policyFor(script string) string {
	sum := sha256.Sum256([]byte(script))
	return "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// pageModel is what the template sees.
type pageModel struct {
	Policy       string
	Style        template.CSS
	Script       template.JS
	Title        string
	VerdictWord  string
	VerdictMark  string
	VerdictClass string
	Summary      []string
	Claims       []claimRow
	Violations   []violation
	Overview     *overview
	Reach        *strips
	Divergence   *strips
	First        *excerpt
	Explorer     *Explorer
	ExplorerPart template.HTML
	Faults       []history.Fault
	MoreFaults   int
	Phases       []phaseRow
	Replicas     *replicaTable
	Facts        []fact
	Command      string
	Files        []file
	Logs         []NumberedFile
	Assay        string
	Cut          string
}

type claimRow struct {
	checkers.Result
	Class   string
	Key     string
	KeyPage string // Porcupine's picture of the key
	Anchor  string // of the violation in this page
}

type violation struct {
	Number int
	telling
	Excerpt *excerpt
	Space   *spacetime
	KeyPage string
}

type phaseRow struct {
	PhaseStats
	All   int
	Ratio string // of ok
	Width float64
	First bool // of its phase
}

type fact struct{ Name, Value string }

type file struct{ Name, What string }

// mostViolations are drawn at most; a page with more says nothing new.
const mostViolations = 3

// Page draws a run as one HTML file that needs no other file and no network.
// It takes O(n log n) time in the operations and is of bounded size: single
// operations are drawn around violations only.
func Page(w io.Writer, run *Run) error { return page(w, run, nil) }

func page(w io.Writer, run *Run, x *Explorer) error {
	script := pageScript
	if x != nil {
		script += exploreScript
	}
	m := pageModel{
		Policy:      policyFor(script),
		Style:       template.CSS(pageStyle),
		Script:      template.JS(script),
		Title:       title(&run.Test),
		VerdictWord: verdictText(run),
		Summary:     facts(run),
		Command:     run.Test.ReplayCommand(),
		Facts:       testFacts(run),
		Logs:        run.Logs,
		Assay:       run.Test.Assay.String(),
	}
	m.setVerdict(run)
	keyPages := map[int32]string{}
	for _, p := range run.KeyPages {
		keyPages[int32(p.N)] = p.File
	}
	var t timeline
	if run.History != nil {
		t = timelineOf(run.History)
	}
	anchors := m.addViolations(run, &t, keyPages)
	m.addClaims(run, keyPages, anchors)
	if h := run.History; h != nil {
		drawn := func(v violation) bool { return v.Excerpt != nil }
		if x != nil {
			part, err := x.draw(run)
			if err != nil {
				return err
			}
			m.Explorer, m.ExplorerPart = x, part
			m.Policy += "; connect-src 'self'; form-action 'self'"
		} else if !slices.ContainsFunc(m.Violations, drawn) {
			m.First = drawExcerpt(run, nil, t.typicalLatency())
		}
		m.Overview = drawOverview(h, &t, m.Violations)
		m.Reach, m.Divergence = drawReach(run), drawDivergence(run)
		m.Faults = h.Faults[:min(len(h.Faults), mostFaults)]
		m.MoreFaults = len(h.Faults) - len(m.Faults)
		if h.Cut != nil {
			m.Cut = h.Cut.Error()
		}
	}
	m.addPhases(run)
	m.Replicas = replicasOf(run)
	m.Files = runFiles(run)
	if err := pageTemplate.Execute(w, &m); err != nil {
		return fmt.Errorf("results: drawing the page: %w", err)
	}
	return nil
}

func (m *pageModel) setVerdict(run *Run) {
	m.VerdictMark, m.VerdictClass = "?", "unknown"
	if run.Verdicts == nil {
		return
	}
	v := run.Verdicts.Verdict
	if run.Verdicts.Error != "" && v != checkers.Broken {
		m.VerdictMark, m.VerdictClass = "!", "broken"
		return
	}
	m.VerdictMark, m.VerdictClass = markOf(v), v.String()
}

// addViolations tells the broken claims. It gives the anchor of each result
// that has one: claims broken by the very same operations share it.
func (m *pageModel) addViolations(run *Run, t *timeline, keyPages map[int32]string) map[*checkers.Result]string {
	anchors := map[*checkers.Result]string{}
	byOps := map[string]string{}
	for _, r := range brokenResults(run) {
		same := fmt.Sprint(r.Key, r.Ops)
		if a, ok := byOps[same]; ok && len(r.Ops) > 0 {
			anchors[r] = a
			continue
		}
		if len(m.Violations) == mostViolations {
			continue
		}
		v := violation{Number: len(m.Violations) + 1, telling: tell(run, r, 12, 6), KeyPage: keyPages[r.Key]}
		if len(v.Steps) > 0 {
			v.Excerpt = drawExcerpt(run, &v.telling, t.typicalLatency())
			if len(m.Violations) == 0 {
				v.Space = drawSpacetime(run, &v.telling, t.typicalLatency())
			}
		}
		anchors[r] = fmt.Sprintf("violation-%d", v.Number)
		byOps[same] = anchors[r]
		m.Violations = append(m.Violations, v)
	}
	return anchors
}

func (m *pageModel) addClaims(run *Run, keyPages map[int32]string, anchors map[*checkers.Result]string) {
	if run.Verdicts == nil {
		return
	}
	for i := range run.Verdicts.Results {
		r := &run.Verdicts.Results[i]
		row := claimRow{Result: *r, Class: r.Verdict.String(), Anchor: anchors[r]}
		if r.Verdict == checkers.Broken {
			if run.History != nil {
				row.Key = clip(run.History.KeyName(r.Key), 60)
			}
			row.KeyPage = keyPages[r.Key]
		}
		m.Claims = append(m.Claims, row)
	}
}

func (m *pageModel) addPhases(run *Run) {
	if run.Verdicts == nil {
		return
	}
	previous := ""
	for _, p := range run.Verdicts.Phases {
		row := phaseRow{PhaseStats: p, All: p.OK + p.Fail + p.Info, Ratio: "—", First: p.Phase != previous}
		if row.All > 0 {
			share := float64(p.OK) / float64(row.All)
			row.Ratio = okShare(p.OK, row.All)
			row.Width = round1(100 * share)
		}
		previous = p.Phase
		m.Phases = append(m.Phases, row)
	}
}

// okShare never rounds to 100 % what is not all, nor to 0 % what is not none.
func okShare(ok, all int) string {
	p := 100 * float64(ok) / float64(all)
	switch {
	case ok == all:
		return "100 %"
	case p > 99.99:
		return "> 99.99 %"
	case ok > 0 && p < 0.01:
		return "< 0.01 %"
	}
	return fmt.Sprintf("%.2f %%", p)
}

func testFacts(run *Run) []fact {
	t := &run.Test
	var out []fact
	add := func(name, format string, args ...any) {
		out = append(out, fact{name, fmt.Sprintf(format, args...)})
	}
	text := func(name, value string) {
		if value != "" {
			add(name, "%s", value)
		}
	}
	text("test", t.Name)
	text("world", t.World)
	text("system", t.System)
	text("profile", t.Profile)
	if t.N > 0 {
		add("N / R / W", "%d / %d / %d", t.N, t.R, t.W)
	}
	text("workload", t.Workload)
	if t.Nemesis == "" {
		add("faults", "none")
	}
	text("faults", t.Nemesis)
	add("seed", "%d", t.Seed)
	add("nodes", "%d", t.Nodes)
	add("clients", "%d", t.Clients)
	add("keys", "%d", t.Keys)
	if t.Rate > 0 {
		add("rate", "%g operations a second", t.Rate)
	} else {
		add("rate", "as fast as they go")
	}
	add("operation timeout", "%s", span(t.OpTimeout))
	add("phases", "%s before, %s under faults, %s recovery; replicas have %s to agree", span(t.Before), span(t.During), span(t.Recovery), span(t.Settle))
	if !t.Started.IsZero() {
		add("started", "%s", t.Started.UTC().Format(time.RFC3339))
	}
	if v := run.Verdicts; v != nil {
		text("history hash", v.HistoryHash)
	}
	return out
}

func runFiles(run *Run) []file {
	files := []file{{testFile, "what was run"}}
	if run.History != nil {
		files = append(files, file{historyFile, "every operation and fault"})
	}
	if run.Verdicts != nil {
		files = append(files, file{verdictsFile, "the answers"})
	}
	if run.Replicas != nil {
		files = append(files, file{replicasFile, "what each replica held at the end"})
	}
	if run.Trace != nil {
		files = append(files, file{traceFile, "messages around the violation"})
	}
	for _, p := range run.KeyPages {
		what := "Porcupine's picture of a key"
		if run.History != nil {
			what = "Porcupine's picture of key " + clip(run.History.KeyName(int32(p.N)), 60)
		}
		files = append(files, file{p.File, what})
	}
	return files
}

func nodeList(nodes []int) string {
	s := fmt.Sprint(nodes)
	return s[1 : len(s)-1]
}
