package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/node"
	"github.com/assay-chaos/assay/store/sut"
)

// A system is one that is compared.
type system interface {
	docker.System
	// Targets says to which of the nodes the connections go, in turn.
	Targets(ctx context.Context, addrs []string) ([]string, error)
	// Dial makes client number i, with connections of its own, to one of the
	// targets, or to all if it sends a request where the key says.
	Dial(targets []string, i int) (conn, error)
}

// conn is one client. It is used by several goroutines.
type conn interface {
	Put(ctx context.Context, key string, value []byte) error
	// Get is linearizable. It gives nil for an absent key.
	Get(ctx context.Context, key string) ([]byte, error)
	// CAS writes value if the key has the value old. Otherwise it gives what
	// the key has, and false.
	CAS(ctx context.Context, key string, old, value []byte) (seen []byte, done bool, err error)
	Close() error
}

// systems are the systems by name.
var systems = []struct {
	name string
	make func() (system, error)
}{
	{"store", func() (system, error) { return newStore(client.NewStream, false) }},
	{"store-routed", func() (system, error) { return newStore(client.NewStream, true) }},
	{"store-http", func() (system, error) { return newStore(client.New, false) }},
	{"etcd", func() (system, error) { return &etcd{}, nil }},
	{"etcd-leader", func() (system, error) { return &etcd{leaderOnly: true}, nil }},
}

func systemNames() []string {
	var names []string
	for _, s := range systems {
		names = append(names, s.name)
	}
	return names
}

func newSystem(name string) (system, error) {
	for _, s := range systems {
		if s.name == name {
			return s.make()
		}
	}
	return nil, fmt.Errorf("unknown system %q; there are: %s", name, strings.Join(systemNames(), ", "))
}

// store is the reference store with its strongest settings: abd 3/2/2, and
// caspaxos for the keys that are compared and set.
type store struct {
	*sut.System
	dial func(addr string) *client.Client
	// routed sends what concerns a key to one node, see [client.Router].
	// Otherwise each client has a node, for all keys.
	routed bool
}

func newStore(dial func(addr string) *client.Client, routed bool) (system, error) {
	p, err := sut.ProfileByName("abd")
	if err != nil {
		return nil, err
	}
	// As patient as etcd, which gives a request 5 s and two election timeouts:
	// a machine that stalls shall show in the latencies of both. The profile's
	// own times are for tests, whose networks are cut.
	p.Timeout, p.Retry = 7*time.Second, node.DefaultConfig().Retry
	return store{sut.New(p), dial, routed}, nil
}

// Container is a node of the profile, with a keyspace for compare-and-set.
func (s store) Container(id int, peers []docker.Peer) docker.Container {
	c := s.System.Container(id, peers)
	c.Cmd = append(c.Cmd, "--keyspace="+node.Keyspace{Prefix: casPrefix, Rules: "protocol=caspaxos"}.String())
	return c
}

func (store) Targets(_ context.Context, addrs []string) ([]string, error) { return addrs, nil }

func (s store) Dial(targets []string, i int) (conn, error) {
	if !s.routed {
		targets = targets[i%len(targets):][:1]
	}
	nodes := make(map[uint32]*client.Client)
	for id, addr := range targets {
		nodes[uint32(id)] = s.dial(addr)
	}
	r, err := client.NewRouter(nodes)
	return storeConn{r}, err
}

type storeConn struct{ to *client.Router }

func (s storeConn) Put(ctx context.Context, key string, value []byte) error {
	_, err := s.to.For(key).Put(ctx, key, value)
	return err
}

func (s storeConn) Get(ctx context.Context, key string) ([]byte, error) {
	r, err := s.to.For(key).Get(ctx, key)
	return r.Value, err
}

func (s storeConn) CAS(ctx context.Context, key string, old, value []byte) ([]byte, bool, error) {
	_, err := s.to.For(key).CAS(ctx, key, old, value)
	if seen, ok := client.Mismatch(err); ok {
		return seen.Value, false, nil
	}
	return nil, err == nil, err
}

func (s storeConn) Close() error {
	s.to.Close()
	return nil
}
