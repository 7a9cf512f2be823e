package history

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Decode reads a history in the file format. What a file holds up to a cut or a
// damage is read, and History.Cut says where and why it ends; an error means
// that there was nothing to read.
//
// The input may be hostile: Decode allocates no more than a small multiple of
// what it was given.
func Decode(r io.Reader) (*History, error) {
	if err := readHeader(r); err != nil {
		return nil, err
	}
	cr := chunkReader{r: r, offset: int64(headerSize)}
	var chunks []chunk
	for {
		c, err := cr.next()
		switch {
		case err == io.EOF || err == nil && c == nil:
			return assemble(chunks, cr.cut), nil
		case err != nil:
			return nil, fmt.Errorf("read history: %w", err)
		}
		c.payload = slices.Clone(c.payload)
		chunks = append(chunks, *c)
	}
}

func readHeader(r io.Reader) error {
	var head [headerSize]byte
	if n, err := io.ReadFull(r, head[:]); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return fmt.Errorf("read history: %d bytes are no history: the header alone is %d", n, headerSize)
		}
		return fmt.Errorf("read history: %w", err)
	}
	if string(head[:len(magic)]) != magic {
		return errors.New("read history: this is no assay history file (wrong first bytes)")
	}
	if v := binary.LittleEndian.Uint32(head[len(magic):]); v != version {
		return fmt.Errorf("read history: format version %d; this assay reads version %d only", v, version)
	}
	return nil
}

// ReadFile reads a history from a file, as [Decode] does.
func ReadFile(path string) (*History, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	defer f.Close()
	h, err := Decode(bufio.NewReaderSize(f, 2*defaultChunkSize))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

// chunkReader reads chunks until the first one that is not whole and sound.
type chunkReader struct {
	r       io.Reader
	offset  int64
	payload bytes.Buffer
	cut     *CutError // why it has ended there
}

// next gives the next chunk, whose payload is valid until the call after it; nil
// where the file is cut. The error is io.EOF at the end, or one of reading, not
// of what was read.
func (c *chunkReader) next() (*chunk, error) {
	stop := func(reason string) (*chunk, error) {
		c.cut = &CutError{Offset: c.offset, Reason: reason}
		return nil, nil
	}
	var head [chunkHeaderSize]byte
	if _, err := io.ReadFull(c.r, head[:]); err == io.ErrUnexpectedEOF {
		return stop("the file ends inside a chunk's header")
	} else if err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[0:])
	ops := binary.LittleEndian.Uint32(head[4:])
	if size == 0 || size > maxPayload || ops > size/minInvoke {
		return stop("a chunk's header is damaged")
	}
	// The length is a claim: the buffer grows with what really comes.
	c.payload.Reset()
	if _, err := io.CopyN(&c.payload, c.r, int64(size)); err == io.EOF {
		return stop("the file ends inside a chunk")
	} else if err != nil {
		return nil, err
	}
	if chunkSum(head[:8], c.payload.Bytes()) != binary.LittleEndian.Uint32(head[8:]) {
		return stop("a chunk's checksum is wrong")
	}
	found := &chunk{payload: c.payload.Bytes(), ops: ops, offset: c.offset}
	c.offset += chunkHeaderSize + int64(size)
	return found, nil
}

// assemble decodes chunks into a history. It releases them as it goes: the
// operations are allocated once, at their final size, so that no moment needs
// more memory than the history and the encoded chunks.
func assemble(chunks []chunk, cut *CutError) *History {
	n := 0
	for i := range chunks {
		n += int(chunks[i].ops)
	}
	d := decoder{h: &History{Errors: []string{""}}, sorted: true}
	if n > 0 {
		d.h.Ops = make([]Op, 0, n)
	}
	end := int64(headerSize)
	for i := range chunks {
		c := &chunks[i]
		if err := d.chunk(c); err != nil {
			cut = &CutError{Offset: c.offset, Reason: err.Error()}
			break
		}
		end = c.offset + chunkHeaderSize + int64(len(c.payload))
		c.payload = nil
	}
	if cut == nil && !d.ended {
		cut = &CutError{Offset: end, Reason: "the recording was never closed"}
	}
	if cut != nil {
		d.h.Cut = cut
	}
	d.finish()
	return d.h
}
