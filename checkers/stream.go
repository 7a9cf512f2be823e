package checkers

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// Source opens a stored history, from its beginning every time, to be read with
// history.Stream.
type Source func() (io.ReadCloser, error)

const (
	// stateLimit is how many bytes of state one pass over a history may
	// take. More keys than fit are judged in several passes.
	stateLimit = 192 << 20
	maxParts   = 1 << 10
	// loadLimit is how many operations may be loaded at a time, of keys that
	// cannot be judged as a stream.
	loadLimit = 1 << 20
)

// CheckStream judges what [CheckModel] judges, for one of the two models of
// registers, without holding the history in memory. Its verdict is the same,
// except that a history in which values are written again may be decided here
// and be too hard there.
//
// The history is read once, and a second time where something is broken, to
// tell of it. Its state (see [Online]) is what is in flight, some hundred bytes
// a key, and about 200 bytes for every write of unknown outcome that nobody has
// read. Where that is more than 192 MiB, the history is read more often: first
// for the writes of unknown outcome that nobody ever reads, which then take a
// bit each; then, if need be, for a part of the keys at a time. Keys that need a
// search are loaded, about a million operations at a time, and searched within
// the budget.
//
// Result.Ops are the numbers of operations in the order of the recording. Cut
// says why the history ends early, as History.Cut does. The error is one of
// reading.
func CheckStream(open Source, name string, opts Options, b Budget) (res Result, cut, err error) {
	return checkStream(open, name, opts, b, limits{state: stateLimit, every: 1024, load: loadLimit})
}

// limits bound the state in bytes, which is looked at after so many events, and
// the operations loaded at a time.
type limits struct{ state, every, load int }

func checkStream(open Source, name string, opts Options, b Budget, lim limits) (Result, error, error) {
	s := streamed{open: open, name: name, opts: opts, budget: b, lim: lim, parts: 1}
	s.res = Result{Claim: Linearizable, Key: -1}
	m, err := modelFor(&history.History{}, opts)
	if err != nil {
		s.res.Reason = err.Error()
		return s.res, nil, nil
	}
	if !m.register {
		s.res.Reason = fmt.Sprintf("the model %s cannot be judged as a stream", m.name)
		return s.res, nil, nil
	}
	s.opts.Model = m.name
	if b.Time > 0 {
		s.deadline = time.Now().Add(b.Time)
	}
	err = s.run()
	return s.res, s.cut, err
}

// streamed is one check.
type streamed struct {
	open     Source
	name     string
	opts     Options
	budget   Budget
	deadline time.Time
	lim      limits
	parts    int   // passes
	lateness int64 // of calls
	unread   bits  // once they were needed
	sought   bool

	keys, checked, broken int
	lowest                *offence
	open1                 []unjudged // keys that the stream could not judge
	cut                   error
	res                   Result
}

type unjudged struct {
	key int32
	ops int
	why string
}

var errState = errors.New("the state outgrew its limit")

func (s *streamed) read(to history.Sink) error {
	f, err := s.open()
	if err != nil {
		return err
	}
	defer f.Close()
	s.cut, err = history.Stream(f, s.name, to)
	return err
}

func (s *streamed) run() error {
	for {
		again, err := s.judge()
		if err != nil {
			return err
		}
		if !again {
			break
		}
		if s.parts > maxParts {
			s.res.Reason = fmt.Sprintf("what is in flight on one key needs more than %s of memory", byteText(uint64(s.lim.state)))
			return nil
		}
	}
	if s.keys == 0 {
		s.res.Reason = "there are no operations"
		return nil
	}
	if s.broken > 0 {
		return s.tell()
	}
	return s.rest()
}

// judge goes through the history once for every part of the keys. It has to be
// done again where it was too much, or where calls were less in order than was
// thought.
func (s *streamed) judge() (again bool, err error) {
	s.keys, s.checked, s.broken, s.lowest, s.open1 = 0, 0, 0, nil, nil
	for part := range s.parts {
		o := NewOnline(s.opts)
		o.lateness, o.unread = s.lateness, s.unread
		if s.parts > 1 {
			o.mine = func(key int32) bool { return spread(key)%uint32(s.parts) == uint32(part) }
		}
		n := 0
		err := s.read(history.Sink{Event: func(e *history.Event) error {
			o.See(e)
			if n++; n%s.lim.every == 0 && o.size() > s.lim.state {
				return errState
			}
			return nil
		}})
		if errors.Is(err, errState) {
			if s.sought {
				s.parts *= 2
				return true, nil
			}
			s.sought = true
			s.unread, err = s.unreadWrites()
			return true, err
		}
		if err != nil {
			return false, err
		}
		if o.late > s.lateness {
			s.lateness = o.late
			return true, nil
		}
		o.End()
		s.add(o)
	}
	return false, nil
}

func spread(key int32) uint32 { return uint32(key) * 2654435769 >> 7 }

