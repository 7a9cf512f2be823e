package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/node"
	"github.com/assay-chaos/assay/store/sut"
	"github.com/assay-chaos/assay/store/trust"
)

const clusterHelp = `Run a cluster of the reference store on this machine, to play with.

Every node is a process of its own, so one can be killed (kill -9 PID, as it
prints) or stopped (kill -STOP PID) to see what the others answer. It runs until
Ctrl-C. Without --dir the data is removed at the end; with it the same command
goes on with what is there.`

// localCluster is what the flags of the command say.
type localCluster struct {
	nodes   int
	n       int // replicas of a key; 0: all nodes
	profile string
	dir     string
	port    int
	gossip  time.Duration
	collect time.Duration
	tls     bool
	log     node.LogConfig

	spare, spareAddr string // settings of a node to be added by hand, and its address for nodes; "" if there is none
}

func clusterCommand() *cobra.Command {
	l := localCluster{nodes: 3, profile: "abd", port: 7800, gossip: 500 * time.Millisecond, collect: time.Minute}
	c := &cobra.Command{
		Use:   "cluster",
		Short: "run a local cluster of the reference store",
		Long:  clusterHelp,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return l.run(c.Context(), os.Stdout)
		},
	}
	f := c.Flags()
	f.IntVar(&l.nodes, "nodes", l.nodes, "how many nodes")
	f.IntVar(&l.n, "n", 0, "replicas of a key; 0: all nodes")
	f.StringVar(&l.profile, "profile", l.profile, "how they replicate; assay matrix compares the profiles")
	f.StringVar(&l.dir, "dir", l.dir, "directory for data, settings and logs, which is kept; none: a temporary one, removed at the end")
	f.IntVar(&l.port, "port", l.port, "first of two ports a node: one for nodes, one for clients; 0: whatever is free")
	f.DurationVar(&l.collect, "collect", l.collect, "time from one collection of the tombstones of deleted keys to the next; 0, or without --gossip: they are kept")
	f.DurationVar(&l.gossip, "gossip", l.gossip, "how often nodes tell each other who is alive and who belongs to the cluster, so that nodes can be added and removed; 0: never")
	f.BoolVar(&l.tls, "tls", l.tls, "make throw-away certificates, and take connections with one of them only")
	l.log.RegisterFlags(f)
	return c
}

// run starts the nodes, tells how to use them, and waits for the end.
func (l *localCluster) run(ctx context.Context, out io.Writer) (err error) {
	began := time.Now()
	// A closed terminal ends the cluster too: its nodes would not hear of it.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	if l.nodes < 1 {
		return fmt.Errorf("cluster: --nodes is %d: a cluster has at least one", l.nodes)
	}
	profile, err := sut.ProfileByName(l.profile)
	if err != nil {
		return fmt.Errorf("cluster: --profile: %w", err)
	}
	if l.gossip == 0 {
		l.collect = 0
	}
	profile = profile.For(cmp.Or(l.n, l.nodes))
	if err := profile.Validate(l.nodes); err != nil {
		return fmt.Errorf("cluster: --nodes, --n: %w", err)
	}
	end := "Ctrl-C ends it."
	if l.dir == "" {
		if l.dir, err = os.MkdirTemp("", "assay-cluster-"); err != nil {
			return fmt.Errorf("cluster: a directory for the data: %w (or give one with --dir)", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(l.dir)) }()
		end = "Ctrl-C ends it and removes the data."
	} else if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return fmt.Errorf("cluster: --dir: %w", err)
	}
	if l.dir, err = filepath.Abs(l.dir); err != nil {
		return fmt.Errorf("cluster: --dir: %w", err)
	}
	nodes, connect, err := l.prepare(profile)
	if err != nil {
		return err
	}
	restart := make(chan os.Signal, 1)
	if restartSignal != nil {
		signal.Notify(restart, restartSignal)
		defer signal.Stop(restart)
	}
	ended := make(chan *child, len(nodes))
	defer stopAll(nodes, ended)
	for _, n := range nodes {
		if err := n.start(ended); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := n.await(ctx, connect, ended); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%d nodes of profile %s serve after %v; data, settings and logs are in %s\n\n",
		l.nodes, l.profile, time.Since(began).Round(time.Millisecond), l.dir)
	l.tell(out, nodes)
	fmt.Fprintln(out, end)
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-ended:
			n.pid = 0
			fmt.Fprintf(out, "node %d has ended: %v", n.id, n.err)
			if restartSignal != nil {
				fmt.Fprintf(out, "; start it again: kill -USR1 %d", os.Getpid())
			}
			fmt.Fprintln(out)
		case <-restart:
			for _, n := range nodes {
				if n.pid != 0 {
					continue
				}
				if err := n.start(ended); err != nil {
					return err
				}
				fmt.Fprintf(out, "node %d is started again: pid %d\n", n.id, n.pid)
			}
		}
	}
}

