package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/assay-chaos/assay/store/client"
)

// child is one node of a local cluster: a process of this program.
type child struct {
	id            int
	program       string
	addr          string // for clients
	settings, log string // files

	pid int // 0: not running
	cmd *exec.Cmd
	err error // how it ended; to be read after it was sent as ended
}

// start runs the node, and sends it to ended when its process is gone.
func (c *child) start(ended chan<- *child) error {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("cluster: log of node %d: %w", c.id, err)
	}
	defer log.Close() // the process has its own
	c.cmd = exec.Command(c.program, "node", "--config", c.settings)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = ownGroup()
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("cluster: start node %d: %w", c.id, err)
	}
	c.pid = c.cmd.Process.Pid
	go func() {
		err := c.cmd.Wait()
		if err == nil {
			err = errors.New("exit status 0")
		}
		c.err = err
		ended <- c
	}()
	return nil
}

// await waits till the node says that it is ready. If it ends instead, the
// error has its last words.
func (c *child) await(ctx context.Context, connect func(addr string) *client.Client, ended <-chan *child) error {
	cl := connect(c.addr)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		h, err := cl.Health(ctx)
		if err == nil && h.Ready {
			return nil
		}
		select {
		case n := <-ended:
			n.pid = 0
			return fmt.Errorf("cluster: node %d has ended: %w: %s", n.id, n.err, lastLine(n.log))
		case <-ctx.Done():
			return fmt.Errorf("cluster: node %d is not ready: %w: %w: %s", c.id, context.Cause(ctx), err, lastLine(c.log))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// stopAll ends the nodes that run, as SIGTERM does, and kills those that do not
// end in time: who is paused does not hear a signal.
func stopAll(nodes []*child, ended <-chan *child) {
	running := 0
	for _, n := range nodes {
		if n.pid != 0 {
			running++
			_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
		}
	}
	patience := time.After(5 * time.Second)
	for running > 0 {
		select {
		case n := <-ended:
			n.pid = 0
			running--
		case <-patience:
			for _, n := range nodes {
				if n.pid != 0 {
					_ = n.cmd.Process.Kill() // nor does it matter here
				}
			}
			patience = nil
		}
	}
}

// lastLine gives the end of a log.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-2000), io.SeekStart) // a shorter file is read from its beginning
	}
	text, _ := io.ReadAll(f) // what can be read is better than nothing
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
