package node

import (
	"sync"

	"github.com/assay-chaos/assay/store/replica"
)

// What waits for one peer, and what is sent at once.
const (
	outboxMessages = 4096
	outboxBytes    = 32 << 20
	batchMessages  = 512
	batchBytes     = 1 << 20
)

// outbox queues the messages for one peer. The loop stages and flushes, the
// peer's sender takes.
type outbox struct {
	staged []replica.Message // the loop's

	ready chan struct{} // something is pending

	mu      sync.Mutex
	pending []replica.Message
	bytes   int
	dropped int // since the last take
}

func newOutbox() *outbox { return &outbox{ready: make(chan struct{}, 1)} }

// stage queues a message. One that the peer would not take is dropped: see
// maxSiblings.
func (o *outbox) stage(m replica.Message) {
	if s := m.Record.Siblings; s != nil && s.Size() > maxSiblings {
		o.mu.Lock()
		o.dropped++
		o.mu.Unlock()
		return
	}
	o.staged = append(o.staged, m)
}

// flush makes what is staged visible to the sender.
func (o *outbox) flush() {
	if len(o.staged) == 0 {
		return
	}
	o.mu.Lock()
	for i := range o.staged {
		o.bytes += size(&o.staged[i])
	}
	o.pending = append(o.pending, o.staged...)
	if len(o.pending) > outboxMessages || o.bytes > outboxBytes {
		o.shed()
	}
	o.mu.Unlock()
	clear(o.staged)
	o.staged = o.staged[:0]
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// shed drops from the old end until half of either bound is free. Dropping in
// bulk keeps the cost of a message constant; the oldest go because their
// requests are the nearest to their deadline.
func (o *outbox) shed() {
	n := 0
	for n < len(o.pending) && (len(o.pending)-n > outboxMessages/2 || o.bytes > outboxBytes/2) {
		o.bytes -= size(&o.pending[n])
		n++
	}
	kept := copy(o.pending, o.pending[n:])
	clear(o.pending[kept:])
	o.pending = o.pending[:kept]
	o.dropped += n
}

// take moves the next batch into buf, and tells how many messages were dropped
// since the last call.
func (o *outbox) take(buf []replica.Message) (batch []replica.Message, dropped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, bytes := 0, 0
	for n < len(o.pending) && n < batchMessages && bytes < batchBytes {
		bytes += size(&o.pending[n])
		n++
	}
	batch = append(buf[:0], o.pending[:n]...)
	kept := copy(o.pending, o.pending[n:])
	clear(o.pending[kept:])
	o.pending = o.pending[:kept]
	o.bytes -= bytes
	dropped, o.dropped = o.dropped, 0
	return batch, dropped
}

// waiting tells how many messages wait to be taken, and their size.
func (o *outbox) waiting() (messages, bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.pending), o.bytes
}

// size is about what a message takes in memory and on the wire, in bytes.
func size(m *replica.Message) int {
	n := 64 + len(m.Key) + len(m.Record.Value)
	if s := m.Record.Siblings; s != nil {
		n += s.Size() + 24*len(s.Values) + 48*len(s.Context)
	}
	if m.Tree != nil {
		n += 9 * len(m.Tree.Sums)
		for i := range m.Tree.Keys {
			n += 48 + len(m.Tree.Keys[i].Key)
		}
	}
	return n
}
