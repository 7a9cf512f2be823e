package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A player is one role of an agent.
type player interface {
	// hello prepares the role and gives what to greet with.
	hello() (any, error)
	// handle answers one request. Calls overlap.
	handle(ctx context.Context, op string, args json.RawMessage) (any, error)
	// done is closed when the role has nothing left to do; nil is never.
	done() <-chan struct{}
	// close undoes what the role did. It is called once, at the end.
	close() error
}

// maxLine bounds one request: a full mesh of 100 nodes fits many times over.
const maxLine = 4 << 20

// serve plays a role until its input ends, it is done, or ctx is.
func serve(ctx context.Context, p player, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &responder{enc: json.NewEncoder(out)}
	greeting, err := p.hello()
	if err := w.respond(0, greeting, err); err != nil {
		return errors.Join(err, p.close())
	}
	if err != nil {
		return errors.Join(err, p.close())
	}

	requests := make(chan Request)
	ended := make(chan error, 1)
	go func() { ended <- read(ctx, in, requests) }()

	var pending sync.WaitGroup
	for running := true; running; {
		select {
		case q := <-requests:
			pending.Go(func() {
				result, err := p.handle(ctx, q.Op, q.Args)
				// A failed write means that the harness is gone, which the
				// end of the input tells as well.
				_ = w.respond(q.ID, result, err)
			})
		case err = <-ended:
			running = false
		case <-p.done():
			running = false
		case <-ctx.Done():
			running = false
		}
	}
	cancel()
	pending.Wait()
	return errors.Join(err, p.close())
}

// read passes requests on until there are no more, or ctx is done.
func read(ctx context.Context, in io.Reader, to chan<- Request) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var q Request
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		select {
		case to <- q:
		case <-ctx.Done():
			return nil
		}
	}
	return lines.Err()
}

type responder struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (w *responder) respond(id uint64, result any, err error) error {
	resp := Response{ID: id}
	if err != nil {
		resp.Error = err.Error()
	} else if result != nil {
		raw, err := json.Marshal(result)
		if err != nil {
			return err
		}
		resp.Result = raw
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.enc.Encode(resp)
}

// args decodes the arguments of one operation.
func args[T any](op string, raw json.RawMessage) (T, error) {
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("arguments of %q: %w", op, err)
	}
	return v, nil
}

func unknownOp(op string) error { return fmt.Errorf("unknown operation %q", op) }
