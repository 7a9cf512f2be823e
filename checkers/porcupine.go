package checkers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/assay-chaos/assay/harness/history"
)

// prepare turns a partition of a history into complete steps: those that say
// nothing are left out, and those of unknown outcome get their end at Never.
func prepare(h *history.History, v view, m *model, opts Options) ([]step, error) {
	steps := make([]step, 0, v.len())
	for i, n := 0, v.len(); i < n; i++ {
		o := v.at(i)
		s, ok, err := m.convert(h, o, opts)
		if err != nil {
			return nil, fmt.Errorf("operation %d of process %d at %s: %w", v.index(i), o.Process, clock(o.Call), err)
		}
		if !ok {
			continue
		}
		s.op, s.call, s.end = v.index(i), o.Call, o.End()
		steps = append(steps, s)
	}
	return steps, nil
}

// tighten makes a register's history easier to search without changing its
// verdict, by what is known of values that have one writer:
//
//   - A writer of unknown outcome whose value nobody saw is left out. Wherever
//     a linearization has it, nothing between it and the next write depends on
//     it. (A failed compare-and-set that says only what the value was not may
//     depend on it: with one of those in the history, nothing is left out.)
//   - A writer of unknown outcome whose value was seen must have taken effect
//     before the first that saw it had ended: that is its end then.
//
// The states are those that the steps can begin in.
//
// Without this an operation of unknown outcome stays open to the end of the
// history and doubles the states of the search.
func tighten(steps []step, states []any) []step {
	type fate struct {
		writers   int
		seen      bool
		firstSeen int64
	}
	fates := make(map[history.Value]*fate)
	of := func(v history.Value) *fate {
		f := fates[v]
		if f == nil {
			f = &fate{firstSeen: history.Never}
			fates[v] = f
		}
		return f
	}
	for _, s := range states {
		if c, ok := s.(cell); ok { // somebody has written it before
			of(c.value).writers++
		}
	}
	blind := false // there is one that says only what the value was not
	for i := range steps {
		switch s := &steps[i]; s.f {
		case history.Write:
			of(s.arg).writers++
		case history.Read:
			f := of(s.out)
			f.seen, f.firstSeen = true, min(f.firstSeen, s.end)
		case history.CAS:
			if s.after == nil {
				blind = true
				continue
			}
			of(s.arg2).writers++
			f := of(s.arg)
			f.seen = true // perhaps
			if s.known {
				f.firstSeen = min(f.firstSeen, s.end)
			}
		}
	}
	kept := steps[:0:0]
	for _, s := range steps {
		if !s.known && s.after != nil {
			v := s.arg
			if s.f == history.CAS {
				v = s.arg2
			}
			f := fates[v]
			if !f.seen && !blind {
				continue
			}
			if f.writers == 1 && f.firstSeen != history.Never {
				// An end before the call cannot be told to the engine. An
				// end at the call is still after the end of that read, so
				// the verdict stays the same.
				s.end = max(f.firstSeen, s.call)
			}
		}
		kept = append(kept, s)
	}
	return kept
}

// search is the budget of one call of Porcupine, and how it is kept.
//
// Porcupine stops at a time limit but knows none for memory, and its cache
// holds a set of n bits for every state it has seen: memory grows with the
// square of n. The heap is not measured but counted: the cache grows exactly
// when a step succeeds and the state it leads to was not found in the cache,
// and Porcupine compares states nowhere else. So the budget runs out at the
// same place in every run and on every machine, whatever else is on the heap.
// When it does, every further step is refused, the search collapses at once,
// and its answer is not taken as one.
type search struct {
	limit, used, entry uint64
	last               uint64 // what the latest step would add to the cache
	exhausted          atomic.Bool
	// end is told of the states at the end, see endStates. If it answers
	// false there are too many.
	end func(state any) bool
}

// Sizes in bytes, measured on Porcupine 1.3.1; a test compares them with the
// heap.
const (
	heapPerStep  = 700 // entries and list nodes, before the search starts
	heapPerState = 150 // of the cache, beside the bits and the state
)

// outcome of a search.
type outcome struct {
	verdict Verdict
	why     string // why Unknown
	// noMemory says that it is Unknown for want of memory.
	noMemory bool
	// What is Broken: these steps, whichever of the states they begin in.
	steps  []step
	states []any
}

// decide asks Porcupine. A zero deadline and a zero limit mean none.
func decide(m *model, steps []step, opts Options, deadline time.Time, limit uint64) outcome {
	return decideFrom(m, steps, []any{m.initial(opts)}, deadline, limit)
}

// decideFrom asks whether the steps can be ordered from one of the states.
func decideFrom(m *model, steps []step, states []any, deadline time.Time, limit uint64) outcome {
	worst := outcome{verdict: Broken, steps: steps, states: states}
	if len(steps) == 0 {
		return outcome{verdict: Held}
	}
	for _, state := range states {
		switch out := newSearch(len(steps), limit).run(m, steps, state, deadline); out.verdict {
		case Held:
			return out
		case Unknown:
			worst = out
		}
	}
	return worst
}

