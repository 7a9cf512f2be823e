package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// Epoch is the true wall-clock time at virtual time 0.
var Epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// epoch is Epoch in Unix nanoseconds.
var epoch = Epoch.UnixNano()

// machine is what a node runs on: the Host of one process after the other.
type machine struct {
	w    *World
	id   int
	disk Disk
	log  nodeLog

	// The process.
	up       bool
	node     Node // nil while down
	inc      uint32
	work     uint64
	rand     *rand.Rand
	requests []uint32 // slots of the calls it has
	wakeAt   int64    // when it wants to be woken; -1: not
	wake     timer    // the event that wakes it, perhaps too early
	wakeTime int64    // of that event
	paused   bool
	held     []uint32 // slots of what has arrived while it was paused

	// Faults and their leases.
	boot       timer // the end of the restart in progress
	booters    []*task
	killLease  timer
	pauseLease timer
	clock      harness.Clock
	clockSince int64
	clockLease timer
	bad        harness.Disk
	spoiled    int   // records, since the world began
	rot        timer // the next one
	diskLease  timer
	bootRand   rand.PCG
	toRand     rand.PCG // delays from clients
	fromRand   rand.PCG // delays to clients
	errRefused error
	errReset   error
}

var _ Host = (*machine)(nil)

func (m *machine) ID() int            { return m.id }
func (m *machine) Nodes() int         { return len(m.w.machines) }
func (m *machine) Now() time.Duration { return time.Duration(m.w.now) }
func (m *machine) Wall() int64        { return epoch + m.w.now + m.clockOffset() }
func (m *machine) Rand() *rand.Rand   { return m.rand }
func (m *machine) Disk() *Disk        { return &m.disk }

// clockOffset is how far the wall clock is from the truth.
func (m *machine) clockOffset() int64 {
	drift := float64(m.w.now-m.clockSince) * m.clock.Drift
	return int64(m.clock.Offset) + int64(drift)
}

func (m *machine) Send(to int, msg any) {
	if to < 0 || to >= len(m.w.machines) || to == m.id {
		m.fail(fmt.Errorf("send to node %d: it must be another one of 0 to %d", to, len(m.w.machines)-1))
		return
	}
	m.w.send(m.id, to, msg)
}

func (m *machine) Reply(id uint64, resp any) { m.w.reply(m, id, resp) }

// WakeAt leaves an event that is due earlier where it is. It will find that it
// is too early and put itself off: a node that moves its deadline with every
// message costs one event per period, not one per message.
func (m *machine) WakeAt(at time.Duration) {
	if at < 0 {
		m.wakeAt = -1
		return
	}
	m.wakeAt = max(int64(at), m.w.now)
	if m.wake.seq == 0 || m.wakeAt < m.wakeTime {
		m.w.queue.cancel(m.wake)
		m.armWake()
	}
}

func (m *machine) armWake() {
	var it *item
	it, m.wake = m.w.queue.push(m.wakeAt, kindWake)
	it.node = int32(m.id)
	m.wakeTime = m.wakeAt
}

// wakeDue is the event of WakeAt.
func (m *machine) wakeDue() {
	m.wake = timer{}
	switch {
	case m.wakeAt < 0:
	case m.wakeAt > m.w.now:
		m.armWake()
	default:
		m.wakeAt = -1
		if m.w.cfg.Trace != nil {
			m.w.trace(Event{Kind: EventWake, Node: m.id, Peer: -1})
		}
		m.work++
		m.w.acting = m
		m.node.Wake()
		m.w.acting = nil
	}
}

func (m *machine) Logf(format string, args ...any) { m.log.add(m.w.now, format, args) }

// fail ends the run because the node did something that no node may.
func (m *machine) fail(err error) {
	m.w.fail(fmt.Errorf("node %d (incarnation %d): %w", m.id, m.inc, err))
}

// start runs the process.
func (m *machine) start() {
	w := m.w
	w.queue.cancel(m.killLease)
	w.queue.cancel(m.boot)
	m.boot, m.killLease = timer{}, timer{}
	m.inc++
	m.up = true
	src := stream(w.cfg.Seed, forNode, uint64(m.id), uint64(m.inc))
	m.rand = rand.New(&src)
	w.trace(Event{Kind: EventBoot, Node: m.id, Peer: -1, ID: uint64(m.inc)})
	w.acting = m
	node, err := w.cfg.System.Boot(m)
	w.acting = nil
	switch {
	case err != nil:
		node = nil
		m.fail(fmt.Errorf("boot: %w", err))
	case node == nil:
		m.fail(fmt.Errorf("boot: System.Boot returned no node and no error"))
	}
	m.node, m.up = node, node != nil
	m.wakeBooters()
}

