package checkers

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// LinearizableWith judges whether every operation takes effect at one instant
// between its call and its return. The history is split by key and each key is
// decided by zones (see decideZones, decideChains) where they apply, and by
// Porcupine within the budget where they do not.
func LinearizableWith(opts Options) Checker {
	return func(in Input, b Budget) Result {
		if SeveralValues(in.History) {
			return siblingsLinearizable(in, opts, b)
		}
		return CheckModel(in.History, opts.Model, opts, b)
	}
}

// shares is in how many parts the memory budget is divided among keys that are
// searched side by side. It is a constant and not the number of processors, so
// that a verdict is the same on every machine.
const shares = 4

// part is what is judged on its own: one key, or everything.
type part struct {
	key int32
	view
	ruling
	byZones  bool
	noMemory bool // undecided for want of memory
	// What a search found broken, see outcome.
	steps  []step
	states []any
}

// CheckModel judges whether a history is linearizable with respect to one of
// Models (or, with an empty name, the one that its functions suggest).
//
// The verdict is Broken if some key's is, Unknown if some key could not be
// decided, else Held. The result points at the lowest key that is broken and
// at operations that show it: where zones decided, those alone already cannot
// be put in order; where Porcupine did, the operation whose completion first
// could not be explained.
func CheckModel(h *history.History, model string, opts Options, b Budget) Result {
	opts.Model = model
	res := Result{Claim: Linearizable, Key: -1}
	if why := malformed(h); why != "" {
		res.Reason = why
		return res
	}
	m, err := modelFor(h, opts)
	if err != nil {
		res.Reason = err.Error()
		return res
	}
	if len(h.Ops) == 0 {
		res.Reason = "there are no operations"
		return res
	}
	var deadline time.Time
	if b.Time > 0 {
		deadline = time.Now().Add(b.Time)
	}
	parts := split(h, m)
	inParallel(len(parts), runtime.GOMAXPROCS(0), func(i int) {
		p := &parts[i]
		p.ruling = decideDirectly(h, p.view, m, opts)
		p.byZones = p.verdict != Unknown
	})
	searchParts(h, m, opts, parts, deadline, b.Memory)
	return summarise(h, m, parts, deadline, b.Memory)
}

// decideDirectly tries the decisions that need no search.
func decideDirectly(h *history.History, v view, m *model, opts Options) ruling {
	switch m.name {
	case ModelRegister, ModelCASRegister:
		return decideRegister(h, v, m, opts)
	case ModelSet, ModelList:
		return decideCollection(h, v, m.name == ModelList, opts)
	case ModelCounter:
		return decideCounter(h, v, opts)
	case ModelBank:
		return decideBank(h, v, opts)
	}
	return notApplicable("there is none for the model %s", m.name)
}

// decideRegister tries the decisions that need no search.
func decideRegister(h *history.History, v view, m *model, opts Options) ruling {
	if m.name == ModelRegister {
		// A compare-and-set, also a failed one, is not in this model.
		for i, n := 0, v.len(); i < n; i++ {
			if v.at(i).F == history.CAS {
				return notApplicable("cas is not in the model")
			}
		}
	}
	if r := decideZones(h, v, opts); r.verdict != Unknown {
		return r
	}
	return decideChains(h, v, opts)
}

func split(h *history.History, m *model) []part {
	if !m.perKey {
		return []part{{key: -1, view: view{ops: h.Ops}}}
	}
	keys := byKey(h.Ops)
	parts := make([]part, len(keys))
	for i, k := range keys {
		parts[i] = part{key: k.key, view: k.view}
	}
	return parts
}

