package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/internal/synthetic"
	"github.com/assay-chaos/assay/results"
)

var (
	longOps  = flag.Int("long-ops", 2_200_000, "operations of the long history; 18 bytes each on disk")
	longKeys = flag.Int("long-keys", 1, "keys of the long history")
)

// A history larger than memory is judged in at most 512 MB, however long. The
// same with any length, for example
//
//	go test ./cmd/assay -run '^TestLongHistory$' -v -timeout 0 -long-ops 100000000
func TestLongHistory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the peak of a process is in other units elsewhere")
	}
	path := filepath.Join(t.TempDir(), "history.assay")
	f, err := os.Create(path)
	require.NoError(t, err)
	w := bufio.NewWriterSize(f, 1<<20)
	// The stale read is in the last twentieth, on one of the keys.
	l := synthetic.Load{Seed: 1, Ops: *longOps, Clients: 50, Keys: *longKeys, Info: 0.01, Stale: *longOps / 100 * 95}
	require.NoError(t, l.Write(w))
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(streamFrom), "it has to be long enough to be judged as a stream")

	r := checkInChild(t, path, results.ExitBroken)
	require.Equal(t, checkers.Broken, r.Verdict)
	require.LessOrEqual(t, len(r.Ops), 6, "few operations show it")
	require.Greater(t, r.Ops[len(r.Ops)-1], l.Stale-1000)
	require.Contains(t, r.Reason, "was in force when process ")

	require.NoError(t, os.Truncate(path, info.Size()/10*9))
	r = checkInChild(t, path, results.ExitUnknown)
	require.Equal(t, checkers.Unknown, r.Verdict, "a part that holds is not all of it")
	require.Contains(t, r.Reason, "held as far as it can be read: history is cut at byte ")
}

// checkInChild judges a file in a process of its own, and bounds its memory.
func checkInChild(t *testing.T, path string, code int) (r checkers.Result) {
	c := exec.CommandContext(t.Context(), os.Args[0], "check", "--model", "register", "--json", path)
	c.Env = append(os.Environ(), asCommand+"=1")
	c.Stderr = os.Stderr
	start := time.Now()
	out, err := c.Output()
	require.IsType(t, &exec.ExitError{}, err)
	require.Equal(t, code, c.ProcessState.ExitCode())
	require.NoError(t, json.Unmarshal(out, &r))
	peak := c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss // KiB
	t.Logf("%s in %v, %v of CPU; at most %d MB resident", r.Verdict, time.Since(start).Round(time.Millisecond), c.ProcessState.UserTime().Round(time.Millisecond), peak/1000)
	require.Less(t, peak, int64(512<<10))
	return r
}
