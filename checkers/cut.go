package checkers

import (
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// A search over a long history is cut at its quiescent points: the instants at
// which every operation called before has ended. Whatever the order of the
// operations, those before such a point come before those behind it, so the
// pieces can be searched one after another, and all that has to be carried on
// is the set of the states in which the operations so far can end. The history
// is linearizable iff that set does not become empty.
//
// An operation of unknown outcome has no end, so there is no quiescent point
// behind it (unless tighten could give it an end). What the cut saves is the
// square: a search's memory grows with the square of its operations.
//
// To find all states in which a piece can end is more than to find one order.
// If it takes too much, or there are too many states, the rest of the history is
// searched uncut, from the states known by then.

const (
	// maxStates bounds how many states are carried over a point.
	maxStates = 64
	// pieceMemory bounds one search for all end states.
	pieceMemory = 256 << 20
)

// pieces cuts steps, which are in the order of their calls.
func pieces(steps []step) [][]step {
	var all [][]step
	from, end := 0, int64(beginning)
	for i := range steps {
		if i > from && end < steps[i].call {
			all = append(all, steps[from:i:i])
			from = i
		}
		end = max(end, steps[i].end)
	}
	return append(all, steps[from:])
}

// searchPieces asks Porcupine, piece by piece. A zero deadline and a zero limit
// mean none.
func searchPieces(m *model, steps []step, opts Options, deadline time.Time, limit uint64) outcome {
	states := []any{m.initial(opts)}
	all := pieces(steps)
	done := 0
	for _, piece := range all[:len(all)-1] {
		ends, ok := endStates(m, piece, states, deadline, limit)
		if !ok {
			break
		}
		if len(ends) == 0 {
			return outcome{verdict: Broken, steps: piece, states: states}
		}
		states = ends
		done += len(piece)
	}
	out := decideFrom(m, steps[done:], states, deadline, limit)
	if out.verdict == Unknown && done > 0 {
		out.why += fmt.Sprintf("; the first %s, up to %s, can be ordered", plural(done, "operation"), clock(steps[done].call))
	}
	return out
}

// atEnd is the function of a step behind all others that is no operation.
const atEnd history.F = 0

// endStates gives every state in which steps can end that begin in one of the
// given states. It is false where that was too much.
func endStates(m *model, steps []step, states []any, deadline time.Time, limit uint64) (ends []any, ok bool) {
	if limit == 0 || limit > pieceMemory {
		limit = pieceMemory
	}
	if !deadline.IsZero() { // half of what is left is for the case that it is too much
		deadline = time.Now().Add(time.Until(deadline) / 2)
	}
	add := func(state any) bool {
		for _, e := range ends {
			if m.equal(e, state) {
				return true
			}
		}
		ends = append(ends, state)
		return len(ends) <= maxStates
	}
	var all []step
	for _, state := range states {
		if len(steps) == 1 {
			if ok, next := m.apply(state, &steps[0]); ok && !add(next) {
				return nil, false
			}
			continue
		}
		if all == nil {
			all = append(append(all, steps...), step{f: atEnd, call: history.Never, end: history.Never})
		}
		// The step at the end refuses every state. So Porcupine goes through
		// all orders, and the step sees where each of them ends.
		s := newSearch(len(all), limit)
		s.end = add
		if out := s.run(m, all, state, deadline); out.verdict != Broken {
			return nil, false
		}
	}
	return ends, true
}
