package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
)

const (
	etcdPackage    = "github.com/assay-chaos/assay/bench/cmd/etcd"
	etcdPath       = "/etcd"
	etcdData       = "/data"
	etcdClientPort = 2379
	etcdPeerPort   = 2380
)

// etcd is a cluster of etcd with its default settings, which sync every write
// to disk.
type etcd struct {
	// leaderOnly sends all clients to the leader, which saves the way from
	// the other nodes to it. Otherwise they are spread over all nodes.
	leaderOnly bool
}

func (e *etcd) Name() string { return "etcd" }

var errNoTest = errors.New("etcd is compared here, and not tested")

// Open implements [harness.System], which this system is only for the sake of
// its containers.
func (e *etcd) Open(context.Context, harness.World, int) (harness.Client, error) {
	return nil, errNoTest
}

// Inspect implements [harness.System] likewise.
func (e *etcd) Inspect(context.Context, harness.World, int, []string) ([]harness.Replica, error) {
	return nil, errNoTest
}

// Image is etcd's server alone, built from its module.
func (e *etcd) Image(ctx context.Context, arch string) (docker.Image, error) {
	program, err := docker.GoBinary(ctx, etcdPackage, arch)
	if err != nil {
		return docker.Image{}, fmt.Errorf("etcd's image: %w", err)
	}
	return docker.Image{
		Files:      []docker.File{{Path: etcdPath, Mode: fs.FileMode(0o755), Data: program}},
		Entrypoint: []string{etcdPath},
	}, nil
}

func (e *etcd) Container(node int, peers []docker.Peer) docker.Container {
	name := func(i int) string { return "node" + strconv.Itoa(i) }
	url := func(host string, port int) string { return "http://" + net.JoinHostPort(host, strconv.Itoa(port)) }
	var self string
	cluster := make([]string, len(peers))
	for i, p := range peers {
		cluster[i] = name(p.Node) + "=" + url(p.Addr.String(), etcdPeerPort)
		if p.Node == node {
			self = p.Addr.String()
		}
	}
	return docker.Container{
		Cmd: []string{
			"--name=" + name(node),
			"--data-dir=" + etcdData,
			"--listen-client-urls=" + url("0.0.0.0", etcdClientPort),
			"--advertise-client-urls=" + url(self, etcdClientPort),
			"--listen-peer-urls=" + url("0.0.0.0", etcdPeerPort),
			"--initial-advertise-peer-urls=" + url(self, etcdPeerPort),
			"--initial-cluster=" + strings.Join(cluster, ","),
			"--initial-cluster-state=new",
			"--log-level=warn",
		},
		Ports:   []int{etcdClientPort},
		DataDir: etcdData,
	}
}

// Ready returns nil when the node has a leader.
func (e *etcd) Ready(ctx context.Context, addr string) error {
	s, err := status(ctx, addr)
	if err == nil && s.Leader == 0 {
		err = errors.New("etcd has no leader yet")
	}
	return err
}

func (e *etcd) Targets(ctx context.Context, addrs []string) ([]string, error) {
	if !e.leaderOnly {
		return addrs, nil
	}
	for _, addr := range addrs {
		s, err := status(ctx, addr)
		if err != nil {
			return nil, err
		}
		if s.Leader == s.Header.MemberId {
			return []string{addr}, nil
		}
	}
	return nil, errors.New("no etcd node says that it leads: it changes; try again")
}

func status(ctx context.Context, addr string) (*clientv3.StatusResponse, error) {
	c, err := newEtcdClient(addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return c.Status(ctx, addr)
}

// Dial makes a client of one node.
func (e *etcd) Dial(targets []string, i int) (conn, error) {
	c, err := newEtcdClient(targets[i%len(targets)])
	return etcdConn{c}, err
}

func newEtcdClient(addr string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{"http://" + addr}, Logger: zap.NewNop()})
}

type etcdConn struct{ *clientv3.Client }

func (c etcdConn) Put(ctx context.Context, key string, value []byte) error {
	_, err := c.Client.Put(ctx, key, string(value))
	return err
}

func (c etcdConn) Get(ctx context.Context, key string) ([]byte, error) {
	r, err := c.Client.Get(ctx, key)
	if err != nil || len(r.Kvs) == 0 {
		return nil, err
	}
	return r.Kvs[0].Value, nil
}

// CAS is a transaction.
func (c etcdConn) CAS(ctx context.Context, key string, old, value []byte) ([]byte, bool, error) {
	r, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.Value(key), "=", string(old))).
		Then(clientv3.OpPut(key, string(value))).
		Else(clientv3.OpGet(key)).
		Commit()
	if err != nil || r.Succeeded {
		return nil, err == nil, err
	}
	if seen := r.Responses[0].GetResponseRange().GetKvs(); len(seen) > 0 {
		return seen[0].Value, false, nil
	}
	return nil, false, nil
}
