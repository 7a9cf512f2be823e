// Package synthetic writes long histories for tests and measurements, without
// holding them in memory. It is no part of a run.
package synthetic

import (
	"container/heap"
	"io"
	"math/rand/v2"
	"strconv"

	"github.com/assay-chaos/assay/harness/history"
)

// Load describes a history of registers: clients that are busy four fifths of
// the time, operations of 1 ms mean, half of them writes of new values. It is
// linearizable, unless Stale says otherwise.
type Load struct {
	Seed     uint64
	Ops      int
	Clients  int
	Keys     int     // operations go to them in turn, OpsPerKey at a time; 0: one
	PerKey   int     // operations on a key before the next one; 0: all
	Info     float64 // part of the operations whose outcome is unknown; half of those writes never take effect
	Stale    int     // the number of an operation from which on one read sees a value overwritten long ago; 0: none
	Shuffled bool    // values are not counted up
}

type event struct {
	at     int64
	kind   uint8 // called, effective, returned
	client int
	// key, value and the operation's id, for an effect that comes after its
	// client gave up.
	key   int32
	value history.Value
	id    int
}

const (
	called uint8 = iota
	effective
	returned
)

type queue []event

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

type client struct {
	op      history.Op
	id      int
	process int32
	info    bool
}

// Write writes the history in the file format of package history.
func (l Load) Write(w io.Writer) error {
	const mean = 1e6
	keys, perKey := max(1, l.Keys), l.PerKey
	if perKey == 0 {
		perKey = l.Ops/keys + 1
	}
	r := rand.New(rand.NewPCG(l.Seed, 11))
	rec := history.NewRecorder(w, history.WriteOnly())
	for k := range keys {
		rec.Key("r" + strconv.Itoa(k))
	}
	state := make([]history.Value, keys)
	first := make([]history.Value, keys) // that was overwritten
	for k := range state {
		state[k], first[k] = history.Nil, history.Nil
	}
	clients := make([]client, l.Clients)
	var q queue
	for c := range clients {
		clients[c].process = int32(c)
		heap.Push(&q, event{at: int64(r.Float64() * mean), client: c})
	}
	next, done, last := history.Value(1), 0, int64(0)
	stale := l.Stale
	for len(q) > 0 {
		e := heap.Pop(&q).(event)
		c := &clients[e.client]
		last = e.at
		switch e.kind {
		case called:
			if done == l.Ops {
				continue
			}
			c.op = history.Op{F: history.Read, Call: e.at, Process: c.process, Key: int32(done / perKey % keys), Node: int16(e.client % 3), Out: history.Nil}
			if r.Float64() < 0.5 {
				c.op.F, c.op.Arg = history.Write, next
				if l.Shuffled {
					c.op.Arg = history.Value(uint64(next) * 0x9e3779b97f4a7c15 >> 1)
				}
				next++
			}
			done++
			c.id = rec.Invoke(c.op)
			c.info = r.Float64() < l.Info
			at := event{at: e.at + 20*mean, kind: returned, client: e.client, id: c.id}
			effect := event{kind: effective, client: e.client, key: c.op.Key, value: c.op.Arg, id: c.id}
			if c.info {
				effect.at = e.at + 1 + int64(r.ExpFloat64()*5*mean)
			} else {
				took := int64(mean * (0.05 + 0.95*r.ExpFloat64()))
				at.at = e.at + took
				effect.at = e.at + int64(r.Float64()*float64(took))
			}
			if !c.info || c.op.F == history.Write && r.IntN(2) == 0 {
				heap.Push(&q, effect)
			}
			heap.Push(&q, at)
		case effective:
			if e.value != 0 {
				if first[e.key] == history.Nil {
					first[e.key] = state[e.key]
				}
				state[e.key] = e.value
				continue
			}
			c.op.Out = state[e.key]
			if stale > 0 && done > stale && first[e.key] != history.Nil {
				c.op.Out, stale = first[e.key], 0
			}
		case returned:
			outcome := history.OK
			if c.info {
				outcome = history.Info
				c.process += int32(l.Clients)
			}
			rec.Complete(e.id, c.op.Out, outcome, e.at, "")
			heap.Push(&q, event{at: e.at + 1 + int64(r.ExpFloat64()*0.25*mean), client: e.client})
		}
	}
	return rec.Close(last)
}
