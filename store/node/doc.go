// Package node runs the protocol core of store/replica as a real process: a
// network, a disk, a clock and clients.
//
//	clients ──HTTP or stream──▶ handlers ──▶┌──────┐──▶ outboxes ──gRPC──▶ other nodes
//	other nodes ──gRPC──▶ peer streams ────▶│ loop │
//	clock, timer ──────────────────────────▶│ core │──▶ engine ──fsync──▶ disk
//	engine: durable up to … ───────────────▶└──────┘
//
// One goroutine, the loop, owns the core. Everything else hands it inputs
// through channels and takes outputs from it. The loop never waits for a peer
// or a client: a queue to a peer that does not take its messages drops the
// oldest, since the core sends again what still matters. So streams may block
// on the loop, and the loop blocks on nothing but local memory and the disk.
//
// A client's stream (package httpapi) carries the requests of the HTTP interface
// to the same handlers, so that there is one meaning of each.
//
// A disk that fails or is full does not end the process. Clients' writes are
// refused at once and definitely (507 when it is full, 500 otherwise), peers'
// with MsgRefuse, and reads are served from what is durable. When the disk works
// again the node goes on as the same incarnation. A record that is damaged on
// the disk is the core's to repair; here it is logged and counted, see
// httpapi.Health.
//
// Around it, each in a file of its own: config.go and file.go say how a node is
// set up; limits.go bounds what others can make it hold and for how long; tls.go
// says who may talk to it, with the certificates of store/trust; metrics.go
// tells Prometheus how it does. What comes from outside and cannot be understood
// ends its connection with a line in the log.
//
// Decisions about replication belong into the core, not here. Nothing here
// knows of being tested.
package node
