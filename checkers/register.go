package checkers

import (
	"slices"
	"sort"
	"sync"

	"github.com/assay-chaos/assay/harness/history"
)

// register is one key as the checkers of weaker promises see it: which version
// each operation wrote or saw, and in which session. It is made once for all of
// them, and takes about 50 bytes an operation.
//
// A value that is written several times is one version: it counts as called when
// its first write was, and as ended when its last one did. So it is never called
// old while it may be new.
type register struct {
	keyView
	versions []version // 0 is the initial value
	// ver and session are parallel to the view. ver is the version that the
	// operation wrote or saw, or one of the constants below.
	ver      []int32
	did      []access // what it did with it
	session  []int32  // sessions of this key, numbered from 0 as they come
	sessions int
}

// access is what an operation did with its version.
type access uint8

const (
	neither access = iota // or it read what nobody wrote
	wrote                 // it may have
	read
	readEarly // before anybody had called a write of it
)

const (
	sawNothing int32 = -1 // it neither wrote nor saw a value
	sawUnknown int32 = -2 // it saw a value that nobody wrote
)

// version is a value that a register had or may have had.
type version struct {
	value history.Value
	// first is the least call of its writes, last their greatest end; both
	// are the beginning for the initial value.
	first, last int64
	write       int32 // the latest write, as a place in the view; -1 for the initial value
	writes      int32 // how many there are
	session     int32 // of the latest write; -1 for the initial value
	acked       int64 // least end of its ok writes; Never if none was acknowledged
}

// initially is the version that every register has before the first operation.
const initially int32 = 0

// registerIndex is a history of registers.
type registerIndex struct {
	h    *history.History
	keys []register
}

// registers indexes the history, once for all checkers of one Judge.
func (in Input) registers(opts Options) *registerIndex {
	if in.shared == nil {
		return newRegisters(in.History, opts)
	}
	return in.shared.get(in.History, opts)
}

// shared is what checkers of one input have in common.
type shared struct {
	once  sync.Once
	opts  Options
	index *registerIndex
}

func (s *shared) get(h *history.History, opts Options) *registerIndex {
	s.once.Do(func() { s.opts, s.index = opts, newRegisters(h, opts) })
	if opts.initial() != s.opts.initial() || opts.NilRead != s.opts.NilRead {
		return newRegisters(h, opts)
	}
	return s.index
}

func newRegisters(h *history.History, opts Options) *registerIndex {
	views := byKey(h.Ops)
	r := &registerIndex{h: h, keys: make([]register, len(views))}
	number := sessionNumbers(h)
	var pool sync.Pool
	inParallel(len(views), shares, func(i int) {
		b, _ := pool.Get().(*indexer)
		if b == nil {
			b = &indexer{number: number, local: make([]int32, number.n), era: make([]int32, number.n)}
		}
		r.keys[i] = b.index(views[i], opts)
		pool.Put(b)
	})
	return r
}

// numbering gives processes numbers from 0 to n-1.
type numbering struct {
	lo    int32
	dense bool // number is process - lo
	all   []int32
	n     int
}

func sessionNumbers(h *history.History) *numbering {
	if len(h.Ops) == 0 {
		return &numbering{dense: true}
	}
	lo, hi := h.Ops[0].Process, h.Ops[0].Process
	for i := range h.Ops {
		lo, hi = min(lo, h.Ops[i].Process), max(hi, h.Ops[i].Process)
	}
	if span := int64(hi) - int64(lo) + 1; span <= 4*int64(len(h.Ops))+1024 {
		return &numbering{lo: lo, dense: true, n: int(span)}
	}
	n := &numbering{all: make([]int32, 0, len(h.Ops))}
	for i := range h.Ops {
		n.all = append(n.all, h.Ops[i].Process)
	}
	slices.Sort(n.all)
	n.all = slices.Compact(n.all)
	n.n = len(n.all)
	return n
}

func (n *numbering) of(process int32) int32 {
	if n.dense {
		return process - n.lo
	}
	i, _ := slices.BinarySearch(n.all, process)
	return int32(i)
}

// indexer has what indexing one key after the other needs.
type indexer struct {
	number *numbering
	local  []int32 // number in the key, valid in its era
	era    []int32
	now    int32
	slots  []int32 // versions by value: open addressing, place + 1, 0: free
}

