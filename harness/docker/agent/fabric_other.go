//go:build !linux

package agent

import (
	"context"
	"encoding/json"
	"errors"
)

// fabric exists on Linux only, where agents run.
type fabric struct{ name string }

var errNotLinux = errors.New("agents run in Linux containers only")

func (f *fabric) hello() (any, error) { return nil, errNotLinux }
func (f *fabric) handle(context.Context, string, json.RawMessage) (any, error) {
	return nil, errNotLinux
}
func (f *fabric) done() <-chan struct{} { return nil }
func (f *fabric) close() error          { return nil }
