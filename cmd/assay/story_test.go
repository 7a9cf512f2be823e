package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/results"
)

const testdata = "../../harness/history/testdata/"

// Of every broken outside history check tells the smallest violation, keeps it
// as a file that it judges the same, and draws a page.
func TestCheckTellsTheSmallestViolation(t *testing.T) {
	dir := t.TempDir()
	data, err := filepath.Abs(testdata)
	require.NoError(t, err)
	for file, c := range map[string]struct {
		flags string
		tells string
		ops   int
	}{
		"etcd/etcd_000.log":            {"--model cas-register --failed-cas observed", "process 11 read 2, although 1 had been acknowledged 10 ns earlier", 3},
		"etcd/etcd_001.log":            {"--model cas-register --failed-cas observed", "no order of these operations explains what was seen", 8},
		"etcd/etcd_099.log":            {"--model cas-register --failed-cas observed", "4 saw what 1 wrote, which 3 replaced after 2 had seen it", 4},
		"knossos/bad/bad-analysis.edn": {"--model cas-register --initial 0 --nil-read any", "process 22 read 3, which no operation had written", 1},
		"kv/c10-bad.txt":               {"--model kv", "although \"x 7 6 y\" had been appended", 5},
	} {
		args := append([]string{"check", "--out", "kept"}, strings.Fields(c.flags)...)
		source := filepath.Join(data, file)
		stdout, stderr, code := assay(t, dir, append(args, "-v", source)...)
		require.Equal(t, results.ExitBroken, code, stderr)
		require.True(t, strings.HasPrefix(stdout, source+": broken\n"), stdout)
		require.Contains(t, stdout, c.tells)

		stdout, _, code = assay(t, dir, append(args, "--json", source)...)
		require.Equal(t, results.ExitBroken, code)
		var got struct {
			Verdict, Path string
			Minimal       []int
			Story         []struct {
				Op   int
				Text string
			}
		}
		require.NoError(t, json.Unmarshal([]byte(stdout), &got))
		require.Equal(t, "broken", got.Verdict)
		require.Len(t, got.Minimal, c.ops)
		require.Len(t, got.Story, c.ops)
		require.FileExists(t, filepath.Join(dir, got.Path, "index.html"))

		small := filepath.Join(dir, got.Path, "counterexample-linearizable.jsonl")
		h, err := history.ImportFile(small)
		require.NoError(t, err)
		require.Len(t, h.Ops, c.ops)
		again := append([]string{"check"}, strings.Fields(c.flags)...)
		stdout, _, code = assay(t, dir, append(again, small)...)
		require.Equal(t, results.ExitBroken, code)
		require.Equal(t, small+": broken\n", stdout)
		// What was kept is a history too.
		stdout, _, _ = assay(t, dir, append(again, got.Path)...)
		require.Equal(t, got.Path+": broken\n", stdout)
	}
	stdout, _, code := assay(t, dir, "check", "--model", "cas-register", "--failed-cas", "observed", "--out", "kept", "--json", filepath.Join(data, "etcd/etcd_002.log"))
	require.Equal(t, results.ExitHeld, code)
	require.NotContains(t, stdout, "minimal")
}

// The counterexamples of a run are judged as the run was, for every claim that
// operations alone can break.
func TestCounterexamplesOfARunAreJudgedTheSame(t *testing.T) {
	dir := t.TempDir()
	_, stderr, code := assay(t, dir, "run", "-q", "--profile", "majority-lww", "--nemesis", "clock", "--seed", "3", "--duration", "6s", "--out", "runs")
	require.Equal(t, results.ExitBroken, code, stderr)
	run := filepath.Join("runs", "sim-majority-lww-clock-3")
	for _, claim := range []string{"linearizable", "no-stale-read"} {
		stdout, _, code := assay(t, dir, "check", "--model", "register", "--claims", claim, filepath.Join(run, "counterexample-"+claim+".jsonl"))
		require.Equal(t, results.ExitBroken, code, stdout)
	}
	// What is about replicas needs the directory, which has them.
	stdout, stderr, code := assay(t, dir, "check", "--model", "register", "--claims", "no-lost-write,converges", "-v", run)
	require.Equal(t, results.ExitBroken, code, stderr)
	require.Contains(t, stdout, "no-lost-write       broken ")
	require.Contains(t, stdout, "converges           held ")
	require.Contains(t, stdout, "At the end node 0 held ")

	_, stderr, code = assay(t, dir, "check", "--model", "register", "--claims", "perfect", run)
	require.Equal(t, results.ExitFailed, code)
	require.Contains(t, stderr, `unknown claim "perfect"`)
}

