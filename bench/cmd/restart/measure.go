package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/engine"
	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/node"
	"github.com/assay-chaos/assay/store/replica"
)

type options struct {
	Keys    int
	Clients int
	Load    time.Duration
	Dir     string
}

func defaults() options {
	return options{Keys: 10_000_000, Clients: 16, Load: 10 * time.Second}
}

// result is what was found. Times are from the start of the process.
type result struct {
	keys                  int
	filled                time.Duration
	disk                  int64 // bytes
	ready, first, counted time.Duration
	readyMem, countMem    int64 // resident, in bytes; countMem and peak: the most so far
	peak                  int64
	before, after         int // operations till the count was through, and after it
	beforeTook, afterTook time.Duration
}

func (r *result) print(w io.Writer) {
	rate := func(n int, took time.Duration) float64 { return float64(n) / max(took.Seconds(), 1e-9) }
	fmt.Fprintf(w, `%d keys of 16 bytes with values of 16 bytes, written in %.1f s, %.0f MB on disk
ready after         %8.2f s   %6.0f MB resident
first read after    %8.2f s
keys counted after  %8.2f s   %6.0f MB at most   %6.0f ops/s meanwhile
load after that     %8.2f s   %6.0f MB at most   %6.0f ops/s
`, r.keys, r.filled.Seconds(), float64(r.disk)/1e6,
		r.ready.Seconds(), float64(r.readyMem)/1e6,
		r.first.Seconds(),
		r.counted.Seconds(), float64(r.countMem)/1e6, rate(r.before, r.beforeTook),
		r.afterTook.Seconds(), float64(r.peak)/1e6, rate(r.after, r.afterTook))
}

func key(i int) string { return fmt.Sprintf("key/%012d", i) }

// fill makes the data of a node.
func fill(ctx context.Context, cfg *node.Config, keys int) error {
	e, err := engine.Open(cfg.Dir, engine.Options{Owner: fmt.Sprintf("%s/%d", cfg.Cluster, cfg.ID)})
	if err != nil {
		return err
	}
	var batch []replica.Write
	for i := 0; i < keys && err == nil; i++ {
		batch = append(batch, replica.Write{Key: key(i), Record: replica.Record{
			Stamp: replica.Stamp{Counter: int64(i + 1), Boot: 1, Seq: uint64(i + 1)}, Value: []byte(key(i)),
		}})
		if len(batch) == 1000 || i == keys-1 {
			err = errors.Join(e.Apply(uint64(i+1), batch), ctx.Err())
			batch = batch[:0]
		}
	}
	return errors.Join(err, e.Close())
}

// freeAddr is an address of this machine on which nobody listens.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// measure makes the data, starts a node on it, and removes both.
func measure(ctx context.Context, o options) (r result, err error) {
	if o.Keys < 1 || o.Clients < 0 || o.Load < 0 {
		return r, errors.New("--keys has to be at least 1, and --clients and --load not negative")
	}
	dir, err := os.MkdirTemp(o.Dir, "restart")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program, err := docker.GoBinary(ctx, "github.com/assay-chaos/assay/store/node/assay-node", runtime.GOARCH)
	if err != nil {
		return r, err
	}
	path := filepath.Join(dir, "assay-node")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		return r, err
	}
	cfg := node.DefaultConfig()
	cfg.Dir = filepath.Join(dir, "data")
	cfg.N, cfg.R, cfg.W = 3, 1, 1
	for i := range 3 {
		addr, err := freeAddr()
		if err != nil {
			return r, err
		}
		if cfg.Peers = append(cfg.Peers, addr); i == cfg.ID {
			cfg.ListenPeer = addr
		}
	}
	if cfg.ListenClient, err = freeAddr(); err != nil {
		return r, err
	}
	start := time.Now()
	if err := fill(ctx, &cfg, o.Keys); err != nil {
		return r, err
	}
	r.keys, r.filled = o.Keys, time.Since(start)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := new(strings.Builder)
	process := exec.CommandContext(ctx, path, cfg.Args()...)
	process.Stderr = log
	process.Cancel = func() error { return process.Process.Signal(syscall.SIGTERM) }
	process.WaitDelay = 30 * time.Second
	if err := process.Start(); err != nil {
		return r, err
	}
	ended := make(chan struct{})
	go func() { _ = process.Wait(); close(ended) }() // ended tells, and the log says why
	defer func() { cancel(); <-ended }()
	if err := r.watch(ctx, &o, cfg.ListenClient, process.Process.Pid, ended); err != nil {
		return r, fmt.Errorf("%w; the node's log:\n%s", err, log)
	}
	return r, nil
}

