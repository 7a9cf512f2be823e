// Package agent is what acts inside containers on behalf of harness/docker.
//
// A static binary of it is the only program in the agents' image, and its role
// comes from the environment variable [EnvRole]:
//
//   - [RoleHolder] owns the network namespace and address of one node, and
//     sends and receives probe packets in it;
//   - [RoleHost] sits in the network and process namespaces of the engine's
//     machine, cuts links between nodes, and reads how long they ran
//     (CAP_NET_ADMIN);
//   - [RoleClock] joins one node's process namespace and sets the wall clock
//     that its processes see (CAP_SYS_PTRACE);
//   - [RoleReaper] removes everything of a run when the harness is gone (the
//     engine's socket).
//
// An agent is driven by lines of JSON on its standard input and answers on its
// standard output (see [Request] and [Response]). The end of its input means
// that the harness is gone: it undoes what it did and exits. Every fault it
// holds has a deadline of its own.
//
// Only mechanism belongs here: what to break and when is decided elsewhere.
// The package must stay small and must not import an engine's client library,
// because it is built into every image.
package agent

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// EnvRole names the role of an agent process.
const EnvRole = "ASSAY_AGENT_ROLE"

// The roles.
const (
	RoleHolder = "holder"
	RoleHost   = "host"
	RoleClock  = "clock"
	RoleReaper = "reaper"
)

var selfIsAgent atomic.Bool

// MaybeMain makes the calling program usable as an agent: call it first thing
// in main. In an agent's container it plays the role and exits; elsewhere it
// returns at once.
func MaybeMain() {
	role := os.Getenv(EnvRole)
	if role == "" {
		selfIsAgent.Store(true)
		return
	}
	os.Exit(run(role))
}

// SelfIsAgent says whether this program called [MaybeMain], so that its own
// executable can be put into the agents' image.
func SelfIsAgent() bool { return selfIsAgent.Load() }

func run(role string) int {
	// As process 1 of its namespace the agent gets only the signals that it
	// asks for.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	r, err := newRole(role)
	if err != nil {
		fmt.Fprintln(os.Stderr, "assay agent:", err)
		return 2
	}
	if err := serve(ctx, r, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "assay agent: %s: %v\n", role, err)
		return 1
	}
	return 0
}

func newRole(role string) (player, error) {
	switch role {
	case RoleHolder:
		return &holder{}, nil
	case RoleHost:
		return &host{fabric: fabric{name: os.Getenv(EnvTable)}}, nil
	case RoleClock:
		return &clock{}, nil
	case RoleReaper:
		return newReaper(os.Getenv(EnvRun)), nil
	}
	return nil, fmt.Errorf("unknown role %q in %s: want holder, host, clock or reaper", role, EnvRole)
}
