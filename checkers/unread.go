package checkers

import (
	"errors"

	"github.com/assay-chaos/assay/harness/history"
)

// A write of unknown outcome may be read at any time later, so a stream has to
// remember each one. If those are too many, the history is read for the writes
// of unknown outcome whose values nobody sees anywhere in it: they forbid
// nothing (see zone.go) and need not be remembered. What that takes is a bit for
// each, and a table of values, which is made for a part of the values at a time.

// bits is a set of small numbers.
type bits []uint64

func (b *bits) add(k int) {
	for len(*b) <= k/64 {
		*b = append(*b, 0)
	}
	(*b)[k/64] |= 1 << (k % 64)
}

func (b bits) has(k int) bool { return k/64 < len(b) && b[k/64]>>(k%64)&1 != 0 }

// gaveUp says that the event is the end of a write of unknown outcome. These
// ends are numbered in their order.
func gaveUp(e *history.Event) (history.Value, bool) {
	if !e.Done || e.Op.Outcome != history.Info {
		return history.Nil, false
	}
	return writes(&e.Op)
}

// unreadWrites gives the numbers of the writes of unknown outcome whose values
// nobody sees.
func (s *streamed) unreadWrites() (bits, error) {
	for parts := uint32(1); ; parts *= 2 {
		var found bits
		var err error
		for part := uint32(0); part < parts && err == nil; part++ {
			err = s.unreadPart(&found, func(v valueOf) bool {
				return spread(v.key^int32(uint64(v.value)*0x9e3779b97f4a7c15>>33))%parts == part
			})
		}
		if !errors.Is(err, errState) {
			return found, err
		}
	}
}

func (s *streamed) unreadPart(found *bits, mine func(valueOf) bool) error {
	const perValue = 64 // bytes
	const read = -1
	unread := make(map[valueOf]int)
	n := 0
	err := s.read(history.Sink{Event: func(e *history.Event) error {
		value, ok := gaveUp(e)
		if !ok {
			return nil
		}
		if v := (valueOf{e.Op.Key, value}); mine(v) {
			if _, twice := unread[v]; twice {
				unread[v] = read // which of them it would be is not known
			} else {
				unread[v] = n
			}
		}
		n++
		if len(unread)*perValue > s.lim.state {
			return errState
		}
		return nil
	}})
	if err != nil {
		return err
	}
	err = s.read(history.Sink{Event: func(e *history.Event) error {
		if value, saw := s.opts.observes(&e.Op); saw {
			delete(unread, valueOf{e.Op.Key, value})
		}
		if e.Op.F == history.CAS { // perhaps it saw what it starts from
			delete(unread, valueOf{e.Op.Key, e.Op.Arg})
		}
		return nil
	}})
	for _, k := range unread {
		if k != read {
			found.add(k)
		}
	}
	return err
}
