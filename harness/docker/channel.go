package docker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/assay-chaos/assay/harness/docker/agent"
)

// channel talks to one agent over its container's standard input and output,
// through the engine, wherever that is. When this process ends in any way, the
// engine closes the agent's input.
type channel struct {
	name string // of the container, for errors
	conn types.HijackedResponse

	greeting chan agent.Response
	write    sync.Mutex

	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan agent.Response
	closed  chan struct{} // when the agent's output has ended
	stderr  tail
}

// attach must come before the container's start, so that nothing is missed.
func (e *engine) attach(ctx context.Context, name, id string) (*channel, error) {
	conn, err := e.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", name, err)
	}
	c := &channel{name: name, conn: conn, closed: make(chan struct{}), greeting: make(chan agent.Response, 1)}
	c.pending = map[uint64]chan agent.Response{0: c.greeting}
	lines, out := io.Pipe()
	go func() {
		_, err := stdcopy.StdCopy(out, &c.stderr, conn.Reader)
		out.CloseWithError(err)
	}()
	go c.read(lines)
	return c, nil
}

func (c *channel) read(from *io.PipeReader) {
	defer close(c.closed)
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var r agent.Response
		if err := json.Unmarshal(line, &r); err != nil {
			// Not the protocol: the image's program is not our agent.
			_, _ = c.stderr.Write(line)
			from.CloseWithError(err)
			return
		}
		c.mu.Lock()
		answer := c.pending[r.ID]
		delete(c.pending, r.ID)
		c.mu.Unlock()
		if answer != nil {
			answer <- r
		}
	}
}

// hello waits for the agent's greeting. It is called once.
func (c *channel) hello(ctx context.Context, into any) error {
	return c.await(ctx, "start", c.greeting, into)
}

// call does one operation. Calls may overlap.
func (c *channel) call(ctx context.Context, op string, args, into any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("agent %s: %s: %w", c.name, op, err)
	}
	answer := make(chan agent.Response, 1)
	c.mu.Lock()
	c.next++
	id := c.next
	c.pending[id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.pending, id)
		c.mu.Unlock()
	}()
	line, err := json.Marshal(agent.Request{ID: id, Op: op, Args: raw})
	if err != nil {
		return fmt.Errorf("agent %s: %s: %w", c.name, op, err)
	}
	c.write.Lock()
	_, err = c.conn.Conn.Write(append(line, '\n'))
	c.write.Unlock()
	if err != nil {
		return fmt.Errorf("agent %s: %s: %w: %w%s", c.name, op, errAgentGone, err, c.stderr.note())
	}
	return c.await(ctx, op, answer, into)
}

func (c *channel) await(ctx context.Context, op string, answer <-chan agent.Response, into any) error {
	var r agent.Response
	select {
	case r = <-answer:
	case <-c.closed:
		// The answer may have come just before the end.
		select {
		case r = <-answer:
		default:
			return fmt.Errorf("agent %s: %s: %w%s", c.name, op, errAgentGone, c.stderr.note())
		}
	case <-ctx.Done():
		return fmt.Errorf("agent %s: %s: %w", c.name, op, ctx.Err())
	}
	if r.Error != "" {
		return fmt.Errorf("agent %s: %s: %s", c.name, op, r.Error)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(r.Result, into); err != nil {
		return fmt.Errorf("agent %s: answer to %s: %w", c.name, op, err)
	}
	return nil
}

var errAgentGone = errors.New("the agent has ended")

// close ends the agent's input, on which it undoes what it did and exits.
func (c *channel) close() {
	_ = c.conn.CloseWrite() // the connection may be gone already
	c.conn.Close()
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// note is the tail as a suffix of an error.
func (t *tail) note() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := bytes.TrimSpace(t.buf)
	if len(text) == 0 {
		return ""
	}
	return ": " + string(text)
}
