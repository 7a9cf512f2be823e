package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// processorTime is how long the threads of a container have run so far, in
// nanoseconds. The container is known by one of its processes; its others are
// in the same control group. The engine's own figure is made once a second,
// which is too seldom to see a process stand still.
func processorTime(proc string, pid int) (uint64, error) {
	group, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return 0, fmt.Errorf("control group of process %d: %w", pid, err)
	}
	others, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "cgroup"))
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, path := range others {
		if g, err := os.ReadFile(path); err != nil || !bytes.Equal(g, group) {
			continue // of another container, or gone
		}
		threads, err := filepath.Glob(filepath.Join(filepath.Dir(path), "task", "*", "schedstat"))
		if err != nil {
			return 0, err
		}
		for _, t := range threads {
			ns, err := readSchedstat(t)
			if errors.Is(err, fs.ErrNotExist) {
				continue // the thread has ended
			}
			if err != nil {
				return 0, err
			}
			sum += ns
		}
	}
	if sum == 0 {
		return 0, fmt.Errorf("processor time of process %d: none was counted (kernel option SCHED_INFO)", pid)
	}
	return sum, nil
}

// readSchedstat reads the first field of /proc/PID/task/TID/schedstat: time
// spent on the processor, in nanoseconds.
func readSchedstat(path string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	field, _, _ := bytes.Cut(b, []byte{' '})
	ns, err := strconv.ParseUint(string(field), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return ns, nil
}
