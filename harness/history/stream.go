package history

import (
	"bufio"
	"fmt"
	"io"
)

// Event is an operation that was invoked, or one that has completed.
type Event struct {
	// ID counts the invocations, from 0, in the order of the recording. In a
	// history whose calls ascend it is the place in History.Ops.
	ID   int
	Done bool // completed
	// Op is all that is known of the operation by then.
	Op Op
}

// Sink takes a history as a stream. It must keep nothing that it is given a
// pointer to.
type Sink struct {
	// Event is called for every event of an operation, in the order of the
	// recording. An operation that never completed has one event only. An
	// error ends the stream.
	Event func(*Event) error
	// Key is called for every name of a key, before an operation is on it.
	// It may be nil.
	Key func(k int32, name string)
	// Text is called for every text that is a value, before an operation has
	// it. It may be nil.
	Text func(v Value, text string)
}

// Stream reads a history in any format that [Import] knows, an event at a time,
// without holding it in memory: what it holds are the operations in flight and
// the texts of errors; of formats other than our own also the names of keys and
// text values.
//
// The error of an input that cannot be read, or not be what it should be, is an
// [*ImportError], and what the sink was given by then means nothing. Of a file
// of our own that is cut off or damaged everything before the cut is given; why
// it ends there is cut.
func Stream(r io.Reader, name string, to Sink) (cut, err error) {
	b := bufio.NewReaderSize(r, 256<<10)
	// An error of reading comes again when the format's reader is there.
	head, _ := b.Peek(64 << 10)
	read, line, err := detect(head)
	if err != nil {
		return nil, &ImportError{File: name, Line: line, Err: err}
	}
	rec := NewRecorder(nil)
	rec.sink = &to
	h, line, err := read(b, rec)
	switch {
	case rec.sinkErr != nil:
		return nil, rec.sinkErr
	case err != nil:
		return nil, &ImportError{File: name, Line: max(1, line), Err: err}
	}
	return h.Cut, nil
}

// streamBinary reads our own format into a sink. The history that it gives has
// no operations.
func streamBinary(r io.Reader, rec *Recorder) (*History, int, error) {
	if err := readHeader(r); err != nil {
		return nil, 1, err
	}
	d := decoder{h: &History{Errors: []string{""}}, sorted: true, sink: rec.sink, open: make(map[int]Op)}
	cr := chunkReader{r: r, offset: int64(headerSize)}
	for {
		c, err := cr.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, 1, fmt.Errorf("read history: %w", err)
		}
		if c == nil {
			d.h.Cut = cr.cut
			return d.h, 0, nil
		}
		if err := d.chunk(c); err != nil {
			if d.sinkErr != nil {
				rec.sinkErr = d.sinkErr
				return nil, 1, d.sinkErr
			}
			d.h.Cut = &CutError{Offset: c.offset, Reason: err.Error()}
			return d.h, 0, nil
		}
	}
	if !d.ended {
		d.h.Cut = &CutError{Offset: cr.offset, Reason: "the recording was never closed"}
	}
	return d.h, 0, nil
}