func (m *machine) wakeBooters() {
	for _, t := range m.booters {
		m.w.wake(t)
	}
	m.booters = m.booters[:0]
}

// kill ends the process: everything in its memory is gone, its disk keeps what
// a crash leaves, and clients whose requests it had see their connections
// break.
func (m *machine) kill() {
	w := m.w
	m.unpause()
	for _, slot := range m.held {
		it := &w.queue.slots[slot]
		switch it.kind {
		case kindRequest:
			id := it.id
			w.queue.release(slot)
			w.answer(m, id, nil, reset)
			continue
		case kindMessage:
			w.dropped(&w.stats.Down, "down", int(it.from), m.id, it.id, it.msg)
		case kindWake:
			m.wake = timer{}
		}
		w.queue.release(slot)
	}
	m.held = m.held[:0]
	for _, slot := range m.requests {
		k := &w.calls[slot]
		k.served = false
		w.answer(m, uint64(k.gen)<<slotBits|uint64(slot), nil, reset)
	}
	m.requests = m.requests[:0]
	w.queue.cancel(m.wake)
	m.wake, m.wakeAt = timer{}, -1
	m.up, m.node = false, nil
	m.disk.crash()
	w.trace(Event{Kind: EventCrash, Node: m.id, Peer: -1, ID: uint64(m.inc)})
}

// unpause ends a pause without letting what was held go.
func (m *machine) unpause() {
	m.w.queue.cancel(m.pauseLease)
	m.paused, m.pauseLease = false, timer{}
}

// resume lets the process run on: what has arrived meanwhile happens now, in
// its order.
func (m *machine) resume() {
	if !m.paused {
		return
	}
	m.unpause()
	m.w.trace(Event{Kind: EventResume, Node: m.id, Peer: -1})
	for _, slot := range m.held {
		t := m.w.queue.insert(m.w.now, slot)
		if m.w.queue.slots[slot].kind == kindWake {
			m.wake, m.wakeTime = t, m.w.now
		}
	}
	m.held = m.held[:0]
}

// setClock changes the wall clock.
func (m *machine) setClock(c harness.Clock) {
	m.w.queue.cancel(m.clockLease)
	m.clock, m.clockSince, m.clockLease = c, m.w.now, timer{}
	if m.w.cfg.Trace != nil {
		m.w.trace(Event{Kind: EventClock, Node: m.id, Peer: -1, Note: fmt.Sprintf("offset %v, drift %+g", c.Offset, c.Drift)})
	}
}

// recovered cleans up when the loop ends, and turns the panic of a node into
// the failure of the run. It must be deferred directly.
func (w *World) recovered(err *error) {
	m := w.acting
	w.acting, w.current, w.running = nil, nil, false
	if m == nil {
		return
	}
	if r := recover(); r != nil {
		m.fail(fmt.Errorf("panicked: %v\n%s", r, debug.Stack()))
		*err = w.err
	}
}

// logLimit is how much of a node's log is kept, in bytes.
const logLimit = 1 << 20

// nodeLog keeps the end of what a node has logged.
type nodeLog struct {
	buf []byte
	cut int // bytes dropped
}

func (l *nodeLog) add(at int64, format string, args []any) {
	l.buf = append(stamp(l.buf, at), ' ')
	l.buf = append(fmt.Appendf(l.buf, format, args...), '\n')
	if len(l.buf) <= logLimit {
		return
	}
	// Half at a time, so that the cost of a line stays small.
	n := len(l.buf) - logLimit/2
	if i := bytes.IndexByte(l.buf[n:], '\n'); i >= 0 {
		n += i + 1
	}
	l.cut += n
	l.buf = append(l.buf[:0], l.buf[n:]...)
}

func (l *nodeLog) bytes() []byte {
	var b []byte
	if l.cut > 0 {
		b = fmt.Appendf(b, "(%d earlier bytes dropped)\n", l.cut)
	}
	return append(b, l.buf...)
}
