package agent

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProcessorTime(t *testing.T) {
	proc := t.TempDir()
	process := func(pid int, group string, threads ...string) {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		for i, schedstat := range threads {
			task := filepath.Join(dir, "task", strconv.Itoa(pid+i))
			require.NoError(t, os.MkdirAll(task, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(task, "schedstat"), []byte(schedstat), 0o644))
		}
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup"), []byte("0::/docker/"+group+"\n"), 0o644))
	}
	process(10, "a", "100 5 3\n", "20 1 1\n")
	process(20, "b", "7000 1 1\n")
	process(30, "a", "3 0 1\n") // a child
	process(40, "c")

	got, err := processorTime(proc, 10)
	require.NoError(t, err)
	require.EqualValues(t, 123, got)
	_, err = processorTime(proc, 99)
	require.ErrorContains(t, err, "process 99")
	_, err = processorTime(proc, 40)
	require.ErrorContains(t, err, "none was counted")
	process(50, "d", "garbage")
	_, err = processorTime(proc, 50)
	require.ErrorContains(t, err, "schedstat")
}
