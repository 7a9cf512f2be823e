package replica

// ReadRepair says what a read does for replicas that answered with less than
// the newest record, beyond [Config.WriteBack].
type ReadRepair uint8

const (
	// ReadRepairOff: nothing.
	ReadRepairOff ReadRepair = iota
	// ReadRepairAsync: the client gets its answer as soon as R replicas have
	// answered. When all have, or the time is over, the newest record is sent
	// to those that answered with an older one. Nobody waits for it, and
	// nobody sends it again.
	ReadRepairAsync
)

// String is how the setting is written.
func (r ReadRepair) String() string {
	if r == ReadRepairAsync {
		return "async"
	}
	return "off"
}

// linger keeps a read that was answered for its read repair, or forgets it.
func (r *Replica) linger(x *request) {
	if x.rules.ReadRepair == ReadRepairOff {
		r.forget(x)
		return
	}
	r.repairRead(x)
}

// repairRead ends an answered read when all replicas have answered or its time
// is over, and sends the newest record to those that have an older one.
func (r *Replica) repairRead(x *request) {
	if x.answered|x.refused != x.voters.all() && x.deadline > r.now.Mono {
		return
	}
	stale := x.answered &^ x.holders
	if x.rules.Sloppy { // it is no business of the fallbacks
		stale &= r.placement.voters(x.message.Key).all()
	}
	m := Message{Type: MsgStore, Boot: r.boot, Round: roundRepair, Key: x.message.Key, Record: x.best}
	r.forget(x)
	if m.Record.IsZero() {
		return
	}
	for stale != 0 {
		r.send(stale.pop(), &m)
	}
}
