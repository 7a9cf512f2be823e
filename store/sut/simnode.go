package sut

import (
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/store/replica"
)

// node drives the protocol core in the simulator, as store/node does in
// reality: it carries the core's messages, replies and writes, with one sync of
// the disk at a time (group commit).
type node struct {
	host  sim.Host
	disk  *sim.Disk
	log   *simLog
	core  *replica.Replica
	fsync bool

	ready bool    // the boot number is durable
	early []input // what came before that

	syncing bool
	written uint64        // ticket of the last write in the log
	asked   uint64        // ticket of the last sync
	wake    time.Duration // when Wake comes; 0: never
	slab    []replica.Message
}

// input is a message or request that came before the node was ready.
type input struct {
	message *replica.Message // nil: a request
	from    replica.NodeID
	request replica.Request
}

// bootToken is the sync of the boot number. The core's tickets begin at 1.
const bootToken = 0

// Boot starts a node with what survived on its disk.
func (s *System) Boot(h sim.Host) (sim.Node, error) {
	log, cut, err := openLog(h.Disk())
	if err != nil {
		return nil, err
	}
	// A stamp must never be used twice, so the number of this start has to
	// be durable before the node does anything, even without fsync. If the
	// node dies before that, it has done nothing under this number.
	log.putBoot(log.boot + 1)
	log.append()
	h.Disk().Sync(bootToken)
	core, err := replica.New(s.profile.config(h.ID(), h.Nodes()), log.boot, log)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", s.profile.Name, err)
	}
	h.Logf("boot %d: %d keys, %d bytes of a torn write cut off", log.boot, len(log.records), cut)
	return &node{host: h, disk: h.Disk(), log: log, core: core, fsync: s.profile.Fsync}, nil
}

// Receive takes a message from another node.
func (n *node) Receive(from int, msg any) {
	m, ok := msg.(*replica.Message)
	if !ok {
		n.host.Logf("node %d sent a %T: ignored", from, msg)
		return
	}
	if !n.ready {
		n.early = append(n.early, input{message: m, from: replica.NodeID(from)})
		return
	}
	n.core.Receive(n.now(), replica.NodeID(from), *m)
	n.carry()
}

// Request takes a client's request.
func (n *node) Request(id uint64, req any) {
	q, ok := req.(replica.Request)
	if !ok {
		n.host.Reply(id, fmt.Errorf("a request is a replica.Request, not a %T", req))
		return
	}
	q.ID = id
	if !n.ready {
		n.early = append(n.early, input{request: q})
		return
	}
	n.core.Request(n.now(), q)
	n.carry()
}

// Wake lets the core see the time.
func (n *node) Wake() {
	n.wake = 0
	n.core.Tick(n.now())
	n.carry()
}

// Synced says that the log is durable up to a ticket.
func (n *node) Synced(token uint64) {
	if token == bootToken {
		n.begin()
		return
	}
	n.syncing = false
	n.core.Persisted(n.now(), token)
	n.carry()
}

// begin gives the core what has come in before the boot number was durable.
func (n *node) begin() {
	n.ready = true
	for _, in := range n.early {
		if in.message != nil {
			n.core.Receive(n.now(), in.from, *in.message)
		} else {
			n.core.Request(n.now(), in.request)
		}
		n.carry()
	}
	n.early = nil
	n.alarm()
}

func (n *node) now() replica.Now {
	return replica.Now{Mono: n.host.Now(), Wall: n.host.Wall()}
}

// carry carries out what an input has led to.
func (n *node) carry() {
	for {
		out := n.core.Take()
		for i := range out.Messages {
			e := &out.Messages[i]
			n.host.Send(int(e.To), n.keep(&e.Message))
		}
		for i := range out.Damage {
			n.damaged(&out.Damage[i])
		}
		for i := range out.Replies {
			n.host.Reply(out.Replies[i].ID, out.Replies[i])
		}
		if len(out.Writes) == 0 {
			break
		}
		for i := range out.Writes {
			n.log.put(&out.Writes[i])
		}
		n.log.append()
		n.written = out.Seq
		if n.fsync {
			break
		}
		// Without fsync a write counts as durable when it was written. This
		// is the choice that abd-nofsync is about.
		n.core.Persisted(n.now(), out.Seq)
	}
	n.sync()
	n.alarm()
}

// damaged logs what has become of a record that the disk has lost.
func (n *node) damaged(d *replica.Damage) {
	switch {
	case d.Hopeless:
		n.host.Logf("the record of %q is damaged, and the peers cannot tell what it was: it is refused", d.Key)
	case d.Repaired:
		n.host.Logf("the record of %q was repaired from the peers: %v", d.Key, d.Stamp)
	default:
		n.host.Logf("the record of %q is damaged: it is refused until the peers have told what it was", d.Key)
	}
}

// sync asks for what was written since the last sync to become durable, unless
// one is under way: it will be asked for after that.
func (n *node) sync() {
	if n.fsync && !n.syncing && n.written > n.asked {
		n.syncing, n.asked = true, n.written
		n.disk.Sync(n.written)
	}
}

// alarm sees to it that Wake comes in time. It may come early: an alarm that is
// set is not moved to a later time, which would cost more.
func (n *node) alarm() {
	at := n.core.Deadline()
	if at != 0 && (n.wake == 0 || at < n.wake) {
		n.wake = at
		n.host.WakeAt(at)
	}
}

// keep copies a message to where it can stay while it travels. Room for many is
// allocated at once.
func (n *node) keep(m *replica.Message) *replica.Message {
	if len(n.slab) == cap(n.slab) {
		n.slab = make([]replica.Message, 0, 64)
	}
	n.slab = append(n.slab, *m)
	return &n.slab[len(n.slab)-1]
}
