package harness

import (
	"errors"
)

// definite marks an error as proof that the operation did not happen.
type definite struct{ err error }

func (d definite) Error() string { return d.err.Error() }
func (d definite) Unwrap() error { return d.err }

// Definite marks err: the operation certainly did not happen, now or later.
// Mark an error at the lowest level that knows, for example a refused
// connection. Definite(nil) is nil.
func Definite(err error) error {
	if err == nil {
		return nil
	}
	return definite{err}
}

// IsDefinite says whether err, or an error it wraps, was marked [Definite].
// Every other error leaves the outcome of the operation unknown.
func IsDefinite(err error) bool {
	var d definite
	return errors.As(err, &d)
}
