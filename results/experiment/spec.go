// Package experiment puts one run together: the reference store with a
// profile, a workload, a nemesis and a world, from one [Spec]; runs it, has it
// judged, and leaves a run directory. The command, the matrix and the tests
// with containers all go through it.
//
// Nothing here decides what is right: stores, faults, checkers and worlds come
// from their own rooms.
package experiment

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/store/replica"
	"github.com/assay-chaos/assay/store/sut"
)

// The worlds.
const (
	Sim    = "sim"
	Docker = "docker"
)

// Spec is everything that decides a run. Together with the version of assay it
// decides a simulated run to the byte.
type Spec struct {
	World   string
	Profile string
	Nodes   int
	N, R, W int // 0: for N all nodes, for R and W as the profile says for that N
	// Workload is the name of one of Workloads; "": as fits the profile.
	Workload string
	Nemesis  string
	// Schedule is the fault schedule; nil to draw it from Seed and Nemesis.
	Schedule []harness.Episode
	Seed     uint64
	Clients  int
	Rate     float64 // operations a second in all; 0: as fast as they go
	Keys     int     // in use at a time, see opsPerKey
	MaxOps   int     // operations after which the clients stop; 0: no bound
	// PlainDelays makes every message and every sync of the simulator take the
	// same time, instead of some of them long.
	PlainDelays bool
	// Before, During and Recovery are the phases, see harness.Test.
	Before, During, Recovery time.Duration
	Settle, OpTimeout        time.Duration
	// Claims to judge; nil: what people claim of the profile.
	Claims []checkers.Claim
	Budget checkers.Budget // see trial.Options
	// StopOnViolation ends the load when linearizability is certainly broken.
	StopOnViolation bool
}

// Default is a spec that only lacks a profile.
func Default(world string) Spec {
	s := Spec{
		World:     world,
		Nodes:     3,
		Clients:   6,
		Rate:      500,
		Keys:      5,
		OpTimeout: time.Second,
		Settle:    5 * time.Second,
	}
	s.SetDuration(30 * time.Second)
	return s
}

// SetDuration divides the time of a whole run into its phases.
func (s *Spec) SetDuration(d time.Duration) {
	s.Before = d / 8
	s.Recovery = d / 4
	s.During = d - s.Before - s.Recovery
}

// Duration is the length of all phases.
func (s *Spec) Duration() time.Duration { return s.Before + s.During + s.Recovery }

// Setting is what theory needs to know of the configuration.
func (s *Spec) Setting() (claims.Setting, error) {
	p, err := s.profile()
	if err != nil {
		return claims.Setting{}, err
	}
	return claims.Setting{
		Nodes: s.Nodes, N: p.N, R: p.R, W: p.W, Agreed: p.Agreed(), Logical: p.Logical(), WriteBack: p.WriteBack, Fsync: p.Fsync,
		Causal: p.Causal(), AntiEntropy: p.AntiEntropy > 0, ReadRepair: p.ReadRepair != replica.ReadRepairOff,
		Scrub:  p.Scrub > 0,
		Sloppy: p.Sloppy, Use: s.use(p),
	}, nil
}

// Faults is what theory needs to know of the faults.
func (s *Spec) Faults() (claims.Faults, error) {
	specs, err := nemesis.Parse(s.Nemesis)
	if err != nil {
		return claims.Faults{}, err
	}
	return claims.FaultsOf(specs), nil
}

// profile is the profile with the spec's own numbers.
func (s *Spec) profile() (sut.Profile, error) {
	p, err := sut.ProfileByName(s.Profile)
	if err != nil {
		return sut.Profile{}, err
	}
	p = p.For(cmp.Or(s.N, s.Nodes))
	// The store gives up before its clients do, so that they hear what is
	// known of the outcome, and has sent everything again by then.
	p.Timeout = s.OpTimeout / 2
	p.Retry = p.Timeout / 10
	if s.hasFault(nemesis.Spec.Reconfigures) {
		// Often enough that the dead are known to be dead while a fault is
		// in force. Without need for it runs are as they would be without.
		p.Gossip = p.Timeout / 5
	}
	p.R, p.W = cmp.Or(s.R, p.R), cmp.Or(s.W, p.W)
	return p, nil
}

// hasFault says that the nemesis has such an entry.
func (s *Spec) hasFault(is func(nemesis.Spec) bool) bool {
	specs, err := nemesis.Parse(s.Nemesis)
	return err == nil && slices.ContainsFunc(specs, is)
}

