package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/assay-chaos/assay/store/replica"
)

// farewell is how long a node that has left is still talked to, so that it learns
// that it is out.
const farewell = time.Minute

// roster is the ways to the other nodes, as the members come and go. The loop
// sets it; others read it.
type roster struct {
	cfg *Config
	who *identity
	log *slog.Logger

	mu      sync.Mutex
	peers   [replica.MaxNodes]*peer
	leaving [replica.MaxNodes]*time.Timer
	running context.Context // nil before start
	senders sync.WaitGroup
}

// set makes the peers those of a view. What is new is dialled, and what is gone is
// left after a while.
func (r *roster) set(v replica.View) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var there [replica.MaxNodes]bool
	for _, members := range [][]replica.Member{v.Before, v.Members} {
		for _, m := range members {
			if int(m.ID) == r.cfg.ID {
				continue
			}
			there[m.ID] = true
			if r.peers[m.ID] != nil {
				continue
			}
			p, err := newPeer(r.cfg, int(m.ID), m.Addr, r.who, r.log)
			if err != nil {
				return err
			}
			r.peers[m.ID] = p
			r.run(p)
		}
	}
	for id, p := range r.peers {
		switch {
		case p == nil || there[id]:
			if r.leaving[id] != nil {
				r.leaving[id].Stop()
				r.leaving[id] = nil
			}
		case r.leaving[id] == nil:
			r.leaving[id] = time.AfterFunc(farewell, func() { p.end() })
		}
	}
	return nil
}

// run begins to send to a peer, once start was called.
func (r *roster) run(p *peer) {
	if r.running != nil {
		r.senders.Go(func() { p.run(r.running) })
	}
}

// start begins to send to all.
func (r *roster) start(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = ctx
	for _, p := range r.peers {
		if p != nil {
			r.run(p)
		}
	}
}

// close ends all connections. The context given to start is over.
func (r *roster) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, p := range r.peers {
		if r.leaving[id] != nil {
			r.leaving[id].Stop()
		}
		if p != nil {
			p.end()
		}
	}
	r.senders.Wait()
}

// peer gives the way to a node, nil if there is none.
func (r *roster) peer(id replica.NodeID) *peer {
	if id >= replica.MaxNodes {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peers[id]
}

// all gives the peers that there are, by number.
func (r *roster) all() []*peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*peer
	for _, p := range r.peers {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// addr is where a node is reached, "" for one that is not known.
func (r *roster) addr(id int) string {
	if p := r.peer(replica.NodeID(id)); p != nil {
		return p.addr
	}
	return ""
}
