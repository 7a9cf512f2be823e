package history

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

// maxLine bounds a line of a text format, and one form of an EDN file, so that
// hostile input cannot take the machine's memory.
const maxLine = 16 << 20 // bytes

// ImportError says what is wrong with a foreign history, and where.
type ImportError struct {
	File string
	Line int // counted from 1
	Err  error
}

func (e *ImportError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }
func (e *ImportError) Unwrap() error { return e.Err }

// Import reads a history in any format that the package knows: its own file
// format, its JSON lines (see [ExportJSONL]), the EDN of Jepsen and Knossos, and
// Jepsen's text log. It tells them apart by their content. The name is used in
// messages.
//
// Every error is an [*ImportError]. A history is either imported whole or not
// at all, except that our own format is read up to a cut (see [History.Cut]).
//
// Foreign formats have no ties: the order of the lines is what is known of time.
// Every event gets an instant of its own in that order; a :time is kept as far
// as it ascends. Values are either all numbers or all texts. An operation that
// names no key has the key "". What the nemesis did becomes faults if it is
// called start… and stop…, and is left out otherwise; their proofs are what
// the nemesis said and not OK, as nobody observed them.
func Import(r io.Reader, name string) (*History, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	// An error of reading comes again when the format's reader is there.
	head, _ := b.Peek(64 << 10)
	read, line, err := detect(head)
	if err != nil {
		return nil, &ImportError{File: name, Line: line, Err: err}
	}
	h, line, err := read(b, NewRecorder(nil))
	if err != nil {
		return nil, &ImportError{File: name, Line: max(1, line), Err: err}
	}
	return h, nil
}

// ImportFile reads a history from a file, as [Import] does.
func ImportFile(path string) (*History, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("import history: %w", err)
	}
	defer f.Close()
	return Import(f, path)
}

// importer reads one format. What is not our own goes through the recorder. The
// line is where the error is.
type importer func(r *bufio.Reader, to *Recorder) (h *History, line int, err error)

func importBinary(r *bufio.Reader, to *Recorder) (*History, int, error) {
	if to.sink != nil {
		return streamBinary(r, to)
	}
	h, err := Decode(r)
	return h, 1, err
}

// detect chooses the format by the beginning of the input.
func detect(head []byte) (importer, int, error) {
	if len(head) == 0 {
		return nil, 1, errors.New("the file is empty")
	}
	if head[0] == magic[0] {
		return importBinary, 0, nil
	}
	text := bytes.TrimPrefix(head, []byte(bom))
	if line, err := checkText(text, 1); err != nil {
		return nil, line, fmt.Errorf("no history in a format known here: %w", err)
	}
	line := 1
	for len(text) > 0 {
		c := text[0]
		switch {
		case c == '\n':
			line++
			fallthrough
		case c == ' ' || c == '\t' || c == '\r' || c == ',':
			text = text[1:]
		case c == ';':
			end := bytes.IndexByte(text, '\n')
			if end < 0 {
				end = len(text)
			}
			text = text[end:]
		case c == '{' && follows(text, '"'):
			return importJSONL, 0, nil
		case c == '[' && follows(text, '{') && follows(bytes.TrimLeft(text[1:], " \t\r\n"), '"'):
			return nil, line, errors.New("a JSON array; JSON histories are JSON lines here: one event on each line, without brackets and commas around them")
		case c == '{' || c == '[' || c == '(' || c == '#':
			return importEDN, 0, nil
		case bytes.Contains(text, []byte("jepsen.")):
			return importLog, 0, nil
		default:
			return nil, line, errors.New("no history in a format known here: neither assay's own, nor JSON lines, nor Jepsen's EDN, nor Jepsen's text log")
		}
	}
	return nil, line, errors.New("no operation in the beginning of the file")
}

// follows says whether c is the first byte of the text after its first byte and
// white space.
func follows(text []byte, c byte) bool {
	rest := bytes.TrimLeft(text[1:], " \t\r\n")
	return len(rest) > 0 && rest[0] == c
}

// bom is the byte order mark that some editors put before UTF-8.
const bom = "\xef\xbb\xbf"

func skipBOM(r *bufio.Reader) {
	if p, err := r.Peek(len(bom)); err == nil && string(p) == bom {
		r.Discard(len(bom))
	}
}

// checkText says whether bytes can be part of a text in UTF-8. A character that
// is cut off at the end is let pass: the bytes may be a part of more.
func checkText(b []byte, line int) (int, error) {
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case c == '\n':
			line++
			i++
		case badControl(c):
			return line, fmt.Errorf("byte %#02x is no text", c)
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n <= 1 && utf8.FullRune(b[i:]) {
				return line, fmt.Errorf("byte %#02x is no UTF-8", c)
			}
			i += n
		}
	}
	return line, nil
}

func badControl(c byte) bool {
	return c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f'
}

// lines reads lines of a bounded length.
type lines struct {
	r    *bufio.Reader
	line int // of the text given last
	buf  []byte
}

// next gives the next line without its end, which is valid until the next call,
// and whether it had an end. The error is io.EOF after the last line.
func (l *lines) next() (text []byte, ended bool, err error) {
	l.line++
	l.buf = l.buf[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		l.buf = append(l.buf, part...)
		switch {
		case len(l.buf) > maxLine:
			return nil, false, fmt.Errorf("the line is longer than %d MiB", maxLine>>20)
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(l.buf) == 0:
			return nil, false, io.EOF
		case err != nil && err != io.EOF:
			return nil, false, err
		}
		text = bytes.TrimSuffix(l.buf, []byte("\n"))
		if !utf8.Valid(text) {
			return nil, false, errors.New("the line is no UTF-8 text")
		}
		if i := bytes.IndexFunc(text, func(r rune) bool { return r < ' ' && badControl(byte(r)) }); i >= 0 {
			return nil, false, fmt.Errorf("byte %#02x is no text", text[i])
		}
		return bytes.TrimSuffix(text, []byte("\r")), err == nil, nil
	}
}
