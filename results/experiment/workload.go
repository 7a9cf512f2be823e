package experiment

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/store/sut"
	"github.com/assay-chaos/assay/workloads"
)

// The workloads.
const (
	Register    = "register"
	CASRegister = "cas-register"
	Set         = "set"
	Counter     = "counter"
	Append      = "append"
	Bank        = "bank"
	Feed        = "feed"
	Balance     = "balance"
	Lock        = "lock"
	LockFenced  = "lock-fenced"
	Siblings    = "siblings"
)

// Workload is what clients can do in a run.
type Workload struct {
	Name string
	Doc  string // one line
	// Profile is the setting that it is run with if none is named; "" for the
	// workloads that are there to try settings.
	Profile string

	needsCAS  bool        // and cannot do without
	opsPerKey int         // 0: as for registers
	kinds     []history.F // what every phase has to have, a read first
	// claims are judged unless others are asked for; nil: what people claim of the
	// profile. also are those that can be judged beside them.
	claims, also []checkers.Claim
	// make gives the workload; blind says that the store has no compare-and-set.
	make func(s *Spec, o workloads.RegisterOptions, blind bool) workloads.Layered
	// use is how it uses a store with compare-and-set, and one without.
	use, blind claims.Use
	judge      func(o *checkers.JudgeOptions)
}

// opsPerKey is how many operations a key gets before the workload moves on
// from it. Keys that nobody touches any more show whether replicas converge by
// themselves; a key that is written to the end hides that they do not.
const opsPerKey = 100

func collection(make func(workloads.CollectionOptions) workloads.Layered) func(*Spec, workloads.RegisterOptions, bool) workloads.Layered {
	return func(_ *Spec, o workloads.RegisterOptions, blind bool) workloads.Layered {
		return make(workloads.CollectionOptions{RegisterOptions: o, Blind: blind})
	}
}

func lock(fenced bool) func(*Spec, workloads.RegisterOptions, bool) workloads.Layered {
	return func(s *Spec, o workloads.RegisterOptions, _ bool) workloads.Layered {
		// Half of the lease is how long the store works on a write.
		return workloads.Lock(workloads.LockOptions{RegisterOptions: o, Lease: s.OpTimeout, Fenced: fenced})
	}
}

func model(name string) func(*checkers.JudgeOptions) {
	return func(o *checkers.JudgeOptions) { o.Linearizable.Model = name }
}

