package history

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// importLog reads Jepsen's text log. The lines of jepsen.util are the events:
//
//	INFO  jepsen.util - 3	:invoke	:cas	[1 2]
//	INFO  jepsen.util - 3	:info	:cas	:timed-out
//	INFO  jepsen.util - :nemesis	:info	:start	nil
//
// After the value there may be an error. Lines of other loggers are left out;
// what is no line of a log is an error.
func importLog(r *bufio.Reader, to *Recorder) (*History, int, error) {
	skipBOM(r)
	in := lines{r: r}
	b := newBuilder(to, false)
	for {
		text, ended, err := in.next()
		if err == io.EOF {
			return b.history(), 0, nil
		}
		if err != nil {
			return nil, in.line, err
		}
		rest, ok, err := logEvent(text)
		if err == nil && !ended && (!ok || cutShort(text)) {
			err = fmt.Errorf("%w: the last line may be cut off; end it with a line break if it is whole", errCutOff)
		}
		var e event
		if err == nil && ok {
			if e, err = parseLogEvent(rest); err == nil {
				e.line = in.line
				e.value.line = in.line
				err = b.add(e)
			}
		}
		if err != nil {
			return nil, in.line, err
		}
	}
}

// cutShort says that the last word of the line could have been longer: nothing
// in 3 shows that it is not the beginning of 31.
func cutShort(text []byte) bool {
	n := len(text)
	return n > 0 && text[n-1] >= '0' && text[n-1] <= '9'
}

// logEvent gives what jepsen.util said, and false for a line of another logger.
func logEvent(text []byte) (rest []byte, ok bool, err error) {
	for _, logger := range []string{"jepsen.util - ", "jepsen.util: "} {
		if _, rest, ok := bytes.Cut(text, []byte(logger)); ok {
			return rest, true, nil
		}
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil, false, nil
	}
	for _, level := range []string{"INFO", "WARN", "ERROR", "DEBUG", "TRACE", "FATAL"} {
		if bytes.Contains(text, []byte(level)) {
			return nil, false, nil
		}
	}
	return nil, false, errors.New("no line of a Jepsen log; keep only the lines of jepsen.util")
}

func parseLogEvent(text []byte) (event, error) {
	e := event{node: -1}
	s := strings.NewReader(string(text))
	b := bufio.NewReaderSize(s, 16)
	r := newEDNReader(b)
	var d [4]datum
	for i, what := range [...]string{"process", "type", "function", "value"} {
		var err error
		if d[i], err = r.next(); err == io.EOF {
			return e, fmt.Errorf("the line ends before the %s", what)
		} else if err != nil {
			return e, fmt.Errorf("the %s: %w", what, err)
		}
	}
	if err := e.who(d[0]); err != nil {
		return e, err
	}
	for i, field := range []*string{&e.typ, &e.f} {
		if d[i+1].kind != kindKeyword {
			return e, fmt.Errorf("a keyword should stand where %v does", d[i+1])
		}
		*field = d[i+1].text
	}
	e.value = d[3]
	rest, err := io.ReadAll(b)
	if err != nil {
		return e, err
	}
	e.err = strings.TrimSpace(string(rest))
	return e, nil
}
