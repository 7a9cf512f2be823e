package client

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/assay-chaos/assay/store/ring"
)

// Router sends what concerns a key to one node, the first of its preference
// list. Any node would answer, but this one is a replica, so its own copy is
// one message less. And with CASPaxos one node that makes all changes to a key
// needs one round trip for each; those that take turns need two, and those that
// do so at the same time get in each other's way.
//
// It is a matter of speed alone. With the node gone, or while members change, ask
// any other.
type Router struct {
	ring    *ring.Ring
	clients map[uint32]*Client
}

// NewRouter takes a client of every node of the cluster, by the node's id.
func NewRouter(clients map[uint32]*Client) (*Router, error) {
	if len(clients) == 0 {
		return nil, errors.New("client: a router of no nodes: give a client of each")
	}
	var ids []ring.NodeID
	for _, id := range slices.Sorted(maps.Keys(clients)) {
		ids = append(ids, ring.NodeID(id))
	}
	r, err := ring.New(ids, ring.VNodes)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &Router{ring: r, clients: maps.Clone(clients)}, nil
}

// For gives the client of the node for a key.
func (r *Router) For(key string) *Client {
	var first [1]ring.NodeID
	return r.clients[uint32(r.ring.AppendPrefs(first[:0], key, 1)[0])]
}

// Close closes all clients.
func (r *Router) Close() {
	for _, c := range r.clients {
		c.Close()
	}
}