// Workloads lists what clients can do.
func Workloads() []Workload {
	return []Workload{
		{Name: Register, Doc: "reads and writes of registers",
			// The model has all of the register's operations.
			kinds: []history.F{history.Read, history.Write}, judge: model(checkers.ModelCASRegister),
			make: func(_ *Spec, o workloads.RegisterOptions, _ bool) workloads.Layered {
				return workloads.Layered{Workload: workloads.Register(o)}
			}},
		{Name: CASRegister, Doc: "the same with compare-and-set", needsCAS: true,
			kinds: []history.F{history.Read, history.Write, history.CAS}, judge: model(checkers.ModelCASRegister),
			make: func(_ *Spec, o workloads.RegisterOptions, _ bool) workloads.Layered {
				return workloads.Layered{Workload: workloads.CASRegister(workloads.CASRegisterOptions{RegisterOptions: o})}
			}},
		{Name: Set, Doc: "elements join sets, which are read whole", Profile: "caspaxos",
			kinds: []history.F{history.ReadAll, history.Add}, judge: model(checkers.ModelSet),
			claims: []checkers.Claim{checkers.Linearizable, checkers.NoLostElements, checkers.Recovers},
			make:   collection(workloads.Set), use: claims.Changed, blind: claims.Blind},
		{Name: Counter, Doc: "counters are increased by one, and read", Profile: "caspaxos",
			kinds: []history.F{history.Read, history.Add}, judge: model(checkers.ModelCounter),
			claims: []checkers.Claim{checkers.Linearizable, checkers.Recovers, checkers.Counted},
			make:   collection(workloads.Counter), use: claims.Changed, blind: claims.Blind},
		{Name: Append, Doc: "elements join the ends of lists, which are read whole", Profile: "caspaxos",
			kinds: []history.F{history.ReadAll, history.Add}, judge: model(checkers.ModelList),
			claims: []checkers.Claim{checkers.Linearizable, checkers.NoLostElements, checkers.Recovers},
			make:   collection(workloads.Append), use: claims.Changed, blind: claims.Blind},
		{Name: Bank, Doc: "money moves between accounts, whose balances are read together", Profile: "caspaxos",
			kinds:  []history.F{history.ReadAll, history.Transfer},
			claims: []checkers.Claim{checkers.Linearizable, checkers.Recovers, checkers.Conserved},
			judge: func(o *checkers.JudgeOptions) {
				o.Linearizable.Model, o.Linearizable.Balances = checkers.ModelBank, workloads.BankOptions{}.Balances()
				for _, b := range o.Linearizable.Balances {
					o.Bank.Total += b
				}
			},
			make: func(_ *Spec, o workloads.RegisterOptions, blind bool) workloads.Layered {
				return workloads.Bank(workloads.BankOptions{RegisterOptions: o, Apart: blind})
			}, use: claims.Changed, blind: claims.Spread},
		{Name: Feed, Doc: "authors post to timelines, which followers read", Profile: "one-one", opsPerKey: 40,
			kinds: []history.F{history.ReadAll, history.Add}, judge: model(checkers.ModelSet),
			claims: []checkers.Claim{checkers.NoLostWrites, checkers.Converges, checkers.Recovers},
			also:   []checkers.Claim{checkers.Linearizable, checkers.Available, checkers.MonotonicReads},
			make: func(_ *Spec, o workloads.RegisterOptions, _ bool) workloads.Layered {
				return workloads.Feed(workloads.FeedOptions{RegisterOptions: o})
			}, use: claims.Posted, blind: claims.Posted},
		{Name: Balance, Doc: "an app shows balances from a cache, which opening the details refreshes", Profile: "abd",
			kinds:  []history.F{history.Read, history.Write},
			claims: []checkers.Claim{checkers.Converges, checkers.Recovers, checkers.ConvergesWhenRead},
			also:   []checkers.Claim{checkers.Linearizable, checkers.FreshReads},
			make: func(_ *Spec, o workloads.RegisterOptions, _ bool) workloads.Layered {
				return workloads.Balance(workloads.BalanceOptions{RegisterOptions: o})
			}, use: claims.Cached, blind: claims.Cached},
		{Name: Lock, Doc: "elements join lists under locks that are leases", Profile: "caspaxos", needsCAS: true,
			kinds: []history.F{history.ReadAll, history.Add}, judge: model(checkers.ModelList),
			claims: []checkers.Claim{checkers.Linearizable, checkers.NoLostElements}, also: []checkers.Claim{checkers.Recovers},
			make: lock(false), use: claims.Leased},
		{Name: LockFenced, Doc: "the same, and the lists refuse old fencing tokens", Profile: "caspaxos", needsCAS: true,
			kinds: []history.F{history.ReadAll, history.Add}, judge: model(checkers.ModelList),
			claims: []checkers.Claim{checkers.Linearizable, checkers.NoLostElements}, also: []checkers.Claim{checkers.Recovers},
			make: lock(true), use: claims.Fenced},
		{Name: Siblings, Doc: "all values of keys are read, and writes replace what was read", Profile: "causal-siblings",
			kinds:  []history.F{history.ReadAll, history.Write, history.Add},
			claims: []checkers.Claim{checkers.FreshReads, checkers.NoLostWrites, checkers.Converges, checkers.Recovers},
			also:   []checkers.Claim{checkers.Linearizable, checkers.Available},
			make: func(_ *Spec, o workloads.RegisterOptions, _ bool) workloads.Layered {
				return workloads.Layered{Workload: workloads.Siblings(workloads.SiblingsOptions{RegisterOptions: o})}
			}},
	}
}

// judgeable are the claims that can be judged of the workload, in the order of the
// matrix.
func (w *Workload) judgeable() []checkers.Claim {
	if w.claims == nil {
		return claims.Known()
	}
	return claims.Sorted(append(slices.Clone(w.claims), w.also...))
}

// Judged are the claims that a matrix judges of the run's workload, in their
// order.
func (s *Spec) Judged() []checkers.Claim {
	w, err := s.what()
	if err != nil || w.claims == nil {
		return claims.All()
	}
	return w.judgeable()
}

// CanJudge says whether a claim can be judged of the run's workload.
func (s *Spec) CanJudge(c checkers.Claim) bool {
	w, err := s.what()
	return err == nil && (c == checkers.Tested || slices.Contains(w.judgeable(), c))
}

