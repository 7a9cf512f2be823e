package node

import (
	"log/slog"
	"math"
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
	core   *replica.Replica
	engine *engine.Engine
	log    *slog.Logger
	out    []*outbox // by node; nil for this one
	start  time.Time // of the monotonic clock

	calls chan call
	peers chan inbound
	stop  chan struct{} // closed to end the loop
	done  chan struct{} // closed when it has ended

	waiting   map[uint64]chan<- replica.Reply
	lastID    uint64
	issued    uint64        // the highest ticket the core gave out
	persisted uint64        // the highest the core was told of, durable or failed
	broken    bool          // the engine's failure has been logged
	armed     time.Duration // when the timer fires, on the monotonic clock
}

// never is an armed time for a timer that does not run.
const never = time.Duration(math.MaxInt64)

func newLoop(core *replica.Replica, e *engine.Engine, out []*outbox, log *slog.Logger) *loop {
	return &loop{
		core:    core,
		engine:  e,
		log:     log,
		out:     out,
		start:   time.Now(),
		calls:   make(chan call, maxInputs),
		peers:   make(chan inbound, 16),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		waiting: make(map[uint64]chan<- replica.Reply),
		armed:   never,
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
			l.out[e.To].stage(e.Message)
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

// progress tells the core how far its writes are durable, and carries out what
// that lets go.
func (l *loop) progress(now replica.Now) {
	l.tell(now)
	l.carryOut(now)
}

func (l *loop) tell(now replica.Now) {
	durable, err := l.engine.Progress()
	if durable > l.persisted {
		l.persisted = durable
		l.core.Persisted(now, durable)
	}
	if err == nil {
		return
	}
	if !l.broken {
		l.broken = true
		l.log.Error("the disk failed: this node stores nothing more; restart it on a disk that works", "error", err)
	}
	if l.issued > l.persisted {
		l.persisted = l.issued
		l.core.Failed(now, l.issued, err)
	}
}
