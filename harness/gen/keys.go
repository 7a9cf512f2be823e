package gen

import "slices"

// Keys spreads the load over the independent keys 0 … n-1. Each key has a
// generator of its own, made by each (which must be pure), and that many keys
// as atOnce says are in use at a time, chosen at random for each operation.
// When a key's generator is done the next key takes its place. Keys sets the
// Key of the operations; each need not.
//
// Short-lived keys keep the history of each short, and so easy to check.
func Keys(n, atOnce int, each func(key int32) Generator) Generator {
	k := &keys{each: each, n: int32(n)}
	for range min(n, atOnce) {
		k.slots = append(k.slots, keySlot{k.next, each(k.next)})
		k.next++
	}
	return k
}

type keys struct {
	each  func(key int32) Generator
	n     int32 // keys in all
	next  int32 // the next key to be used
	slots []keySlot
}

// keySlot is a key in use. Its generator is nil when no key is left.
type keySlot struct {
	key int32
	g   Generator
}

func (k *keys) Next(c Context) (Op, State, Generator) {
	r := c.Rand(streamKeys)
	part := c.Fork(streamKeys)
	start, now := r.IntN(len(k.slots)), k
	n := len(k.slots)
	i, op, st, g := soonest(c.Time, start, n, func(i int) (Op, State, Generator) {
		for {
			s := now.slots[i]
			if s.g == nil {
				return Op{}, Done, nil
			}
			op, st, g := s.g.Next(part)
			if st != Done {
				op.Key = s.key
				return op, st, g
			}
			now = now.advance(i)
		}
	})
	if st != Ready {
		return Op{}, st, k
	}
	return op, Ready, now.with(i, keySlot{op.Key, g})
}

func (k *keys) Update(c Context, d Completion) Generator {
	for i, s := range k.slots {
		if s.key == d.Key && s.g != nil {
			return k.with(i, keySlot{s.key, s.g.Update(c, d)})
		}
	}
	return k // of a key that is over
}

// advance puts the next key into a slot.
func (k *keys) advance(i int) *keys {
	if k.next >= k.n {
		return k.with(i, keySlot{k.slots[i].key, nil})
	}
	c := k.with(i, keySlot{k.next, k.each(k.next)})
	c.next++
	return c
}

func (k *keys) with(i int, s keySlot) *keys {
	if s.key == k.slots[i].key && same(s.g, k.slots[i].g) {
		return k
	}
	slots := slices.Clone(k.slots)
	slots[i] = s
	return &keys{k.each, k.n, k.next, slots}
}
