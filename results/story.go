package results

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/history"
)

// storyWidth is where lines of the story break, in characters.
const storyWidth = 110

// mostStorySteps is how many operations a story tells.
const mostStorySteps = 8

// Story tells a run in about 25 lines of plain text, for the end of a command:
// the verdict, what was done and broken, the claims, the first violation step
// by step, and how to go on. The command to replay is the last line.
func Story(run *Run) string {
	var b strings.Builder
	b.WriteString(headline(run) + "\n\n")
	for _, line := range facts(run) {
		wrap(&b, "", "  ", line)
	}
	if v := run.Verdicts; v != nil && len(v.Results) > 0 {
		b.WriteString("\nClaims\n")
		storyClaims(&b, v.Results)
	}
	if broken := brokenResults(run); len(broken) > 0 {
		storyViolation(&b, tell(run, broken[0], mostStorySteps, 2))
	}
	b.WriteString("\n")
	if run.Path != "" {
		fmt.Fprintf(&b, "Run directory:  %s (open %s)\n", printable(run.Path), pageFile)
	}
	if len(run.Test.Replay) > 0 {
		fmt.Fprintf(&b, "Run it again:   %s\n", printable(run.Test.ReplayCommand()))
	}
	return b.String()
}

// headline is the verdict and what it is about.
func headline(run *Run) string {
	return strings.ToUpper(verdictText(run)) + "  " + printable(title(&run.Test))
}

// verdictText is the verdict in a word or two.
func verdictText(run *Run) string {
	switch {
	case run.Verdicts == nil:
		return "not judged"
	case run.Verdicts.Error != "" && run.Verdicts.Verdict != checkers.Broken:
		return "run failed"
	}
	return run.Verdicts.Verdict.String()
}

// title is what was tested, in a line.
func title(t *Test) string {
	what := t.Profile
	if what == "" {
		what = t.System
	}
	if what == "" {
		what = t.Name
	}
	if t.N > 0 {
		what += fmt.Sprintf(" %d/%d/%d", t.N, t.R, t.W)
	}
	if t.World == "" { // a history from elsewhere
		return what
	}
	under := t.Nemesis
	if under == "" || under == "none" {
		under = "no fault"
	}
	return fmt.Sprintf("%s under %s (%s, seed %d)", what, under, t.World, t.Seed)
}

// tally counts what a history holds.
type tally struct {
	ok, fail, info int
	byKind         []kindCount // faults, in order of first appearance
	// noEffect and notHealed are the faults without proof.
	noEffect, notHealed []*history.Fault
}

type kindCount struct {
	kind string
	n    int
}

func tallyOf(h *history.History) tally {
	var t tally
	for i := range h.Ops {
		switch h.Ops[i].Outcome {
		case history.OK:
			t.ok++
		case history.Fail:
			t.fail++
		default:
			t.info++
		}
	}
	for i := range h.Faults {
		f := &h.Faults[i]
		k := slices.IndexFunc(t.byKind, func(k kindCount) bool { return k.kind == f.Kind })
		if k < 0 {
			k = len(t.byKind)
			t.byKind = append(t.byKind, kindCount{kind: f.Kind})
		}
		t.byKind[k].n++
		if !f.Effect.OK {
			t.noEffect = append(t.noEffect, f)
		}
		if !f.Recovery.OK {
			t.notHealed = append(t.notHealed, f)
		}
	}
	return t
}

// facts are the lines about what was done.
func facts(run *Run) []string {
	var lines []string
	t, h := &run.Test, run.History
	if v := run.Verdicts; v != nil && v.Error != "" {
		lines = append(lines, "The run failed: "+printable(v.Error))
	}
	if h == nil {
		return append(lines, "No history was recorded.")
	}
	if t.World == "" {
		return append(lines, elsewhere(h)...)
	}
	ran := fmt.Sprintf("Ran %s on %s with %s on %s", span(time.Duration(h.End())), counted(t.Nodes, "node", "nodes"),
		counted(t.Clients, "client", "clients"), counted(max(t.Keys, len(h.Keys)), "key", "keys"))
	if len(h.Phases) > 0 {
		var phases []string
		for _, p := range h.Phases {
			phases = append(phases, printable(p.Name)+" "+span(time.Duration(min(p.End, h.End())-p.Start)))
		}
		ran += ": " + strings.Join(phases, ", ")
	}
	lines = append(lines, ran+".")
	if run.Verdicts != nil && run.Verdicts.Stopped {
		lines = append(lines, "The load ended at the first violation, as was asked for.")
	}
	n := tallyOf(h)
	lines = append(lines, fmt.Sprintf("%s: %s ok, %s fail, %s info.", counted(len(h.Ops), "operation", "operations"), count(n.ok), count(n.fail), count(n.info)))
	lines = append(lines, n.faults(len(h.Faults)))
	if h.Cut != nil {
		lines = append(lines, "The history is cut off: "+printable(h.Cut.Error()))
	}
	return lines
}

