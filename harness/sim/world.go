package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// World is a simulated cluster. Everything in it happens in one goroutine at a
// time, under [World.Wait] or [World.Await]; between these it stands still. Its
// methods may be called from its tasks, and from outside while it stands still,
// but not from other goroutines and not by nodes.
type World struct {
	cfg         Config
	now         int64
	queue       queue
	machines    []machine
	links       []link // by linkIndex
	cuts        map[string]*cut
	syncDelay   *sampler
	clientDelay *sampler
	bootDelay   *sampler
	probeRand   rand.PCG
	messages    uint64 // ids given to messages
	stats       Stats

	calls     []call
	freeCalls []uint32

	root        *vctx
	watches     []*vctx // contexts from outside
	stirred     bool    // a task has run or a context has ended since watch
	tasks       []*task
	ready       []*task // to be resumed, in order
	current     *task   // runs now; nil: none
	workers     []worker
	completions []harness.Completion

	acting  *machine // whose node is being called; nil: none
	running bool     // inside run
	instant int      // events since time last passed
	closed  bool
	err     error // why the run has failed
}

var _ harness.World = (*World)(nil)

// errIdle says that nothing more will happen.
var errIdle = errors.New("the event queue is empty")

// New makes a world and boots its nodes, at virtual time 0.
func New(cfg Config) (w *World, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	samplers := map[Latency]*sampler{}
	compile := func(l Latency) *sampler {
		if samplers[l] == nil {
			samplers[l] = newSampler(l)
		}
		return samplers[l]
	}
	seed := cfg.Seed
	w = &World{
		cfg:         cfg,
		machines:    make([]machine, cfg.Nodes),
		links:       make([]link, cfg.Nodes*cfg.Nodes),
		cuts:        map[string]*cut{},
		syncDelay:   compile(cfg.Disk.Sync),
		clientDelay: compile(cfg.Net.Client),
		bootDelay:   compile(cfg.Boot),
		probeRand:   stream(seed, forProbe, 0, 0),
	}
	w.root = &vctx{w: w, parent: context.Background(), deadline: never}
	for i := range w.links {
		w.links[i] = link{rand: stream(seed, forLink, uint64(i), 0), delay: compile(cfg.Net.Latency)}
	}
	for _, l := range cfg.Net.Links {
		w.links[w.linkIndex(l.Link.From, l.Link.To)].delay = compile(l.Latency)
	}
	for i := range w.machines {
		m, id := &w.machines[i], uint64(i)
		*m = machine{
			w: w, id: i, wakeAt: -1,
			bootRand:   stream(seed, forBoot, id, 0),
			toRand:     stream(seed, forClient, id, 0),
			fromRand:   stream(seed, forClient, id, 1),
			errRefused: harness.Definite(fmt.Errorf("sim: node %d: %w", i, ErrRefused)),
			errReset:   fmt.Errorf("sim: node %d: %w", i, ErrReset),
		}
		m.disk = Disk{
			m: m, files: map[string]*file{},
			syncRand: stream(seed, forSync, id, 0),
			rand:     stream(seed, forCrash, id, 0),

			rotRand:   stream(seed, forRot, id, 0),
			probeRand: stream(seed, forDisk, id, 0),
		}
	}
	defer func() {
		if err != nil {
			w = nil
		}
	}()
	defer w.recovered(&err)
	for i := range w.machines {
		w.machines[i].start()
		if w.err != nil {
			return w, w.err
		}
	}
	return w, nil
}

// instantLimit is how many events may happen at one instant before it is
// certain that time will not go on.
const instantLimit = 2_000_000

// run is the loop: it runs tasks and events until the goal is reached or
// virtual time is limit, which gives nil, or until something is wrong.
func (w *World) run(ctx context.Context, limit int64, goal func() bool) (err error) {
	if err := w.usable(ctx); err != nil {
		return err
	}
	w.running = true
	defer w.recovered(&err)
	w.stirred = true
	for ticks := 1; ; ticks++ {
		for len(w.ready) > 0 {
			w.runReady()
		}
		if w.stirred && len(w.watches) > 0 || ticks%1024 == 0 {
			w.watch()
			if len(w.ready) > 0 {
				continue
			}
		}
		if w.err != nil {
			return w.err
		}
		if goal() {
			return nil
		}
		if ticks%1024 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if w.closed {
			return w.wrap(harness.ErrClosed)
		}
		at, ok := w.queue.peek()
		if !ok {
			return errIdle
		}
		if at > limit {
			w.now = limit
			return nil
		}
		if at > w.now {
			w.now = at
			w.instant = 0
		}
		if w.instant++; w.instant > instantLimit {
			w.fail(fmt.Errorf("%d events without any time passing", instantLimit))
			continue
		}
		w.stats.Events++
		w.happen(w.queue.pop())
	}
}

// happen carries out one item. Its slot is released before any code outside of
// this package runs.
func (w *World) happen(slot uint32) {
	it := &w.queue.slots[slot]
	switch it.kind {
	case kindMessage, kindRequest, kindWake, kindSynced:
		w.happenAt(&w.machines[it.node], slot, it)
		return
	}
	kind, msg, id, aux, node := it.kind, it.msg, it.id, it.aux, it.node
	w.queue.release(slot)
	switch kind {
	case kindAnswer:
		w.returned(&w.machines[node], id, msg, aux)
	case kindTimer:
		w.wake(msg.(*task))
	case kindDeadline:
		msg.(*vctx).end(context.DeadlineExceeded)
	case kindFunc:
		msg.(func())()
	}
}

