package checkers

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// MinimizeOptions bound the search for the smallest violation. Zero fields
// mean the defaults.
type MinimizeOptions struct {
	// Options are those of the checker.
	Options
	// Time bounds the whole search; 10 s when zero. What has been found by
	// then is the answer, and not Complete.
	Time time.Duration
	// Memory bounds each check that needs a search, in bytes of heap; 64 MiB
	// when zero. A part that cannot be decided within it does not count as
	// broken, on every machine the same.
	Memory uint64
}

// Minimal is a part of a history that is broken already, and of which nothing
// can be left out.
type Minimal struct {
	// Input is the part as a history of its own, with its own keys and with
	// the final states of their replicas where the claim is about those.
	Input Input
	// Result is what the checker says of Input.
	Result Result
	// Ops are the operations of the part, as places in the Ops of the whole
	// history, ascending.
	Ops []int
	// Complete says that no operation can be left out any more. It is false
	// if the time ran out first.
	Complete bool
	// Checks is how many parts were judged.
	Checks int
}

// ErrNotMinimizable is why a violation has no smallest part: it is not broken,
// or its claim is about how much happened, not about single operations.
var ErrNotMinimizable = errors.New("not a violation by single operations")

// Minimize finds a smallest part of a history that breaks the claim of the
// result too, as the checker judges it. The checker must be the one that gave
// the result, and be deterministic.
//
// A part has whole operations: an invocation with its completion. It is made of
// them only if every value that is seen in it still has the writes that it can
// have come from (see needs.go): then what breaks the part breaks the whole, and
// it is no other violation that leaving something out has made. "Nothing can be
// left out" means that whichever operation goes, alone or with those that rest
// on it, the rest is not broken.
//
// The search is delta debugging (Zeller and Hildebrandt, "Simplifying and
// isolating failure-inducing input", IEEE Transactions on Software Engineering
// 28(2), 2002): over keys, then processes, then operations. The operations that
// the result names are tried first, with what they rest on, and are usually
// enough. For claims of which a part proves nothing about the whole (a write is
// lost that no later read saw: leave those out that did) only what the result
// names is looked at, so that it stays that violation. A compare-and-set rests on the one that made its value, so a chain of
// them stays whole. Where the claim is about what replicas hold at the end, the
// writers of those values stay as well.
func Minimize(in Input, check Checker, r Result, opts MinimizeOptions) (Minimal, error) {
	switch {
	case r.Verdict != Broken:
		return Minimal{}, fmt.Errorf("%s is %s: %w", r.Claim, r.Verdict, ErrNotMinimizable)
	case r.Claim == Tested || r.Claim == Available || r.Claim == Recovers || r.Claim == ServesBySide:
		return Minimal{}, fmt.Errorf("%s: %w", r.Claim, ErrNotMinimizable)
	}
	if why := malformed(in.History); why != "" {
		return Minimal{}, fmt.Errorf("minimize: %s", why)
	}
	opts.Time = cmp.Or(opts.Time, 10*time.Second)
	opts.Memory = cmp.Or(opts.Memory, 64<<20)
	m := &minimizer{in: in, claim: r.Claim, check: check, opts: opts, deadline: time.Now().Add(opts.Time)}
	for _, i := range r.Ops {
		if i >= 0 && i < len(in.History.Ops) {
			m.named = append(m.named, int32(i))
		}
	}
	slices.Sort(m.named)
	m.named = slices.Compact(m.named)
	return m.run(r)
}

type minimizer struct {
	in       Input
	claim    Claim
	check    Checker
	opts     MinimizeOptions
	deadline time.Time
	grounds  *grounds
	named    opSet // what the result names
	// pinned are the writers of what the replicas hold, where the claim is
	// about that.
	pinned   opSet
	replicas bool
	late     bool // the time ran out
	checks   int
}