func (s *streamed) add(o *Online) {
	s.keys += o.keys
	s.broken += o.broken
	if f := o.lowest; f != nil && (s.lowest == nil || f.key < s.lowest.key) {
		s.lowest = f
	}
	for _, r := range o.registers {
		switch {
		case r == nil:
		case r.broken || r.why == "":
			s.checked += r.ops
		default:
			s.open1 = append(s.open1, unjudged{r.key, r.ops, r.why})
		}
	}
}

// rest judges what the stream could not, and sums up.
func (s *streamed) rest() error {
	slices.SortFunc(s.open1, func(a, b unjudged) int { return int(a.key) - int(b.key) })
	var failed *Result
	undecided, broken, searched := 0, 0, 0
	for from := 0; from < len(s.open1); {
		to, ops := from, 0
		for to < len(s.open1) && (to == from || ops+s.open1[to].ops <= s.lim.load) {
			ops += s.open1[to].ops
			to++
		}
		group := s.open1[from:to]
		from = to
		r := Result{Key: group[0].key, Reason: fmt.Sprintf("%s; to search its %s operations they would have to be in memory", group[0].why, count(ops))}
		if ops <= s.lim.load {
			h, ids, err := s.load(group)
			if err != nil {
				return err
			}
			b := s.budget
			if left, ok := remaining(s.deadline); ok {
				b.Time = left
				r = CheckModel(h, s.opts.Model, s.opts, b)
				r.Key = group[max(0, r.Key)].key
				for i := range r.Ops {
					r.Ops[i] = ids[r.Ops[i]]
				}
			} else {
				r.Reason = "the time budget ran out"
			}
		}
		s.checked += r.Checked
		searched++
		switch {
		case r.Verdict == Held:
			continue
		case r.Verdict == Broken:
			broken++
		default:
			undecided++
		}
		if failed == nil || failed.Verdict != Broken && r.Verdict == Broken {
			failed = &r
		}
	}
	if failed != nil {
		s.res = *failed
		s.res.Claim, s.res.Checked = Linearizable, s.checked
		return nil
	}
	s.res.Verdict, s.res.Checked = Held, s.checked
	s.res.Reason = fmt.Sprintf("%s on %s", plural(s.checked, "operation"), plural(s.keys, "key"))
	if searched > 0 {
		s.res.Reason += ", decided by search"
	}
	return nil
}

// load reads the operations of some keys, which become the keys 0, 1, … of a
// history of their own, and gives the numbers of its operations.
func (s *streamed) load(group []unjudged) (*history.History, []int, error) {
	h := &history.History{Keys: make([]string, len(group)), Errors: []string{""}}
	place := make(map[int32]int32, len(group))
	for i, u := range group {
		place[u.key] = int32(i)
	}
	var ids []int
	at := make(map[int]int)
	err := s.read(history.Sink{
		Key: func(k int32, name string) {
			if i, ok := place[k]; ok {
				h.Keys[i] = name
			}
		},
		Text: func(_ history.Value, text string) { h.Texts = append(h.Texts, text) },
		Event: func(e *history.Event) error {
			key, ok := place[e.Op.Key]
			if !ok {
				return nil
			}
			op := e.Op
			op.Key, op.Err = key, 0
			if !e.Done {
				at[e.ID] = len(h.Ops)
				h.Ops, ids = append(h.Ops, op), append(ids, e.ID)
				return nil
			}
			h.Ops[at[e.ID]] = op
			delete(at, e.ID)
			return nil
		},
	})
	if s.lateness > 0 {
		sortByCall(h.Ops, ids)
	}
	return h, ids, err
}

func sortByCall(ops []history.Op, ids []int) {
	order := make([]int, len(ops))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compare(ops[a].Call, ops[b].Call) })
	sorted, numbers := make([]history.Op, len(ops)), make([]int, len(ops))
	for i, k := range order {
		sorted[i], numbers[i] = ops[k], ids[k]
	}
	copy(ops, sorted)
	copy(ids, numbers)
}

// tell reads the history again for the operations that break the lowest key.
func (s *streamed) tell() error {
	t := teller{f: s.lowest, opts: s.opts, ids: make(map[int]bool)}
	for _, id := range []int{t.f.op, t.f.other, t.f.a.write, t.f.a.first, t.f.a.last, t.f.b.write, t.f.b.first, t.f.b.last} {
		t.ids[id] = true
	}
	name := ""
	err := s.read(history.Sink{
		Event: func(e *history.Event) error { t.see(e); return nil },
		Key: func(k int32, n string) {
			if k == t.f.key {
				name = n
			}
		},
		Text: func(_ history.Value, text string) { t.texts = append(t.texts, text) },
	})
	if err != nil {
		return err
	}
	s.res.Verdict, s.res.Violations, s.res.Checked = Broken, s.broken, s.checked
	s.res.Key = t.f.key
	s.res.Reason, s.res.Ops = t.tell()
	if name != "" {
		s.res.Reason = fmt.Sprintf("key %q: ", name) + s.res.Reason
	} else {
		s.res.Reason = fmt.Sprintf("key %d: ", t.f.key) + s.res.Reason
	}
	if s.broken > 1 {
		s.res.Reason += fmt.Sprintf(" (and %s more keys are broken)", count(s.broken-1))
	}
	return nil
}