// arrived marks, in an item's aux, a message that has passed the network and
// waits for a paused process.
const arrived = 1

// happenAt carries out what concerns a node's process.
func (w *World) happenAt(m *machine, slot uint32, it *item) {
	// What the network and the disk do does not need the process.
	switch it.kind {
	case kindMessage:
		from := int(it.from)
		if it.aux != arrived && w.links[w.linkIndex(from, m.id)].cuts > 0 {
			w.dropped(&w.stats.Cut, "cut", from, m.id, it.id, it.msg)
			w.queue.release(slot)
			return
		}
		if !m.up {
			w.dropped(&w.stats.Down, "down", from, m.id, it.id, it.msg)
			w.queue.release(slot)
			return
		}
	case kindSynced:
		if !m.up || it.inc != m.inc {
			w.queue.release(slot)
			return
		}
		m.disk.synced(it.aux)
	}
	if m.paused {
		if it.kind == kindMessage {
			it.aux = arrived
		}
		m.held = append(m.held, slot)
		return
	}

	kind, msg, id, from := it.kind, it.msg, it.id, int(it.from)
	w.queue.release(slot)
	switch kind {
	case kindMessage:
		w.stats.Delivered++
		if w.cfg.Trace != nil {
			w.trace(Event{Kind: EventDeliver, Node: m.id, Peer: from, ID: id, Msg: msg})
		}
		m.work++
		w.acting = m
		m.node.Receive(from, msg)
		w.acting = nil
	case kindRequest:
		w.serve(m, id, msg)
	case kindWake:
		m.wakeDue()
	case kindSynced:
		if w.cfg.Trace != nil {
			w.trace(Event{Kind: EventSynced, Node: m.id, Peer: -1, ID: id})
		}
		m.work++
		w.acting = m
		m.node.Synced(id)
		w.acting = nil
	}
}

// after is the time d from now, which never overflows.
func (w *World) after(d time.Duration) int64 {
	if d <= 0 {
		return w.now
	}
	if int64(d) > never-1-w.now {
		return never - 1
	}
	return w.now + int64(d)
}

// later has f called after d.
func (w *World) later(d time.Duration, f func()) timer {
	it, t := w.queue.push(w.after(d), kindFunc)
	it.msg = f
	return t
}

// fail ends the run. The first reason counts.
func (w *World) fail(err error) {
	if w.err == nil {
		w.err = w.wrap(err)
	}
}

// wrap says where in which run an error came up.
func (w *World) wrap(err error) error {
	return fmt.Errorf("sim: seed %d, virtual time %v: %w", w.cfg.Seed, time.Duration(w.now), err)
}

// usable says why the world cannot run now.
func (w *World) usable(ctx context.Context) error {
	switch {
	case w.err != nil:
		return w.err
	case w.closed:
		return w.wrap(harness.ErrClosed)
	case w.running:
		return w.wrap(errors.New("a node called its world: nodes act through their Host only"))
	}
	return ctx.Err()
}

// usableFor says why no fault can be made now.
func (w *World) usableFor(lease time.Duration) error {
	switch {
	case w.closed:
		return w.wrap(harness.ErrClosed)
	case lease <= 0:
		return fmt.Errorf("sim: the lease of a fault is %v: it must be positive", lease)
	}
	return nil
}

// machine finds a node's machine.
func (w *World) machine(node int) (*machine, error) {
	if w.closed {
		return nil, w.wrap(harness.ErrClosed)
	}
	if node < 0 || node >= len(w.machines) {
		return nil, fmt.Errorf("sim: node %d: the nodes are 0 to %d", node, len(w.machines)-1)
	}
	return &w.machines[node], nil
}

// Now implements [harness.Executor].
func (w *World) Now() int64 { return w.now }

// Name implements [harness.World].
func (w *World) Name() string { return "sim" }

// Nodes implements [harness.World].
func (w *World) Nodes() int { return len(w.machines) }

// Node gives the running node, so that a System can inspect it; nil while it is
// down or there is no such node.
func (w *World) Node(i int) Node {
	if i < 0 || i >= len(w.machines) {
		return nil
	}
	return w.machines[i].node
}

// Disk gives the disk of a node; nil when there is no such node.
func (w *World) Disk(i int) *Disk {
	if i < 0 || i >= len(w.machines) {
		return nil
	}
	return &w.machines[i].disk
}

// Close implements [harness.World]. Tasks that are still waiting get their
// contexts' errors and run to their end.
func (w *World) Close(context.Context) (err error) {
	if w.closed {
		return nil
	}
	w.closed = true
	w.root.end(context.Canceled)
	if w.running {
		return nil // the loop, in which a task is calling, ends the tasks
	}
	defer w.recovered(&err)
	for len(w.ready) > 0 {
		w.runReady()
	}
	for i := range w.machines {
		w.machines[i].node, w.machines[i].up = nil, false
	}
	return nil
}