func (m *minimizer) run(r Result) (Minimal, error) {
	h := m.in.History
	all := make(opSet, 0, 64)
	for i := range h.Ops {
		if r.Key < 0 || h.Ops[i].Key == r.Key {
			all = append(all, int32(i))
		}
	}
	m.grounds = newGrounds(h, all, m.opts.Options)
	m.pin(r.Key, all)
	set, ok := m.start(all)
	if !ok {
		return Minimal{}, fmt.Errorf("minimize %s: no part of %d operations is found broken within the budget, and the whole is", r.Claim, len(all))
	}
	for _, group := range []func(*history.Op) int64{
		func(o *history.Op) int64 { return int64(o.Key) },
		func(o *history.Op) int64 { return int64(o.Process) },
		nil,
	} {
		set = m.reduce(set, group)
	}
	places := make([]int, len(set))
	for i, p := range set {
		places[i] = int(p)
	}
	part := compacted(m.part(set), r.Key)
	// Judged once more, for the words and numbers of the part itself.
	res := m.check(part, Budget{Memory: m.opts.Memory})
	if res.Verdict != Broken {
		return Minimal{}, fmt.Errorf("minimize %s: the checker says broken and then %s of the same operations", r.Claim, res.Verdict)
	}
	return Minimal{Input: part, Result: res, Ops: places, Complete: !m.late, Checks: m.checks}, nil
}

// pin finds out whether the claim is about what replicas hold at the end, and
// which operations those values are of.
func (m *minimizer) pin(key int32, all opSet) {
	if m.in.Replicas == nil {
		return
	}
	held := make(map[history.Value]bool)
	if key >= 0 {
		for _, row := range m.in.Replicas {
			if int(key) < len(row) && row[key].Present {
				held[row[key].Value] = true
				for _, v := range row[key].Values {
					held[v] = true
				}
			}
		}
	}
	var pinned opSet
	for _, i := range all {
		m.grounds.touches(&m.in.History.Ops[i], func(t touch) {
			if t.writes && held[t.wrote] && m.in.History.Ops[i].Outcome != history.Fail {
				pinned = append(pinned, i)
			}
		})
	}
	pinned = slices.Compact(pinned)
	start := m.grounds.grown(union(m.named, pinned))
	if m.broken(start) {
		return // without the replicas too
	}
	m.pinned, m.replicas = m.grounds.grown(pinned), true
}

func union(a, b opSet) opSet {
	u := slices.Concat(a, b)
	slices.Sort(u)
	return slices.Compact(u)
}

// start finds a broken part to begin with: at best what the result names with
// what that rests on, else the operations up to those, as few as need be.
func (m *minimizer) start(all opSet) (opSet, bool) {
	core := m.grounds.grown(union(m.named, m.pinned))
	if m.broken(core) {
		return core, true
	}
	if !provedByParts(m.claim) {
		return nil, false
	}
	// Nothing that is called after all of the named ones have ended bears on
	// them. Where nothing is named, most violations lie within a short time;
	// otherwise look for the end first.
	upTo := all
	if len(m.named) > 0 {
		upTo = m.calledBy(all, m.named)
	} else if set, ok := m.scan(all); ok {
		return set, true
	} else if n, ok := m.gallop(len(all), func(n int) opSet { return m.grounds.closed(all[:n]) }); ok {
		upTo = all[:n]
	}
	window := func(n int) opSet { return m.grounds.closed(union(core, upTo[len(upTo)-n:])) }
	if n, ok := m.gallop(len(upTo), window); ok {
		return window(n), true
	}
	for _, set := range []opSet{upTo, all} {
		if set = m.grounds.closed(union(core, set)); m.broken(set) {
			return set, true
		}
	}
	return nil, false
}

// provedByParts says that a closed part which breaks the claim shows that the
// whole history does.
func provedByParts(c Claim) bool { return c == Linearizable || c == FreshReads }

