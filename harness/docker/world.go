package docker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker/agent"
)

// World is a cluster of containers. It implements [harness.World].
type World struct {
	*harness.RealExecutor

	cfg    Config
	engine *engine
	run    string // label of everything that belongs to this run
	prefix string // of the containers' names

	agentImage, nodeImage string
	nodes                 []*node

	reaper *channel
	rtoMax bool // the kernel has net.ipv4.tcp_rto_max_ms
	host   *channel
	cutErr error // why links cannot be cut
	cuts   cuts

	clockAgents atomic.Int64 // numbers them

	closing  atomic.Bool
	closed   chan struct{} // when Close has begun
	close    sync.Once
	closeErr error
	unwatch  func() bool
}

var _ harness.World = (*World)(nil)

// Start brings up a cluster and returns when every node is ready. The cluster
// lives until Close is called or ctx is done, whichever is first. Without an
// engine it fails at once with an error that wraps [ErrNoEngine].
func Start(ctx context.Context, cfg Config) (*World, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	engine, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	run := hex.EncodeToString(id[:])
	w := &World{
		RealExecutor: harness.NewRealExecutor(),
		cfg:          cfg, engine: engine, run: run, prefix: cfg.Name + "-" + run,
		cuts:   cuts{byID: map[string]cut{}},
		closed: make(chan struct{}),
	}
	if err := w.bringUp(ctx); err != nil {
		return nil, errors.Join(err, w.abandon(context.WithoutCancel(ctx)))
	}
	w.unwatch = context.AfterFunc(ctx, func() {
		if err := w.Close(context.Background()); err != nil {
			w.cfg.Logf("%v", err)
		}
	})
	return w, nil
}

// Run is the value of the label [agent.LabelRun] on everything that belongs to
// this world.
func (w *World) Run() string { return w.run }

// Name implements [harness.World].
func (w *World) Name() string { return "docker" }

// Nodes implements [harness.World].
func (w *World) Nodes() int { return w.cfg.Nodes }

// Addr is where clients in this process reach a node's first port, as
// host:port. It stays the same while the world lives, across restarts of the
// node.
func (w *World) Addr(node int) string { return w.nodes[node].first }

// PortAddr is where clients reach one of the ports of [Container], or "" for
// another one.
func (w *World) PortAddr(node, port int) string { return w.nodes[node].ports[port] }

// Supports implements [harness.World].
func (w *World) Supports(c harness.Capability) error {
	switch c {
	case harness.CanKill, harness.CanPause:
		return nil
	case harness.CanCut:
		return w.cutErr
	case harness.CanRot, harness.CanDelayDisk:
		return errDisk
	case harness.CanClock:
		if w.engine.arch != "amd64" {
			return fmt.Errorf("docker: clocks can be changed from outside on amd64 only, and the engine runs %s: clock faults are not tested here", w.engine.arch)
		}
		if _, ok := w.cfg.System.(WallClock); !ok {
			return fmt.Errorf("docker: %w", errNoWall)
		}
		return nil
	}
	return fmt.Errorf("docker: unknown capability %q", c)
}

// errDisk is why disks are left alone: where a store keeps its records in its
// files, and which of them it would still read, only the store knows.
var errDisk = errors.New("docker: disks of containers cannot be made bad: use the simulator")

// SetDisk implements [harness.World]. It cannot be done here.
func (w *World) SetDisk(context.Context, int, harness.Disk, time.Duration) error { return errDisk }

// ProbeDisk implements [harness.World]. It cannot be done here.
func (w *World) ProbeDisk(context.Context, int) (harness.DiskProbe, error) {
	return harness.DiskProbe{}, errDisk
}

// NodeAddr is a node's address in the cluster's own network, under which the
// other nodes reach it.
func (w *World) NodeAddr(node int) netip.Addr { return w.nodes[node].addr }

func (w *World) check(node int) error {
	if node < 0 || node >= w.cfg.Nodes {
		return fmt.Errorf("no node %d: the cluster has nodes 0 to %d", node, w.cfg.Nodes-1)
	}
	return nil
}

func (w *World) node(number int) (*node, error) {
	if err := w.check(number); err != nil {
		return nil, err
	}
	if w.closing.Load() {
		return nil, harness.ErrClosed
	}
	return w.nodes[number], nil
}

