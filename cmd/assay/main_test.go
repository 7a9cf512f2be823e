package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/results"
)

// asCommand makes the test binary be the command.
const asCommand = "ASSAY_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// assay runs the command in dir and gives what it printed and its status.
func assay(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Dir, c.Stdout, c.Stderr = dir, &out, &errs
	c.Env = append(os.Environ(), asCommand+"=1")
	err := c.Run()
	if err != nil {
		require.IsType(t, &exec.ExitError{}, err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

func TestRunExitStatus(t *testing.T) {
	for _, c := range []struct {
		name string
		args string
		code int
		says string
	}{
		{"held", "--profile abd --nemesis all --seed 1 --duration 4s", results.ExitHeld, "HELD"},
		{"broken", "--profile majority-lww --nemesis clock --seed 1 --duration 4s", results.ExitBroken, "BROKEN"},
		{"too little", "--profile abd --rate 1 --seed 1 --duration 4s", results.ExitUnknown, "UNKNOWN"},
		{"bad profile", "--profile best", results.ExitFailed, ""},
		{"bad flag", "--frobnicate", results.ExitFailed, ""},
		{"no profile", "", results.ExitFailed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			stdout, stderr, code := assay(t, dir, append([]string{"run"}, strings.Fields(c.args)...)...)
			require.Equal(t, c.code, code, "%s\n%s", stdout, stderr)
			if c.says == "" {
				require.Empty(t, stdout)
				require.Contains(t, stderr, "assay: ")
				require.NoDirExists(t, filepath.Join(dir, "results"))
				return
			}
			require.True(t, strings.HasPrefix(stdout, c.says), stdout)
			require.Contains(t, stdout, "Run it again")
		})
	}
}

// The command that a run prints makes the same run again, and replay agrees.
func TestPrintedCommandRepeatsTheRun(t *testing.T) {
	dir := t.TempDir()
	for _, args := range []string{
		"--profile abd --nemesis partition:ring,kill --nodes 5 --seed 7 --duration 3500ms --clients 9 --rate 300 --keys 3 --op-timeout 300ms --settle 1s",
		"--profile abd --nodes 5 --n 3 --nemesis kill --seed 4 --duration 3s --claims all",
		"--profile majority-lww --r 1 --w 3 --seed 8 --duration 3s --claims converges,available",
		"--profile one-one --nemesis pause,clock:drift --seed 9 --duration 3s --rate 0 --clients 2",
	} {
		hash := func(args []string) string {
			stdout, stderr, code := assay(t, dir, append(args, "--json")...)
			require.Less(t, code, results.ExitFailed, stderr)
			var v struct {
				Path string                    `json:"path"`
				Hash string                    `json:"history_hash"`
				Test struct{ Replay []string } `json:"test"`
			}
			require.NoError(t, json.Unmarshal([]byte(stdout), &v))
			again, stderr, code2 := assay(t, dir, "replay", v.Path)
			require.Equal(t, code, code2, stderr)
			require.Contains(t, again, "the same history")
			return v.Hash
		}
		first := append([]string{"run"}, strings.Fields(args)...)
		stdout, _, _ := assay(t, dir, append(first, "--quiet")...)
		m := regexp.MustCompile(`Run it again:\s+assay (.*)`).FindStringSubmatch(stdout)
		require.NotNil(t, m, stdout)
		require.Equal(t, hash(first), hash(strings.Fields(m[1])), m[1])
	}
}

func TestReplayNoticesAnotherHistory(t *testing.T) {
	dir := t.TempDir()
	_, _, code := assay(t, dir, "run", "--profile", "abd", "--seed", "1", "--duration", "3s", "--out", "runs")
	require.Equal(t, results.ExitHeld, code)
	path := filepath.Join(dir, "runs", "sim-abd-none-1")
	file := filepath.Join(path, "test.json")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, bytes.Replace(data, []byte(`"seed": "1"`), []byte(`"seed": "2"`), 1), 0o644))
	stdout, _, code := assay(t, dir, "replay", path)
	require.Equal(t, results.ExitFailed, code)
	require.Contains(t, stdout, "another history")

	_, stderr, code := assay(t, dir, "replay", dir)
	require.Equal(t, results.ExitFailed, code)
	require.Contains(t, stderr, "not a run directory")
}

