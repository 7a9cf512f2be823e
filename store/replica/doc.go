// Package replica is the protocol core of the reference store: one node's
// coordinator and replica for get, put and delete with N, R and W, or with
// compare-and-set for CASPaxos.
//
// The core is a deterministic state machine. It does no I/O, starts no
// goroutine, takes no lock and reads no clock; a driver (the real node in
// store/node, the simulator through store/sut) calls it with inputs and
// carries out what it puts into its Output:
//
//	Receive  Request  Tick  Persisted, Failed
//	    │       │      │       │
//	    ▼       ▼      ▼       ▼
//	┌──────────────────────────────┐   Get, Scan
//	│           Replica            │ ───────▶ Storage
//	└──────────────────────────────┘
//	    │       │      │       │
//	    ▼       ▼      ▼       ▼
//	Messages Replies Writes  Deadline
//
// # The driver's contract
//
//  1. Calls never overlap. After each call (or a batch of calls) the driver
//     takes the Output with [Replica.Take].
//  2. Writes are applied to Storage in order, before the next input, so that
//     Storage shows them at once; they become durable later, together. The
//     driver then calls Persisted with the Seq of the Output that held them:
//     everything up to that Seq is durable.
//  3. Messages and Replies may be sent at once: whatever has to wait for
//     durability is held back inside the core. That includes what a read
//     tells: a value is not shown to anyone before it is durable here.
//  4. When Deadline() is not zero, the driver calls Tick at that time or soon
//     after.
//  5. When a write could not be made durable the driver calls Failed. The
//     records stay in Storage, but the core will not speak for them: it
//     refuses those who waited, and writes a record again before it tells
//     anyone about it.
//     A driver that opens its storage again after that, and makes durable
//     what it finds, calls Reopened and goes on.
//  6. At every start the driver makes a boot number durable that is greater
//     than any earlier one of this node, before the first input.
//
// # The protocol
//
// A write gets a [Stamp]. With wall-clock stamps the coordinator takes its
// clock (last writer wins); with logical stamps it first asks R replicas (at
// least a majority overlap is the user's choice of R and W) for the highest
// stamp they know and goes one above. It sends the record to all N replicas of
// the key and succeeds when W have it durably. A read asks all N, takes the record
// with the highest stamp of the first R answers and, with WriteBack, makes
// sure that W replicas have it before it answers. Query-tag writes with
// write-back reads are the multi-writer ABD register (Attiya, Bar-Noy, Dolev,
// JACM 1995; multi-writer form: Lynch and Shvartsman, FTCS 1997).
//
// With CASPaxos (Rystsov, 2018) majorities agree on every change instead, and a
// change may depend on the value that it replaces: compare-and-set. A node is
// proposer and acceptor, and everything else here is the same: the driver's
// contract, the gate, the stories. See caspaxos.go for the protocol, and for why
// a change that is tried again is not made twice. A tombstone is kept for ever.
//
// A key lives on N of the nodes, the first N of its preference list on the ring
// (package store/ring, [Placement]). Every node coordinates every key. One that
// is a replica of the key asks itself too: these messages never leave the core
// but are handled as everyone's are, durability included. One that is not has
// no part in the quorums, but for the sloppy ones below. All nodes must have the
// same rules and, without Gossip, the same Nodes, or they would look for a key at
// different places and their quorums would not overlap; the drivers see to that.
// Keys with a prefix of their own can have rules of their own ([Keyspace]), and
// a request may ask for an R and W of its own.
//
// # Members
//
// With Gossip nodes join and leave while the cluster serves. Who belongs to it is
// a [View]; views follow each other by epochs. The next one is agreed on with
// CASPaxos, in a register whose replicas are all members (reconfigure.go). A
// change begins with a joint view, in which every quorum is one of both the
// replicas before and those to come, and ends when all records have been moved
// (move.go). Messages count in the epoch of their sender only (membership.go), so
// that a new epoch also ends all messages that are on their way.
//
// # Tombstones
//
// A delete is a version like any other, and leaves a tombstone. With Collect
// tombstones are taken out when there is certainly nothing older left (collect.go).
//
// # Sloppy quorums
//
// With Sloppy the next nodes of the preference list stand in for replicas that
// are silent or refuse (hinted handoff; Dynamo, SOSP 2007). A request then
// succeeds while any W (or R) nodes answer, and two quorums need not meet any more,
// whatever R + W is. What a node was given that is no replica of the key is a
// stray: it is handed to all replicas, and taken out when all of them have it.
//
// # Repair
//
// A replica that was down or cut off has missed writes, and a quorum hides that
// without mending it. Three things mend it:
//
//   - A coordinator sends a write until all replicas have it or the request's
//     time is over.
//   - Read repair: a read that met replicas with older records sends them the
//     newest one, before its answer to W of them (WriteBack) or after it to all
//     that answered (ReadRepair). Keys that nobody reads stay as they are.
//   - Anti-entropy: every AntiEntropy a node compares its records with those of
//     one peer, the next one each time, and both get what they lack. Each node
//     keeps a Merkle tree of its keys and stamps in memory for it: 10 MB at most,
//     whatever the number of keys. With N below Nodes it is one for each peer,
//     of the keys that both hold. They are counted anew at every start,
//     and when the storage was opened again, a little at a time while the node
//     serves.
//
// None of them makes a record: they spread what a write has made, tombstones
// included, and the newer stamp wins wherever it comes to. So they can run, or
// fail, at any time without harm to what the quorums promise. What an acceptor
// of CASPaxos has promised they do not know, so [Config.Validate] refuses
// ReadRepair and AntiEntropy there, and a store that comes anyway is ignored.
//
// What a failed request leaves behind: a get changes no value, and a put or
// delete that failed while it asked for stamps has told nobody its value, so
// these errors are definite. Once a record was sent it may surface at any later
// time, so from then on an error leaves the outcome open. With CASPaxos the same
// holds of an accept; a compare-and-set that found another value is definite.
//
// A replica whose record was damaged on the disk says no for that key until it
// has the record from its peers again; damage.go derives from how many, and
// relearn.go what becomes of a lost promise. It never answers with less than it
// acknowledged. Anti-entropy leaves the key alone meanwhile. With Scrub the
// node reads all its records again and again, slowly, to find damage early.
//
// The stories in testdata show the protocol at work: commands to a small
// cluster, and the messages, disk writes and replies that follow.
package replica
