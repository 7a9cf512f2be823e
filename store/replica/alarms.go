package replica

import (
	"container/heap"
	"time"
)

// alarms is the proposals by the time of the next thing to do: a binary heap.
// Unlike those of the coordinator their waits differ, so a queue will not do.
type alarms []*proposal

// alarm sets the time of the next thing to do for a proposal, at the latest its
// deadline.
func (r *Replica) alarm(x *proposal, at time.Duration) {
	x.at = min(at, x.deadline)
	heap.Fix(&r.proposer.alarms, x.place)
}

// first is the earliest time, 0 if there is none.
func (a alarms) first() time.Duration {
	if len(a) == 0 {
		return 0
	}
	return a[0].at
}

func (a *alarms) add(x *proposal) { heap.Push(a, x) }

func (a *alarms) remove(x *proposal) { heap.Remove(a, x.place) }

// Len, Less, Swap, Push and Pop implement [heap.Interface].
func (a alarms) Len() int { return len(a) }

func (a alarms) Less(i, j int) bool {
	if a[i].at != a[j].at {
		return a[i].at < a[j].at
	}
	return a[i].request.ID < a[j].request.ID
}

func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

func (a *alarms) Push(v any) {
	x := v.(*proposal)
	x.place = len(*a)
	*a = append(*a, x)
}

func (a *alarms) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	x.place = -1
	return x
}

// ballots is the ballots that a majority has promised to this node ahead of
// time, by key. It remembers the keys of the last maxHeld changes at least, and
// twice as many at most; a key that it forgets costs a prepare. It is never
// iterated over.
type ballots struct{ young, old map[string]Stamp }

const maxHeld = 1 << 15

func newBallots() ballots { return ballots{young: make(map[string]Stamp)} }

func (b *ballots) put(key string, s Stamp) {
	if len(b.young) >= maxHeld {
		b.young, b.old = make(map[string]Stamp), b.young
	}
	b.young[key] = s
}

// take gives the ballot of a key, once.
func (b *ballots) take(key string) (Stamp, bool) {
	s, ok := b.young[key]
	if ok {
		delete(b.young, key)
		delete(b.old, key)
		return s, true
	}
	s, ok = b.old[key]
	delete(b.old, key)
	return s, ok
}
