package httpapi

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
)

// A stream carries many requests at a time over one connection. It is for
// programs: the requests and their answers are the same as over HTTP, path for
// path and header for header, but each is one short frame, and answers come in
// the order in which they are ready. That costs a fraction of HTTP/1's parsing
// and lets many share a packet.
//
// A connection becomes a stream by a GET of [PathStream] with "Connection:
// Upgrade" and "Upgrade: " + [StreamProtocol], answered by 101. From then on
// frames go both ways:
//
//	uint32   bytes that follow
//	uint64   the request's number, chosen by the client and echoed by the answer
//	uint16   request: 0; answer: the status
//	string   request: the method; answer: empty
//	string   request: path and query; answer: empty
//	uint16   headers, each a string of its name and one of its value
//	bytes    the body: what is left
//
// Numbers are big endian. A string is a uint16, its length in bytes, and the
// bytes. A number may be used again when its answer is there.

// PathStream and StreamProtocol are what a client asks for to get a stream.
const (
	PathStream     = "/v1/stream"
	StreamProtocol = "assay-stream/1"
)

// MaxFrame bounds a frame, in bytes without its length: enough for the longest
// answer to a [LocalQuestion].
const MaxFrame = 64 << 20

// Frame is a request or an answer on a stream.
type Frame struct {
	ID     uint64
	Status int // answers only
	Method string
	Path   string // percent-encoded, with the query
	Header http.Header
	Body   []byte
}

// errShort means that a frame ends before what it announces.
var errShort = errors.New("it ends too early")

// Append adds the frame's bytes to buf. A frame that cannot be carried is an
// error and adds nothing.
func (f *Frame) Append(buf []byte) ([]byte, error) {
	start := len(buf)
	buf = binary.BigEndian.AppendUint32(buf, 0) // the length, see below
	buf = binary.BigEndian.AppendUint64(buf, f.ID)
	buf = binary.BigEndian.AppendUint16(buf, uint16(f.Status))
	tooLong := false
	text := func(s string) {
		tooLong = tooLong || len(s) > 1<<16-1
		buf = append(binary.BigEndian.AppendUint16(buf, uint16(len(s))), s...)
	}
	text(f.Method)
	text(f.Path)
	// In order, so that the same frame has the same bytes.
	names := make([]string, 0, 8)
	n := 0
	for name, values := range f.Header {
		names = append(names, name)
		n += len(values)
	}
	slices.Sort(names)
	buf = binary.BigEndian.AppendUint16(buf, uint16(n))
	for _, name := range names {
		for _, value := range f.Header[name] {
			text(name)
			text(value)
		}
	}
	buf = append(buf, f.Body...)
	size := len(buf) - start - 4
	if tooLong || n > 1<<16-1 || size > MaxFrame {
		return buf[:start], fmt.Errorf("httpapi: a frame of %d bytes cannot be carried: %d are allowed, and 65535 for its path and each header", size, MaxFrame)
	}
	binary.BigEndian.PutUint32(buf[start:], uint32(size))
	return buf, nil
}

// ReadFrame reads one frame of at most limit bytes. It gives io.EOF where a
// stream ends between frames. Bytes that are not a frame give an error.
func ReadFrame(r *bufio.Reader, limit int) (*Frame, error) {
	head, err := r.Peek(4)
	if err != nil {
		if len(head) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	size := binary.BigEndian.Uint32(head)
	if uint64(size) > uint64(limit) {
		return nil, fmt.Errorf("httpapi: malformed stream: a frame of %d bytes, and %d are allowed", size, limit)
	}
	_, _ = r.Discard(4) // they are in the buffer
	data, err := readN(r, int(size))
	if err != nil {
		return nil, err
	}
	f, err := parseFrame(data)
	if err != nil {
		return nil, fmt.Errorf("httpapi: malformed stream: a frame of %d bytes: %w", size, err)
	}
	return f, nil
}

// readN reads n bytes. What a length announces is not believed before it
// arrives: memory grows with the bytes.
func readN(r io.Reader, n int) ([]byte, error) {
	const step = 1 << 20
	data := make([]byte, 0, min(n, step))
	for len(data) < n {
		more := min(n-len(data), step)
		data = slices.Grow(data, more)
		k, err := io.ReadFull(r, data[len(data):len(data)+more])
		data = data[:len(data)+k]
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
	return data, nil
}

// parseFrame takes what follows a frame's length. The frame keeps data.
func parseFrame(data []byte) (*Frame, error) {
	p := parser{data: data}
	f := &Frame{ID: p.number(8), Status: int(p.number(2)), Method: p.text(), Path: p.text()}
	if n := p.number(2); n > 0 {
		f.Header = make(http.Header, min(n, 16))
		for range n {
			name := textproto.CanonicalMIMEHeaderKey(p.text())
			f.Header[name] = append(f.Header[name], p.text())
			if p.short {
				break
			}
		}
	}
	if p.short {
		return nil, errShort
	}
	f.Body = p.data
	return f, nil
}

// parser takes values off the front of data.
type parser struct {
	data  []byte
	short bool // there was less than asked for
}

func (p *parser) take(n int) []byte {
	if p.short || len(p.data) < n {
		p.short = true
		return nil
	}
	b := p.data[:n:n]
	p.data = p.data[n:]
	return b
}

func (p *parser) number(size int) (n uint64) {
	for _, b := range p.take(size) {
		n = n<<8 | uint64(b)
	}
	return n
}

func (p *parser) text() string { return string(p.take(int(p.number(2)))) }