func (b *indexer) index(k keyView, opts Options) register {
	n := k.len()
	r := register{keyView: k, ver: make([]int32, n), did: make([]access, n), session: make([]int32, n)}
	b.now++
	writing := 0
	for i := range n {
		o := k.at(i)
		p := b.number.of(o.Process)
		if b.era[p] != b.now {
			b.era[p], b.local[p] = b.now, int32(r.sessions)
			r.sessions++
		}
		r.session[i] = b.local[p]
		if _, may := writes(o); may {
			r.did[i] = wrote
			writing++
		}
	}
	size := 16
	for size < 2*(writing+1) {
		size *= 2
	}
	if cap(b.slots) < size {
		b.slots = make([]int32, size)
	}
	b.slots = b.slots[:size]
	clear(b.slots)
	r.versions = make([]version, 0, writing+1)
	r.versions = append(r.versions, version{value: opts.initial(), first: beginning, last: beginning, write: -1, session: -1, acked: beginning})
	*b.slot(&r, opts.initial()) = 1
	for i := range n {
		if r.did[i] != wrote {
			continue
		}
		o := k.at(i)
		value, _ := writes(o)
		s := b.slot(&r, value)
		if *s == 0 {
			r.versions = append(r.versions, version{value: value, first: o.Call, last: beginning, write: int32(i), session: r.session[i], acked: history.Never})
			*s = int32(len(r.versions))
		}
		r.ver[i] = *s - 1
		v := &r.versions[*s-1]
		v.writes++
		v.first = min(v.first, o.Call)
		if o.Outcome == history.OK {
			v.acked = min(v.acked, o.Return)
		}
		if end := o.End(); end > v.last {
			v.last, v.write, v.session = end, int32(i), r.session[i]
		}
	}
	for i := range n {
		if r.did[i] == wrote {
			continue
		}
		o := k.at(i)
		value, saw := opts.observes(o)
		if !saw {
			r.ver[i] = sawNothing
			continue
		}
		switch r.ver[i] = *b.slot(&r, value) - 1; {
		case r.ver[i] < 0:
			r.ver[i] = sawUnknown
		case r.versions[r.ver[i]].first > o.Return:
			r.did[i] = readEarly
		default:
			r.did[i] = read
		}
	}
	return r
}

func (b *indexer) slot(r *register, v history.Value) *int32 {
	mask := uint64(len(b.slots) - 1)
	x := uint64(v) * 0x9e3779b97f4a7c15
	for k := (x ^ x>>32) & mask; ; k = (k + 1) & mask {
		if s := b.slots[k]; s == 0 || r.versions[s-1].value == v {
			return &b.slots[k]
		}
	}
}

// wrote says whether the view's i-th operation may have written its version.
func (r *register) wrote(i int) bool { return r.did[i] == wrote }

// read gives the version that the view's i-th operation saw without writing;
// false if there is none, or if nobody had written it yet.
func (r *register) read(i int) (int32, bool) { return r.ver[i], r.did[i] == read }

// name gives a version's write in words.
func (r *register) name(h *history.History, v int32) string {
	if w := r.versions[v].write; w >= 0 {
		return describe(h, r.index(int(w)))
	}
	return "the initial value"
}

// proof gives places of the view as sorted places in the history; negative ones
// are left out.
func (r *register) proof(places ...int32) []int {
	var all []int
	for _, p := range places {
		if p >= 0 {
			all = append(all, r.index(int(p)))
		}
	}
	return sorted(all...)
}

// tally is what a checker found on one key, or in one session.
type tally struct {
	checked, violations int
	key                 int32
	proof               []int
	why                 string
}

// add counts a violation; the first one is kept in full.
func (t *tally) add(key int32, tell func() ([]int, string)) {
	t.violations++
	if t.violations == 1 {
		t.key = key
		t.proof, t.why = tell()
	}
}

// together sums tallies into a result. what is what was counted ("read"), held
// the reason if all is well, and none the reason if nothing could be judged.
func together(h *history.History, claim Claim, all []tally, what, held, none string) Result {
	res := Result{Claim: claim, Key: -1}
	first := -1
	for i := range all {
		res.Checked += all[i].checked
		res.Violations += all[i].violations
		if first < 0 && all[i].violations > 0 {
			first = i
		}
	}
	if res.Checked > 0 {
		res.Rate = rateOf(res.Violations, res.Checked, what)
	}
	switch {
	case res.Violations > 0:
		t := &all[first]
		res.Verdict, res.Key, res.Ops = Broken, t.key, t.proof
		res.Reason = res.Rate.String()
		if t.key >= 0 {
			res.Reason += ", first on " + keyText(h, t.key)
		}
		res.Reason += ": " + t.why
	case res.Checked == 0:
		res.Reason = none
	default:
		res.Verdict = Held
		res.Reason = plural(res.Checked, what) + ", " + held
	}
	return res
}

// sessionsOverlap says which process did two things at a time: what is before
// what in it is then unknown. "" if none did.
func sessionsOverlap(h *history.History) string {
	number := sessionNumbers(h)
	type last struct {
		end int64
		op  int
	}
	ends := make([]last, number.n)
	for i := range ends {
		ends[i].end = beginning
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		p := &ends[number.of(o.Process)]
		if o.Call < p.end {
			return "operations " + count(p.op) + " and " + count(i) + " are of one process and overlap, so its sessions have no order"
		}
		end := o.Return
		if end == history.Never {
			end = o.Call // nothing of its session should follow
		}
		*p = last{end: max(p.end, end), op: i}
	}
	return ""
}

// firstAt gives the first of n places at which f is true.
func firstAt(n int, f func(int) bool) int { return sort.Search(n, f) }
