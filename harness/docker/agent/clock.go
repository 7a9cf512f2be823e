package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/assay-chaos/assay/harness/docker/agent/internal/vdso"
)

// clock changes the wall clock of the processes in its process namespace,
// which is a node's. It gives the true time back when the lease is over, when
// its input ends, or when it is asked to.
type clock struct {
	mu    sync.Mutex
	procs map[int]*vdso.Process
	timer *time.Timer
	over  chan struct{}
	once  sync.Once
}

func (c *clock) hello() (any, error) {
	c.over = make(chan struct{})
	c.procs = map[int]*vdso.Process{}
	return nil, nil
}

func (c *clock) handle(_ context.Context, op string, raw json.RawMessage) (any, error) {
	if op != OpSet {
		return nil, unknownOp(op)
	}
	a, err := args[SetArgs](op, raw)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	if a.MS <= 0 {
		err := c.restore()
		c.once.Do(func() { close(c.over) })
		return nil, err
	}
	c.timer = time.AfterFunc(time.Duration(a.MS)*time.Millisecond, func() {
		c.once.Do(func() { close(c.over) })
	})
	return c.set(time.Duration(a.OffsetNS), a.Drift)
}

// set changes every process it can. A container may run others beside the node
// (an init, a shell) that read no clock through the vDSO; one that can be
// changed is enough, and the observed clock is the proof.
func (c *clock) set(offset time.Duration, drift float64) (SetResult, error) {
	pids, err := processes()
	if err != nil {
		return SetResult{}, err
	}
	var result SetResult
	var failed []error
	for _, pid := range pids {
		p := c.procs[pid]
		if p == nil {
			p, err = vdso.Attach(pid)
			if err != nil {
				failed = append(failed, err)
				continue
			}
			c.procs[pid] = p
		}
		if err := p.Set(offset, drift); err != nil {
			failed = append(failed, fmt.Errorf("process %d: %w", pid, err))
			continue
		}
		result.PIDs = append(result.PIDs, pid)
	}
	if len(result.PIDs) == 0 {
		return result, fmt.Errorf("the clock of no process could be changed: %w", errors.Join(failed...))
	}
	return result, nil
}

func (c *clock) restore() error {
	var failed []error
	for _, pid := range sortedKeys(c.procs) {
		p := c.procs[pid]
		if err := p.Restore(); err != nil {
			// A process that has ended needs no clock.
			if _, statErr := os.Stat(fmt.Sprintf("/proc/%d", pid)); statErr == nil {
				failed = append(failed, fmt.Errorf("restore the clock of process %d: %w", pid, err))
			}
		}
		p.Close()
		delete(c.procs, pid)
	}
	return errors.Join(failed...)
}

func (c *clock) done() <-chan struct{} { return c.over }

func (c *clock) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restore()
}

// processes lists the namespace's processes other than this one, ascending.
func processes() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	sort.Ints(pids)
	return pids, nil
}

func sortedKeys(m map[int]*vdso.Process) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Ints(keys)
	return keys
}
