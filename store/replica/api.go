package replica

import (
	"fmt"
	"time"
)

// Stamps says where the order of versions comes from.
type Stamps uint8

const (
	// WallClock: the coordinator's wall clock; last writer wins.
	WallClock Stamps = iota
	// Logical: one above the highest stamp among R replicas.
	Logical
)

// Protocol says how the replicas of a key come to hold one value.
type Protocol uint8

const (
	// Quorum: reads and writes of R and W replicas, ordered by stamps.
	Quorum Protocol = iota
	// CASPaxos: each change is agreed by a majority, so a change may depend
	// on the value that it replaces. R and W are majorities; Stamps and
	// WriteBack mean nothing. There is no ReadRepair and no AntiEntropy of
	// its keys: both store records by their stamps, whatever was promised.
	CASPaxos
)

// Rules say how keys are replicated.
type Rules struct {
	Protocol Protocol
	N        int // replicas of a key, 1 to the number of nodes; which they are says Placement
	R, W     int // answers a read waits for, durable copies a write waits for
	// Stamps is where versions come from.
	Stamps Stamps
	// WriteBack: a read makes W replicas durable holders of what it is
	// about to answer.
	WriteBack bool
	// ReadRepair is what a read does for stale replicas after its answer.
	ReadRepair ReadRepair
	// Sloppy: other nodes stand in for replicas that do not answer, and hand
	// over later what they were given, see sloppy.go. It needs Nodes above N;
	// otherwise nobody is left to stand in, and quorums are strict. There is
	// none with CASPaxos. Before it is switched off, every node has to be
	// clean, see [HandoffStats]: afterwards nobody looks for strays.
	Sloppy bool
}

// Keyspace is the keys that begin with Prefix, with rules of their own. Where
// the prefixes of several fit a key, the longest counts.
type Keyspace struct {
	Prefix string
	Rules
}

// Config is the replication setting of a cluster; all its nodes must agree.
type Config struct {
	ID    NodeID
	Nodes int // M; nodes are 0 … M-1
	// Rules are those of the keys of no keyspace.
	Rules
	// Keyspaces have rules of their own, in any order.
	Keyspaces []Keyspace
	// AntiEntropy is how often a node compares its records with one of its
	// peers; each peer has its turn. 0: never. Keys under CASPaxos have no
	// part in it.
	AntiEntropy time.Duration
	// Gossip is how often a node tells one of the others who is alive and who
	// belongs to the cluster, see gossip.go. 0: nobody does, and the nodes are
	// 0 … Nodes-1 for good.
	Gossip time.Duration
	// With Gossip, Nodes are the first members, and nodes come and go by
	// requests. Addrs are for drivers: where the first members are reached,
	// by number. Join says that this node is not among them: it waits until it
	// is added, with an empty Storage, and needs no Nodes.
	Addrs []string
	Join  bool
	// Collect is the time from one round of collecting tombstones to the next,
	// see collect.go. 0: they are kept. It needs Gossip, and all members alive;
	// a replica keeps the tombstones of CASPaxos, and of keys that are both
	// Sloppy and WriteBack.
	Collect time.Duration
	// Scrub is how many of its records a node reads in a second to find damaged
	// ones, see scrub.go. 0: none; then damage is found when a record is used.
	// Nodes may differ in it.
	Scrub int
	// Timeout is how long the coordinator works on a request before it
	// answers with an error. Retry is how long it waits for an answer before
	// it sends a message again.
	Timeout, Retry time.Duration
}

// Stamp orders the versions of a key. No two writes ever get the same: Boot is
// durable and unique for a node's incarnation, Seq counts within it.
//
// A stamp that has been sent anywhere belongs to its value for ever, even if
// the write failed: a copy may still surface. This is why Boot has to be
// durable before the first input. A node that came back with an old Boot would
// hand out the same stamps for other values, and replicas that compare stamps
// alone would never agree on them.
type Stamp struct {
	_       struct{} `cbor:",toarray"`
	Counter int64    // nanoseconds of Unix time, or the logical counter
	Node    NodeID
	Boot    uint64
	Seq     uint64
}

// Record is one version of a key. A tombstone is a version.
type Record struct {
	Stamp   Stamp  `cbor:"1,keyasint"`
	Deleted bool   `cbor:"2,keyasint,omitempty"`
	Value   []byte `cbor:"3,keyasint,omitempty"` // immutable
	// Ballots is the acceptor's state, immutable; nil outside CASPaxos. A
	// record of it can be without a stamp: something was promised or agreed
	// on, and the key was never written.
	Ballots *Ballots `cbor:"4,keyasint,omitempty"`
}

