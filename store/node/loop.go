package node

import (
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/assay-chaos/assay/store/engine"
	"github.com/assay-chaos/assay/store/replica"
)

// maxInputs is how many inputs the loop takes before it lets their messages
// go. A batch ends earlier when nothing more is there, so it costs a lone
// request no time.
const maxInputs = 256

// call is a client's request on its way to the core.
type call struct {
	request replica.Request      // without ID
	answer  chan<- replica.Reply // has room for the one reply
}

// inbound is what one peer sent at once.
type inbound struct {
	from  replica.NodeID
	batch []replica.Message
}

// loop owns the core. Only its own goroutine touches its fields, but for the
// channels.
type loop struct {
	core    *replica.Replica
	engine  *engine.Engine
	log     *slog.Logger
	members *roster
	out     [replica.MaxNodes]*outbox // by node; nil for this one, and those that are not there
	viewed  func(*replica.View)       // is told of every new view
	start   time.Time                 // of the monotonic clock

	calls chan call
	peers chan inbound
	looks chan func(*replica.Replica) // look at the core
	stop  chan struct{}               // closed to end the loop
	done  chan struct{}               // closed when it has ended

	health    *diskHealth
	waiting   map[uint64]chan<- replica.Reply
	lastID    uint64
	issued    uint64        // the highest ticket the core gave out
	persisted uint64        // the highest the core was told of, durable or failed
	broken    error         // the engine takes no writes, for this reason
	armed     time.Duration // when the timer fires, on the monotonic clock
}

// diskHealth counts what went wrong with the disk since the start. It is
// written by the loop and read by anyone.
type diskHealth struct {
	damaged, repaired, failures atomic.Uint64
}

// never is an armed time for a timer that does not run.
const never = time.Duration(math.MaxInt64)

func newLoop(core *replica.Replica, e *engine.Engine, members *roster, log *slog.Logger) *loop {
	l := &loop{
		core:    core,
		engine:  e,
		log:     log,
		members: members,
		start:   time.Now(),
		calls:   make(chan call, maxInputs),
		peers:   make(chan inbound, 16),
		looks:   make(chan func(*replica.Replica)),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		health:  new(diskHealth),
		waiting: make(map[uint64]chan<- replica.Reply),
		armed:   never,
	}
	l.connect()
	return l
}

// connect takes the outboxes of the nodes that there are now.
func (l *loop) connect() {
	clear(l.out[:])
	for _, p := range l.members.all() {
		l.out[p.id] = p.out
	}
}

// look lets a function see the core between two inputs, and says whether it did.
// It must not change anything.
func (l *loop) look(f func(*replica.Replica)) bool {
	seen := make(chan struct{})
	select {
	case l.looks <- func(core *replica.Replica) { f(core); close(seen) }:
		<-seen
		return true
	case <-l.done:
		return false
	}
}

// now reads both clocks at one instant.
func (l *loop) now() replica.Now {
	t := time.Now()
	return replica.Now{Mono: t.Sub(l.start), Wall: t.UnixNano()}
}

// run takes inputs till stop is closed.
func (l *loop) run() {
	defer close(l.done)
	timer := time.NewTimer(never)
	defer timer.Stop()
	for {
		// A deadline that has moved on is left to fire: the early Tick finds
		// nothing to do, and most rounds need no work on the timer.
		if d := l.core.Deadline(); d != 0 && d < l.armed {
			timer.Reset(d - time.Since(l.start))
			l.armed = d
		}
		select {
		case <-l.stop:
			return
		case c := <-l.calls:
			l.request(l.now(), c)
		case in := <-l.peers:
			l.receive(l.now(), in)
		case <-l.engine.Durable():
			l.progress(l.now())
		case look := <-l.looks:
			look(l.core)
		case <-timer.C:
			l.armed = never
			now := l.now()
			l.core.Tick(now)
			l.carryOut(now)
		}
		l.more()
		for _, o := range l.out {
			if o != nil {
				o.flush()
			}
		}
	}
}

