package sut

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/store/client"
	storenode "github.com/assay-chaos/assay/store/node"
	"github.com/assay-chaos/assay/store/replica"
)

// What a node's container looks like.
const (
	nodePackage = "github.com/assay-chaos/assay/store/node/assay-node"
	nodePath    = "/assay-node"
	nodeData    = "/data"
	peerPort    = 7800
	clientPort  = 7801
)

var (
	_ docker.System    = (*System)(nil)
	_ docker.WallClock = (*System)(nil)
)

// Image is the program of a node and nothing else: the running program, if
// [System.RunSelf] says that it can be one and it is static, or else assay-node,
// which needs the go command to be built.
func (s *System) Image(ctx context.Context, arch string) (docker.Image, error) {
	image := func(program []byte, args ...string) docker.Image {
		return docker.Image{
			Files:      []docker.File{{Path: nodePath, Mode: fs.FileMode(0o755), Data: program}},
			Entrypoint: append([]string{nodePath}, args...),
		}
	}
	var selfErr error
	if s.self != nil {
		self, err := docker.SelfBinary(arch)
		if err == nil {
			return image(self, s.self...), nil
		}
		selfErr = fmt.Errorf("this program cannot be a node: %w", err)
	}
	program, err := docker.GoBinary(ctx, nodePackage, arch)
	if err != nil {
		return docker.Image{}, fmt.Errorf("the reference store's image: %w", errors.Join(selfErr, err))
	}
	return image(program), nil
}

// Container runs one node with the profile. A node whose configuration is wrong
// ends at once, and its log says why; [Profile.Validate] tells earlier.
func (s *System) Container(id int, peers []docker.Peer) docker.Container {
	cfg := s.nodeConfig(id, peers)
	return docker.Container{Cmd: cfg.Args(), Ports: []int{clientPort}, DataDir: nodeData}
}

func (s *System) nodeConfig(id int, peers []docker.Peer) storenode.Config {
	cfg := storenode.DefaultConfig()
	s.profile.Configure(&cfg)
	cfg.ID = id
	for _, peer := range peers {
		if peer.Spare {
			cfg.Join, cfg.Peers = true, nil // it learns who they are
			break
		}
		cfg.Peers = append(cfg.Peers, netip.AddrPortFrom(peer.Addr, peerPort).String())
	}
	cfg.Dir = nodeData
	cfg.ListenPeer = net.JoinHostPort("", strconv.Itoa(peerPort))
	cfg.ListenClient = net.JoinHostPort("", strconv.Itoa(clientPort))
	return cfg
}

// Configure makes cfg a node of a cluster with the profile.
func (p Profile) Configure(cfg *storenode.Config) {
	cfg.N, cfg.R, cfg.W = p.N, p.R, p.W
	cfg.Protocol = p.Protocol
	cfg.ReadRepair, cfg.AntiEntropy, cfg.Sloppy = p.ReadRepair, p.AntiEntropy, p.Sloppy
	cfg.Stamps, cfg.WriteBack, cfg.Fsync = p.Stamps, p.WriteBack, p.Fsync
	cfg.Timeout, cfg.Retry, cfg.Gossip = p.Timeout, p.Retry, p.Gossip
}

// Ready returns nil when the node serves. That it finds its peers is not asked:
// a store that comes up while its network is cut has to serve too.
func (s *System) Ready(ctx context.Context, addr string) error {
	c := client.New(addr)
	defer c.Close()
	h, err := c.Health(ctx)
	if err == nil && !h.Ready {
		err = errors.New(h.Error)
	}
	return err
}

// Wall reads the node's wall clock.
func (s *System) Wall(ctx context.Context, addr string) (time.Time, error) {
	c := client.New(addr)
	defer c.Close()
	h, err := c.Health(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(0, h.WallNS), nil
}

// httpClient is a client of one real node.
type httpClient struct{ node *client.Client }

// openHTTP connects to the node at addr. Nothing is sent before the first
// operation.
func openHTTP(addr string, p *Profile) harness.Client {
	c := httpClient{client.New(addr)}
	if p.Causal() {
		return &httpSiblings{httpClient: c}
	}
	return &c
}

// Invoke performs the operation over HTTP. What is known of the outcome is in
// the error: see [client.Definite].
func (c *httpClient) Invoke(ctx context.Context, key string, op *history.Op) error {
	q, err := request(key, op)
	if err != nil {
		return err
	}
	switch q.Op {
	case replica.Put:
		_, err = c.node.Put(ctx, q.Key, q.Value)
	case replica.Delete:
		_, err = c.node.Delete(ctx, q.Key)
	case replica.CAS:
		_, err = c.node.CAS(ctx, q.Key, q.Expect, q.Value)
		if seen, ok := client.Mismatch(err); ok {
			return mismatch(op, seen.Found, seen.Value, err)
		}
	default:
		var r client.Record
		r, err = c.node.Get(ctx, q.Key)
		op.Out = history.Nil
		if err == nil && r.Found {
			op.Out, err = decode(r.Value)
		}
	}
	return known(err)
}

// Get implements workloads.KV.
func (c *httpClient) Get(ctx context.Context, key string) (string, error) {
	r, err := c.node.Get(ctx, key)
	return string(r.Value), known(err)
}

// Put implements workloads.KV.
func (c *httpClient) Put(ctx context.Context, key, value string) error {
	_, err := c.node.Put(ctx, key, []byte(value))
	return known(err)
}

// CAS implements workloads.KV.
func (c *httpClient) CAS(ctx context.Context, key, old, value string) (bool, error) {
	var expect []byte
	if old != "" {
		expect = []byte(old)
	}
	_, err := c.node.CAS(ctx, key, expect, []byte(value))
	if _, refused := client.Mismatch(err); refused {
		return false, nil
	}
	return err == nil, known(err)
}

// Now implements workloads.Clock.
func (c *httpClient) Now(ctx context.Context) (time.Time, error) {
	h, err := c.node.Health(ctx)
	return time.Unix(0, h.WallNS), known(err)
}

func (c *httpClient) Close() error {
	c.node.Close()
	return nil
}

// inspectHTTP reads what the node at addr itself holds.
func inspectHTTP(ctx context.Context, addr string, keys []string) ([]harness.Replica, error) {
	c := client.New(addr)
	defer c.Close()
	recs, err := c.Local(ctx, keys...)
	if err != nil {
		return nil, err
	}
	out := make([]harness.Replica, len(keys))
	for i, r := range recs {
		if r.Elsewhere {
			out[i].Elsewhere = true
			continue
		}
		out[i].Stamp = r.Stamp
		if !r.Found {
			continue
		}
		out[i].Present = true
		if r.Siblings != nil {
			out[i].Values, err = listOf(r.Siblings)
		} else {
			err = show(&out[i], r.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("node at %s, key %q: %w", addr, keys[i], err)
		}
	}
	return out, nil
}
