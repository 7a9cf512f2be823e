// Command assay-node runs one node of the reference store and nothing else: it
// is what the containers of a test run. People use `assay node`, which is the
// same.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/assay-chaos/assay/store/node"
)

func main() {
	line := node.NewCommandLine()
	flags := pflag.NewFlagSet("assay-node", pflag.ContinueOnError)
	line.RegisterFlags(flags)
	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, pflag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := line.Run(ctx, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
