package replica

// This file is the acceptor of CASPaxos: what the node does with its own copy
// of a key there. A promise and what was accepted are one record, so one write
// makes both durable, and neither is told to anyone before that. A promise
// writes the whole record again, value included.

// onProposal takes what a proposer asks for.
func (r *Replica) onProposal(from NodeID, m *Message) {
	if m.Type == MsgPrepare {
		r.onPrepare(from, m)
		return
	}
	r.onAccept(from, m)
}

// onPrepare promises to accept nothing below a ballot, and tells what was
// accepted last. Asking again for the promise that stands changes nothing.
func (r *Replica) onPrepare(from NodeID, m *Message) {
	ballot := m.Record.ballots().Promise
	if m.Key == "" || ballot == (Stamp{}) {
		return
	}
	answer := Message{Type: MsgPromise, ID: m.ID, Boot: m.Boot, Round: m.Round, Key: m.Key}
	rec, seq, err := r.current(m.Key)
	if err != nil {
		r.refuse(from, &answer)
		return
	}
	r.see(ballot)
	held := rec.ballots()
	switch {
	case ballot.Less(held.Promise):
		r.conflict(from, &answer, held.Promise)
		return
	case ballot != held.Promise:
		held.Promise = ballot
		old := rec
		rec.Ballots = &held
		seq = r.write(m.Key, old, rec)
	case r.inDoubt(m.Key):
		seq = r.write(m.Key, rec, rec)
	}
	answer.Record = rec
	r.sendDurable(seq, from, &answer)
}

// onAccept takes a record under a ballot, unless a higher one was promised.
// With it goes the promise that the record carries: the proposer's next ballot,
// for which it need not prepare. Accepting again changes nothing.
func (r *Replica) onAccept(from NodeID, m *Message) {
	asked := m.Record.ballots()
	if m.Key == "" || asked.Accepted == (Stamp{}) || asked.Promise.Less(asked.Accepted) {
		return
	}
	answer := Message{Type: MsgAccepted, ID: m.ID, Boot: m.Boot, Round: m.Round, Key: m.Key}
	rec, seq, err := r.current(m.Key)
	if err != nil {
		r.refuse(from, &answer)
		return
	}
	r.see(asked.Promise)
	held := rec.ballots()
	switch {
	case asked.Accepted == held.Accepted:
		// By an earlier copy of the message. The promise that came with it
		// is above the ballot by now, so it has to be asked for first.
		if r.inDoubt(m.Key) {
			seq = r.write(m.Key, rec, rec)
		}
	case asked.Accepted.Less(held.Promise):
		r.conflict(from, &answer, held.Promise)
		return
	default:
		seq = r.write(m.Key, rec, m.Record)
	}
	r.sendDurable(seq, from, &answer)
}

// conflict answers that a higher ballot was promised. It is a hint for the
// proposer and promises nothing itself, so it need not wait to be durable. The
// message is the answer that would have been.
func (r *Replica) conflict(to NodeID, answer *Message, promise Stamp) {
	answer.Type = MsgConflict
	answer.Record = Record{Ballots: &Ballots{Promise: promise}}
	r.send(to, answer)
}

// ballots gives the acceptor's state, zero where there is none: nothing was
// promised, and the record, if there is one, was written by the quorum protocol
// before the cluster changed to CASPaxos.
func (r Record) ballots() Ballots {
	if r.Ballots == nil {
		return Ballots{}
	}
	return *r.Ballots
}

// supersedes says whether r was accepted later than another record of its key.
// Records of the quorum protocol come before all ballots, in their own order.
func (r Record) supersedes(other Record) bool {
	a, b := r.ballots().Accepted, other.ballots().Accepted
	if a != b {
		return b.Less(a)
	}
	return r.newer(other)
}

// agrees says that two replicas have accepted the same.
func (r Record) agrees(other Record) bool {
	return r.ballots().Accepted == other.ballots().Accepted && r.Stamp == other.Stamp
}
