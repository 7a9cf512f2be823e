package client

import (
	"errors"
	"fmt"

	"github.com/assay-chaos/assay/store/httpapi"
)

// Error is why an operation failed.
type Error struct {
	Op, Key, Addr string
	// Status and Code are the node's answer, 0 and "" if there was none.
	Status int
	Code   httpapi.Code
	// Definite: the operation certainly has not changed anything and never
	// will. Otherwise it may have happened, or may happen later.
	Definite bool

	err            error
	stamp, context string
	body           []byte
	seen           *httpapi.Seen
}

// Error names the operation, the node and the cause.
func (e *Error) Error() string {
	what := e.Op
	if e.Key != "" {
		what = fmt.Sprintf("%s %q", e.Op, e.Key)
	}
	if e.Code != "" {
		return fmt.Sprintf("%s at %s: %v (%s)", what, e.Addr, e.err, e.Code)
	}
	return fmt.Sprintf("%s at %s: %v", what, e.Addr, e.err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.err }

// Definite says whether err proves that the operation did not happen: the node
// was never reached, or it said so itself, or the operation only reads. After a
// timeout, a reset or an unexpected end it is false.
func Definite(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Definite
}

// Mismatch gives what a compare-and-set found that was not what it expected. It
// is false for every other error.
func Mismatch(err error) (Record, bool) {
	var e *Error
	if !errors.As(err, &e) || e.Code != httpapi.CodeMismatch || e.seen == nil {
		return Record{}, false
	}
	r := Record{Found: !e.seen.Absent, Value: e.seen.Value64, Stamp: e.stamp}
	if e.seen.Value != nil {
		r.Value = []byte(*e.seen.Value)
	}
	return r, true
}

func (c *Client) failed(op, key string, definite bool, err error) *Error {
	return &Error{Op: op, Key: key, Addr: c.addr, Definite: definite, err: err}
}

// asRead marks an error of an operation that changes nothing.
func asRead(err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Definite = true
	}
	return err
}