// scan looks at short stretches of the history, then at longer ones.
func (m *minimizer) scan(all opSet) (opSet, bool) {
	for n := 32; n < len(all) && n <= 2048; n *= 8 {
		for from := 0; from < len(all) && !m.late; from += n / 2 {
			set := m.grounds.closed(union(m.pinned, all[from:min(from+n, len(all))]))
			if m.broken(set) {
				return set, true
			}
		}
	}
	return nil, false
}

// calledBy gives those called before the last of some operations had ended.
func (m *minimizer) calledBy(all, ops opSet) opSet {
	end := int64(beginning)
	for _, i := range ops {
		o := &m.in.History.Ops[i]
		end = max(end, o.Call)
		if o.Outcome != history.Info {
			end = max(end, o.Return)
		}
	}
	n := len(all)
	for n > 0 && m.in.History.Ops[all[n-1]].Call > end {
		n--
	}
	return all[:n]
}

// gallop finds the least n up to most for which a set is broken, as if every
// greater one were broken then too.
func (m *minimizer) gallop(most int, set func(n int) opSet) (int, bool) {
	lo, hi := 0, min(16, most)
	for !m.broken(set(hi)) {
		if hi == most || m.late {
			return 0, false
		}
		lo, hi = hi, min(2*hi, most)
	}
	for lo+1 < hi && !m.late {
		if mid := (lo + hi) / 2; m.broken(set(mid)) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi, m.broken(set(hi))
}

// reduce is ddmin over groups of operations, the whole set of which is broken;
// without a group function each operation is one.
func (m *minimizer) reduce(set opSet, group func(*history.Op) int64) opSet {
	groups := m.groups(set, group)
	for n := 2; len(groups) > 1; {
		n = min(n, len(groups))
		smaller, found := opSet(nil), false
		// A part alone, then all but a part.
		for k := 0; k < 2*n && !found; k++ {
			lo, hi := k%n*len(groups)/n, (k%n+1)*len(groups)/n
			var kept []opSet
			switch {
			case k < n && n > 2: // of two parts one is all but the other
				kept = groups[lo:hi]
			case k >= n:
				kept = slices.Concat(groups[:lo], groups[hi:])
			default:
				continue
			}
			smaller = m.grounds.closed(union(m.pinned, flat(kept)))
			found = len(smaller) < len(set) && m.broken(smaller)
			if found && k < n {
				n = 2
			} else if found {
				n = max(n-1, 2)
			}
		}
		if m.late {
			break
		}
		if found {
			set = smaller
			groups = m.groups(set, group)
			continue
		}
		if n == len(groups) {
			break
		}
		n = min(2*n, len(groups))
	}
	// One group can only be all of it or nothing.
	return set
}

func flat(groups []opSet) opSet {
	set := slices.Concat(groups...)
	slices.Sort(set)
	return set
}

// groups divides a set, the parts in the order of their first operations.
func (m *minimizer) groups(set opSet, group func(*history.Op) int64) []opSet {
	var groups []opSet
	place := make(map[int64]int)
	for _, i := range set {
		id := int64(i)
		if group != nil {
			id = group(&m.in.History.Ops[i])
		}
		p, known := place[id]
		if !known {
			p = len(groups)
			place[id], groups = p, append(groups, nil)
		}
		groups[p] = append(groups[p], i)
	}
	return groups
}

// broken judges a part.
func (m *minimizer) broken(set opSet) bool {
	if len(set) == 0 && !m.replicas {
		return false
	}
	if in := 0; len(m.pinned) > 0 {
		for _, i := range m.pinned {
			if _, found := slices.BinarySearch(set, i); found {
				in++
			}
		}
		if in < len(m.pinned) {
			return false
		}
	}
	left := time.Until(m.deadline)
	if left <= 0 {
		m.late = true
		return false
	}
	m.checks++
	if m.check(m.part(set), Budget{Time: left, Memory: m.opts.Memory}).Verdict == Broken {
		return true
	}
	m.late = m.late || time.Now().After(m.deadline)
	return false
}

// part makes an input of some operations. Keys keep their numbers.
func (m *minimizer) part(set opSet) Input {
	whole := m.in.History
	h := *whole
	h.Ops = make([]history.Op, len(set))
	for i, p := range set {
		h.Ops[i] = whole.Ops[p]
	}
	in := Input{History: &h, Settled: m.in.Settled}
	if m.replicas {
		in.Replicas = m.in.Replicas
	}
	return in
}

// Part makes a history of its own of some operations (places in History.Ops,
// ascending), with the keys that they are on, the offending one (-1: none)
// first, and what the replicas held of these. Indices that lead nowhere, from a
// damaged file, are left out.
func Part(in Input, ops []int, key int32) Input {
	whole := in.History
	h := *whole
	h.Ops = nil
	for _, i := range ops {
		if i >= 0 && i < len(whole.Ops) {
			h.Ops = append(h.Ops, whole.Ops[i])
		}
	}
	return compacted(Input{History: &h, Replicas: in.Replicas, Settled: in.Settled}, key)
}

// compacted numbers the keys that occur anew, the offending one first, and
// leaves the others out. Of the faults those in force between the first call
// and the last known return stay.
func compacted(in Input, key int32) Input {
	h := in.History
	number := make(map[int32]int32)
	var old []int32
	use := func(k int32) int32 {
		n, known := number[k]
		if !known {
			n = int32(len(old))
			number[k], old = n, append(old, k)
		}
		return n
	}
	if key >= 0 {
		use(key)
	}
	from, to := history.Never, int64(beginning)
	txns := make([]history.Txn, len(h.Txns))
	txn := func(v history.Value) {
		if v < 0 || int64(v) >= int64(len(h.Txns)) {
			return
		}
		t := slices.Clone(h.Txns[v])
		for i := range t {
			t[i].Key = use(t[i].Key)
		}
		txns[v] = t
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		o.Key = use(o.Key)
		if o.F == history.Transact {
			txn(o.Arg)
			txn(o.Out)
		}
		from, to = min(from, o.Call), max(to, o.Call)
		if o.Return != history.Never {
			to = max(to, o.Return)
		}
	}
	h.Txns = txns
	keys := make([]string, len(old))
	for n, k := range old {
		keys[n] = h.KeyName(k)
	}
	h.Keys = keys
	h.Faults = slices.DeleteFunc(slices.Clone(h.Faults), func(f history.Fault) bool { return f.Start > to || f.End < from })
	if in.Replicas != nil {
		rows := make([][]harness.Replica, len(in.Replicas))
		for node, row := range in.Replicas {
			if row == nil {
				continue
			}
			rows[node] = make([]harness.Replica, len(old))
			for n, k := range old {
				rows[node][n] = replicaAt(row, int(k))
			}
		}
		in.Replicas = rows
	}
	return in
}

// Minimize finds the smallest part of each broken result and notes its
// operations in the result. A result whose claim has none stays as it is, and so
// does one for which none is found in time.
func (o JudgeOptions) Minimize(in Input, results []Result, opts MinimizeOptions) {
	for i := range results {
		r := &results[i]
		check := o.checker(r.Claim)
		if r.Verdict != Broken || check == nil {
			continue
		}
		opts.Options = o.understanding(r.Claim)
		if m, err := Minimize(in, check, *r, opts); err == nil {
			r.Minimal = m.Ops
		}
	}
}

// understanding gives the options by which a claim's checker reads operations.
func (o JudgeOptions) understanding(c Claim) Options {
	switch c {
	case FreshReads:
		return o.Fresh
	case NoLostWrites:
		return o.Durability.Options
	case ReadYourWrites, MonotonicReads, MonotonicWrites, WritesFollowReads:
		return o.Sessions.Options
	case BoundedStaleness:
		return o.Staleness.Options
	case Linearizable:
		return o.Linearizable
	}
	return o.Values
}
