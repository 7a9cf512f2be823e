package history

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ednReader reads EDN (github.com/edn-format/edn) one form at a time.
//
// It is our own because the input is hostile and messages must name lines:
// olympos.io/encoding/edn gives no positions for values, and recurses and
// buffers without bound, so that a megabyte of brackets ends the process.
type ednReader struct {
	r     *bufio.Reader
	line  int // of the next byte, from 1
	col   int // bytes of this line so far
	size  int // bytes of this form so far
	items int // data of this form so far
	tok   []byte
}

const (
	maxDepth = 64      // of nested forms
	maxItems = 1 << 18 // data in one form
)

func newEDNReader(r *bufio.Reader) *ednReader { return &ednReader{r: r, line: 1} }

// peek gives the next byte without taking it.
func (e *ednReader) peek() (byte, error) {
	p, err := e.r.Peek(1)
	if err != nil {
		return 0, err
	}
	return p[0], nil
}

// take takes the byte that was peeked at.
func (e *ednReader) take() (byte, error) {
	c, err := e.r.ReadByte()
	if err != nil {
		return 0, err
	}
	e.col++
	e.size++
	if c == '\n' {
		e.line++
		e.col = 0
	}
	if badControl(c) {
		return 0, fmt.Errorf("byte %#02x is no text", c)
	}
	return c, e.limits()
}

func (e *ednReader) limits() error {
	if e.col > maxLine {
		return fmt.Errorf("the line is longer than %d MiB; put every operation on a line of its own", maxLine>>20)
	}
	if e.size > maxLine {
		return fmt.Errorf("one form is longer than %d MiB", maxLine>>20)
	}
	return nil
}

// stops are the bytes that end a run of bytes of one sort. Line ends and
// control characters end every run: take looks after them.
type stops [256]bool

func stopAt(stop func(c byte) bool) *stops {
	var s stops
	for i := range s {
		c := byte(i)
		s[i] = c == '\n' || badControl(c) || stop(c)
	}
	return &s
}

var (
	endOfSpace   = stopAt(func(c byte) bool { return !isSpace(c) })
	endOfComment = stopAt(func(byte) bool { return false })
	endOfToken   = stopAt(delimiter)
	endOfText    = stopAt(func(c byte) bool { return c == '"' || c == '\\' })
)

