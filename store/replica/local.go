package replica

import "errors"

// This file is the replica: what the node does with its own copy of a key. It
// answers a coordinator, which may be itself, and tells nothing that is not
// durable here.

// onQuery answers with the record of a key.
func (r *Replica) onQuery(from NodeID, m *Message) {
	answer := Message{Type: MsgRecord, ID: m.ID, Boot: m.Boot, Round: m.Round, Key: m.Key, TagOnly: m.TagOnly}
	rec, seq, err := r.current(m.Key)
	if err != nil {
		r.refuse(from, &answer)
		return
	}
	if !rec.IsZero() {
		if r.inDoubt(m.Key) {
			seq = r.write(m.Key, rec, rec)
		}
		answer.Found = true
		answer.Record = rec
		if m.TagOnly {
			answer.Record = Record{Stamp: rec.Stamp}
		}
	}
	// The answer is the record as it is now: a newer one that arrives while
	// it waits would need a longer wait.
	r.sendDurable(seq, from, &answer)
}

// onStore takes a record if it is newer than what is held, or what it adds to
// that, and answers when what is held is durable. Storing a record again changes
// nothing.
func (r *Replica) onStore(from NodeID, m *Message) {
	if m.Key == "" || m.Record.IsZero() {
		return
	}
	answer := Message{Type: MsgStored, ID: m.ID, Boot: m.Boot, Round: m.Round, Key: m.Key}
	rec, seq, err := r.current(m.Key)
	if err != nil {
		r.refuse(from, &answer)
		return
	}
	if old := rec; rec.join(&m.Record) {
		r.see(m.Record.Stamp)
		seq = r.write(m.Key, old, rec)
	} else if r.inDoubt(m.Key) {
		seq = r.write(m.Key, rec, rec)
	}
	r.sendDurable(seq, from, &answer)
}

// refuse answers a query or a store with a no. It tells nothing about the
// record and need not wait. The message is the answer that would have been.
func (r *Replica) refuse(to NodeID, answer *Message) {
	r.send(to, &Message{Type: MsgRefuse, ID: answer.ID, Boot: answer.Boot, Round: answer.Round, Key: answer.Key})
}

// current is the newest record of a key, and the ticket of its write while that
// is not durable yet.
func (r *Replica) current(key string) (rec Record, seq uint64, err error) {
	if rec, seq, ok := r.gate.find(key); ok {
		return rec, seq, nil
	}
	if len(r.mends) > 0 && r.mending(key) {
		// Whatever Storage shows now: a repair was begun, and has to end.
		return Record{}, 0, ErrCorrupt
	}
	rec, found, err := r.store.Get(key)
	if errors.Is(err, ErrCorrupt) {
		r.lost(key)
	}
	if err != nil || !found {
		return Record{}, 0, err
	}
	return rec, 0, nil
}

// write hands a record to the driver, in the place of the old one, and gives its
// ticket.
func (r *Replica) write(key string, old, rec Record) uint64 {
	if r.repair != nil && old.Stamp != rec.Stamp {
		r.count(key, old.Stamp, rec.Stamp)
	}
	if len(r.doubtful) > 0 {
		delete(r.doubtful, key)
	}
	if !rec.IsZero() {
		r.strayed(key)
	}
	if rec.Deleted {
		r.entomb(key)
	}
	w := Write{Key: key, Record: rec}
	r.out.Writes = append(r.out.Writes, w)
	return r.gate.push(w)
}

// inDoubt says that the record of a key may be lost at the next start.
func (r *Replica) inDoubt(key string) bool {
	if len(r.doubtful) == 0 {
		return false
	}
	_, ok := r.doubtful[key]
	return ok
}

// sendDurable sends a message when the write of the given ticket is durable,
// at once for ticket 0.
func (r *Replica) sendDurable(seq uint64, to NodeID, m *Message) {
	if seq == 0 {
		r.send(to, m)
		return
	}
	m.Epoch = r.epoch()
	r.gate.wait(seq, to, m)
}
