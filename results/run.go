package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// Schema is the version of the JSON files that this package writes. It grows
// when a reader of the older files could misunderstand the newer ones.
const Schema = 1

// Run is all that is known of one run.
type Run struct {
	// Path is the run directory, as a user can open it; "" if there is none.
	Path string
	Test Test
	// History is nil if none was recorded.
	History *history.History
	// Verdicts is nil if the run was never judged, for example because the
	// harness was killed.
	Verdicts *Verdicts
	// Replicas is nil if the final states were not taken.
	Replicas *Replicas
	// Reading says how the operations are to be understood. Runs of our own
	// need nothing but the zero value; it is not stored.
	Reading checkers.Options
	// Trace is nil if there is none.
	Trace *Trace
	// Logs[i] is the file of a node's log and KeyPages those of pictures of
	// single keys, relative to Path.
	Logs, KeyPages []NumberedFile
	// Counterexamples are the files with the smallest violations.
	Counterexamples []string
}

// Test is what was run: enough to know it, and to run it again.
type Test struct {
	Schema   int    `json:"schema"`
	Name     string `json:"name"`
	World    string `json:"world"` // sim or docker
	System   string `json:"system"`
	Profile  string `json:"profile,omitempty"`
	Workload string `json:"workload"`
	Nemesis  string `json:"nemesis"` // as on the command line; "" for no fault
	Nodes    int    `json:"nodes"`
	N        int    `json:"n,omitempty"` // replicas of a key; 0: does not apply
	R        int    `json:"r,omitempty"`
	W        int    `json:"w,omitempty"`
	Clients  int    `json:"clients"`
	Keys     int    `json:"keys"`
	// Rate is operations a second in all; 0 is as fast as they go.
	Rate float64 `json:"rate"`
	// MaxOps is after how many operations the clients stop; 0: no bound.
	MaxOps int `json:"max_ops,omitempty"`
	// PlainDelays says that simulated delays do not vary.
	PlainDelays bool `json:"plain_delays,omitempty"`
	// Seed is a string in JSON, where numbers end at 2^53.
	Seed      uint64        `json:"seed,string"`
	OpTimeout time.Duration `json:"op_timeout_ns"`
	Before    time.Duration `json:"before_ns"`
	During    time.Duration `json:"during_ns"`
	Recovery  time.Duration `json:"recovery_ns"`
	Settle    time.Duration `json:"settle_ns"`
	// StopOnViolation says that the load was to end at the first violation.
	StopOnViolation bool `json:"stop_on_violation,omitempty"`
	// Claims are what was judged.
	Claims []checkers.Claim `json:"claims,omitempty"`
	// Schedule is the faults in their stored form, see package nemesis.
	Schedule json.RawMessage `json:"schedule,omitempty"`
	// Cuts are which links the faults of the schedule cut.
	Cuts []Cut `json:"cuts,omitempty"`
	// Started is when the run began, on the wall.
	Started time.Time `json:"started"`
	Assay   Build     `json:"assay"`
	// Replay are the words of the command that runs it again.
	Replay []string `json:"replay"`
}

// ReplayCommand is the command that runs the test again, quoted for a shell.
func (t *Test) ReplayCommand() string { return JoinCommand(t.Replay) }

// JoinCommand makes a command of words, quoted for a shell.
func JoinCommand(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shellQuote(w)
	}
	return strings.Join(quoted, " ")
}

// shellQuote leaves plain words alone and puts others between single quotes.
func shellQuote(s string) string {
	plain := s != ""
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_=+,./:@%", r) {
			plain = false
		}
	}
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Build is which assay ran the test.
type Build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the version control system
	Modified bool   `json:"modified,omitempty"` // with changes that no revision has
	Go       string `json:"go"`
}

// ThisBuild describes the running program.
func ThisBuild() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Build{Version: "unknown"}
	}
	b := Build{Version: info.Main.Version, Go: info.GoVersion}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (b Build) String() string {
	s := "assay " + b.Version
	if b.Revision != "" {
		s += " " + b.Revision[:min(12, len(b.Revision))]
	}
	if b.Modified {
		s += " with local changes"
	}
	return s
}

// Verdicts are the answers to the claims.
type Verdicts struct {
	Schema int `json:"schema"`
	// Verdict is the worst of Results; see [Overall].
	Verdict checkers.Verdict `json:"verdict"`
	// Error is why the run itself failed; "" if it did not.
	Error   string            `json:"error,omitempty"`
	Results []checkers.Result `json:"results"`
	Phases  []PhaseStats      `json:"phases,omitempty"`
	// HistoryHash is the hash of the history in hexadecimal, to compare a
	// replay with.
	HistoryHash string `json:"history_hash,omitempty"`
	// Stopped says that the load was ended at the first violation.
	Stopped bool `json:"stopped,omitempty"`
}