// lock gives a node to change, for as long as nobody else does. Waiting for it
// may take the caller past the closing of the world.
func (w *World) lock(number int) (n *node, unlock func(), err error) {
	if n, err = w.node(number); err != nil {
		return nil, nil, err
	}
	n.mu.Lock()
	if w.closing.Load() {
		n.mu.Unlock()
		return nil, nil, harness.ErrClosed
	}
	return n, n.mu.Unlock, nil
}

// bringUp does the work of Start: images, then the reaper before anything that it
// might have to remove, then everything else side by side.
func (w *World) bringUp(ctx context.Context) error {
	if err := w.images(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, w.cfg.StartTimeout,
		fmt.Errorf("docker: the cluster was not ready within %v (Config.StartTimeout)", w.cfg.StartTimeout))
	defer cancel()
	if err := w.startReaper(ctx); err != nil {
		return err
	}
	subnet, err := w.engine.createNetwork(ctx, w.prefix, labels(w.run, "network"))
	if err != nil {
		return err
	}
	direct := isLocal(hostIn(subnet, 1)) && !w.cfg.Publish

	w.nodes = make([]*node, w.cfg.Nodes)
	peers := make([]Peer, w.cfg.Nodes)
	for i := range w.nodes {
		addr := hostIn(subnet, firstHost+i)
		peers[i] = Peer{Node: i, Addr: addr}
		w.nodes[i] = &node{number: i, name: fmt.Sprintf("%s-node%d", w.prefix, i), addr: addr}
	}
	tasks := make([]func() error, 0, len(w.nodes)+1)
	tasks = append(tasks, func() error { return w.startHost(ctx) })
	for _, n := range w.nodes {
		tasks = append(tasks, func() error { return w.startNode(ctx, n, peers, direct) })
	}
	return all(tasks...)
}

// images finds or makes the two images.
func (w *World) images(ctx context.Context) error {
	return all(
		func() error {
			program, err := agentBinary(ctx, w.engine.arch)
			if err != nil {
				return err
			}
			w.agentImage, err = w.engine.ensureImage(ctx, "agent", Image{
				Files:      []File{{Path: "/assay-agent", Mode: 0o755, Data: program}},
				Entrypoint: []string{"/assay-agent"},
			}, w.cfg.Logf)
			return err
		},
		func() error {
			image, err := w.cfg.System.Image(ctx, w.engine.arch)
			if err != nil {
				return fmt.Errorf("docker: image of %s: %w", w.cfg.System.Name(), err)
			}
			w.nodeImage, err = w.engine.ensureImage(ctx, "node", image, w.cfg.Logf)
			return err
		},
	)
}

// startHost starts the agent on the engine's machine. A cluster without
// partitions is still worth something; a test that asks for them learns why
// there are none.
func (w *World) startHost(ctx context.Context) error {
	var hello agent.HostHello
	host, _, err := w.engine.startAgent(ctx, spec{
		name: w.prefix + "-host", image: w.agentImage, labels: labels(w.run, agent.RoleHost),
		env:     map[string]string{agent.EnvTable: "assay_" + w.run},
		network: "host", pid: "host", users: "host", caps: []string{"NET_ADMIN"},
	}, agent.RoleHost, &hello)
	if err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	w.host = host
	if hello.CutError != "" {
		w.cutErr = fmt.Errorf("docker: links cannot be cut on this engine, so partitions are not tested here: %s", hello.CutError)
		w.cfg.Logf("%v", w.cutErr)
	}
	return nil
}

// startNode starts one node and its holder. Both containers are made at once:
// only the starts have an order.
func (w *World) startNode(ctx context.Context, n *node, peers []Peer, direct bool) error {
	c := w.cfg.System.Container(n.number, peers)
	if len(c.Ports) == 0 {
		return fmt.Errorf("docker: %s: Container(%d) has no port: clients need one", w.cfg.System.Name(), n.number)
	}
	holderName := fmt.Sprintf("%s-holder%d", w.prefix, n.number)
	if err := all(
		func() error { return w.startHolder(ctx, n, holderName, c.Ports, direct) },
		func() error { return w.createNode(ctx, n, holderName, c) },
	); err != nil {
		return err
	}
	if err := n.container.Start(ctx); err != nil {
		return fmt.Errorf("docker: start node %d: %w", n.number, err)
	}
	return w.awaitReady(ctx, n)
}

