package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/node"
)

// asNode makes the test's program a node.
const asNode = "ASSAY_TEST_AS_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(asNode) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is a node that can be killed.
type process struct {
	cfg node.Config
	cmd *exec.Cmd
}

func (p *process) start(t *testing.T) {
	p.cmd = exec.Command(os.Args[0], p.cfg.Args()...)
	p.cmd.Env = append(os.Environ(), asNode+"=1")
	log, err := os.OpenFile(p.cfg.Dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer log.Close()
	p.cmd.Stderr = log
	require.NoError(t, p.cmd.Start())
}

// kill is kill -9. It returns when the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself; then its log tells
	_ = p.cmd.Wait()         // says that it was killed
}

func (p *process) ready(ctx context.Context) error {
	c := client.New(p.cfg.ListenClient)
	defer c.Close()
	for {
		if h, err := c.Health(ctx); err == nil && h.Ready {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %d is not ready: %w", p.cfg.ID, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// startProcesses starts the nodes of a cluster, each with its own process.
func startProcesses(t *testing.T, n int) []*process {
	addrs := make([]string, 2*n)
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close() // all are held till all are found
		addrs[i] = l.Addr().String()
	}
	nodes := make([]*process, n)
	for i := range nodes {
		cfg := node.DefaultConfig()
		cfg.ID, cfg.Peers = i, addrs[:n]
		cfg.ListenPeer, cfg.ListenClient = addrs[i], addrs[n+i]
		cfg.Dir = t.TempDir() + "/data"
		nodes[i] = &process{cfg: cfg}
	}
	t.Cleanup(func() {
		for _, p := range nodes {
			if p.cmd != nil {
				p.kill()
			}
			if log, err := os.ReadFile(p.cfg.Dir + ".log"); err == nil && t.Failed() {
				t.Logf("node %d:\n%s", p.cfg.ID, log)
			}
		}
	})
	return nodes
}

// All nodes are killed at once, in the middle of writing, again and again. Every
// write that was acknowledged is there afterwards.
func TestKillAll(t *testing.T) {
	const rounds, writers = 3, 24
	nodes := startProcesses(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var tried, acknowledged [writers]int // the last number that a writer has tried, and has written
	for round := range rounds {
		for _, p := range nodes {
			p.start(t)
		}
		for _, p := range nodes {
			require.NoError(t, p.ready(ctx))
		}
		if round > 0 {
			checkAll(t, ctx, nodes[round%3], tried[:], acknowledged[:])
		}

		stop, halt := context.WithCancel(ctx)
		var group sync.WaitGroup
		before := acknowledged
		for w := range writers {
			group.Go(func() {
				c := client.New(nodes[w%3].cfg.ListenClient)
				defer c.Close()
				for stop.Err() == nil {
					tried[w]++
					if _, err := c.Put(stop, writerKey(w), []byte(strconv.Itoa(tried[w]))); err == nil {
						acknowledged[w] = tried[w]
					}
				}
			})
		}
		time.Sleep(300 * time.Millisecond) // the load
		var killers sync.WaitGroup
		for _, p := range nodes {
			killers.Go(p.kill)
		}
		killers.Wait()
		halt()
		group.Wait()
		done := 0
		for w := range writers {
			done += acknowledged[w] - before[w]
		}
		require.Greater(t, done, writers, "too few writes to show anything")
		t.Logf("round %d: killed after %d numbers were written", round, done)
	}
	for _, p := range nodes {
		p.start(t)
	}
	for _, p := range nodes {
		require.NoError(t, p.ready(ctx))
	}
	checkAll(t, ctx, nodes[0], tried[:], acknowledged[:])
}

func writerKey(w int) string { return fmt.Sprintf("writer-%d", w) }

// checkAll reads what the writers have left. A write without an answer may be
// there or not.
func checkAll(t *testing.T, ctx context.Context, p *process, tried, acknowledged []int) {
	c := client.New(p.cfg.ListenClient)
	defer c.Close()
	for w := range acknowledged {
		got, err := c.Get(ctx, writerKey(w))
		for deadline := time.Now().Add(5 * time.Second); err != nil && time.Now().Before(deadline); {
			// The nodes may still look for each other.
			require.True(t, strings.Contains(err.Error(), "unavailable"), "%v", err)
			got, err = c.Get(ctx, writerKey(w))
		}
		require.NoError(t, err)
		n := 0
		if got.Found {
			n, err = strconv.Atoi(string(got.Value))
			require.NoError(t, err)
		}
		require.GreaterOrEqual(t, n, acknowledged[w], "writer %d: an acknowledged write is lost", w)
		require.LessOrEqual(t, n, tried[w])
	}
}
