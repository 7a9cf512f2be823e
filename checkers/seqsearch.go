package checkers

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// The search for an order of one key that suits all sessions, for registers whose
// values were written more than once, or deleted: then it is not known which write
// a read saw, and to decide is NP-complete (Gibbons and Korach 1997; Cantin, Lipasti
// and Smith, "The complexity of verifying memory coherence and consistency", 2005).
// It goes depth first through what each session may do next, knows states in which
// it failed before, and gives up after so many of them, or when the time is over.
//
// A read that fits the current value is taken at once: it changes nothing, so
// taking it later could not help. So it branches on writes alone, in the order of
// their calls.
const mostSeqStates = 50_000

// seqStep is an operation that must be placed.
type seqStep struct {
	op   *history.Op
	at   int32 // in the view
	need int   // of those of unknown outcome: how many of its session's come before
	own  int32 // the session
}

type seqSearch struct {
	opts     Options
	sessions [][]seqStep
	free     []seqStep // writes of unknown outcome: any time later, or never
	dead     map[string]bool
	deadline time.Time
	next     []int // by session
	used     uint64
	stop     string // why it gave up
	key      []byte
	deepest  int
	stuck    []int32 // the reads that no value fitted when it had come furthest
}

// searchSequential decides one key by search.
func searchSequential(h *history.History, r *register, opts Options, deadline time.Time) ruling {
	s := &seqSearch{opts: opts, deadline: deadline, sessions: make([][]seqStep, r.sessions), dead: make(map[string]bool)}
	seen := make(map[history.Value]bool)
	for i, n := 0, r.len(); i < n; i++ {
		o := r.at(i)
		if saw, ok := opts.observes(o); ok {
			seen[saw] = true
		}
		if o.F == history.CAS {
			seen[o.Arg] = true
		}
	}
	for i, n := 0, r.len(); i < n; i++ {
		o := r.at(i)
		step := seqStep{op: o, at: int32(i), own: r.session[i], need: len(s.sessions[r.session[i]])}
		value, wrote := writes(o)
		_, saw := opts.observes(o)
		blind := o.F == history.CAS && o.Outcome == history.Fail && opts.FailedCAS == ObserveFailedCAS
		switch {
		case wrote && o.Outcome == history.Info:
			if seen[value] || opts.FailedCAS == ObserveFailedCAS {
				s.free = append(s.free, step)
			}
		case wrote, saw, blind:
			s.sessions[step.own] = append(s.sessions[step.own], step)
		}
	}
	if len(s.free) > 64 {
		return notApplicable("%s of unknown outcome are too many to search through", plural(len(s.free), "write"))
	}
	s.next = make([]int, len(s.sessions))
	switch {
	case s.from(opts.initial(), 0):
		return ruling{verdict: Held}
	case s.stop != "":
		return notApplicable("%s", s.stop)
	}
	f := ruling{verdict: Broken, violations: 1, proof: r.proof(s.stuck...), why: "no order of its operations suits all sessions"}
	if len(s.stuck) > 0 {
		f.why += fmt.Sprintf("; none was found that goes on to %s", describe(h, r.index(int(s.stuck[0]))))
	}
	return f
}

// from says whether what is left can be placed, with the register at a value.
func (s *seqSearch) from(state history.Value, placed int) bool {
	// What fits is taken, and given back if that leads nowhere.
	before := slices.Clone(s.next)
	for again := true; again; {
		again = false
		for p := range s.sessions {
			for s.next[p] < len(s.sessions[p]) && s.fits(s.sessions[p][s.next[p]].op, state) {
				s.next[p]++
				placed++
				again = true
			}
		}
	}
	if s.done() {
		return true
	}
	key := s.state(state)
	if s.dead[key] || s.over() {
		copy(s.next, before)
		return false
	}
	s.note(placed)
	for _, step := range s.ready() {
		value, _ := writes(step.op)
		if step.op.F == history.CAS && step.op.Arg != state {
			continue
		}
		free := step.op.Outcome == history.Info
		if free {
			s.used |= s.bit(step)
		} else {
			s.next[step.own]++
		}
		if s.from(value, placed+1) {
			return true
		}
		if free {
			s.used &^= s.bit(step)
		} else {
			s.next[step.own]--
		}
		if s.stop != "" {
			return false
		}
	}
	s.dead[key] = true
	copy(s.next, before)
	return false
}

// fits says whether an operation that changes nothing may stand here.
func (s *seqSearch) fits(o *history.Op, state history.Value) bool {
	if _, wrote := writes(o); wrote {
		return false
	}
	if saw, ok := s.opts.observes(o); ok {
		return saw == state
	}
	return o.Arg != state // a failed compare-and-set that says only that
}

func (s *seqSearch) done() bool {
	for p := range s.sessions {
		if s.next[p] < len(s.sessions[p]) {
			return false
		}
	}
	return true
}

// ready lists the writes that may come next, those of known outcome first.
func (s *seqSearch) ready() []seqStep {
	var all []seqStep
	for p := range s.sessions {
		if s.next[p] < len(s.sessions[p]) {
			if step := s.sessions[p][s.next[p]]; !step.op.F.ReadOnly() && step.op.Outcome == history.OK {
				all = append(all, step)
			}
		}
	}
	slices.SortFunc(all, func(a, b seqStep) int { return cmp.Or(compare(a.op.Call, b.op.Call), int(a.at-b.at)) })
	for _, step := range s.free {
		if s.used&s.bit(step) == 0 && s.next[step.own] >= step.need {
			all = append(all, step)
		}
	}
	return all
}

func (s *seqSearch) bit(step seqStep) uint64 {
	return 1 << slices.IndexFunc(s.free, func(x seqStep) bool { return x.at == step.at })
}

// state names where the search is.
func (s *seqSearch) state(value history.Value) string {
	s.key = binary.AppendVarint(s.key[:0], int64(value))
	s.key = binary.AppendUvarint(s.key, s.used)
	for _, n := range s.next {
		s.key = binary.AppendUvarint(s.key, uint64(n))
	}
	return string(s.key)
}

// over says whether the search has to end, and notes why.
func (s *seqSearch) over() bool {
	switch {
	case s.stop != "":
	case len(s.dead) >= mostSeqStates:
		s.stop = fmt.Sprintf("no order was found in %s states, and not all were tried", count(mostSeqStates))
	case len(s.dead)%1024 == 0 && !s.deadline.IsZero() && time.Now().After(s.deadline):
		s.stop = "no order was found within the time limit"
	}
	return s.stop != ""
}

// note remembers what could not be placed when most was.
func (s *seqSearch) note(placed int) {
	if placed < s.deepest {
		return
	}
	s.deepest, s.stuck = placed, s.stuck[:0]
	for p := range s.sessions {
		if s.next[p] < len(s.sessions[p]) && len(s.stuck) < 8 {
			s.stuck = append(s.stuck, s.sessions[p][s.next[p]].at)
		}
	}
}
