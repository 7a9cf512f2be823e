//go:build !linux

package agent

import "errors"

// fabric exists on Linux only, where agents run.
type fabric struct{ name string }

var errNotLinux = errors.New("agents run in Linux containers only")

func (f *fabric) start() (owner bool, err error) { return false, errNotLinux }
func (f *fabric) cut([]CutLink) error            { return errNotLinux }
func (f *fabric) close() error                   { return nil }
