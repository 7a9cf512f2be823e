package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/results"
)

const checkHelp = `Judge histories that were recorded elsewhere, or by an earlier run.

The files may be assay's own (history.assay or JSON lines), Jepsen or Knossos
EDN, or Jepsen text logs; the format is recognised from the content. "-" is
standard input. For each file one line is printed: FILE: held|broken|unknown.
The worst of them is the exit status. With --claims there is a line for each
claim below it; without, linearizability is judged, by the model.

Tools differ in what they write when nothing is known, so say what yours means:
  --failed-cas observed   a failed compare-and-set saw another value (etcd logs)
  --failed-cas dropped    it tells nothing (Knossos)
  --nil-read absent       a read of nil found nothing
  --nil-read any          the value read was not recorded (Knossos)`

func checkCommand() *cobra.Command {
	var model, initial, failedCAS, nilRead, memory, claimList string
	var timeLimit time.Duration
	var asJSON, verbose bool
	c := &cobra.Command{
		Use:   "check --model MODEL FILE…",
		Short: "judge recorded histories",
		Long:  checkHelp,
		Example: `  assay check --model cas-register --failed-cas observed etcd_000.log
  assay check --model kv history.edn
  assay check --model register results/runs/abd-1/history.assay
  assay check --claims regular,read-your-writes,monotonic-reads history.jsonl`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			opts := checkers.Options{Model: model, FailedCAS: checkers.FailedCAS(failedCAS), NilRead: checkers.NilRead(nilRead)}
			if initial != "" {
				v, err := parseInitial(initial)
				if err != nil {
					return err
				}
				opts.Initial = &v
			}
			if err := opts.Validate(); err != nil {
				return err
			}
			bytes, err := parseBytes(memory)
			if err != nil {
				return err
			}
			budget := checkers.Budget{Time: timeLimit, Memory: bytes}
			if claimList != "" {
				claims, err := parseClaims(claimList)
				if err != nil {
					return err
				}
				return checkClaims(c, files, claims, opts, budget, asJSON, verbose)
			}
			if model == "" {
				return fmt.Errorf("say what the history is of with --model (%s), or what to judge with --claims", strings.Join(checkers.Models(), ", "))
			}
			worst, failed := checkers.Held, false
			for _, name := range files {
				r, err := checkFile(name, opts, budget)
				if err != nil {
					failed = true
					fmt.Fprintln(os.Stderr, "assay:", err)
					continue
				}
				worst = checkers.Worst(worst, r.Verdict)
				if err := printCheck(c.OutOrStdout(), name, r, asJSON, verbose); err != nil {
					return err
				}
			}
			if failed && worst != checkers.Broken {
				return status{results.ExitFailed}
			}
			return exit(worst, nil)
		},
	}
	f := c.Flags()
	f.StringVar(&model, "model", "", "what the history is of: "+strings.Join(checkers.Models(), ", "))
	f.StringVar(&claimList, "claims", "", "what to judge instead of linearizability alone, such as linearizable,regular,monotonic-reads")
	f.StringVar(&initial, "initial", "", "the value of every key before the first operation: a number, or nil (default nil)")
	f.StringVar(&failedCAS, "failed-cas", string(checkers.DropFailedCAS), "what a failed compare-and-set tells: observed, dropped")
	f.StringVar(&nilRead, "nil-read", string(checkers.NilAbsent), "what a read of nil tells: absent, any")
	f.DurationVar(&timeLimit, "time", time.Minute, "how long one file may take before the answer is unknown; 0: no bound")
	f.StringVar(&memory, "memory", "4GiB", "how much memory one file may take before the answer is unknown; 0: no bound")
	f.BoolVar(&asJSON, "json", false, "print one JSON object a file")
	f.BoolVarP(&verbose, "verbose", "v", false, "print the reason too")
	return c
}

// checkFile reads and judges one history; of a run directory, its history.
func checkFile(name string, opts checkers.Options, b checkers.Budget) (checkers.Result, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		dir, err := results.Open(name)
		if err != nil {
			return checkers.Result{}, err
		}
		name = dir.HistoryPath()
	}
	var r io.Reader = os.Stdin
	if long(name, opts) {
		return checkLong(name, opts, b)
	}
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return checkers.Result{}, err
		}
		defer f.Close()
		r = f
	}
	h, err := history.Import(r, name)
	if err != nil {
		return checkers.Result{}, err
	}
	return asFarAsRead(checkers.CheckModel(h, opts.Model, opts, b), h.Cut), nil
}

// asFarAsRead makes nothing held of which only a part could be read.
func asFarAsRead(r checkers.Result, cut error) checkers.Result {
	if cut != nil && r.Verdict == checkers.Held {
		r.Verdict = checkers.Unknown
		r.Reason = fmt.Sprintf("held as far as it can be read: %v", cut)
	}
	return r
}

// streamFrom is the size from which on a file of registers is judged as a
// stream. In memory it would take about four times as much.
const streamFrom = 32 << 20

func long(name string, opts checkers.Options) bool {
	if opts.Model != checkers.ModelRegister && opts.Model != checkers.ModelCASRegister {
		return false
	}
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Size() >= streamFrom
}

// checkLong judges a file without holding it in memory. Most of what it
// allocates is garbage at once, so the collector is made to run more often.
func checkLong(name string, opts checkers.Options, b checkers.Budget) (checkers.Result, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	r, cut, err := checkers.CheckStream(func() (io.ReadCloser, error) { return os.Open(name) }, name, opts, b)
	return asFarAsRead(r, cut), err
}

func printCheck(w io.Writer, name string, r checkers.Result, asJSON, verbose bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			File string `json:"file"`
			checkers.Result
		}{name, r})
	}
	if _, err := fmt.Fprintf(w, "%s: %s\n", name, r.Verdict); err != nil {
		return err
	}
	switch {
	case verbose:
		_, err := fmt.Fprintf(w, "  %s\n", r.Reason)
		return err
	case r.Verdict == checkers.Unknown:
		fmt.Fprintf(os.Stderr, "assay: %s: %s\n", name, r.Reason)
	}
	return nil
}

func parseInitial(s string) (history.Value, error) {
	if s == "nil" {
		return history.Nil, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || history.Value(n) == history.Nil {
		return 0, fmt.Errorf("--initial %q is neither a number nor nil", s)
	}
	return history.Value(n), nil
}

// parseBytes reads a size such as 512MiB or 4GiB.
func parseBytes(s string) (uint64, error) {
	num, shift := s, 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			num, shift = n, 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(num, 10, 64)
	if err != nil || n > 1<<63>>shift {
		return 0, fmt.Errorf("%q is not a size: write for example 512MiB or 4GiB", s)
	}
	return n << shift, nil
}