// WorkloadByName gives one of Workloads.
func WorkloadByName(name string) (Workload, error) {
	var names []string
	for _, w := range Workloads() {
		if w.Name == name {
			return w, nil
		}
		names = append(names, w.Name)
	}
	return Workload{}, fmt.Errorf("unknown workload %q; there are: %s", name, strings.Join(names, ", "))
}

// workloadName is the workload that was asked for, or else the one that has all
// that the profile can do.
func (s *Spec) workloadName() string {
	if s.Workload != "" {
		return s.Workload
	}
	p, err := s.profile()
	switch {
	case err == nil && p.Agreed():
		return CASRegister
	case err == nil && p.Causal():
		return Siblings
	}
	return Register
}

// what is the workload of the run.
func (s *Spec) what() (Workload, error) { return WorkloadByName(s.workloadName()) }

// use is how the run's workload uses the store.
func (s *Spec) use(p sut.Profile) claims.Use {
	w, err := s.what()
	switch {
	case err != nil:
		return claims.Plain
	case p.Agreed():
		return w.use
	}
	return w.blind
}

// fits says whether the workload can be run on the profile, and what to take
// instead.
func (w *Workload) fits(s *Spec, p sut.Profile) error {
	if p.Causal() != (w.Name == Siblings) {
		return fmt.Errorf("workload %s does not fit profile %s: a key has several values with profile causal-siblings, and workload %s reads them all", w.Name, s.Profile, Siblings)
	}
	if w.needsCAS && !p.Agreed() {
		return fmt.Errorf("workload %s compares and sets, which profile %s cannot: take profile caspaxos, or workload %s", w.Name, s.Profile, Register)
	}
	if use := s.use(p); (use == claims.Spread || use == claims.Posted) && p.N != s.Nodes {
		return fmt.Errorf("workload %s on profile %s compares what several keys hold at each node, so every node has to hold them: take --n %d, or %d nodes", w.Name, s.Profile, s.Nodes, p.N)
	}
	return nil
}

// claimed gives the claims to judge: those that were asked for, or what people
// claim of the profile, as far as it is about what the workload does.
func (s *Spec) claimed() []checkers.Claim {
	if s.Claims != nil {
		return s.Claims
	}
	w, err := s.what()
	if err != nil || w.claims == nil {
		return claims.Claimed(s.Profile)
	}
	return slices.Clone(w.claims)
}

// workload is the workload with Keys keys in use at a time.
func (s *Spec) workload() (workloads.Layered, error) {
	w, err := s.what()
	if err != nil {
		return workloads.Layered{}, err
	}
	p, err := s.profile()
	if err != nil {
		return workloads.Layered{}, err
	}
	per := cmp.Or(w.opsPerKey, opsPerKey)
	keys := 1000
	if s.Rate > 0 {
		keys = min(int(s.Rate*s.Duration().Seconds())/per, 10_000)
	}
	o := workloads.RegisterOptions{Keys: keys + s.Keys, Window: s.Keys, OpsPerKey: per, Rate: s.Rate}
	made := w.make(s, o, !p.Agreed())
	if s.MaxOps > 0 {
		made.Workload.Generator = gen.Limit(s.MaxOps, made.Workload.Generator)
	}
	return made, nil
}

// judging says what the checkers should ask for, beyond their defaults.
func (s *Spec) judging() checkers.JudgeOptions {
	var o checkers.JudgeOptions
	// What no fault hinders succeeds; a loaded machine may delay one in a
	// hundred past its time limit.
	o.Availability.Default = 0.99
	if w, err := s.what(); err == nil {
		o.Tested.Kinds = slices.Clone(w.kinds)
		if w.judge != nil {
			w.judge(&o)
		}
	}
	o.Tested.MinFaults = s.minFaults()
	set, err := s.Setting()
	if err != nil {
		return o
	}
	// With more nodes than replicas it depends on the key what a side has of
	// it, unless other nodes stand in.
	if set.Nodes == set.N || set.Sloppy {
		o.Sides.Read, o.Sides.Write = set.NeedsRead(), set.NeedsWrite()
	}
	// The delays are filled in by the world that has them; see start.
	if slices.Contains(s.claimed(), checkers.BoundedStaleness) && !set.Agreed {
		o.Staleness.Model = &checkers.PBS{N: set.N, R: set.R, W: set.W, Seed: s.Seed}
	}
	return o
}
