// Command assay runs replicated stores under faults and judges what they
// promised. See assay --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/docker/agent"
	"github.com/assay-chaos/assay/results"
)

func main() {
	// In a container of the harness this binary is one of its agents.
	agent.MaybeMain()
	os.Exit(run(os.Args[1:]))
}

// run is the whole command; it gives the exit status.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends the process at once: agents clean up behind it.
	go func() {
		<-ctx.Done()
		stop()
	}()
	root := rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var s status
	switch {
	case err == nil:
		return results.ExitHeld
	case errors.As(err, &s):
		return s.code
	}
	fmt.Fprintln(os.Stderr, "assay:", err)
	return results.ExitFailed
}

// status ends the command with a code and without a further word.
type status struct{ code int }

func (s status) Error() string { return fmt.Sprintf("exit status %d", s.code) }

// exit is the error that ends a command with the status of a verdict; nil when
// everything held.
func exit(v checkers.Verdict, err error) error {
	if code := results.ExitStatus(v, err); code != results.ExitHeld {
		if err != nil {
			fmt.Fprintln(os.Stderr, "assay:", err)
		}
		return status{code}
	}
	return nil
}

const rootHelp = `assay tests what a replicated store really promises.

It runs a store, breaks the machines and the network under it, records every
operation, and answers each claim with held, broken or unknown. It ships with a
reference quorum store, so that N, R and W and the claims people make about
them can be compared.

Exit status of run, matrix, check and replay: 0 everything held, 1 a claim was
broken, 2 unknown (nothing or too little was tested, a fault did not bite, a
budget ran out), 3 the run itself failed.`

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "assay",
		Short:         "chaos and linearizability tests for replicated stores",
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       results.ThisBuild().String(),
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w (see %s --help)", err, c.CommandPath())
	})
	root.AddCommand(matrixCommand(), runCommand(), replayCommand(), checkCommand(), nodeCommand(), clusterCommand(), membersCommand(), nightlyCommand(), serveCommand(), compareCommand())
	return root
}