// Ballots is what a CASPaxos acceptor keeps with the version of a key. There
// a version's stamp is the ballot under which its value came to be; it stays
// when the value is proposed again under a later ballot.
type Ballots struct {
	_        struct{} `cbor:",toarray"`
	Promise  Stamp    // nothing below it is accepted any more
	Accepted Stamp    // the ballot under which the version was accepted
	Before   []Stamp  // the versions that this one replaced, the latest first; at most lineage
}

// IsZero says whether r is the record of a key of which nothing is known. Such a
// record is left out of messages.
func (r Record) IsZero() bool { return r.Stamp == Stamp{} && r.Ballots == nil }

// Absent says whether r shows no value: never written, or deleted.
func (r Record) Absent() bool { return r.Stamp == Stamp{} || r.Deleted }

// newer says whether r replaces another record of its key. Anything replaces
// nothing, even what a clock before 1970 has stamped.
func (r Record) newer(other Record) bool {
	return r.Stamp != Stamp{} && (other.Stamp == Stamp{} || other.Stamp.Less(r.Stamp))
}

// Storage is the replica's local state. It shows every Write handed out so far,
// durable or not; of writes that failed (see Failed) it may show either the
// record or what was there before. An error of Get that is [ErrCorrupt] says
// that the record is lost, any other that it cannot be read now.
type Storage interface {
	Get(key string) (Record, bool, error)
	// Scan calls f for every key whose KeyHash is at least from, in order of
	// the hash and then of the key, until f returns false. For a record that
	// is damaged, the stamp is zero and err says why. Where not even the key
	// can be read it goes on behind, and its own error is [ErrGap].
	Scan(from uint64, f func(key string, s Stamp, err error) bool) error
}

// Now is the time at an input.
type Now struct {
	Mono time.Duration // never goes back; for timeouts
	Wall int64         // Unix nanoseconds; for wall-clock stamps only
}

// Op is what a client asks for.
type Op uint8

const (
	Get Op = iota + 1
	Put
	Delete
	CAS         // CASPaxos only: put, if the key is as expected
	Reconfigure // change who belongs to the cluster, see Change; there is no key
)

// Request is a client's request; ID is the driver's, and unique in its boot.
type Request struct {
	ID    uint64
	Op    Op
	Key   string
	Value []byte // immutable
	// R and W replace the configured ones for this request; 0 leaves them. A
	// write asks R replicas for stamps if these are logical, a read that
	// writes back makes sure of W. What a setting promises of a key holds if
	// all its requests keep to it: above all, that the smallest R and the
	// smallest W overlap.
	R, W int
	// CAS: the value that the key must have (immutable), or that it must be
	// absent.
	Expect       []byte
	ExpectAbsent bool
	// Reconfigure: what is to change. It is done when the change is agreed on
	// and certain to come; Members tells how far it is.
	Change *Change
}

// Reply answers the request with the same ID, exactly once.
type Reply struct {
	ID      uint64
	Err     *Error // nil: done
	Found   bool   // get, and CAS with CodeMismatch: the key is present
	Value   []byte // of the same
	Stamp   Stamp  // get, and CAS with CodeMismatch: of the version read (zero: never written); otherwise: of the version written
	Reached int    // how many replicas had answered in the deciding round
}

// Error is why a request was not carried out. Definite: it certainly has not
// changed anything and never will.
type Error struct {
	Code     Code
	Definite bool
	Text     string
}

// Code classes errors for clients.
type Code uint8

const (
	CodeUnavailable Code = iota + 1 // too few replicas answered in time
	CodeStorage                     // the local disk failed
	CodeInvalid                     // the request cannot be carried out
	CodeFull                        // the local disk has no space; for drivers
	CodeMismatch                    // CAS: the key was not as expected; the reply tells how it was
)

func (e *Error) Error() string { return e.Text }

// Write is a record to be stored under a key, replacing what is there. The zero
// record takes the key out: nothing is known of it any more.
type Write struct {
	Key    string
	Record Record
}

// Envelope is a message for another node (never for the sender).
type Envelope struct {
	To      NodeID
	Message Message
}

// Output is what the driver has to carry out. The slices are valid until the
// next call of Take.
type Output struct {
	Writes   []Write
	Seq      uint64 // ticket of the last of Writes, see Persisted; they are numbered without gaps
	Messages []Envelope
	Replies  []Reply
	Damage   []Damage // for the log
	View     *View    // came into force at this node; immutable
}

