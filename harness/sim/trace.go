package sim

import (
	"context"
	"fmt"
	"time"
)

// EventKind says what an [Event] is.
type EventKind uint8

// The kinds of events.
const (
	EventSend    EventKind = iota + 1 // Node sends Msg to Peer
	EventDeliver                      // Node receives Msg from Peer
	EventDrop                         // Msg, sent to Node by Peer, is gone; Note says why
	EventRequest                      // a client's request Msg arrives at Node
	EventReply                        // Node answers the request with Msg
	EventAnswer                       // the client has the answer Msg from Node; Note: or an error instead
	EventWake                         // Node.Wake
	EventSynced                       // Node.Synced; ID is the token
	EventBoot                         // Node's process starts; ID is its incarnation
	EventCrash                        // Node's process is gone; ID is its incarnation
	EventPause                        // Node's process stops running
	EventResume                       // Node's process runs on
	EventClock                        // Node's wall clock changes; Note says how
	EventCut                          // links are cut; Note is the id and the links
	EventRestore                      // links are restored; Note is the id
	EventDisk                         // Node's disk changes; Note says how
	EventSpoil                        // a record on Node's disk is spoiled; Note says where
)

var eventNames = [...]string{
	EventSend: "send", EventDeliver: "deliver", EventDrop: "drop", EventRequest: "request", EventReply: "reply",
	EventAnswer: "answer", EventWake: "wake", EventSynced: "synced", EventBoot: "boot", EventCrash: "crash",
	EventPause: "pause", EventResume: "resume", EventClock: "clock", EventCut: "cut", EventRestore: "restore",
	EventDisk: "disk", EventSpoil: "spoil",
}

func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return fmt.Sprintf("event%d", uint8(k))
}

// Event is something that happened: what a space-time diagram is drawn from.
type Event struct {
	At   int64 // virtual time in nanoseconds
	Kind EventKind
	Node int // where it happened; -1: in the network
	Peer int // the other node of a message; -1: none
	// ID numbers messages, and client calls of their own: it is the same
	// where one was sent and wherever it, or its answer, arrives.
	ID   uint64
	Msg  any // must not be changed
	Note string
}

// String gives the event as a line, such as
//
//	0.001234567 n2 deliver from n0 #17 {…}
func (e Event) String() string {
	s := string(stamp(nil, e.At))
	if e.Node >= 0 {
		s += fmt.Sprintf(" n%d", e.Node)
	}
	s += " " + e.Kind.String()
	switch e.Kind {
	case EventSend:
		s += fmt.Sprintf(" to n%d", e.Peer)
	case EventDeliver, EventDrop:
		s += fmt.Sprintf(" from n%d", e.Peer)
	}
	switch e.Kind {
	case EventSend, EventDeliver, EventDrop:
		s += fmt.Sprintf(" #%d", e.ID)
	case EventRequest, EventReply, EventAnswer:
		s += fmt.Sprintf(" call %d", e.ID)
	case EventSynced, EventBoot, EventCrash:
		s += fmt.Sprintf(" %d", e.ID)
	}
	if e.Msg != nil {
		s += fmt.Sprintf(" %v", e.Msg)
	}
	if e.Note != "" {
		s += " (" + e.Note + ")"
	}
	return s
}

// stamp appends virtual time in seconds.
func stamp(b []byte, at int64) []byte {
	return fmt.Appendf(b, "%d.%09d", at/int64(time.Second), at%int64(time.Second))
}

// trace tells the listener, if there is one. Callers on the message path ask
// first whether there is, so as not to build the event.
func (w *World) trace(e Event) {
	if w.cfg.Trace != nil {
		e.At = w.now
		w.cfg.Trace(e)
	}
}

// Observe implements [harness.Observed]: f sees the world as it is, and no event is
// handled meanwhile.
func (w *World) Observe(ctx context.Context, f func(ctx context.Context) error) error { return f(ctx) }

// Stats counts what happened in a world.
type Stats struct {
	Now    time.Duration // virtual time
	Events uint64        // of all kinds
	// Messages between nodes. Each of Sent and Duplicated ends up in one of
	// Delivered, Cut, Lost and Down, or is still under way.
	Sent       uint64
	Duplicated uint64
	Delivered  uint64
	Cut        uint64 // dropped on a cut link
	Lost       uint64 // dropped by the network
	Down       uint64 // the process that it was for was down
	Calls      uint64 // requests of clients
}

// Stats gives the counts so far.
func (w *World) Stats() Stats {
	s := w.stats
	s.Now = time.Duration(w.now)
	return s
}
