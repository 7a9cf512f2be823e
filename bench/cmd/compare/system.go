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
	// Dial makes a client with connections of its own to the node at addr.
	Dial(addr string) (conn, error)
}

// conn is one client. It is used by several goroutines.
type conn interface {
	Put(ctx context.Context, key string, value []byte) error
	// Get is linearizable. It gives nil for an absent key.
	Get(ctx context.Context, key string) ([]byte, error)
	Close() error
}

// casConn is one that can compare and set: it writes value if the key has the
// value old, and says whether it did.
type casConn interface {
	CAS(ctx context.Context, key string, old, value []byte) (bool, error)
}

// systems are the systems by name.
var systems = []struct {
	name string
	make func() (system, error)
}{
	{"store", func() (system, error) { return newStore(client.NewStream) }},
	{"store-http", func() (system, error) { return newStore(client.New) }},
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

// store is the reference store with its strongest register, abd 3/2/2.
type store struct {
	*sut.System
	dial func(addr string) *client.Client
}

func newStore(dial func(addr string) *client.Client) (system, error) {
	p, err := sut.ProfileByName("abd")
	if err != nil {
		return nil, err
	}
	// As patient as etcd, which gives a request 5 s and two election timeouts:
	// a machine that stalls shall show in the latencies of both. The profile's
	// own times are for tests, whose networks are cut.
	p.Timeout, p.Retry = 7*time.Second, node.DefaultConfig().Retry
	return store{sut.New(p), dial}, nil
}

func (store) Targets(_ context.Context, addrs []string) ([]string, error) { return addrs, nil }

func (s store) Dial(addr string) (conn, error) { return storeConn{s.dial(addr)}, nil }

type storeConn struct{ c *client.Client }

func (s storeConn) Put(ctx context.Context, key string, value []byte) error {
	_, err := s.c.Put(ctx, key, value)
	return err
}

func (s storeConn) Get(ctx context.Context, key string) ([]byte, error) {
	r, err := s.c.Get(ctx, key)
	return r.Value, err
}

func (s storeConn) Close() error {
	s.c.Close()
	return nil
}
