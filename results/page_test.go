package results

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

var (
	brokenSample = sampleOptions{clients: 10, pause: 18 * time.Millisecond, stale: true, lost: true}
	heldSample   = sampleOptions{clients: 10, pause: 18 * time.Millisecond}
)

// draw gives the page of a run, parsed.
func draw(t *testing.T, run *Run) (string, *html.Node) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Page(&b, run))
	doc, err := html.Parse(bytes.NewReader(b.Bytes()))
	require.NoError(t, err)
	return b.String(), doc
}

// all gives the elements that match.
func all(n *html.Node, match func(*html.Node) bool) []*html.Node {
	var out []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && match(d) {
			out = append(out, d)
		}
	}
	return out
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func hasClass(classes ...string) func(*html.Node) bool {
	return func(n *html.Node) bool {
		have := " " + attr(n, "class") + " "
		for _, c := range classes {
			if !strings.Contains(have, " "+c+" ") {
				return false
			}
		}
		return true
	}
}

func isTag(tag string) func(*html.Node) bool {
	return func(n *html.Node) bool { return n.Data == tag }
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

func TestPageOfABrokenRun(t *testing.T) {
	run := sampleRun(brokenSample)
	run.Logs = []NumberedFile{{0, "logs/node-0.log"}}
	run.KeyPages = []NumberedFile{{int(run.Verdicts.Results[0].Key), "key-5.html"}}
	_, doc := draw(t, run)

	require.Equal(t, "✗ broken", strings.TrimSpace(text(all(doc, hasClass("pill", "big"))[0])))
	ids := map[string]*html.Node{}
	for _, n := range all(doc, func(n *html.Node) bool { return attr(n, "id") != "" }) {
		require.NotContains(t, ids, attr(n, "id"), "an id stands for one element")
		ids[attr(n, "id")] = n
	}
	for _, id := range []string{"claims", "violation-1", "violation-2", "overview", "faults", "phases", "replicas", "test", "files"} {
		require.Contains(t, ids, id)
	}
	require.NotContains(t, ids, "violation-3", "the two claims that the same operations break are told once")
	links := map[string]bool{}
	for _, a := range all(doc, isTag("a")) {
		to := attr(a, "href")
		links[to] = true
		if anchor, ok := strings.CutPrefix(to, "#"); ok {
			require.Contains(t, ids, anchor)
		}
	}
	for _, to := range []string{"#violation-1", "#violation-2", "key-5.html", "logs/node-0.log", "history.assay"} {
		require.Contains(t, links, to)
	}
	for _, n := range all(doc, func(n *html.Node) bool { return attr(n, "aria-labelledby") != "" }) {
		for _, id := range strings.Fields(attr(n, "aria-labelledby")) {
			require.Contains(t, ids, id)
		}
	}

	// Each picture has a text alternative, each violation its numbers in both
	// the list and the picture.
	pictures := all(doc, hasClass("picture"))
	require.Len(t, pictures, 4)
	for _, p := range pictures {
		require.True(t, attr(p, "aria-label") != "" || len(all(p, isTag("desc"))) == 1)
	}
	steps := len(all(doc, hasClass("num")))
	badges := len(all(doc, hasClass("badge")))
	require.Equal(t, 7, badges)
	require.Equal(t, 2*7, steps, "in the list and in the table")
	require.Len(t, all(doc, hasClass("involved", "bar")), 7+2, "and in two legends")

	require.Contains(t, text(doc), "although")
	require.Contains(t, text(doc), run.Test.ReplayCommand())
	for _, f := range run.History.Faults {
		require.Contains(t, text(ids["faults"].Parent), f.Detail)
		require.Contains(t, text(ids["faults"].Parent), f.Effect.Evidence)
	}
	require.NotEmpty(t, all(doc, hasClass("fault", "unproved")))
	for _, class := range []string{"a-ok", "a-info", "a-fail", "p50", "p99"} {
		drawn := all(doc, func(n *html.Node) bool { return hasClass(class)(n) && len(attr(n, "d")) > 20 })
		require.NotEmpty(t, drawn, class)
	}
}

func TestPageOfAHeldRunShowsTheFirstOperations(t *testing.T) {
	run := sampleRun(heldSample)
	run.Verdicts.Verdict = checkers.Held
	_, doc := draw(t, run)
	require.Equal(t, "✓ held", strings.TrimSpace(text(all(doc, hasClass("pill", "big"))[0])))
	require.Empty(t, all(doc, hasClass("violation")))
	require.Greater(t, len(all(doc, hasClass("bar"))), firstOps)
}

// The page may load nothing and run nothing but its own script.
func TestPageIsSelfContained(t *testing.T) {
	_, doc := draw(t, sampleRun(brokenSample))
	for _, n := range all(doc, func(*html.Node) bool { return true }) {
		require.Empty(t, attr(n, "src"))
		for _, a := range n.Attr {
			require.False(t, strings.HasPrefix(a.Key, "on"), "%s has %s", n.Data, a.Key)
			require.NotContains(t, a.Val, "http")
		}
	}
	require.Empty(t, all(doc, isTag("link")))
	scripts := all(doc, isTag("script"))
	require.Len(t, scripts, 1)
	sum := sha256.Sum256([]byte(text(scripts[0])))
	require.Contains(t, policyFor(pageScript), "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
}

// What a store under test, its keys and its errors say is shown, never obeyed.
func TestPageEscapesEverything(t *testing.T) {
	const evil = `"'><script>alert(1)</script><img src=x onerror=alert(2)></title></svg></style>{{.Title}}` + "\x00\x1b[2J\u202e\nHELD"
	run := sampleRun(brokenSample)
	clean, cleanDoc := draw(t, run)
	h := run.History
	for i := range h.Keys {
		h.Keys[i] = evil
	}
	for i := range h.Errors[1:] {
		h.Errors[i+1] = evil
	}
	for i := range h.Faults {
		if i != 1 { // a kill stays one, and has its picture
			h.Faults[i].Kind = evil
		}
		h.Faults[i].Detail, h.Faults[i].Effect.Evidence, h.Faults[i].Recovery.Evidence = evil, evil, evil
	}
	for i := range h.Phases {
		h.Phases[i].Name = evil
	}
	h.Cut = errors.New(evil)
	for i := range run.Verdicts.Results {
		run.Verdicts.Results[i].Claim, run.Verdicts.Results[i].Reason = evil, evil
	}
	for i := range run.Verdicts.Phases {
		run.Verdicts.Phases[i].Phase, run.Verdicts.Phases[i].Group = evil, evil
	}
	run.Verdicts.Error, run.Verdicts.HistoryHash = evil, evil
	for node := range run.Replicas.States {
		for k := range run.Replicas.States[node] {
			run.Replicas.States[node][k].Stamp = evil
		}
	}
	run.Test.Name, run.Test.System, run.Test.Profile, run.Test.Nemesis, run.Test.World, run.Test.Workload = evil, evil, evil, evil, evil, evil
	run.Test.Replay = []string{"assay", evil}
	run.Test.Assay.Version = evil
	run.Logs, run.KeyPages = []NumberedFile{{0, evil}}, []NumberedFile{{5, "javascript:" + evil}}

	page, doc := draw(t, run)
	require.NotContains(t, page, "<script>alert")
	require.NotContains(t, page, "<img")
	require.Len(t, all(doc, isTag("script")), 1)
	require.Empty(t, all(doc, isTag("img")))
	for _, a := range all(doc, isTag("a")) {
		require.False(t, strings.HasPrefix(attr(a, "href"), "javascript:"), attr(a, "href"))
	}
	require.Equal(t, len(all(cleanDoc, isTag("section"))), len(all(doc, isTag("section"))), "no section was closed early")
	require.Contains(t, text(doc), "<script>alert(1)</script>", "it is shown as it is")
	require.Less(t, len(page), 6*len(clean))

	story := Story(run)
	require.NotContains(t, story, "\x1b")
	require.NotContains(t, story, "\u202e")
	require.NotContains(t, story, "\nHELD", "nothing can forge a line of the story")
}

// Whatever is missing, there is a page and a story that say so.
func TestPartialRuns(t *testing.T) {
	whole := func() *Run { return sampleRun(brokenSample) }
	for name, spoil := range map[string]func(*Run){
		"nothing at all":  func(r *Run) { *r = Run{} },
		"never judged":    func(r *Run) { r.Verdicts = nil },
		"no history":      func(r *Run) { r.History = nil },
		"empty history":   func(r *Run) { r.History = &history.History{} },
		"no replicas":     func(r *Run) { r.Replicas = nil },
		"unread replica":  func(r *Run) { r.Replicas.States[2] = nil },
		"elsewhere":       func(r *Run) { r.Replicas.States[2][5] = harness.Replica{Elsewhere: true} },
		"short replicas":  func(r *Run) { r.Replicas.States = [][]harness.Replica{{}, {{}}} },
		"wrong indices":   func(r *Run) { r.Verdicts.Results[0].Ops = []int{-1, 1 << 30}; r.Verdicts.Results[0].Key = 99 },
		"run failed":      func(r *Run) { *r.Verdicts = Verdicts{Error: "node 3 did not start"} },
		"no phases":       func(r *Run) { r.History.Phases = nil },
		"never healed":    func(r *Run) { r.History.Faults[0].End = history.Never },
		"no clients told": func(r *Run) { r.Test.Clients = 0 },
		"one operation":   func(r *Run) { r.History.Ops = r.History.Ops[:1] },
		"all at once": func(r *Run) {
			for i := range r.History.Ops {
				r.History.Ops[i].Call, r.History.Ops[i].Return = 0, 0
			}
			r.History.Phases = nil
		},
		"nothing returned": func(r *Run) {
			for i := range r.History.Ops {
				r.History.Ops[i].Return, r.History.Ops[i].Outcome = history.Never, history.Info
			}
		},
		"many faults": func(r *Run) {
			for i := range 2000 {
				f := sampleFault(i+10, "pause", "node 0", []int{0}, int64(i)*10*ms, int64(i)*10*ms+5*ms, "it stopped")
				r.History.Faults = append(r.History.Faults, f)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := whole()
			spoil(run)
			page, doc := draw(t, run)
			require.NotContains(t, page, "NaN")
			require.NotContains(t, page, "Inf")
			require.NotEmpty(t, all(doc, hasClass("pill", "big")))
			require.Less(t, len(page), 4<<20)
			require.NotEmpty(t, Story(run))
		})
	}
}

func TestPageIsTheSameEveryTime(t *testing.T) {
	first, _ := draw(t, sampleRun(brokenSample))
	second, _ := draw(t, sampleRun(brokenSample))
	require.Equal(t, first, second)
}

// millionOps is a run of about 1,000,000 operations.
var millionOps = sampleOptions{clients: 108, pause: 400 * time.Microsecond, stale: true, lost: true}

func TestPageOfAMillionOperations(t *testing.T) {
	if testing.Short() {
		t.Skip("makes up a million operations")
	}
	run := sampleRun(millionOps)
	require.Greater(t, len(run.History.Ops), 1_000_000)
	var b bytes.Buffer
	start := time.Now()
	require.NoError(t, Page(&b, run))
	took := time.Since(start)
	require.Less(t, b.Len(), 10<<20)
	require.Less(t, took, 10*time.Second, "the figure is 3 s on an idle machine; see BenchmarkPage")
	t.Logf("%s: %v, %s bytes", counted(len(run.History.Ops), "operation", "operations"), took.Round(time.Millisecond), count(b.Len()))
}

func BenchmarkPage(b *testing.B) {
	for _, o := range []sampleOptions{brokenSample, millionOps} {
		run := sampleRun(o)
		b.Run(fmt.Sprintf("ops=%d", len(run.History.Ops)), func(b *testing.B) {
			var page bytes.Buffer
			for b.Loop() {
				page.Reset()
				require.NoError(b, Page(&page, run))
			}
			b.ReportMetric(float64(page.Len()), "page-bytes")
		})
	}
}

func BenchmarkStory(b *testing.B) {
	run := sampleRun(millionOps)
	for b.Loop() {
		_ = Story(run)
	}
}
