package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/results"
)

// parseClaims reads a list of claims of any kind of history. "regular" is another
// name of no-stale-read.
func parseClaims(list string) ([]checkers.Claim, error) {
	all := slices.DeleteFunc(checkers.Claims(), func(c checkers.Claim) bool { return c == checkers.Tested })
	var out []checkers.Claim
	for _, word := range splitList(list) {
		c := checkers.Claim(word)
		if word == "regular" {
			c = checkers.FreshReads
		}
		if !slices.Contains(all, c) {
			names := make([]string, len(all))
			for i := range all {
				names[i] = string(all[i])
			}
			return nil, fmt.Errorf("unknown claim %q; there are: %s", word, strings.Join(names, ", "))
		}
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no claim given: name at least one")
	}
	return out, nil
}

// checkClaims judges the files by some claims, and prints a line for each file
// and below it one for each claim.
func checkClaims(c *cobra.Command, files []string, claims []checkers.Claim, opts checkers.Options, b checkers.Budget, asJSON, verbose bool) error {
	judge := checkers.JudgeOptions{
		Linearizable: opts, Fresh: opts, Values: opts, Durability: checkers.DurabilityOptions{Options: opts},
		Sessions: checkers.SessionOptions{Options: opts}, Staleness: checkers.StalenessOptions{Options: opts},
	}
	worst, failed := checkers.Held, false
	for _, name := range files {
		in, err := readInput(name)
		if err != nil {
			failed = true
			fmt.Fprintln(os.Stderr, "assay:", err)
			continue
		}
		found := checkers.Check(in, claims, b, judge)
		for i := range found {
			if cut := in.History.Cut; cut != nil && found[i].Verdict == checkers.Held {
				found[i].Verdict = checkers.Unknown
				found[i].Reason = fmt.Sprintf("held as far as it can be read: %v", cut)
			}
		}
		worst = checkers.Worst(worst, checkers.Overall(found))
		if err := printClaims(c.OutOrStdout(), name, found, asJSON, verbose); err != nil {
			return err
		}
	}
	if failed && worst != checkers.Broken {
		return status{results.ExitFailed}
	}
	return exit(worst, nil)
}

// readInput reads a history, and of a run directory what its replicas held too.
func readInput(name string) (checkers.Input, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		run, err := results.Load(name)
		if err != nil {
			return checkers.Input{}, err
		}
		if run.History == nil {
			return checkers.Input{}, fmt.Errorf("%s holds no history", name)
		}
		in := checkers.Input{History: run.History, Settled: -1}
		if run.Replicas != nil {
			in.Replicas, in.Settled = run.Replicas.States, run.Replicas.Settled
		}
		return in, nil
	}
	var r io.Reader = os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return checkers.Input{}, err
		}
		defer f.Close()
		r = f
	}
	h, err := history.Import(r, name)
	return checkers.Input{History: h, Settled: -1}, err
}

func printClaims(w io.Writer, name string, found []checkers.Result, asJSON, verbose bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			File    string            `json:"file"`
			Verdict checkers.Verdict  `json:"verdict"`
			Results []checkers.Result `json:"results"`
		}{name, checkers.Overall(found), found})
	}
	text := fmt.Sprintf("%s: %s\n", name, checkers.Overall(found))
	for _, r := range found {
		text += fmt.Sprintf("  %-19s %-7s  %s\n", r.Claim, r.Verdict, r.Reason)
		if !verbose {
			continue
		}
		for _, f := range r.Figures {
			text += fmt.Sprintf("  %-28s %s\n", "", f)
		}
		for _, v := range r.Visibility {
			text += fmt.Sprintf("  %-28s seen %s\n", "", v)
		}
	}
	_, err := io.WriteString(w, text)
	return err
}
