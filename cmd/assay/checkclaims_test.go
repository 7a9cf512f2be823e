package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/results"
)

// Sets, banks and registers of other tools are judged by name of the claim.
func TestCheckClaims(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	write("set.jsonl", `{"type":"invoke","process":0,"f":"add","key":"s","value":1,"time":1}
{"type":"ok","process":0,"f":"add","time":2}
{"type":"invoke","process":1,"f":"read-all","key":"s","time":3}
{"type":"ok","process":1,"f":"read-all","value":[1],"time":4}
{"type":"invoke","process":1,"f":"read-all","key":"s","time":5}
{"type":"ok","process":1,"f":"read-all","value":[],"time":6}
`)
	stdout, stderr, code := assay(t, dir, "check", "--claims", "no-lost-element,no-duplicate", "-v", "set.jsonl")
	require.Equal(t, results.ExitBroken, code, stderr)
	require.Equal(t, `set.jsonl: broken
  no-lost-element     broken   1 of 1 element broken (21–100 %), first on key "s": process 0's add of 1 (1 ns to 2 ns) was seen by process 1's read of all: [1] (3 ns to 4 ns), and neither process 1's read of all: [] (5 ns to 6 ns) nor any later read sees it
                               lost after: p50 1e-06, p95 1e-06, p99 1e-06, max 1e-06 ms, of 1
  no-duplicate        held     1 element, none of which was seen twice at once
`, stdout)

	write("register.jsonl", `{"type":"invoke","process":0,"f":"write","key":"x","value":3,"time":1000}
{"type":"ok","process":0,"f":"write","time":2000}
{"type":"invoke","process":0,"f":"read","key":"x","time":3000}
{"type":"ok","process":0,"f":"read","value":null,"time":4000}
`)
	stdout, stderr, code = assay(t, dir, "check", "--claims", "regular,read-your-writes,monotonic-reads", "--json", "register.jsonl")
	require.Equal(t, results.ExitBroken, code, stderr)
	var got struct {
		File    string
		Verdict checkers.Verdict
		Results []checkers.Result
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &got))
	require.Equal(t, checkers.Broken, got.Verdict)
	require.Equal(t, checkers.FreshReads, got.Results[0].Claim)
	require.Equal(t, 1, got.Results[1].Rate.Broken)
	require.Equal(t, checkers.Unknown, got.Results[2].Verdict)

	_, stderr, code = assay(t, dir, "check", "--claims", "perfect", "set.jsonl")
	require.Equal(t, results.ExitFailed, code)
	require.Contains(t, stderr, `unknown claim "perfect"; there are: linearizable, no-stale-read`)
	_, stderr, code = assay(t, dir, "check", "set.jsonl")
	require.Equal(t, results.ExitFailed, code)
	require.Contains(t, stderr, "--model")
	_, stderr, code = assay(t, dir, "check", "--claims", "regular", "nothing.jsonl")
	require.Equal(t, results.ExitFailed, code)
	require.Contains(t, stderr, "nothing.jsonl")
}

// Of a run directory what the replicas held is judged too.
func TestCheckClaimsOfARun(t *testing.T) {
	dir := t.TempDir()
	_, stderr, code := assay(t, dir, "run", "-q", "--profile", "abd", "--seed", "1", "--duration", "2s", "--out", ".")
	require.Equal(t, results.ExitHeld, code, stderr)
	stdout, stderr, code := assay(t, dir, "check", "--claims", "converges,no-phantom,sequential-per-key", "sim-abd-none-1")
	require.Equal(t, results.ExitHeld, code, "%s\n%s", stdout, stderr)
	require.Contains(t, stdout, "3 replicas on")
}
