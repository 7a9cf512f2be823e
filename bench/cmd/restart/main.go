// Command restart measures a node of the reference store that starts with much
// data: how soon it serves, and how much memory it takes while anti-entropy
// counts its keys, while clients read and write, and afterwards.
//
//	go -C bench run ./cmd/restart --keys 10000000
//
// The data is written through store/engine, as a node that was shut down leaves
// it; the node is the program that containers run too, with a process of its
// own. It is one of a cluster of three whose other nodes are down, with three
// replicas of a key and quorums of one, so that it holds everything and answers
// alone. The operating system may have the files in its cache.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
)

func main() {
	o := defaults()
	f := pflag.NewFlagSet("restart", pflag.ContinueOnError)
	f.IntVar(&o.Keys, "keys", o.Keys, "keys of 16 bytes with values of 16 bytes")
	f.IntVar(&o.Clients, "clients", o.Clients, "goroutines that read and write, half of each, till the count is through and --load after it; 0: none")
	f.DurationVar(&o.Load, "load", o.Load, "how long they go on after the count")
	f.StringVar(&o.Dir, "dir", o.Dir, "directory in which the data is made and removed again; none: the system's for temporary files")
	err := f.Parse(os.Args[1:])
	if errors.Is(err, pflag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		var found result
		if found, err = measure(ctx, o); err == nil {
			found.print(os.Stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "restart:", err)
		os.Exit(1)
	}
}