func TestShrinkCommand(t *testing.T) {
	dir := t.TempDir()
	run := []string{"run", "-q", "--profile", "majority-lww", "--nemesis", "clock,kill", "--seed", "3", "--duration", "6s", "--out", "runs"}
	stdout, stderr, code := assay(t, dir, append(run, "--shrink")...)
	require.Equal(t, results.ExitBroken, code, stderr)
	const whole, small = "runs/sim-majority-lww-clock+kill-3", "runs/sim-majority-lww-clock-3-small"
	require.True(t, strings.HasSuffix(stdout, "assay replay "+small+"\n"), stdout)
	stdout, _, code = assay(t, dir, "replay", small)
	require.Equal(t, results.ExitBroken, code)
	require.Contains(t, stdout, "the same history")

	stdout, stderr, code = assay(t, dir, "shrink", whole, "--claim", "no-lost-write", "--json", "--out", "small")
	require.Equal(t, results.ExitBroken, code)
	require.Empty(t, stderr)
	var got struct {
		Path    string
		Results []struct{ Claim, Verdict string }
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &got))
	require.Contains(t, got.Results, struct{ Claim, Verdict string }{"no-lost-write", "broken"})

	_, _, code = assay(t, dir, "run", "-q", "--profile", "abd", "--seed", "1", "--duration", "3s", "--out", "runs")
	require.Equal(t, results.ExitHeld, code)
	for says, args := range map[string][]string{
		"no claim is broken":           {"runs/sim-abd-none-1"},
		"linearizable is held":         {"--claim", "linearizable", "runs/sim-abd-none-1"},
		`"converges" was not judged`:   {"--claim", "converges", "runs/sim-abd-none-1"},
		"is not a run directory":       {"runs"},
		"recovers is held in that run": {"--claim", "recovers", whole},
	} {
		_, stderr, code = assay(t, dir, append([]string{"shrink"}, args...)...)
		require.Equal(t, results.ExitFailed, code)
		require.Contains(t, stderr, says)
	}
}

func TestConvert(t *testing.T) {
	dir := t.TempDir()
	data, err := filepath.Abs(testdata)
	require.NoError(t, err)
	same := func(a, b string) {
		t.Helper()
		x, err := history.ImportFile(a)
		require.NoError(t, err)
		y, err := history.ImportFile(b)
		require.NoError(t, err)
		require.Equal(t, x.Ops, y.Ops)
		require.Equal(t, x.Keys, y.Keys)
		require.Equal(t, x.Texts, y.Texts)
	}
	for _, file := range []string{"etcd/etcd_000.log", "knossos/good/multi-register.edn", "kv/c10-ok.txt"} {
		source, last := filepath.Join(data, file), filepath.Join(data, file)
		for _, to := range []string{"a.edn", "b.jsonl", "c.assay", "d.edn", "e.ndjson"} {
			stdout, stderr, code := assay(t, dir, "convert", "--force", last, to)
			require.Zero(t, code, stderr)
			require.Empty(t, stdout)
			last = filepath.Join(dir, to)
			same(source, last)
		}
	}
	_, stderr, code := assay(t, dir, "convert", "a.edn", "b.jsonl")
	require.Equal(t, results.ExitFailed, code)
	require.Contains(t, stderr, "b.jsonl is there already")
	stdout, _, code := assay(t, dir, "convert", "--to", "edn", "b.jsonl", "-")
	require.Zero(t, code)
	want, err := os.ReadFile(filepath.Join(dir, "d.edn"))
	require.NoError(t, err)
	require.Equal(t, string(want), stdout)

	// A run has more than EDN can say.
	_, _, code = assay(t, dir, "run", "-q", "--profile", "abd", "--nemesis", "kill", "--seed", "1", "--duration", "3s", "--out", "runs")
	require.Equal(t, results.ExitHeld, code)
	_, stderr, code = assay(t, dir, "convert", "runs/sim-abd-kill-1", "run.edn")
	require.Zero(t, code)
	require.Contains(t, stderr, "edn cannot say the 3 phases, nor what was proved of the 2 faults, nor that")
	_, stderr, code = assay(t, dir, "convert", "runs/sim-abd-kill-1", "run.jsonl")
	require.Zero(t, code)
	require.Empty(t, stderr)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.edn"), []byte("{:process 0"), 0o644))
	for says, args := range map[string][]string{
		"does not tell its format":         {"a.edn", "out"},
		"unknown format \"xml\"":           {"--to", "xml", "a.edn", "out"},
		"not written as Jepsen's text log": {"a.edn", "out.log"},
		"bad.edn:1: ":                      {"bad.edn", "out.jsonl"},
		"missing.edn":                      {"missing.edn", "out.jsonl"},
		"a.edn:1: ":                        {"--from", "jsonl", "a.edn", "out.jsonl"},
		"no/such/out.jsonl":                {"a.edn", "no/such/out.jsonl"},
	} {
		_, stderr, code := assay(t, dir, append([]string{"convert"}, args...)...)
		require.Equal(t, results.ExitFailed, code, args)
		require.Contains(t, stderr, says)
		require.NoFileExists(t, filepath.Join(dir, "out.jsonl"))
	}
}