// The same seed gives the same table to the byte, whatever the number of
// workers, and every counterexample that it names is there.
func TestMatrixIsTheSameToTheByte(t *testing.T) {
	dir := t.TempDir()
	args := strings.Fields("matrix --nodes 3 --prices=false --profiles one-one,majority-lww,abd --nemesis none,clock --runs 3 --seed 5")
	first, stderr, code := assay(t, dir, append(args, "--workers", "1")...)
	require.Equal(t, results.ExitHeld, code, stderr)
	require.Contains(t, stderr, "18 runs")
	second, _, _ := assay(t, dir, append(args, "--workers", "3")...)
	require.Equal(t, first, second)

	asJSON, _, _ := assay(t, dir, append(args, "--format", "json")...)
	var m struct {
		Cells []struct {
			Group, Row, Column, Expected, Observed, Path string
			Runs, Broken                                 int
		}
	}
	require.NoError(t, json.Unmarshal([]byte(asJSON), &m))
	require.Len(t, m.Cells, 3*2*6)
	for _, c := range m.Cells {
		require.Equal(t, 3, c.Runs)
		switch {
		case c.Broken > 0:
			require.FileExists(t, filepath.Join(dir, filepath.FromSlash(c.Path), "index.html"))
		default:
			require.Empty(t, c.Path)
		}
		if c.Row == "abd" {
			require.Equal(t, "held", c.Observed, "%+v", c)
		}
		if c.Row == "majority-lww" && c.Column == "clock" && c.Group == "linearizable" {
			require.Equal(t, "broken", c.Observed)
		}
	}
}

// Every outside history has the verdict that it came with.
func TestCheckOutsideHistories(t *testing.T) {
	const data = "../../harness/history/testdata/"
	for _, c := range []struct {
		glob  string
		flags string
	}{
		{"etcd/*.log", "--model cas-register --failed-cas observed"},
		{"knossos/*/[^mr]*.edn", "--model cas-register --initial 0 --nil-read any"},
		{"knossos/*/m[^u]*.edn", "--model cas-register --initial 0 --nil-read any"},
		{"knossos/*/r*.edn", "--model cas-register --initial 0 --nil-read any"},
		{"knossos/*/multi-register.edn", "--model multi-register --initial 0 --nil-read any"},
		{"kv/*.txt", "--model kv"},
	} {
		files, err := filepath.Glob(data + c.glob)
		require.NoError(t, err)
		require.NotEmpty(t, files, c.glob)
		worst := results.ExitHeld
		args := append([]string{"check"}, strings.Fields(c.flags)...)
		var want strings.Builder
		for _, f := range files {
			verdict := "held"
			if regexp.MustCompile(`bad|etcd_(000|001|010|099)`).MatchString(f) {
				verdict, worst = "broken", results.ExitBroken
			}
			want.WriteString(f + ": " + verdict + "\n")
		}
		stdout, stderr, code := assay(t, ".", append(args, files...)...)
		require.Equal(t, want.String(), stdout, stderr)
		require.Equal(t, worst, code)
	}
}

// Hostile input gets an error with file and line, and never a verdict.
func TestCheckHostileInput(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ content, says string }{
		"cut.edn":    {"[{:process 0, :type :invoke, :f :read", "cut.edn:1: "},
		"binary.edn": {"\xff\xfe\x00\x01\x02", "binary.edn:1: "},
		"empty.edn":  {"", "empty.edn:1: "},
		"orphan.edn": {"{:process 0 :type :invoke :f :read :value nil}\n{:process 1 :type :ok :f :read :value 1}", "orphan.edn:2: "},
		"twice.edn":  {"{:process 0 :type :invoke :f :read :value nil}\n\n{:process 0 :type :invoke :f :read :value nil}", "twice.edn:3: "},
		"long.edn":   {strings.Repeat("x", 100<<20), "long.edn:1: "},
		"deep.edn":   {strings.Repeat("[", 1<<20), "deep.edn:1: "},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(c.content), 0o644))
		stdout, stderr, code := assay(t, dir, "check", "--model", "register", name)
		require.Equal(t, results.ExitFailed, code, name)
		require.Empty(t, stdout, name)
		require.Contains(t, stderr, c.says)
		require.NotContains(t, stderr, "goroutine")
		require.Less(t, len(stderr), 1000)
	}
	_, stderr, code := assay(t, dir, "check", "--model", "register", "missing.edn")
	require.Equal(t, results.ExitFailed, code)
	require.Contains(t, stderr, "missing.edn")
}

func TestHelpAnswersWithoutWork(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"run", "--help"}, {"matrix", "--help"}, {"check", "--help"}, {"replay", "--help"}, {"node", "--help"}, {"cluster", "--help"}, {"members", "--help"}, {"nightly", "--help"}, {"serve", "--help"}, {"compare", "--help"}, {"--version"}} {
		stdout, stderr, code := assay(t, t.TempDir(), args...)
		require.Equal(t, 0, code, stderr)
		require.NotEmpty(t, stdout)
		require.Empty(t, stderr)
	}
}