// MessageType tells what a Message asks or answers.
type MessageType uint8

const (
	MsgQuery  MessageType = iota + 1 // send me your record of Key (TagOnly: its stamp alone)
	MsgRecord                        // answer to MsgQuery
	MsgStore                         // store Record under Key if it is newer
	MsgStored                        // answer to MsgStore: what I hold is at least that new, durably
	MsgRefuse                        // answer to any question: I cannot (disk; or my tree is not counted yet)

	// Anti-entropy, see repair.go.
	MsgTree // send me the sums of the parts of a range, or with To its keys
	MsgSums // answer: the sums; none if the sum of the whole is the asker's
	MsgKeys // answer: the keys and stamps that I hold, durably

	// Damaged records, see damage.go.
	MsgVoid   // I have lost my record of Key: count nothing that I acknowledged for it
	MsgVoided // answer to MsgVoid: I do not, from now on

	// CASPaxos; the ballots are in Record.Ballots.
	MsgPrepare  // promise to accept nothing below Promise, and send me your record of Key
	MsgPromise  // answer to MsgPrepare: promised, durably; Record is what I accepted last
	MsgAccept   // replace your record of Key by Record, under the ballot Accepted, and promise Promise
	MsgAccepted // answer to MsgAccept: done, durably
	MsgConflict // answer to either: no, I have given Promise

	// Membership.
	MsgGossip // who is alive, see gossip.go
	MsgView   // the view in force at the sender

	MsgForget // take out the tombstone of Key with this stamp, see collect.go

	msgEnd // of the types that there are
)

// Known says that there is such a type.
func (t MessageType) Known() bool { return t >= MsgQuery && t < msgEnd }

// Message travels between the coordinator and the replicas. It is a value;
// byte slices in it are immutable. CBOR field numbers are part of the wire
// format.
type Message struct {
	// The small ones lie together: messages are copied all the time.
	Type    MessageType `cbor:"1,keyasint"`
	Round   uint8       `cbor:"4,keyasint,omitempty"` // which round of the request, echoed
	TagOnly bool        `cbor:"6,keyasint,omitempty"`
	Found   bool        `cbor:"7,keyasint,omitempty"`
	ID      uint64      `cbor:"2,keyasint"` // the coordinator's, echoed in answers: unique within (node, Boot)
	Boot    uint64      `cbor:"3,keyasint"` // the coordinator's boot, echoed: answers to an earlier incarnation are ignored
	Key     string      `cbor:"5,keyasint,omitempty"`
	Record  Record      `cbor:"8,keyasint,omitzero"`
	Tree    *Tree       `cbor:"9,keyasint,omitempty"` // immutable
	// Epoch is that of the view in force at the sender; an answer's is that in
	// which it was given. A message is handled in its own epoch only.
	Epoch uint64 `cbor:"10,keyasint,omitempty"`
	View  *View  `cbor:"11,keyasint,omitempty"` // MsgView; immutable
	Rows  *Rows  `cbor:"12,keyasint,omitempty"` // MsgGossip; immutable
}

// Tree is what anti-entropy messages say of a range of key hashes, see tree.go.
type Tree struct {
	Depth uint8     `cbor:"1,keyasint,omitempty"` // MsgTree: of the range in the tree
	From  uint64    `cbor:"2,keyasint,omitempty"` // MsgTree: its first hash
	To    uint64    `cbor:"3,keyasint,omitempty"` // MsgTree, for keys: the last hash; MsgKeys: up to where Keys goes
	Sums  []uint64  `cbor:"4,keyasint,omitempty"` // MsgSums; MsgTree: the asker's own, of the whole
	Keys  []Version `cbor:"5,keyasint,omitempty"` // MsgKeys
}

// Version is which version of a key a replica holds.
type Version struct {
	Key   string `cbor:"1,keyasint"`
	Stamp Stamp  `cbor:"2,keyasint"`
}

// String gives the stamp as counter.node.boot.seq.
func (s Stamp) String() string {
	return fmt.Sprintf("%d.%d.%d.%d", s.Counter, s.Node, s.Boot, s.Seq)
}

// Less says whether s is the older version.
func (s Stamp) Less(t Stamp) bool {
	switch {
	case s.Counter != t.Counter:
		return s.Counter < t.Counter
	case s.Node != t.Node:
		return s.Node < t.Node
	case s.Boot != t.Boot:
		return s.Boot < t.Boot
	}
	return s.Seq < t.Seq
}
