//go:build unix

package main

import (
	"os"
	"syscall"
)

// restartSignal makes a local cluster start its dead nodes again.
var restartSignal os.Signal = syscall.SIGUSR1

// ownGroup keeps a terminal's Ctrl-C from a node: the command ends its nodes
// itself, and a second signal would kill them while they close their disk.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
