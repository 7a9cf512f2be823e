//go:build chaos

package docker_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/harness/docker/agent"
)

// envVictim makes this test binary a harness that is going to die.
const envVictim = "ASSAY_TEST_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(envVictim) != "" {
		if err := victim(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1) // it is killed before
	}
	os.Exit(m.Run())
}

// victim starts a world with every fault in force, says which, and waits.
func victim(ctx context.Context) error {
	w, err := docker.Start(ctx, docker.Config{System: testSystem{}, Nodes: 3, Spares: 2})
	if err != nil {
		return err
	}
	const lease = time.Hour
	for _, fault := range []func() error{
		func() error { return w.Cut(ctx, "a", []harness.Link{{From: 0, To: 1}}, lease) },
		func() error { return w.SetClock(ctx, 0, harness.Clock{Offset: time.Hour}, lease) },
		func() error { return w.Pause(ctx, 1, lease) },
		func() error { return w.Kill(ctx, 2, lease) },
		func() error { return w.Start(ctx, 3) },
		func() error { return w.Start(ctx, 4) },
		func() error { return w.Wipe(ctx, 4) },
	} {
		if err := fault(); err != nil {
			return err
		}
	}
	fmt.Println(w.Run())
	_, err = io.Copy(io.Discard, os.Stdin) // for ever
	return err
}

// TestHarnessDies kills a harness in two ways with every fault in force, and
// requires that nothing of its run remains.
func TestHarnessDies(t *testing.T) {
	for name, c := range map[string]struct {
		signal syscall.Signal
		within time.Duration
	}{
		"killed":       {syscall.SIGKILL, agent.RunLease},
		"stopped dead": {syscall.SIGSTOP, 2 * agent.RunLease},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), envVictim+"=1")
			cmd.Stderr = os.Stderr
			stdin, err := cmd.StdinPipe()
			require.NoError(t, err)
			defer stdin.Close()
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			t.Cleanup(func() {
				_ = cmd.Process.Kill() // the one that only stands still
				_ = cmd.Wait()         // "signal: killed"
			})
			line, err := bufio.NewReader(stdout).ReadString('\n')
			require.NoError(t, err, "the victim's run")
			run := strings.TrimSpace(line)
			require.Len(t, leftOf(t, run), 4*3+1+4, "nodes with holders and volumes, and a spare's holder; reaper, host, clock and network")

			require.NoError(t, cmd.Process.Signal(c.signal))
			began := time.Now()
			require.Eventually(t, func() bool { return len(leftOf(t, run)) == 0 }, c.within, 100*time.Millisecond)
			t.Logf("nothing left after %v", time.Since(began).Round(time.Millisecond))
		})
	}
}