// leaves says that a node leaves for good, and no other comes in its place.
func leaves(s nemesis.Spec) bool { return s.Kind == "leave" }

// MakeRoom adds nodes if the profile or the faults need more of them than there are
// replicas of a key, and leaves the number of replicas as it is. What Validate would
// refuse stays as it is too.
func (s *Spec) MakeRoom() {
	p, err := s.profile()
	if err != nil {
		return
	}
	need := p.Nodes()
	if s.hasFault(leaves) {
		need = max(need, p.N+1)
	}
	if s.Nodes < need {
		s.N, s.Nodes = p.N, need
	}
}

// Unfit says that the profile cannot do the workload.
func (s *Spec) Unfit() bool {
	w, err := s.what()
	if err != nil {
		return false
	}
	p, err := s.profile()
	return err == nil && w.fits(s, p) != nil
}

// Validate names the first field that makes no sense, and what would.
func (s *Spec) Validate() error {
	p, err := s.profile()
	if err != nil {
		return err
	}
	if _, err := nemesis.Parse(s.Nemesis); err != nil {
		return err
	}
	w, err := s.what()
	if err != nil {
		return err
	}
	switch {
	case s.World != Sim && s.World != Docker:
		return fmt.Errorf("unknown world %q; there are: %s, %s", s.World, Sim, Docker)
	case s.Nodes < 1 || s.Nodes > replica.MaxNodes:
		return fmt.Errorf("%d nodes: take 1 to %d", s.Nodes, replica.MaxNodes)
	case p.N < 1 || p.N > s.Nodes:
		return fmt.Errorf("%d replicas of a key on %d nodes: take 1 to %d", p.N, s.Nodes, s.Nodes)
	case s.Nodes == p.N && s.hasFault(leaves):
		return fmt.Errorf("%d replicas of a key on %d nodes: none of them can leave; take %d nodes, or fewer replicas", p.N, s.Nodes, s.Nodes+1)
	case s.Clients < 1 || s.Clients > 10_000:
		return fmt.Errorf("%d clients: take 1 to 10000", s.Clients)
	case s.Keys < 1:
		return fmt.Errorf("%d keys: take at least 1", s.Keys)
	case s.MaxOps < 0:
		return fmt.Errorf("at most %d operations: take 0 (no bound) or more", s.MaxOps)
	case s.PlainDelays && s.World != Sim:
		return fmt.Errorf("plain delays in the world %s: only those of %s can be chosen", s.World, Sim)
	case !(s.Rate >= 0):
		return fmt.Errorf("a rate of %v operations a second: take 0 (as fast as they go) or more", s.Rate)
	case s.Before <= 0 || s.During <= 0 || s.Recovery <= 0:
		return fmt.Errorf("a duration of %v leaves no room for the phases before, during and after the faults: take a longer one", s.Duration())
	case s.OpTimeout <= 0:
		return fmt.Errorf("an operation timeout of %v: take more than 0", s.OpTimeout)
	case s.StopOnViolation && !slices.Contains(s.claimed(), checkers.Linearizable):
		return fmt.Errorf("to stop at a violation of %s, it has to be among the claims", checkers.Linearizable)
	case len(s.claimed()) == 0:
		return fmt.Errorf("nobody claims anything of profile %q: name claims to judge", s.Profile)
	}
	for _, c := range s.Claims {
		if !s.CanJudge(c) {
			return fmt.Errorf("the claim %s cannot be judged of workload %s; these can: %s", c, w.Name, claims.List(w.judgeable()))
		}
	}
	if err := p.Validate(s.Nodes); err != nil {
		return err
	}
	return w.fits(s, p)
}

// minFaults is how many faults the run has to have: one of each kind asked for.
func (s *Spec) minFaults() int {
	specs, err := nemesis.Parse(s.Nemesis)
	if err != nil {
		return 0
	}
	return len(specs)
}

// predictFrom gives a model the delays that a simulated world was configured
// with.
func predictFrom(model *checkers.PBS, w *sim.World) {
	const quantiles = 1000
	link, client, sync := w.Delays(quantiles)
	model.Write, model.Ack, model.Read, model.Response = link, link, link, link
	model.Client, model.Disk = client, sync
	model.Source = "the simulator's delays"
}