// inParallel calls f for 0 to n-1, on some goroutines, and waits.
func inParallel(n, workers int, f func(i int)) {
	workers = min(n, workers)
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// searchParts gives the parts that are still undecided to Porcupine: side by
// side with a share of the memory each, then those that it was not enough for
// one by one with all of it.
func searchParts(h *history.History, m *model, opts Options, parts []part, deadline time.Time, memory uint64) {
	var open []*part
	for i := range parts {
		if parts[i].verdict == Unknown {
			open = append(open, &parts[i])
		}
	}
	share := memory
	if memory > 0 && len(open) > 1 {
		share = max(memory/shares, 1)
	}
	inParallel(len(open), min(shares, runtime.GOMAXPROCS(0)), func(i int) {
		open[i].search(h, m, opts, deadline, share)
	})
	if share == memory {
		return
	}
	for _, p := range open {
		if p.noMemory {
			p.search(h, m, opts, deadline, memory)
		}
	}
}

func (p *part) search(h *history.History, m *model, opts Options, deadline time.Time, memory uint64) {
	steps, err := prepare(h, p.view, m, opts)
	if err != nil {
		p.ruling = ruling{verdict: Unknown, why: err.Error()}
		return
	}
	if m.register {
		steps = tighten(steps, []any{m.initial(opts)})
	}
	out := searchPieces(m, steps, opts, deadline, memory)
	p.noMemory, p.steps, p.states = out.noMemory, out.steps, out.states
	p.ruling = ruling{verdict: out.verdict, why: out.why}
	if out.verdict == Broken {
		p.violations = 1
		p.why = fmt.Sprintf("no order of the %s operations explains what they saw", count(len(steps)))
	}
}

// explain finds the operation at which a part that Porcupine judged first went
// wrong. It may take as long as the budget has left, and never long.
func (p *part) explain(h *history.History, m *model, deadline time.Time, memory uint64) {
	const patience = 5 * time.Second
	if soon := time.Now().Add(patience); deadline.IsZero() || soon.Before(deadline) {
		deadline = soon
	}
	s, ok := firstIllegal(m, p.steps, p.states, deadline, memory)
	if !ok {
		return
	}
	p.proof = []int{s.op}
	p.why = fmt.Sprintf("no order of the operations explains %s; without it the history up to then can be explained", describe(h, s.op))
}

func summarise(h *history.History, m *model, parts []part, deadline time.Time, memory uint64) Result {
	res := Result{Claim: Linearizable, Verdict: Held, Key: -1}
	var broken, unknown []*part
	searched := 0
	for i := range parts {
		p := &parts[i]
		res.Verdict = Worst(res.Verdict, p.verdict)
		res.Violations += p.violations
		switch p.verdict {
		case Broken:
			broken = append(broken, p)
		case Unknown:
			unknown = append(unknown, p)
			continue
		}
		if !p.byZones {
			searched++
		}
		res.Checked += p.len()
	}
	name := func(p *part) string {
		if p.key < 0 {
			return ""
		}
		if s := h.KeyName(p.key); s != "" {
			return "key " + strconv.Quote(s) + ": "
		}
		return fmt.Sprintf("key %d: ", p.key)
	}
	switch res.Verdict {
	case Broken:
		p := broken[0]
		if !p.byZones {
			p.explain(h, m, deadline, memory)
		}
		res.Key, res.Ops = p.key, slices.Clone(p.proof)
		res.Reason = name(p) + p.why
		if len(broken) > 1 {
			res.Reason += fmt.Sprintf(" (and %s more keys are broken)", count(len(broken)-1))
		}
	case Unknown:
		p := unknown[0]
		res.Key = p.key
		res.Reason = fmt.Sprintf("%s%s; %s of %s keys were decided, and hold", name(p), p.why, count(len(parts)-len(unknown)), count(len(parts)))
		if p.key < 0 {
			res.Reason = p.why
		}
	default:
		res.Reason = fmt.Sprintf("%s on %s", plural(res.Checked, "operation"), plural(len(parts), "key"))
		if !m.perKey {
			res.Reason = plural(res.Checked, "operation")
		}
		if searched > 0 {
			res.Reason += ", decided by search"
		}
	}
	return res
}

// count prints a number with its thousands apart.
func count(n int) string {
	s := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	var parts []string
	for len(s) > 3 {
		parts = append(parts, s[len(s)-3:])
		s = s[:len(s)-3]
	}
	parts = append(parts, s)
	slices.Reverse(parts)
	return sign + strings.Join(parts, ",")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}