// watch looks at a node that was just started.
func (r *result) watch(ctx context.Context, o *options, addr string, pid int, ended <-chan struct{}) error {
	start := time.Now()
	c := client.NewStream(addr)
	defer c.Close()
	plain := client.New(addr)
	defer plain.Close()
	poll := func(every time.Duration, done func() (bool, error)) error {
		for {
			if yes, err := done(); yes || err != nil {
				return err
			}
			select {
			case <-time.After(every):
			case <-ended:
				return errors.New("the node has ended")
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	if err := poll(5*time.Millisecond, func() (bool, error) {
		h, err := plain.Health(ctx)
		return err == nil && h.Ready, nil
	}); err != nil {
		return err
	}
	r.ready = time.Since(start)
	at := rand.IntN(o.Keys)
	if got, err := c.Get(ctx, key(at)); err != nil || string(got.Value) != key(at) {
		return fmt.Errorf("read %s: %q, %w", key(at), got.Value, err)
	}
	r.first = time.Since(start)
	var err error
	if r.readyMem, err = memory(pid, "VmRSS"); err != nil {
		return err
	}

	loading, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, o.Clients)
	var count atomic.Int64
	var clients sync.WaitGroup
	for i := range o.Clients {
		clients.Go(func() {
			for n := i; loading.Err() == nil; n++ {
				k := key(rand.IntN(o.Keys))
				var err error
				if n%2 == 0 {
					_, err = c.Get(ctx, k)
				} else {
					_, err = c.Put(ctx, k, []byte(k))
				}
				if err != nil {
					failed <- err
					return
				}
				count.Add(1)
			}
		})
	}
	defer func() { stop(); clients.Wait() }()
	began := time.Now()
	if err := poll(100*time.Millisecond, func() (bool, error) {
		counting, err := metric(ctx, addr, "assay_repair_counting")
		return counting == "0", err
	}); err != nil {
		return err
	}
	r.counted, r.beforeTook, r.before = time.Since(start), time.Since(began), int(count.Load())
	if r.countMem, err = memory(pid, "VmHWM"); err != nil {
		return err
	}
	began = time.Now()
	select {
	case <-time.After(o.Load):
	case err := <-failed:
		return err
	case <-ended:
		return errors.New("the node has ended")
	case <-ctx.Done():
		return ctx.Err()
	}
	r.afterTook, r.after = time.Since(began), int(count.Load())-r.before
	stop()
	clients.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	size, err := metric(ctx, addr, "assay_storage_bytes")
	if err != nil {
		return err
	}
	var disk float64
	if _, err := fmt.Sscan(size, &disk); err != nil {
		return fmt.Errorf("assay_storage_bytes is %q: %w", size, err)
	}
	r.disk = int64(disk)
	r.peak, err = memory(pid, "VmHWM")
	return err
}

// memory reads a line such as VmHWM of what Linux knows of a process, in bytes.
func memory(pid int, name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("the node's memory (this needs Linux): %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			var kib int64
			_, err := fmt.Sscan(rest, &kib)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no %s", pid, name)
}

// metric reads one of the node's metrics that has no labels.
func metric(ctx context.Context, addr, name string) (string, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+httpapi.PathMetrics, nil)
	if err != nil {
		return "", err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return "", err
	}
	defer a.Body.Close()
	for s := bufio.NewScanner(a.Body); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			return value, nil
		}
	}
	return "", fmt.Errorf("%s tells no %s", addr, name)
}
