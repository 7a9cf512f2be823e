package history

import (
	"fmt"
	"strconv"
	"strings"
)

// kind is the type of a datum.
type kind uint8

const (
	kindAbsent kind = iota
	kindNil
	kindInt
	kindText
	kindKeyword // EDN only; text without the colon
	kindList
	kindSet   // EDN only
	kindMap   // keys and values in turn
	kindOther // well-formed, but of no use in a history; text as written
)

// datum is a value of a foreign format, before anything is known of its
// meaning.
type datum struct {
	kind  kind
	line  int
	num   int64
	text  string
	items []datum
}

// String gives the datum as EDN, shortened, for messages.
func (d datum) String() string {
	switch d.kind {
	case kindAbsent:
		return "nothing"
	case kindNil:
		return "nil"
	case kindInt:
		return strconv.FormatInt(d.num, 10)
	case kindText:
		return strconv.Quote(short(d.text))
	case kindKeyword:
		return ":" + short(d.text)
	case kindList:
		var parts []string
		for i, e := range d.items {
			if i == 3 {
				parts = append(parts, "…")
				break
			}
			parts = append(parts, e.String())
		}
		return "[" + strings.Join(parts, " ") + "]"
	case kindMap:
		return "a map"
	case kindSet:
		return "a set"
	}
	return short(d.text)
}

func short(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// word gives the text of a string or a keyword.
func (d datum) word() (string, bool) {
	return d.text, d.kind == kindText || d.kind == kindKeyword
}

// name gives a key's name: a string, a keyword or a number.
func (d datum) name() (string, error) {
	switch d.kind {
	case kindAbsent, kindNil:
		return "", nil
	case kindText, kindKeyword:
		return d.text, nil
	case kindInt:
		return strconv.FormatInt(d.num, 10), nil
	}
	return "", fmt.Errorf("a key is a string, a keyword or a number, not %v", d)
}

// isNil says that the datum says nothing.
func (d datum) isNil() bool { return d.kind == kindAbsent || d.kind == kindNil }
