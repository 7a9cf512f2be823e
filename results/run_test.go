package results

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// store writes a whole run as a command would.
func store(t *testing.T, root string, run *Run) *Dir {
	t.Helper()
	d, err := Create(root, "run")
	require.NoError(t, err)
	require.NoError(t, d.WriteTest(run.Test))
	w, err := d.CreateHistory()
	require.NoError(t, err)
	require.NoError(t, history.Encode(w, run.History))
	require.NoError(t, w.Close())
	require.NoError(t, d.WriteReplicas(*run.Replicas))
	require.NoError(t, d.WriteVerdicts(*run.Verdicts))
	for _, node := range []int{10, 2} {
		require.NoError(t, d.WriteLog(node, []byte("started\n")))
	}
	name, err := d.WriteKeyPage(5, func(w io.Writer) error { _, err := io.WriteString(w, "<p>"); return err })
	require.NoError(t, err)
	require.Equal(t, "key-5.html", name)
	require.NoError(t, d.WritePage(run))
	return d
}

func TestRoundTrip(t *testing.T) {
	run := sampleRun(brokenSample)
	run.Test.Seed = 1<<64 - 1 // more than a JSON number can hold
	run.Replicas.States[3] = nil
	run.Replicas.States[2][1] = harness.Replica{Elsewhere: true, Value: history.Nil}
	run.Replicas.States[1][2].Present = false
	run.Replicas.States[1][2].Value = history.Nil
	run.Verdicts.HistoryHash = "00ff"
	d := store(t, t.TempDir(), run)

	got, err := Load(d.Path())
	require.NoError(t, err)
	require.Equal(t, run.History.Hash(), got.History.Hash())
	run.Test.Schema, run.Verdicts.Schema = Schema, Schema
	require.Equal(t, run.Test, got.Test)
	require.Equal(t, run.Verdicts, got.Verdicts)
	require.Equal(t, run.Replicas, got.Replicas)
	require.Equal(t, []NumberedFile{{2, "logs/node-2.log"}, {10, "logs/node-10.log"}}, got.Logs)
	require.Equal(t, []NumberedFile{{5, "key-5.html"}}, got.KeyPages)
	require.Equal(t, d.Path(), got.Path)

	page, err := os.ReadFile(d.PagePath())
	require.NoError(t, err)
	require.Contains(t, string(page), `href="logs/node-10.log"`)
	again, _ := draw(t, got)
	require.Equal(t, string(page), again, "a page drawn from what was loaded is the same")

	left, err := filepath.Glob(filepath.Join(d.Path(), ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "no temporary file stays")
}

// After kill -9 of the harness there is a test and the beginning of a history.
func TestLoadAfterACrash(t *testing.T) {
	d := store(t, t.TempDir(), sampleRun(brokenSample))
	for _, name := range []string{verdictsFile, replicasFile, pageFile} {
		require.NoError(t, os.Remove(filepath.Join(d.Path(), name)))
	}
	info, err := os.Stat(d.HistoryPath())
	require.NoError(t, err)
	require.NoError(t, os.Truncate(d.HistoryPath(), info.Size()/2))
	run, err := Load(d.Path())
	require.NoError(t, err)
	require.Nil(t, run.Verdicts)
	require.Nil(t, run.Replicas)
	require.Error(t, run.History.Cut)
	require.NotEmpty(t, run.History.Ops)
	require.Contains(t, Story(run), "NOT JUDGED")
	require.Contains(t, Story(run), "cut off")
}

func TestLoadRefuses(t *testing.T) {
	_, err := Load(t.TempDir())
	require.ErrorContains(t, err, "not a run directory")
	for name, c := range map[string]struct{ file, content, want string }{
		"a newer schema":  {testFile, `{"schema": 99}`, "has schema 99"},
		"no schema":       {verdictsFile, `{}`, "has schema 0"},
		"damaged":         {replicasFile, `{"schema": 1, "nodes": [[`, "damaged"},
		"unknown verdict": {verdictsFile, `{"schema": 1, "verdict": "fine"}`, `"fine" is no verdict`},
		"wrong type":      {verdictsFile, `{"schema": 1, "verdict": "held", "results": 7}`, "damaged"},
		"no history file": {historyFile, "what", "reading the history"},
	} {
		t.Run(name, func(t *testing.T) {
			d := store(t, t.TempDir(), sampleRun(heldSample))
			require.NoError(t, os.WriteFile(filepath.Join(d.Path(), c.file), []byte(c.content), 0o644))
			_, err := Load(d.Path())
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, c.file)
		})
	}
}

