package sim

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The queue gives what was pushed and not cancelled, by time and then by order
// of pushing, whatever the interleaving.
func TestQueueAgainstSort(t *testing.T) {
	type planned struct {
		at int64
		id uint64
	}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		var q queue
		var model []planned
		timers := map[uint64]timer{}
		now, id := int64(0), uint64(0)
		for range 2000 {
			switch r.IntN(5) {
			case 0, 1:
				id++
				at := now + r.Int64N(50)
				it, tm := q.push(at, kindMessage)
				it.id = id
				timers[id] = tm
				model = append(model, planned{at, id})
			case 2, 3:
				victim := r.Uint64N(id + 1)
				q.cancel(timers[victim])
				model = slices.DeleteFunc(model, func(p planned) bool { return p.id == victim })
			case 4:
				at, ok := q.peek()
				require.Equal(t, len(model) > 0, ok)
				if !ok {
					continue
				}
				first := 0
				for i, p := range model {
					if p.at < model[first].at {
						first = i
					}
				}
				require.Equal(t, model[first].at, at)
				slot := q.pop()
				require.Equal(t, model[first].id, q.slots[slot].id)
				q.release(slot)
				model = slices.Delete(model, first, first+1)
				now = at
			}
			require.Equal(t, len(model), len(q.heap)-q.cancelled)
		}
	}
}

// Timers that are always put off must not pile up.
func TestQueueForgetsCancelled(t *testing.T) {
	var q queue
	for range 100_000 {
		_, tm := q.push(1000, kindTimer)
		q.cancel(tm)
		q.cancel(tm)
	}
	require.Less(t, len(q.slots), 200)
	_, ok := q.peek()
	require.False(t, ok)
	q.cancel(timer{})
	require.Empty(t, q.heap)
}