// test makes the harness' test of it.
func (s *Spec) test(system harness.System) (harness.Test, error) {
	specs, err := nemesis.Parse(s.Nemesis)
	if err != nil {
		return harness.Test{}, err
	}
	w, err := s.workload()
	if err != nil {
		return harness.Test{}, err
	}
	faults := s.Schedule
	if faults == nil {
		if faults, err = nemesis.Schedule(s.Seed, specs, s.Nodes, s.During); err != nil {
			return harness.Test{}, err
		}
	}
	return harness.Test{
		Name:      s.Name(),
		Seed:      s.Seed,
		System:    w.Over(system),
		Workload:  w.Workload,
		Faults:    faults,
		Clients:   s.Clients,
		OpTimeout: s.OpTimeout,
		Before:    s.Before,
		During:    s.During,
		Recovery:  s.Recovery,
		Settle:    s.Settle,
		ReadBack:  s.readBack(),
	}, nil
}

// readBack is how keys on which replicas differ are read at the end, 0 if nobody
// asks what that does.
func (s *Spec) readBack() history.F {
	w, err := s.what()
	if err != nil || !slices.Contains(s.claimed(), checkers.ConvergesWhenRead) {
		return 0
	}
	return w.kinds[0]
}

// Name is a short name for the run, fit for a directory.
func (s *Spec) Name() string {
	faults := s.Nemesis
	if faults == "" {
		faults = "none"
	}
	faults = strings.NewReplacer(",", "+", ":", "-", " ", "").Replace(faults)
	name := s.Profile
	if w := s.unusual(); w != "" {
		name += "-" + w
	}
	return fmt.Sprintf("%s-%s-%s-%d", s.World, name, faults, s.Seed)
}

// unusual is the workload, if it is not the one that would be taken for the
// profile without being named.
func (s *Spec) unusual() string {
	named := s.workloadName()
	plain := *s
	plain.Workload = ""
	if plain.workloadName() == named {
		return ""
	}
	return named
}

// describe is what a run directory keeps of the spec beside the test.
func (s *Spec) describe(p sut.Profile) results.Test {
	return results.Test{
		World: s.World, Nodes: s.Nodes, Profile: s.Profile, Nemesis: s.Nemesis,
		N: p.N, R: p.R, W: p.W, Keys: s.Keys, Rate: s.Rate, Replay: s.Command(),
		MaxOps: s.MaxOps, PlainDelays: s.PlainDelays,
	}
}

// FromRecord is the spec that a run directory keeps, with the schedule as it
// was drawn then.
func FromRecord(t results.Test) (Spec, error) {
	s := Spec{
		World: t.World, Profile: t.Profile, Nodes: t.Nodes, N: t.N, R: t.R, W: t.W,
		Workload: t.Workload, Nemesis: t.Nemesis, Seed: t.Seed, Clients: t.Clients, Rate: t.Rate, Keys: t.Keys,
		Before: t.Before, During: t.During, Recovery: t.Recovery, Settle: t.Settle, OpTimeout: t.OpTimeout,
		Claims: slices.Clone(t.Claims), MaxOps: t.MaxOps, PlainDelays: t.PlainDelays, StopOnViolation: t.StopOnViolation,
	}
	if t.Schedule != nil {
		var err error
		if s.Schedule, err = nemesis.Decode(t.Schedule); err != nil {
			return s, err
		}
	}
	return s, s.Validate()
}

// Command is the words that run it again.
func (s *Spec) Command() []string {
	words := []string{"assay", "run", "--world", s.World, "--profile", s.Profile, "--seed", fmt.Sprint(s.Seed)}
	def := Default(s.World)
	if s.Nemesis != "" {
		words = append(words, "--nemesis", s.Nemesis)
	}
	add := func(flag string, value, def any) {
		if value != def {
			words = append(words, flag, fmt.Sprint(value))
		}
	}
	add("--duration", s.Duration(), def.Duration())
	add("--nodes", s.Nodes, def.Nodes)
	add("--workload", s.unusual(), "")
	add("--n", s.N, 0)
	add("--r", s.R, 0)
	add("--w", s.W, 0)
	add("--clients", s.Clients, def.Clients)
	add("--rate", s.Rate, def.Rate)
	add("--keys", s.Keys, def.Keys)
	add("--max-ops", s.MaxOps, 0)
	if s.PlainDelays {
		words = append(words, "--plain-delays")
	}
	add("--op-timeout", s.OpTimeout, def.OpTimeout)
	add("--settle", s.Settle, def.Settle)
	if s.StopOnViolation {
		words = append(words, "--stop-on-violation")
	}
	if s.Claims != nil {
		var names []string
		for _, c := range s.Claims {
			names = append(names, string(c))
		}
		words = append(words, "--claims", strings.Join(names, ","))
	}
	return words
}