func TestCreateNeverReuses(t *testing.T) {
	root := filepath.Join(t.TempDir(), "deep", "runs")
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			d, err := Create(root, "abd-7")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				seen[filepath.Base(d.Path())] = true
			}
		})
	}
	wg.Wait()
	require.Len(t, seen, 8)
	require.True(t, seen["abd-7"] && seen["abd-7-2"] && seen["abd-7-8"])
	for _, name := range []string{"", ".", "..", "a/b", `a\b`, "/abs"} {
		_, err := Create(root, name)
		require.ErrorContains(t, err, "one plain file name", name)
	}

	d, err := Open(store(t, t.TempDir(), sampleRun(heldSample)).Path())
	require.NoError(t, err)
	_, err = d.CreateHistory()
	require.ErrorIs(t, err, fs.ErrExist, "a history is never written over")
}

func TestErrorsSayWhatToDo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err := Create(filepath.Join(file, "runs"), "run")
	require.ErrorIs(t, err, syscall.ENOTDIR)
	require.ErrorContains(t, err, "--out")
	require.ErrorContains(t, err, file)

	full := explain("writing the history", &fs.PathError{Op: "write", Path: "/x/history.assay", Err: syscall.ENOSPC})
	require.ErrorIs(t, full, syscall.ENOSPC)
	require.ErrorContains(t, full, "free some space")
	require.ErrorContains(t, full, "/x/history.assay")

	// A picture that cannot be drawn leaves the older file as it was.
	d := store(t, t.TempDir(), sampleRun(heldSample))
	before, err := os.ReadFile(d.PagePath())
	require.NoError(t, err)
	broken := errors.New("no")
	require.ErrorIs(t, d.write(pageFile, func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		return broken
	}), broken)
	after, err := os.ReadFile(d.PagePath())
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
	require.NoFileExists(t, filepath.Join(d.Path(), ".index.html.tmp"))
}

// On Linux a device that is always full shows the error of a real write.
func TestFullDisk(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("no device that is always full: %v", err)
	}
	defer f.Close()
	_, err = explainingFile{f}.Write([]byte("x"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "free some space")
}

func TestReplayCommandIsQuoted(t *testing.T) {
	test := Test{Replay: []string{"assay", "run", "--name", "it's", "--out=/a b", "", "$x"}}
	require.Equal(t, `assay run --name 'it'\''s' '--out=/a b' '' '$x'`, test.ReplayCommand())
	require.False(t, strings.Contains((&Test{}).ReplayCommand(), "'"))
}

func TestVerdictsReadAllFields(t *testing.T) {
	d := store(t, t.TempDir(), sampleRun(heldSample))
	want := Verdicts{Schema: Schema, Verdict: checkers.Broken, Error: "e", Results: []checkers.Result{
		{Claim: "own", Verdict: checkers.Broken, Reason: "r", Checked: 1, Violations: 2, Key: 3, Ops: []int{4, 5}}, {Verdict: checkers.Unknown}, {Verdict: checkers.Held}}}
	require.NoError(t, d.WriteVerdicts(want))
	got, err := Load(d.Path())
	require.NoError(t, err)
	require.Equal(t, &want, got.Verdicts)
}