func newSearch(steps int, limit uint64) *search {
	n := uint64(steps)
	return &search{limit: limit, used: n * heapPerStep, entry: n/8 + heapPerState}
}

// run is the search itself, from one state.
func (s *search) run(m *model, steps []step, state any, deadline time.Time) outcome {
	if s.limit > 0 && s.used > s.limit {
		return outcome{noMemory: true, why: fmt.Sprintf("%d operations do not fit the memory budget of %s", len(steps), byteText(s.limit))}
	}
	timeout, ok := remaining(deadline)
	if !ok {
		return outcome{why: "the time budget ran out"}
	}
	switch porcupine.CheckOperationsTimeout(s.guard(m, state), operations(steps), timeout) {
	case porcupine.Ok:
		return outcome{verdict: Held}
	case porcupine.Illegal:
		if !s.exhausted.Load() {
			return outcome{verdict: Broken}
		}
		return outcome{noMemory: true, why: fmt.Sprintf("the search outgrew the memory budget of %s", byteText(s.limit))}
	}
	return outcome{why: "the time budget ran out"}
}

// remaining gives the time left, zero for no deadline; false: none is left.
func remaining(deadline time.Time) (time.Duration, bool) {
	if deadline.IsZero() {
		return 0, true
	}
	left := time.Until(deadline)
	return left, left > 0
}

// guard makes the model that Porcupine steps from a state, with the budget in
// it.
func (s *search) guard(m *model, from any) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return from },
		StepContext: func(_ context.Context, state, input, _ any) (bool, any) {
			if s.exhausted.Load() || s.limit > 0 && s.used > s.limit {
				s.exhausted.Store(true)
				return false, state
			}
			in := input.(*step)
			if in.f == atEnd {
				if !s.end(state) {
					s.exhausted.Store(true)
				}
				return false, state
			}
			ok, next := m.apply(state, in)
			if ok {
				s.last = s.entry + m.size(in, next)
				s.used += s.last
			}
			return ok, next
		},
		Equal: func(a, b any) bool {
			same := m.equal(a, b)
			if same { // it is in the cache already
				s.used -= s.last
				s.last = 0
			}
			return same
		},
		Hash: m.hash,
	}
}

func operations(steps []step) []porcupine.Operation {
	ops := make([]porcupine.Operation, len(steps))
	for i := range steps {
		ops[i] = porcupine.Operation{Input: &steps[i], Call: steps[i].call, Return: steps[i].end}
	}
	return ops
}

func byteText(n uint64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// firstIllegal finds the operation at whose completion steps that cannot be
// ordered, whichever of the states they begin in, first could not be: up to any
// earlier completion an order exists. (What is cut off a linearizable history
// leaves a linearizable one, so this is a binary search.) The second result is
// false where the budget ran out.
func firstIllegal(m *model, steps []step, states []any, deadline time.Time, limit uint64) (step, bool) {
	done := make([]int, 0, len(steps)) // the completed, by end
	for i := range steps {
		// One of unknown outcome may have an end, see tighten, but did not
		// complete.
		if s := &steps[i]; s.end != history.Never && (s.known || s.after == nil) {
			done = append(done, i)
		}
	}
	slices.SortFunc(done, func(a, b int) int {
		return cmp.Or(cmp.Compare(steps[a].end, steps[b].end), cmp.Compare(steps[a].call, steps[b].call), a-b)
	})
	lo, hi := 0, len(done) // prefixes up to lo completions are legal, up to hi not
	for lo+1 < hi {
		mid := (lo + hi) / 2
		switch decideFrom(m, prefix(m, steps, done[:mid], states), states, deadline, limit).verdict {
		case Held:
			lo = mid
		case Broken:
			hi = mid
		default:
			return step{}, false
		}
	}
	if hi == 0 {
		return step{}, false
	}
	return steps[done[hi-1]], true
}

// prefix is the history as it stood when the given steps were all that had
// completed, the last of them just now: the others called by then are of
// unknown outcome.
func prefix(m *model, steps []step, done []int, states []any) []step {
	t := steps[done[len(done)-1]].end
	completed := make([]bool, len(steps))
	for _, i := range done {
		completed[i] = true
	}
	cut := make([]step, 0, len(steps))
	for i := range steps {
		s := steps[i]
		if s.call > t {
			continue
		}
		if !completed[i] && s.end != history.Never {
			if s.f == history.Read || s.after == nil && s.f == history.CAS {
				continue // an observation, not made yet
			}
			s.known, s.end = false, history.Never
			if s.txn != nil {
				s.txn = slices.Clone(s.txn)
				for k := range s.txn {
					s.txn[k].known = false
				}
			}
		}
		cut = append(cut, s)
	}
	if m.register {
		return tighten(cut, states)
	}
	return cut
}
