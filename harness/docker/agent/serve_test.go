package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// echo is a role that answers with its arguments; "block" waits for "free".
type echo struct {
	greet  error
	free   chan struct{}
	over   chan struct{}
	closed int
}

func (e *echo) hello() (any, error) { return "hi", e.greet }

func (e *echo) handle(ctx context.Context, op string, raw json.RawMessage) (any, error) {
	switch op {
	case "echo":
		return raw, nil
	case "block":
		select {
		case <-e.free:
			return "freed", nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case "free":
		close(e.free)
		return nil, nil
	}
	return nil, unknownOp(op)
}

func (e *echo) done() <-chan struct{} { return e.over }
func (e *echo) close() error          { e.closed++; return nil }

// session runs a role on pipes.
type session struct {
	in    *io.PipeWriter
	out   *bufio.Reader
	ended chan error
}

func play(ctx context.Context, p player) *session {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	s := &session{in: inW, out: bufio.NewReader(outR), ended: make(chan error, 1)}
	go func() {
		err := serve(ctx, p, inR, outW)
		outW.Close()
		s.ended <- err
	}()
	return s
}

func (s *session) send(t *testing.T, line string) {
	t.Helper()
	_, err := io.WriteString(s.in, line+"\n")
	require.NoError(t, err)
}

func (s *session) receive(t *testing.T, want string) {
	t.Helper()
	line, err := s.out.ReadString('\n')
	require.NoError(t, err)
	require.JSONEq(t, want, line)
}

func TestServe(t *testing.T) {
	e := &echo{free: make(chan struct{})}
	s := play(t.Context(), e)
	s.receive(t, `{"id":0,"result":"hi"}`)
	s.send(t, `{"id":1,"op":"block"}`)
	s.send(t, `{"id":2,"op":"echo","args":{"a":[1]}}`)
	s.receive(t, `{"id":2,"result":{"a":[1]}}`)
	s.send(t, `{"id":3,"op":"nonsense"}`)
	s.receive(t, `{"id":3,"error":"unknown operation \"nonsense\""}`)
	go s.send(t, `{"id":4,"op":"free"}`)
	answers := map[string]bool{}
	for range 2 {
		line, err := s.out.ReadString('\n')
		require.NoError(t, err)
		answers[strings.TrimSpace(line)] = true
	}
	require.Equal(t, map[string]bool{`{"id":1,"result":"freed"}`: true, `{"id":4}`: true}, answers)
	require.NoError(t, s.in.Close())
	require.NoError(t, <-s.ended)
	require.Equal(t, 1, e.closed)
}

func TestServeEnds(t *testing.T) {
	t.Run("when its input is no protocol", func(t *testing.T) {
		e := &echo{}
		s := play(t.Context(), e)
		s.receive(t, `{"id":0,"result":"hi"}`)
		s.send(t, "GET / HTTP/1.1")
		require.ErrorContains(t, <-s.ended, "read a request")
		require.Equal(t, 1, e.closed)
	})
	t.Run("when it cannot start", func(t *testing.T) {
		e := &echo{greet: errors.New("no permission")}
		s := play(t.Context(), e)
		s.receive(t, `{"id":0,"error":"no permission"}`)
		require.ErrorContains(t, <-s.ended, "no permission")
		require.Equal(t, 1, e.closed)
	})
	t.Run("when its work is over", func(t *testing.T) {
		e := &echo{over: make(chan struct{})}
		s := play(t.Context(), e)
		s.receive(t, `{"id":0,"result":"hi"}`)
		close(e.over)
		require.NoError(t, <-s.ended)
		require.Equal(t, 1, e.closed)
	})
	t.Run("when it is told to, whatever is in flight", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		e := &echo{free: make(chan struct{})}
		s := play(ctx, e)
		s.receive(t, `{"id":0,"result":"hi"}`)
		s.send(t, `{"id":1,"op":"block"}`)
		cancel()
		go io.Copy(io.Discard, s.out)
		require.NoError(t, <-s.ended)
		require.Equal(t, 1, e.closed)
	})
}
