package checkers

import (
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// The models of values that grow: sets, lists, counters, and banks, whose
// balances move.

// gathered is the state of a set (ascending), a list, or the balances of a bank.
// Set any: of a set or a list these are the elements known to be in it, of a list
// at its end; of a bank nothing is known. It is never changed once made.
type gathered struct {
	all history.List
	any bool
}

var gatheredSeed = maphash.MakeSeed()

func (g gathered) hash() uint64 {
	var sum maphash.Hash
	sum.SetSeed(gatheredSeed)
	for _, v := range g.all {
		maphash.WriteComparable(&sum, v)
	}
	return sum.Sum64()
}

// collectionModel makes the models whose reads see all values.
func collectionModel(name string, initial func(Options) gathered, convert func(*step, *history.Op) bool, apply func(gathered, *step) (bool, gathered)) *model {
	return &model{
		name:   name,
		perKey: true,
		convert: func(h *history.History, o *history.Op, opts Options) (step, bool, error) {
			s := step{f: o.F, known: o.Outcome == history.OK, arg: o.Arg, arg2: o.Arg2}
			if o.F == history.ReadAll {
				s.f = history.Read // an observation, as the search knows them
				list, ok, err := listOf(h, o, opts)
				s.list = list
				return s, ok, err
			}
			if !convert(&s, o) {
				return s, false, unsupported(name, o)
			}
			return s, o.Outcome != history.Fail, nil
		},
		initial: func(opts Options) any { return initial(opts) },
		unknown: func() any { return gathered{any: true} },
		apply: func(state any, s *step) (bool, any) {
			ok, next := apply(state.(gathered), s)
			return ok, next
		},
		equal: func(a, b any) bool {
			x, y := a.(gathered), b.(gathered)
			return x.any == y.any && slices.Equal(x.all, y.all)
		},
		hash: func(a any) uint64 { return a.(gathered).hash() },
		size: func(s *step, a any) uint64 {
			if s.f == history.Read {
				return 0
			}
			return 32 + 8*uint64(len(a.(gathered).all))
		},
		print: func(_ *history.History, a any) string {
			g := a.(gathered)
			text := listText(g.all, history.Value.String)
			if g.any {
				return "…" + text
			}
			return text
		},
	}
}

// listOf gives what an ok read of all saw; an absent key holds nothing.
func listOf(h *history.History, o *history.Op, opts Options) (history.List, bool, error) {
	switch {
	case o.Outcome != history.OK:
		return nil, false, nil
	case o.Out == history.Nil:
		return nil, opts.NilRead != NilAny, nil
	case o.Out < 0 || int64(o.Out) >= int64(len(h.Lists)):
		return nil, false, fmt.Errorf("a read of all names list %s, and the history has %d of them", o.Out, len(h.Lists))
	}
	return h.Lists[o.Out], true, nil
}

func empty(Options) gathered { return gathered{} }

func isAdd(_ *step, o *history.Op) bool { return o.F == history.Add }

func listModel() *model {
	return collectionModel(ModelList, empty, isAdd, func(g gathered, s *step) (bool, gathered) {
		if s.f != history.Read {
			return true, gathered{append(slices.Clip(g.all), s.arg), g.any}
		}
		if g.any {
			n := len(s.list) - len(g.all)
			return n >= 0 && slices.Equal(s.list[n:], g.all), gathered{all: s.list}
		}
		return slices.Equal(s.list, g.all), g
	})
}

func setModel() *model {
	m := collectionModel(ModelSet, empty, isAdd, func(g gathered, s *step) (bool, gathered) {
		if s.f != history.Read {
			at, found := slices.BinarySearch(g.all, s.arg)
			if !found {
				g.all = slices.Insert(slices.Clone(g.all), at, s.arg)
			}
			return true, g
		}
		if g.any {
			return containsAll(s.list, g.all), gathered{all: s.list}
		}
		return slices.Equal(s.list, g.all), g
	})
	convert := m.convert
	m.convert = func(h *history.History, o *history.Op, opts Options) (step, bool, error) {
		s, ok, err := convert(h, o, opts)
		s.list = asSet(s.list)
		return s, ok, err
	}
	return m
}

// asSet gives the elements ascending, each once.
func asSet(l history.List) history.List {
	if slices.IsSorted(l) {
		for i := 1; ; i++ {
			if i >= len(l) {
				return l
			}
			if l[i] == l[i-1] {
				break
			}
		}
	}
	l = slices.Clone(l)
	slices.Sort(l)
	return slices.Compact(l)
}

// containsAll says whether a set has all elements of another; both ascend.
func containsAll(set, part history.List) bool {
	i := 0
	for _, v := range part {
		for i < len(set) && set[i] < v {
			i++
		}
		if i == len(set) || set[i] != v {
			return false
		}
		i++
	}
	return true
}

func bankModel() *model {
	initial := func(opts Options) gathered { return gathered{all: opts.Balances, any: opts.Balances == nil} }
	transfer := func(_ *step, o *history.Op) bool { return o.F == history.Transfer }
	return collectionModel(ModelBank, initial, transfer, func(g gathered, s *step) (bool, gathered) {
		if s.f == history.Read {
			if g.any {
				return true, gathered{all: s.list}
			}
			return slices.Equal(s.list, g.all), g
		}
		if g.any {
			return true, g
		}
		from, to := (&history.Op{Arg: s.arg}).Accounts()
		if max(from, to) >= len(g.all) || g.all[from] < s.arg2 {
			return !s.known, g // refused
		}
		all := slices.Clone(g.all)
		all[from] -= s.arg2
		all[to] += s.arg2
		return true, gathered{all: all}
	})
}

// counterModel counts from 0.
func counterModel() *model {
	return &model{
		name:   ModelCounter,
		perKey: true,
		convert: func(_ *history.History, o *history.Op, opts Options) (step, bool, error) {
			s := step{f: o.F, known: o.Outcome == history.OK, arg: o.Arg}
			switch o.F {
			case history.Read:
				v, saw := countOf(o, opts)
				s.out, s.after = v, cell{value: v}
				return s, saw, nil
			case history.Add:
				return s, o.Outcome != history.Fail, nil
			}
			return s, false, unsupported(ModelCounter, o)
		},
		initial: func(Options) any { return cell{} },
		unknown: func() any { return cell{any: true} },
		apply: func(state any, s *step) (bool, any) {
			c := state.(cell)
			switch {
			case s.f == history.Read:
				return c.any || c.value == s.out, s.after
			case c.any:
				return true, c
			}
			return true, cell{value: c.value + s.arg}
		},
		equal: func(a, b any) bool { return a.(cell) == b.(cell) },
		hash:  func(a any) uint64 { return a.(cell).hash() },
		size:  func(*step, any) uint64 { return 24 },
		print: func(_ *history.History, a any) string { return a.(cell).String() },
	}
}

// countOf gives what an ok read of a counter saw; an absent one is 0.
func countOf(o *history.Op, opts Options) (history.Value, bool) {
	switch {
	case o.Outcome != history.OK || o.Out == history.Nil && opts.NilRead == NilAny:
		return 0, false
	case o.Out == history.Nil:
		return 0, true
	}
	return o.Out, true
}