// prepare writes the nodes' settings files, and certificates if there are to be
// some. It gives the nodes, and how to connect to one.
func (l *localCluster) prepare(profile sut.Profile) ([]*child, func(addr string) *client.Client, error) {
	peers, clients, err := l.addresses()
	if err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("cluster: this program's file, to start nodes of: %w", err)
	}
	connect := client.New
	var authority *trust.Authority
	if l.tls {
		if authority, err = trust.NewAuthority(l.dir, 24*time.Hour); err != nil {
			return nil, nil, fmt.Errorf("cluster: --tls: %w", err)
		}
		files, err := authority.Client("client")
		if err != nil {
			return nil, nil, fmt.Errorf("cluster: --tls: %w", err)
		}
		who, err := trust.Load(files)
		if err != nil {
			return nil, nil, fmt.Errorf("cluster: --tls: %w", err)
		}
		connect = func(addr string) *client.Client { return client.NewTLS(addr, who) }
	}
	var nodes []*child
	for id := range peers { // the last is a spare, to be added by hand
		name := "node" + strconv.Itoa(id)
		n := &child{
			id: id, program: self, addr: clients[id],
			settings: filepath.Join(l.dir, name+".yaml"),
			log:      filepath.Join(l.dir, name+".log"),
		}
		line := node.NewCommandLine()
		line.Log = l.log
		profile.Configure(&line.Config)
		line.Config.ID, line.Config.Gossip, line.Config.Collect = id, l.gossip, l.collect
		if line.Config.Peers = peers[:l.nodes]; id == l.nodes {
			line.Config.Peers, line.Config.Join = nil, true
		}
		line.Config.ListenPeer, line.Config.ListenClient = peers[id], clients[id]
		line.Config.Dir = filepath.Join(l.dir, name)
		if l.tls {
			if line.Config.TLS, err = authority.Node(name, loopback); err != nil {
				return nil, nil, fmt.Errorf("cluster: --tls: %w", err)
			}
		}
		var text strings.Builder
		if err := line.WriteFile(&text); err != nil {
			return nil, nil, fmt.Errorf("cluster: %w", err)
		}
		if err := os.WriteFile(n.settings, []byte(text.String()), 0o644); err != nil {
			return nil, nil, fmt.Errorf("cluster: settings of node %d: %w", id, err)
		}
		if id < l.nodes {
			nodes = append(nodes, n)
		}
	}
	l.spare, l.spareAddr = filepath.Join(l.dir, "node"+strconv.Itoa(l.nodes)+".yaml"), ""
	if len(peers) > l.nodes {
		l.spareAddr = peers[l.nodes]
	}
	return nodes, connect, nil
}

const loopback = "127.0.0.1"

// addresses gives every node one for nodes and one for clients, and finds out
// first whether they are free.
func (l *localCluster) addresses() (peers, clients []string, err error) {
	all := l.nodes
	if l.gossip > 0 {
		all++
	}
	for i := range 2 * all {
		port := 0
		if l.port != 0 {
			port = l.port + i
		}
		listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
		if err != nil {
			return nil, nil, fmt.Errorf("cluster: a port is taken: %w (give the first of %d free ones with --port, or --port 0)", err, 2*all)
		}
		defer listener.Close() // not earlier: 0 shall give a new one each time
		if addr := listener.Addr().String(); i%2 == 0 {
			peers = append(peers, addr)
		} else {
			clients = append(clients, addr)
		}
	}
	return peers, clients, nil
}

// tell says how to use the cluster, as commands to paste.
func (l *localCluster) tell(out io.Writer, nodes []*child) {
	scheme, flags := "http", ""
	if l.tls {
		scheme = "https"
		flags = fmt.Sprintf("--cacert %[1]s/ca.pem --cert %[1]s/client.pem --key %[1]s/client-key.pem ", l.dir)
	}
	url := func(n *child, path string) string { return scheme + "://" + n.addr + path }
	fmt.Fprintln(out, "node  clients                  pid")
	for _, n := range nodes {
		fmt.Fprintf(out, "%-4d  %-23s  %d\n", n.id, url(n, ""), n.pid)
	}
	first, last := nodes[0], nodes[len(nodes)-1]
	fmt.Fprintf(out, `
Write at one node, read at another:
  curl %[1]s-X PUT --data-binary hello %[2]s
  curl %[1]s-i %[3]s
What a node itself holds, whether it is ready, and its metrics:
  curl %[1]s%[4]s
  curl %[1]s%[5]s
  curl %[1]s%[6]s
Kill a node, and see who still answers:
  kill -9 %[7]d
`, flags, url(first, "/v1/kv/greeting"), url(last, "/v1/kv/greeting"), url(last, "/v1/local/greeting"),
		url(last, "/healthz"), url(last, "/metrics"), last.pid)
	if l.spareAddr != "" {
		members := "assay members --node " + first.addr
		if l.tls {
			members += fmt.Sprintf(" --tls-ca %[1]s/ca.pem --tls-cert %[1]s/client.pem --tls-key %[1]s/client-key.pem", l.dir)
		}
		fmt.Fprintf(out, `Add a node, in another terminal, and remove one:
  assay node --config %[1]s
  %[2]s add %[3]d=%[4]s
  %[2]s remove %[5]d
`, l.spare, members, l.nodes, l.spareAddr, last.id)
	}
	if restartSignal != nil {
		fmt.Fprintf(out, "Start what is down again:\n  kill -USR1 %d\n", os.Getpid())
	}
	fmt.Fprintln(out)
}
