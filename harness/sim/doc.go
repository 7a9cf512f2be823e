// Package sim is the simulated world: a cluster whose network, disks, clocks
// and scheduling are simulated on virtual time, from one seed. A run is a
// function of (test, seed): the same seed gives the same events in the same
// order, and so the same history.
//
// What belongs here is mechanism: what can happen to a cluster, and how it is
// made to happen. Which fault strikes whom and when is policy and lives in
// nemesis. Nothing here may read the real clock, draw from an unseeded source,
// start a goroutine, or let the order of a map reach anything outside.
//
// # Writing a node
//
// A node is a state machine behind the interface [Node]. It does nothing by
// itself: it is called when a message, a request, its timer or its disk has
// something for it, and it acts through its [Host]. This one adds what clients
// send it, and tells the others:
//
//	type counter struct {
//		host sim.Host
//		n    int
//	}
//
//	func (c *counter) Receive(from int, msg any) { c.n += msg.(int) }
//
//	func (c *counter) Request(id uint64, req any) {
//		c.n += req.(int)
//		for to := range c.host.Nodes() {
//			if to != c.host.ID() {
//				c.host.Send(to, req)
//			}
//		}
//		c.host.Reply(id, c.n)
//	}
//
//	func (c *counter) Wake()         {}
//	func (c *counter) Synced(uint64) {}
//
// The package's example runs it and breaks it.
//
// [System].Boot makes a node when the cluster starts, and again after every
// crash; it finds on Host.Disk what the crash has left. A node must not start
// goroutines, read the time or use global random numbers, and must not let the
// order of a map decide what it sends: any of these breaks replay. Its panics
// and its misuse of the Host fail the run with an error that names the node,
// the seed and the virtual time.
//
// # Clients and tasks
//
// Whatever waits (clients, the nemesis, probes) is plain blocking Go code. It
// runs as a task: a coroutine that has control until it calls something that
// waits ([World.Call], [World.Sleep], [World.Start], [World.Probe]), while the
// world goes on. Tasks run one at a time, so they need no locks among
// themselves. A task must not wait for anything real: a channel, a mutex that
// another task holds across a wait, a network.
//
// The contexts that tasks get are on virtual time; so is [World.Timeout]. Those
// that context.WithTimeout makes are on real time: they would make the run
// depend on the speed of the computer.
//
// # What the world does to a node
//
//	         ┌───────────────── World ─────────────────┐
//	clients ─▶ client links: delay                     │
//	         │ network: delay, loss, duplicates, cuts  ─▶ Node
//	nemesis ─▶ process: crash, pause                   │
//	         │ disk: sync latency, loss, torn writes   │
//	         │ clock: offset, drift                    │
//	         └─────────────────────────────────────────┘
//
// A crash ([World.Kill]) takes the process with everything in its memory, its
// timers and its syncs under way, and what was not synced ([Disk] says how
// much of it). A pause holds back everything for the process, which notices
// nothing; time, network and disk go on. A cut drops what is on a link, at its
// sending and at its arrival. Each fault is a lease that ends by itself in
// virtual time.
//
// # Randomness
//
// Every link, disk and node has random numbers of its own, derived from the
// seed. A fault, or one more message somewhere, does not change what is drawn
// elsewhere: two runs that differ in one fault stay comparable, which is what
// makes failures shrink.
package sim