// PhaseStats are the figures of one phase for a group of operations.
type PhaseStats struct {
	Phase string `json:"phase"`
	// Group says which operations they are: "all", "read", "node 3", "majority
	// side", …
	Group string `json:"group"`
	OK    int    `json:"ok"`
	Fail  int    `json:"fail"`
	Info  int    `json:"info"`
	// Latencies of the ok operations; 0 if there are none.
	P50 time.Duration `json:"p50_ns"`
	P95 time.Duration `json:"p95_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

// Replicas are the final states.
type Replicas struct {
	// Settled is how long the replicas took to agree after the clients had
	// stopped; negative if they never did within the bound.
	Settled time.Duration
	// States[node][key] is parallel to History.Keys; a nil row is a node
	// that could not be read.
	States [][]harness.Replica
	// Samples are how far they differed, by time.
	Samples []harness.Sample
}

// WriteTest stores what is run. Write it first: it makes the directory a run
// directory.
func (d *Dir) WriteTest(t Test) error {
	t.Schema = Schema
	return d.writeJSON(testFile, t)
}

// WriteVerdicts stores the answers.
func (d *Dir) WriteVerdicts(v Verdicts) error {
	v.Schema = Schema
	return d.writeJSON(verdictsFile, v)
}

// WriteReplicas stores the final states of the replicas.
func (d *Dir) WriteReplicas(r Replicas) error {
	out := replicasJSON{Schema: Schema, Settled: r.Settled, Samples: r.Samples, Nodes: make([][]replicaJSON, len(r.States))}
	for node, row := range r.States {
		if row == nil {
			continue
		}
		out.Nodes[node] = make([]replicaJSON, len(row))
		for key, s := range row {
			j := replicaJSON{Values: s.Values, Stamp: s.Stamp, Elsewhere: s.Elsewhere}
			if s.Present {
				v := int64(s.Value)
				j.Value = &v
			}
			out.Nodes[node][key] = j
		}
	}
	return d.writeJSON(replicasFile, out)
}

type replicasJSON struct {
	Schema  int              `json:"schema"`
	Settled time.Duration    `json:"settled_ns"` // negative: never
	Nodes   [][]replicaJSON  `json:"nodes"`      // null: could not be read
	Samples []harness.Sample `json:"samples,omitempty"`
}

type replicaJSON struct {
	Value     *int64          `json:"value"`            // null: absent
	Values    []history.Value `json:"values,omitempty"` // all of a key that can have several
	Stamp     string          `json:"stamp,omitempty"`
	Elsewhere bool            `json:"elsewhere,omitempty"` // the node is no replica of the key
}

// WritePage stores the smallest violations as files of their own and draws the
// page of run, with links to them and to the logs and key pages that are in the
// directory: call it last.
func (d *Dir) WritePage(run *Run) error {
	if err := d.writeCounterexamples(run); err != nil {
		return err
	}
	withFiles := *run
	withFiles.Path = d.path
	if err := d.list(&withFiles); err != nil {
		return err
	}
	return d.write(pageFile, func(w io.Writer) error { return Page(w, &withFiles) })
}

// Load reads a run directory back. What a crashed harness could not write is
// nil; a file that is there and damaged is an error, but for the history,
// which is read up to where it ends (see [history.History.Cut]).
func Load(path string) (*Run, error) {
	d, err := Open(path)
	if err != nil {
		return nil, err
	}
	run, err := d.peek()
	if err != nil {
		return nil, err
	}
	if run.History, err = d.readHistory(); err != nil {
		return nil, err
	}
	if run.Replicas, err = d.readReplicas(); err != nil {
		return nil, err
	}
	if run.Trace, err = d.readTrace(); err != nil {
		return nil, err
	}
	return run, d.list(run)
}

// list fills in which files are there.
func (d *Dir) list(run *Run) (err error) {
	if run.Logs, run.KeyPages, err = d.files(); err != nil {
		return err
	}
	run.Counterexamples, err = d.counterexamples()
	return err
}

// WriteTrace stores what happened between the nodes around a violation.
func (d *Dir) WriteTrace(t Trace) error {
	t.Schema = Schema
	return d.writeJSON(traceFile, t)
}

func (d *Dir) readTrace() (*Trace, error) {
	var t Trace
	there, err := d.readJSON(traceFile, &t)
	if err != nil || !there {
		return nil, err
	}
	sortTrace(&t)
	return &t, nil
}

// Peek reads what was run and what came of it, without the history.
func Peek(path string) (*Run, error) {
	d, err := Open(path)
	if err != nil {
		return nil, err
	}
	return d.peek()
}

func (d *Dir) peek() (run *Run, err error) {
	run = &Run{Path: d.Path()}
	if _, err := d.readJSON(testFile, &run.Test); err != nil {
		return nil, err
	}
	run.Verdicts, err = d.readVerdicts()
	return run, err
}

func (d *Dir) readHistory() (*history.History, error) {
	// An empty file is a run that did not come to its first operation.
	if info, err := os.Stat(d.HistoryPath()); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil, nil
	}
	h, err := history.ReadFile(d.HistoryPath())
	if err != nil {
		return nil, fmt.Errorf("results: reading the history: %w", err)
	}
	return h, nil
}

func (d *Dir) readVerdicts() (*Verdicts, error) {
	var v Verdicts
	there, err := d.readJSON(verdictsFile, &v)
	if err != nil || !there {
		return nil, err
	}
	return &v, nil
}

func (d *Dir) readReplicas() (*Replicas, error) {
	var in replicasJSON
	there, err := d.readJSON(replicasFile, &in)
	if err != nil || !there {
		return nil, err
	}
	r := &Replicas{Settled: in.Settled, Samples: in.Samples, States: make([][]harness.Replica, len(in.Nodes))}
	for node, row := range in.Nodes {
		if row == nil {
			continue
		}
		r.States[node] = make([]harness.Replica, len(row))
		for key, j := range row {
			s := harness.Replica{Value: history.Nil, Values: j.Values, Stamp: j.Stamp, Elsewhere: j.Elsewhere}
			if j.Value != nil {
				s.Present, s.Value = true, history.Value(*j.Value)
			}
			r.States[node][key] = s
		}
	}
	return r, nil
}