// more takes the inputs that are there already. They share one reading of the
// clocks, and the messages to a peer that they lead to travel together.
func (l *loop) more() {
	now := l.now()
	for range maxInputs {
		select {
		case c := <-l.calls:
			l.request(now, c)
		case in := <-l.peers:
			l.receive(now, in)
		case <-l.engine.Durable():
			l.progress(now)
		default:
			return
		}
	}
}

func (l *loop) request(now replica.Now, c call) {
	l.lastID++
	c.request.ID = l.lastID
	if l.broken != nil && c.request.Op != replica.Get {
		c.answer <- replica.Reply{ID: c.request.ID, Err: refusal(l.broken)}
		return
	}
	l.waiting[c.request.ID] = c.answer
	l.core.Request(now, c.request)
	l.carryOut(now)
}

func (l *loop) receive(now replica.Now, in inbound) {
	for i := range in.batch {
		l.core.Receive(now, in.from, in.batch[i])
		l.carryOut(now)
	}
}

// carryOut does what the core asks for after an input. It must run before the
// next input, so that Storage shows the writes of this one.
func (l *loop) carryOut(now replica.Now) {
	for {
		out := l.core.Take()
		for i := range out.Messages {
			e := &out.Messages[i]
			if o := l.out[e.To]; o != nil { // else it has left
				o.stage(e.Message)
			}
		}
		if out.View != nil {
			l.view(out.View)
		}
		for i := range out.Damage {
			l.damaged(&out.Damage[i])
		}
		for i := range out.Replies {
			r := &out.Replies[i]
			l.waiting[r.ID] <- *r
			delete(l.waiting, r.ID)
		}
		if len(out.Writes) == 0 {
			return
		}
		l.issued = out.Seq
		// The engine keeps an error of Apply and tells it again in Progress.
		_ = l.engine.Apply(out.Seq, out.Writes)
		l.tell(now)
	}
}

// view follows a change of the members.
func (l *loop) view(v *replica.View) {
	if err := l.members.set(*v); err != nil {
		l.log.Error("a member cannot be reached", "error", err)
	}
	l.connect()
	l.viewed(v)
}

// progress tells the core how far its writes are durable, and carries out what
// that lets go.
func (l *loop) progress(now replica.Now) {
	l.tell(now)
	l.carryOut(now)
}

// tell tells the core what became of its writes. When the disk has failed and
// is back, the node goes on.
func (l *loop) tell(now replica.Now) {
	durable, err := l.engine.Progress()
	if durable > l.persisted {
		l.persisted = durable
		l.core.Persisted(now, durable)
	}
	if err == nil {
		return
	}
	if l.broken == nil {
		l.health.failures.Add(1)
		l.log.Error("the disk failed: this node takes no writes until it works again, and serves reads of what is durable", "error", err)
	}
	l.broken = err
	if l.issued > l.persisted {
		l.persisted = l.issued
		l.core.Failed(now, l.issued, err)
	}
	if l.engine.Resume() {
		l.broken = nil
		l.core.Reopened()
		l.log.Warn("the disk works again: this node takes writes")
	}
}

// damaged keeps account of the records that the disk has lost.
func (l *loop) damaged(d *replica.Damage) {
	switch {
	case d.Hopeless:
		l.health.damaged.Add(1)
		l.log.Error("a record is damaged, and the peers cannot tell what it was (W is 1, or with caspaxos n is 1 or 2): this node refuses the key; replace the node to accept the loss", "key", d.Key)
	case d.Repaired:
		l.health.repaired.Add(1)
		l.log.Warn("a damaged record was repaired from the peers", "key", d.Key, "stamp", d.Stamp.String())
	default:
		l.health.damaged.Add(1)
		l.log.Error("a record is damaged: this node refuses the key until its peers have told what it was", "key", d.Key)
	}
}

// refusal is the answer to a write while the disk takes none. Nothing was
// begun, so it is definite.
func refusal(broken error) *replica.Error {
	e := &replica.Error{Code: replica.CodeStorage, Definite: true, Text: "this node's disk failed, and it takes no writes until it works again: " + broken.Error()}
	if engine.IsFull(broken) {
		e.Code = replica.CodeFull
		e.Text = "this node's disk is full, and it takes no writes until there is space: " + broken.Error()
	}
	return e
}