// run takes bytes up to a stop or the end of the input, and keeps them if asked.
func (e *ednReader) run(stop *stops, keep bool) error {
	for {
		if _, err := e.peek(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		p, _ := e.r.Peek(e.r.Buffered())
		n := 0
		for n < len(p) && !stop[p[n]] {
			n++
		}
		if keep {
			e.tok = append(e.tok, p[:n]...)
		}
		more := n == len(p)
		e.r.Discard(n)
		e.col += n
		e.size += n
		if err := e.limits(); err != nil || !more {
			return err
		}
	}
}

// space skips white space, commas, comments and discarded forms, and gives the
// byte after them.
func (e *ednReader) space(depth int) (byte, error) {
	for {
		c, err := e.peek()
		if err != nil {
			return 0, err
		}
		switch {
		case isSpace(c):
			if depth == 0 {
				e.size = 0
			}
			if _, err = e.take(); err == nil {
				err = e.run(endOfSpace, false)
			}
		case c == ';':
			err = e.run(endOfComment, false)
			if depth == 0 {
				e.size = 0
			}
			// What ended the comment is a line end or no text.
			if err == nil {
				_, err = e.take()
			}
		case c == '#':
			p, _ := e.r.Peek(2)
			if len(p) < 2 || p[1] != '_' {
				return c, nil
			}
			e.take()
			e.take()
			_, err = e.form(depth + 1)
			err = cutOff(err)
		default:
			return c, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == ','
}

func delimiter(c byte) bool {
	return isSpace(c) || strings.IndexByte(`()[]{}";`, c) >= 0
}

var errCutOff = errors.New("the file ends in the middle")

// cutOff turns the end of the input into an error where it must not end.
func cutOff(err error) error {
	if err == io.EOF {
		return errCutOff
	}
	return err
}

// next reads the next form; io.EOF if there is none.
func (e *ednReader) next() (datum, error) {
	e.size, e.items = 0, 0
	return e.form(0)
}

func (e *ednReader) form(depth int) (datum, error) {
	if depth > maxDepth {
		return datum{}, fmt.Errorf("more than %d forms inside each other", maxDepth)
	}
	c, err := e.space(depth)
	if err != nil {
		return datum{}, err
	}
	if e.items++; e.items > maxItems {
		return datum{}, fmt.Errorf("one form holds more than %d parts", maxItems)
	}
	d := datum{line: e.line}
	switch c {
	case '"':
		d.kind = kindText
		d.text, err = e.quoted()
		return d, err
	case '[', '(':
		e.take()
		d.kind = kindList
		return e.collection(c, d, depth)
	case '{':
		e.take()
		d.kind = kindMap
		d, err = e.collection(c, d, depth)
		if err == nil && len(d.items)%2 == 1 {
			err = fmt.Errorf("the map that opens on line %d has a key without a value", d.line)
		}
		return d, err
	case ']', ')', '}':
		return d, fmt.Errorf("%q closes nothing", c)
	case '#':
		e.take()
		return e.tagged(d, depth)
	}
	if err := e.token(); err != nil {
		return d, err
	}
	return d, atom(&d, string(e.tok))
}

// collection reads up to the bracket that closes the given one.
func (e *ednReader) collection(open byte, d datum, depth int) (datum, error) {
	closing := map[byte]byte{'[': ']', '(': ')', '{': '}'}[open]
	for {
		c, err := e.space(depth + 1)
		if err == nil && c == closing {
			e.take()
			return d, nil
		}
		var item datum
		if err == nil {
			item, err = e.form(depth + 1)
		}
		if err == io.EOF {
			return d, fmt.Errorf("%w: the %q of line %d is not closed", errCutOff, open, d.line)
		}
		if err != nil {
			return d, err
		}
		d.items = append(d.items, item)
	}
}

// tagged reads what stands after a #: a set, or a tag and its form. Tags mean
// nothing here.
func (e *ednReader) tagged(d datum, depth int) (datum, error) {
	c, err := e.peek()
	if err != nil {
		return d, cutOff(err)
	}
	switch {
	case c == '{':
		e.take()
		d.kind = kindSet
		return e.collection(c, d, depth)
	case c == '#':
		// ##Inf, ##NaN
		e.take()
		if err := e.token(); err != nil {
			return d, err
		}
		d.kind, d.text = kindOther, "##"+string(e.tok)
		return d, nil
	case delimiter(c):
		return d, errors.New("# stands alone")
	}
	if err := e.token(); err != nil {
		return d, err
	}
	d, err = e.form(depth + 1)
	return d, cutOff(err)
}

// token reads up to the next delimiter.
func (e *ednReader) token() error {
	c, err := e.take()
	if err != nil {
		return cutOff(err)
	}
	e.tok = append(e.tok[:0], c)
	// A character: what follows the backslash belongs to it.
	if c == '\\' {
		if c, err = e.take(); err != nil {
			return cutOff(err)
		}
		e.tok = append(e.tok, c)
	}
	if err := e.run(endOfToken, true); err != nil {
		return err
	}
	if c, err := e.peek(); err == nil && badControl(c) {
		_, err = e.take()
		return err
	}
	if !utf8.Valid(e.tok) {
		return errors.New("a word that is no UTF-8 text")
	}
	return nil
}

// atom gives a token its meaning.
func atom(d *datum, tok string) error {
	c := tok[0]
	digits := strings.TrimLeft(tok, "+-")
	switch {
	case tok == "nil":
		d.kind = kindNil
	case c == ':':
		if d.kind, d.text = kindKeyword, tok[1:]; d.text == "" || d.text[0] == ':' {
			return fmt.Errorf("%q is no keyword", short(tok))
		}
	case digits != "" && digits[0] >= '0' && digits[0] <= '9':
		// N marks a number of any size, which is fine if it is small.
		n, err := strconv.ParseInt(strings.TrimSuffix(tok, "N"), 10, 64)
		if err == nil {
			d.kind, d.num = kindInt, n
			return nil
		}
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("number %s does not fit 64 bits", short(tok))
		}
		if !decimal(tok) {
			return fmt.Errorf("%q is no number", short(tok))
		}
		d.kind, d.text = kindOther, tok
	default:
		d.kind, d.text = kindOther, tok
	}
	return nil
}

// decimal says whether the token is a number with a fraction, an exponent or a
// denominator.
func decimal(tok string) bool {
	tok = strings.TrimSuffix(tok, "M")
	if _, err := strconv.ParseFloat(tok, 64); err == nil && !strings.ContainsAny(tok, "xX_pP") {
		return true
	}
	over, under, ok := strings.Cut(tok, "/")
	_, err1 := strconv.ParseInt(over, 10, 64)
	_, err2 := strconv.ParseUint(under, 10, 64)
	return ok && err1 == nil && err2 == nil
}

// quoted reads a string.
func (e *ednReader) quoted() (string, error) {
	start := e.line
	e.take()
	e.tok = e.tok[:0]
	for {
		err := e.run(endOfText, true)
		var c byte
		if err == nil {
			c, err = e.take()
		}
		if err == nil && c == '\\' {
			err = e.escape()
		} else if err == nil && c == '"' {
			break
		} else {
			e.tok = append(e.tok, c)
		}
		if err == io.EOF {
			return "", fmt.Errorf("%w: the string of line %d is not closed", errCutOff, start)
		}
		if err != nil {
			return "", err
		}
	}
	if !utf8.Valid(e.tok) {
		return "", errors.New("a string that is no UTF-8 text")
	}
	return string(e.tok), nil
}

// escape reads what stands after a backslash in a string.
func (e *ednReader) escape() error {
	c, err := e.take()
	if err != nil {
		return err
	}
	switch c {
	case 't':
		c = '\t'
	case 'r':
		c = '\r'
	case 'n':
		c = '\n'
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case '\\', '"':
	case 'u':
		var hex [4]byte
		for i := range hex {
			if hex[i], err = e.take(); err != nil {
				return err
			}
		}
		u, err := strconv.ParseUint(string(hex[:]), 16, 16)
		if err != nil || !utf8.ValidRune(rune(u)) {
			return fmt.Errorf(`\u%q is no character`, hex)
		}
		e.tok = utf8.AppendRune(e.tok, rune(u))
		return nil
	default:
		return fmt.Errorf(`\%c means nothing in a string`, c)
	}
	e.tok = append(e.tok, c)
	return nil
}
