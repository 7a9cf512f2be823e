//go:build !(linux && amd64)

package vdso

import (
	"errors"
	"time"
)

// ErrNoClockPointer exists for the callers' sake.
var ErrNoClockPointer = errors.New("no Go runtime clock pointer found")

// Process cannot be had on this platform.
type Process struct{}

// Attach always fails on this platform.
func Attach(int) (*Process, error) {
	return nil, errors.New("clocks can be changed from outside on linux/amd64 only")
}

// Set does nothing on this platform.
func (*Process) Set(time.Duration, float64) error { return errors.ErrUnsupported }

// Restore does nothing on this platform.
func (*Process) Restore() error { return errors.ErrUnsupported }

// Close does nothing on this platform.
func (*Process) Close() error { return nil }
