// Package docker is the world of real containers: processes, kernel, TCP and
// disks are real, and so are the faults.
//
// [Start] brings up a cluster of a [System]'s containers through
// testcontainers-go, on any engine that the harness can reach: it needs the
// engine's socket and nothing else, neither root nor a tool on the host.
// Whatever needs privileges is done inside the engine's kernel by small agents
// in containers of their own, each with the least capabilities (package agent).
//
//	            harness process (this package)
//	   JSON lines over the engine's attach stream │ clients: TCP
//	  ┌────────┬──────────────┬─────────┬─────────┴──────┐
//	reaper   host           clock     holder 0 …       holder n-1     agents
//	removes  cuts links     sets the  network namespace, address,
//	the run  on the bridge  wall      published port, probes
//	                        clock     node 0   …       node n-1       the system
//
// A node joins its holder's network namespace, so that its address outlives its
// process. Cuts are rules in one nftables table of family bridge, keyed by
// address. Clocks are changed in the node's own vDSO.
//
// Every fault is a lease, kept by whatever can outlive this process: the kernel
// (cuts), the clock agent, or the reaper, which removes everything that carries
// the run's label within [agent.RunLease] of the harness's death. Nothing else
// is touched. What stays on the engine are the images, as a cache; old ones are
// removed when a new one is made.
//
// Only mechanism belongs here: which fault, on whom and when is decided in
// nemesis, which this package must not import.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// A System is one whose nodes run in containers. If it can tell the wall clock
// of a node it should implement [WallClock] too: clock faults need that as
// proof.
type System interface {
	harness.System
	// Image says what the nodes' containers are made from. The engine's
	// architecture is given as Go names it (amd64, arm64).
	Image(ctx context.Context, arch string) (Image, error)
	// Container says how to run one node. Peers holds the nodes that the
	// cluster begins with, by number; after those, if this node is a spare,
	// this one.
	Container(node int, peers []Peer) Container
	// Ready returns nil when the node at addr (its first port, reachable
	// from here) serves. It is called again and again until then.
	Ready(ctx context.Context, addr string) error
}

// WallClock is implemented by systems that can tell a node's wall clock, read
// by the node's own process.
type WallClock interface {
	Wall(ctx context.Context, addr string) (time.Time, error)
}

// Image is either the reference of an image that the engine has or can pull, or
// files of which an image is made from scratch.
type Image struct {
	Ref        string
	Files      []File
	Entrypoint []string // for Files
}

// File is one file in an image. Its content is Data or, if that is nil, what
// the file Source on this machine holds.
type File struct {
	Path   string // absolute, in the image
	Mode   fs.FileMode
	Data   []byte
	Source string
}

// Peer is a node as the other nodes see it.
type Peer struct {
	Node int
	Addr netip.Addr
	// Spare: the node is not there when the cluster begins. It is started
	// with an empty disk, to join (see [harness.Reconfigurable]).
	Spare bool
}

// Container says how to run one node.
type Container struct {
	Entrypoint []string // replaces the image's, if not nil
	Cmd        []string
	Env        map[string]string
	// Ports are the TCP ports that clients use. World.Addr gives the first.
	Ports []int
	// DataDir is where the node keeps what must survive a kill. A volume is
	// mounted there; empty means the container's own layer.
	DataDir string
	User    string
}

// Config says what to start.
type Config struct {
	System System
	Nodes  int
	// Spares is how many nodes may come later, see [harness.World].
	Spares int
	// Name is a word for the names of the containers, for people who look
	// at a run from outside. Empty means "assay".
	Name string
	// StartTimeout bounds the time until all nodes are ready, from when the
	// images are there. Zero means one minute.
	StartTimeout time.Duration
	// Publish makes clients use published ports even where the nodes'
	// addresses can be reached directly. Elsewhere they do in any case.
	Publish bool
	// Unguarded permits a run without the reaper, where the engine's socket
	// cannot be mounted into a container: if the harness is killed then,
	// its containers stay.
	Unguarded bool
	// Logf takes what the user should know, such as a slow image build. It
	// may be nil.
	Logf func(format string, args ...any)
}

const maxNodes = 200 // of the 254 addresses of the run's network

func (c *Config) validate() error {
	switch {
	case c.System == nil:
		return errors.New("docker: Config.System is nil: give the system to run")
	case c.Nodes < 1 || c.Nodes > maxNodes:
		return fmt.Errorf("docker: Config.Nodes is %d: want 1 to %d", c.Nodes, maxNodes)
	case c.Spares < 0 || c.Nodes+c.Spares > maxNodes:
		return fmt.Errorf("docker: Config.Spares is %d: with %d nodes, want 0 to %d", c.Spares, c.Nodes, maxNodes-c.Nodes)
	}
	if c.Name == "" {
		c.Name = "assay"
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = time.Minute
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	return nil
}