// elsewhere is what is known of a history that another tool recorded.
func elsewhere(h *history.History) []string {
	processes := map[int32]bool{}
	for i := range h.Ops {
		processes[h.Ops[i].Process] = true
	}
	n := tallyOf(h)
	lines := []string{fmt.Sprintf("%s by %s on %s: %s ok, %s fail, %s info.", counted(len(h.Ops), "operation", "operations"),
		counted(len(processes), "process", "processes"), counted(len(h.Keys), "key", "keys"), count(n.ok), count(n.fail), count(n.info))}
	if len(h.Faults) > 0 {
		lines = append(lines, n.faults(len(h.Faults)))
	}
	if h.Cut != nil {
		lines = append(lines, "The history is cut off: "+printable(h.Cut.Error()))
	}
	return lines
}

// faults says what was injected, and whether it bit.
func (t *tally) faults(all int) string {
	if all == 0 {
		return "No faults."
	}
	var kinds []string
	for _, k := range t.byKind {
		kinds = append(kinds, count(k.n)+" "+printable(k.kind))
	}
	s := counted(all, "fault", "faults") + ": " + list(kinds)
	if len(t.noEffect) == 0 && len(t.notHealed) == 0 {
		return s + "; each was proved to bite and to heal."
	}
	if n := len(t.noEffect); n > 0 {
		f := t.noEffect[0]
		s += fmt.Sprintf("; %d NOT PROVED TO BITE, first %s: %s", n, printable(faultName(f)), proofText(f.Effect))
	}
	if n := len(t.notHealed); n > 0 {
		f := t.notHealed[0]
		s += fmt.Sprintf("; %d NOT PROVED TO HEAL, first %s: %s", n, printable(faultName(f)), proofText(f.Recovery))
	}
	return s + "."
}

// proofText is the evidence, or that there is none.
func proofText(p history.Proof) string {
	if p.Evidence == "" {
		return "no evidence"
	}
	return clip(printable(p.Evidence), 100)
}

// markOf gives verdicts a shape besides their word.
func markOf(v checkers.Verdict) string {
	switch v {
	case checkers.Held:
		return "✓"
	case checkers.Broken:
		return "✗"
	}
	return "?"
}

// claimText is a claim's name, which a user's own checker may have given.
func claimText(c checkers.Claim) string { return clip(printable(string(c)), 40) }

func storyClaims(b *strings.Builder, results []checkers.Result) {
	width := 0
	for _, r := range results {
		width = max(width, len([]rune(claimText(r.Claim))))
	}
	for _, r := range results {
		head := fmt.Sprintf("  %s %-*s  %-7s  ", markOf(r.Verdict), width, claimText(r.Claim), r.Verdict)
		indent := spaces(4 + width + 11)
		wrap(b, head, indent, printable(r.Reason))
		for _, f := range r.Figures {
			wrap(b, indent, indent+"  ", printable(f.String()))
		}
		if len(r.Visibility) > 0 {
			wrap(b, indent, indent, "seen by reads that began so long after the acknowledgement:")
		}
		for _, v := range r.Visibility {
			wrap(b, indent+"  ", indent+"  ", v.String())
		}
	}
}

// brokenResults are the broken ones, those that can be told by operations
// first.
func brokenResults(run *Run) []*checkers.Result {
	if run.Verdicts == nil {
		return nil
	}
	var told, untold []*checkers.Result
	for i := range run.Verdicts.Results {
		r := &run.Verdicts.Results[i]
		switch {
		case r.Verdict != checkers.Broken:
		case len(r.Ops) > 0:
			told = append(told, r)
		default:
			untold = append(untold, r)
		}
	}
	return append(told, untold...)
}

func storyViolation(b *strings.Builder, t telling) {
	if len(t.Steps) == 0 && t.Ending == "" {
		return
	}
	fmt.Fprintf(b, "\nWhy %s is broken", claimText(t.Result.Claim))
	if t.Key != "" {
		fmt.Fprintf(b, ", on key %s", printable(clip(t.Key, 40)))
	}
	b.WriteString("\n")
	if t.More > 0 {
		fmt.Fprintf(b, "     … and %s that these rest on\n", counted(t.More, "operation", "operations"))
	}
	width := 0
	for _, s := range t.Steps {
		width = max(width, len([]rune(s.When)))
	}
	for i, s := range t.Steps {
		head := fmt.Sprintf("  %d. %s%s  ", i+1, s.When, spaces(width-len([]rune(s.When))))
		wrap(b, head, spaces(len([]rune(head))), s.Text)
	}
	switch {
	case t.Plain:
	case len(t.Because) > 0:
		wrap(b, "  but  ", spaces(7), strings.Join(t.Because, "; ")+": no order explains that")
	case t.Result.Claim == checkers.Linearizable && len(t.Steps) > 1:
		b.WriteString("  but no order of these operations explains what was seen\n")
	}
	for _, f := range t.Meanwhile {
		wrap(b, "  meanwhile  ", spaces(13), printable(f))
	}
	if t.Ending != "" {
		wrap(b, "  ", "  ", t.Ending)
	}
}

// wrap writes text after head, broken at spaces, the further lines after
// indent.
func wrap(b *strings.Builder, head, indent, text string) {
	line := head
	used := len([]rune(head))
	fresh := true
	for _, word := range strings.Fields(text) {
		n := len([]rune(word))
		if !fresh && used+1+n > storyWidth {
			b.WriteString(line + "\n")
			line, used, fresh = indent, len([]rune(indent)), true
		}
		if !fresh {
			line += " "
			used++
		}
		line += word
		used += n
		fresh = false
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}