func (w *World) startHolder(ctx context.Context, n *node, name string, ports []int, direct bool) error {
	l := labels(w.run, agent.RoleHolder)
	l[agent.LabelNode] = strconv.Itoa(n.number)
	s := spec{name: name, image: w.agentImage, labels: l, network: w.prefix, addr: n.addr}
	if w.rtoMax {
		// After a partition TCP tries again within a second, rather than
		// when its back-off of up to two minutes is over.
		s.sysctls = map[string]string{"net.ipv4.tcp_rto_max_ms": "1000"}
	}
	host, loopback := w.engine.publicHost()
	if !direct {
		s.publish = ports
		s.publishOn = netip.IPv4Unspecified()
		if loopback {
			s.publishOn = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
	}
	var hello agent.HolderHello
	holder, c, err := w.engine.startAgent(ctx, s, agent.RoleHolder, &hello)
	if err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	n.holder, n.probePort = holder, hello.ProbePort
	n.ports = map[int]string{}
	if direct {
		for _, port := range ports {
			n.ports[port] = net.JoinHostPort(n.addr.String(), strconv.Itoa(port))
		}
	} else {
		inspect, err := w.engine.ContainerInspect(ctx, c.GetContainerID())
		if err != nil {
			return fmt.Errorf("docker: published ports of %s: %w", name, err)
		}
		published := map[int]string{}
		for port, bindings := range inspect.NetworkSettings.Ports {
			if len(bindings) > 0 {
				published[port.Int()] = net.JoinHostPort(host, bindings[0].HostPort)
			}
		}
		for _, port := range ports {
			if n.ports[port] = published[port]; n.ports[port] == "" {
				return fmt.Errorf("docker: the engine did not publish port %d of %s", port, name)
			}
		}
	}
	n.first = n.ports[ports[0]]
	return nil
}

func (w *World) createNode(ctx context.Context, n *node, holder string, c Container) error {
	l := labels(w.run, "node")
	l[agent.LabelNode] = strconv.Itoa(n.number)
	s := spec{
		name: n.name, image: w.nodeImage, labels: l,
		entrypoint: c.Entrypoint, cmd: c.Cmd, env: c.Env, user: c.User,
		network: "container:" + holder,
	}
	if c.DataDir != "" {
		volume, err := w.engine.createVolume(ctx, fmt.Sprintf("%s-data%d", w.prefix, n.number), l)
		if err != nil {
			return fmt.Errorf("docker: volume of node %d: %w", n.number, err)
		}
		s.binds = []string{volume + ":" + c.DataDir}
	}
	created, err := w.engine.create(ctx, s)
	if err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	n.container = created
	return nil
}

// readyPoll is the time between two questions to a node that starts.
const readyPoll = 5 * time.Millisecond

func (w *World) awaitReady(ctx context.Context, n *node) error {
	for i := 1; ; i++ {
		err := w.cfg.System.Ready(ctx, n.first)
		if err == nil {
			return nil
		}
		dead := false
		if i%20 == 0 { // it costs the engine something
			s, _, statusErr := w.inspect(ctx, n)
			dead = statusErr == nil && !s.Up
		}
		if dead || ctx.Err() != nil {
			why := context.Cause(ctx)
			if dead {
				why = errors.New("its process has ended")
			}
			logs, _ := w.Log(context.WithoutCancel(ctx), n.number)
			return fmt.Errorf("docker: node %d is not ready: %w (last answer: %w); its log ends: %s", n.number, why, err, lastBytes(logs, 2000))
		}
		select {
		case <-time.After(readyPoll):
		case <-ctx.Done():
		}
	}
}

func lastBytes(b []byte, n int) []byte {
	return b[max(0, len(b)-n):]
}

// all runs tasks side by side and joins their errors in order.
func all(tasks ...func() error) error {
	errs := make([]error, len(tasks))
	var wg sync.WaitGroup
	for i, task := range tasks {
		wg.Go(func() { errs[i] = task() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
