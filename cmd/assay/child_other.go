//go:build !unix

package main

import (
	"os"
	"syscall"
)

// There is no signal to spare here: assay node --config starts a node again.
var restartSignal os.Signal

func ownGroup() *syscall.SysProcAttr { return nil }
