package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

Of a history that is broken, -v tells the smallest violation: operations none of
which can be left out. --json has them too, and --out keeps them as a history of
its own, which check judges the same, beside a page with a diagram.

Claims about what replicas hold at the end need a run directory.

Tools differ in what they write when nothing is known, so say what yours means:
  --failed-cas observed   a failed compare-and-set saw another value (etcd logs)
  --failed-cas dropped    it tells nothing (Knossos)
  --nil-read absent       a read of nil found nothing
  --nil-read any          the value read was not recorded (Knossos)`

func checkCommand() *cobra.Command {
	var k check
	var initial, failedCAS, nilRead, memory, claimed string
	c := &cobra.Command{
		Use:   "check --model MODEL FILE…",
		Short: "judge recorded histories",
		Long:  checkHelp,
		Example: `  assay check --model cas-register --failed-cas observed etcd_000.log
  assay check --model kv -v history.edn
  assay check --model register --out results/checked history.jsonl
  assay check --model register results/runs/abd-1/history.assay
  assay check --claims regular,read-your-writes,monotonic-reads history.jsonl`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			k.opts.FailedCAS, k.opts.NilRead = checkers.FailedCAS(failedCAS), checkers.NilRead(nilRead)
			if initial != "" {
				v, err := parseInitial(initial)
				if err != nil {
					return err
				}
				k.opts.Initial = &v
			}
			if err := k.opts.Validate(); err != nil {
				return err
			}
			bytes, err := parseBytes(memory)
			if err != nil {
				return err
			}
			k.budget.Memory = bytes
			k.claims, k.listed = []checkers.Claim{checkers.Linearizable}, claimed != ""
			switch {
			case k.listed:
				if k.claims, err = parseClaims(claimed); err != nil {
					return err
				}
			case k.opts.Model == "":
				return fmt.Errorf("say what the history is of with --model (%s), or what to judge with --claims", strings.Join(checkers.Models(), ", "))
			}
			c.Flags().Visit(func(f *pflag.Flag) {
				if f.Name != "out" && f.Name != "json" && f.Name != "verbose" {
					k.flags = append(k.flags, "--"+f.Name, f.Value.String())
				}
			})
			return k.all(c.OutOrStdout(), files)
		},
	}
	f := c.Flags()
	f.StringVar(&k.opts.Model, "model", "", "what the history is of: "+strings.Join(checkers.Models(), ", "))
	f.StringVar(&claimed, "claims", "", "what to judge instead of linearizability alone, such as linearizable,regular,monotonic-reads")
	f.StringVar(&initial, "initial", "", "the value of every key before the first operation: a number, or nil (default nil)")
	f.StringVar(&failedCAS, "failed-cas", string(checkers.DropFailedCAS), "what a failed compare-and-set tells: observed, dropped")
	f.StringVar(&nilRead, "nil-read", string(checkers.NilAbsent), "what a read of nil tells: absent, any")
	f.DurationVar(&k.budget.Time, "time", time.Minute, "how long one file may take before the answer is unknown; 0: no bound")
	f.StringVar(&memory, "memory", "4GiB", "how much memory one file may take before the answer is unknown; 0: no bound")
	f.StringVar(&k.out, "out", "", "keep a directory for each file in this one: the history, the verdicts, a page, and the smallest violation")
	f.BoolVar(&k.asJSON, "json", false, "print one JSON object a file")
	f.BoolVarP(&k.verbose, "verbose", "v", false, "print the reason too, and of what is broken the smallest violation")
	return c
}

// check is one call of the command.
type check struct {
	opts            checkers.Options
	budget          checkers.Budget
	claims          []checkers.Claim
	listed          bool     // the claims were named
	flags           []string // that decide the verdict, as they were given
	out             string
	asJSON, verbose bool
}

// all judges files; the worst verdict is the status.
func (k *check) all(w io.Writer, files []string) error {
	worst, failed := checkers.Held, false
	for _, name := range files {
		run, err := k.file(name)
		if err != nil {
			failed = true
			fmt.Fprintln(os.Stderr, "assay:", err)
			continue
		}
		worst = checkers.Worst(worst, run.Verdicts.Verdict)
		if err := k.print(w, name, run); err != nil {
			return err
		}
	}
	if failed && worst != checkers.Broken {
		return status{results.ExitFailed}
	}
	return exit(worst, nil)
}

// file reads and judges one history; of a run directory, its history.
func (k *check) file(name string) (*results.Run, error) {
	if path, ok := k.long(name); ok {
		return k.stream(path)
	}
	run, err := readHistory(name)
	if err != nil {
		return nil, err
	}
	in := checkers.Input{History: run.History, Settled: -1}
	if run.Replicas != nil {
		in.Replicas, in.Settled = run.Replicas.States, run.Replicas.Settled
	}
	judge := checkers.JudgeOptions{
		Linearizable: k.opts, Fresh: k.opts, Values: k.opts, Durability: checkers.DurabilityOptions{Options: k.opts},
		Sessions: checkers.SessionOptions{Options: k.opts}, Staleness: checkers.StalenessOptions{Options: k.opts},
	}
	run.Reading, run.Verdicts = k.opts, &results.Verdicts{Results: checkers.Check(in, k.claims, k.budget, judge)}
	for i := range run.Verdicts.Results {
		asFarAsRead(&run.Verdicts.Results[i], run.History.Cut)
	}
	run.Verdicts.Verdict = checkers.Overall(run.Verdicts.Results)
	if k.asJSON || k.verbose || k.out != "" {
		judge.Minimize(in, run.Verdicts.Results, checkers.MinimizeOptions{})
	}
	if k.out == "" {
		return run, nil
	}
	return run, k.keep(name, run)
}

// asFarAsRead makes nothing held of which only a part could be read.
func asFarAsRead(r *checkers.Result, cut error) {
	if cut != nil && r.Verdict == checkers.Held {
		r.Verdict = checkers.Unknown
		r.Reason = fmt.Sprintf("held as far as it can be read: %v", cut)
	}
}

// streamFrom is the size from which on a file of registers is judged as a
// stream. In memory it would take about four times as much.
const streamFrom = 32 << 20

// long says whether a history is judged as a stream, and which file it is.
func (k *check) long(name string) (path string, ok bool) {
	if k.listed || k.out != "" || k.opts.Model != checkers.ModelRegister && k.opts.Model != checkers.ModelCASRegister {
		return "", false
	}
	info, err := os.Stat(name)
	if err == nil && info.IsDir() {
		var dir *results.Dir
		if dir, err = results.Open(name); err == nil {
			name = dir.HistoryPath()
			info, err = os.Stat(name)
		}
	}
	return name, err == nil && info.Mode().IsRegular() && info.Size() >= streamFrom
}

// stream judges a file without holding it in memory, so that there is a result and
// no history. Most of what it allocates is garbage at once, so the collector is
// made to run more often.
func (k *check) stream(path string) (*results.Run, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	r, cut, err := checkers.CheckStream(func() (io.ReadCloser, error) { return os.Open(path) }, path, k.opts, k.budget)
	if err != nil {
		return nil, err
	}
	asFarAsRead(&r, cut)
	return &results.Run{Verdicts: &results.Verdicts{Verdict: r.Verdict, Results: []checkers.Result{r}}}, nil
}

// readHistory reads a file, or a run directory with what its replicas held.
func readHistory(name string) (*results.Run, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		run, err := results.Load(name)
		if err == nil && run.History == nil {
			err = fmt.Errorf("%s holds no history", name)
		}
		if err != nil {
			return nil, err
		}
		return &results.Run{History: run.History, Replicas: run.Replicas}, nil
	}
	h, err := importFrom(name, "")
	if err != nil {
		return nil, err
	}
	return &results.Run{History: h}, nil
}

// keep leaves a directory of one file's history, like that of a run.
func (k *check) keep(name string, run *results.Run) error {
	short := "stdin"
	if name != "-" {
		short = filepath.Base(filepath.Clean(name))
	}
	dir, err := results.Create(k.out, short)
	if err != nil {
		return err
	}
	run.Path = dir.Path()
	run.Test = results.Test{Name: name, Workload: k.opts.Model, Claims: k.claims, Assay: results.ThisBuild(),
		Replay: append(append([]string{"assay", "check"}, k.flags...), name)}
	sum := run.History.Hash()
	run.Verdicts.HistoryHash = hex.EncodeToString(sum[:])
	if err := dir.WriteTest(run.Test); err != nil {
		return err
	}
	w, err := dir.CreateHistory()
	if err != nil {
		return err
	}
	if err := errors.Join(history.Encode(w, run.History), w.Close()); err != nil {
		return err
	}
	if err := dir.WriteVerdicts(*run.Verdicts); err != nil {
		return err
	}
	if run.Replicas != nil {
		if err := dir.WriteReplicas(*run.Replicas); err != nil {
			return err
		}
	}
	for _, r := range run.Verdicts.Results {
		if r.Claim != checkers.Linearizable || r.Verdict != checkers.Broken || r.Key < 0 {
			continue
		}
		_, err := dir.WriteKeyPage(r.Key, func(w io.Writer) error {
			return checkers.Visualize(w, run.History, r.Key, r.Ops, checkers.VisualizeOptions{Options: k.opts})
		})
		if err != nil {
			return err
		}
	}
	return dir.WritePage(run)
}

// checked is what --json prints of one claim.
type checked struct {
	checkers.Result
	// Story is the smallest violation, an operation each; Because is why no
	// order explains them, by their numbers from 1.
	Story   []results.Step `json:"story,omitempty"`
	Because []string       `json:"because,omitempty"`
}

func (k *check) print(w io.Writer, name string, run *results.Run) error {
	if k.asJSON {
		return k.printJSON(w, name, run)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", name, run.Verdicts.Verdict)
	all := run.Verdicts.Results
	switch {
	case k.listed:
		printClaims(&b, all, k.verbose)
	case k.verbose:
		fmt.Fprintf(&b, "  %s\n", all[0].Reason)
	}
	for i := range all {
		if k.verbose && all[i].Verdict == checkers.Broken && run.History != nil {
			for line := range strings.Lines(results.ViolationStory(run, &all[i])) {
				b.WriteString("  " + line)
			}
		}
	}
	if run.Path != "" && k.verbose {
		fmt.Fprintf(&b, "  kept in %s\n", run.Path)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if !k.listed && !k.verbose && all[0].Verdict == checkers.Unknown {
		fmt.Fprintf(os.Stderr, "assay: %s: %s\n", name, all[0].Reason)
	}
	return nil
}

// printJSON prints one claim as it is, and named ones as a list.
func (k *check) printJSON(w io.Writer, name string, run *results.Run) error {
	var all []checked
	for i := range run.Verdicts.Results {
		c := checked{Result: run.Verdicts.Results[i]}
		if c.Verdict == checkers.Broken {
			c.Story, c.Because = results.Violation(run, &c.Result)
		}
		all = append(all, c)
	}
	if !k.listed {
		return json.NewEncoder(w).Encode(struct {
			File string `json:"file"`
			checked
			Path string `json:"path,omitempty"` // of the directory
		}{name, all[0], run.Path})
	}
	return json.NewEncoder(w).Encode(struct {
		File    string           `json:"file"`
		Verdict checkers.Verdict `json:"verdict"`
		Results []checked        `json:"results"`
		Path    string           `json:"path,omitempty"`
	}{name, run.Verdicts.Verdict, all, run.Path})
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
