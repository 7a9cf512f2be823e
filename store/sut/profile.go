package sut

import (
	"fmt"
	"strings"
	"time"

	"github.com/assay-chaos/assay/store/replica"
)

// Profile is a setting of the reference store that people use, with what they
// claim for it. The fields can be changed, and are checked by Validate.
type Profile struct {
	Name    string
	N, R, W int
	// Protocol is how replicas come to hold one value; with CASPaxos neither
	// Stamps nor WriteBack mean anything.
	Protocol replica.Protocol
	Stamps   replica.Stamps
	// WriteBack: a read stores what it is about to answer at W replicas.
	WriteBack bool
	// ReadRepair is what a read does for stale replicas after its answer.
	ReadRepair replica.ReadRepair
	// Sloppy: other nodes stand in for replicas that do not answer. It means
	// something on more than N nodes; Spare is how many more it should have.
	Sloppy bool
	Spare  int
	// AntiEntropy is how often a node compares its records with a peer; 0:
	// never.
	AntiEntropy time.Duration
	// Scrub is how many of its records a node reads in a second to find damaged
	// ones; 0: none.
	Scrub int
	// Fsync: nothing is acknowledged before it is durable. Otherwise the
	// operating system writes back when it likes.
	Fsync bool
	// Claim is what people say of it, which may be wrong.
	Claim string
	// Timeout is how long a node works on a request. It should be shorter
	// than the clients', so that they hear what is known of the outcome.
	// Retry is when a node sends a message again that was not answered.
	Timeout, Retry time.Duration

	read, write quorum // how R and W follow from N
}

// quorum is a number of replicas that depends on how many there are.
type quorum uint8

const (
	fixed quorum = iota // as the field says
	one
	majority
	all
)

// of gives the size of the quorum among n replicas.
func (q quorum) of(n, fixedSize int) int {
	switch q {
	case one:
		return 1
	case majority:
		return n/2 + 1
	case all:
		return n
	}
	return fixedSize
}

// antiEntropy is often enough that replicas agree within a second, and costs a
// small message for each node when they do.
const antiEntropy = 200 * time.Millisecond

// scrub is often enough that damage is found within a second or two, with the
// hundreds of keys that a simulated run has.
const scrub = 1000

var profiles = []Profile{
	{Name: "read-repair-only", read: one, write: one, Stamps: replica.WallClock, ReadRepair: replica.ReadRepairAsync, Fsync: true,
		Claim: "eventually consistent: reads repair"},
	{Name: "one-one", read: one, write: one, Stamps: replica.WallClock, AntiEntropy: antiEntropy, Fsync: true,
		Claim: "fast, and eventually consistent"},
	{Name: "read-one-write-all", read: one, write: all, Stamps: replica.Logical, AntiEntropy: antiEntropy, Fsync: true,
		Claim: "fast reads, strong consistency"},
	{Name: "write-one-read-all", read: all, write: one, Stamps: replica.Logical, AntiEntropy: antiEntropy, Fsync: true,
		Claim: "fast writes, strong reads"},
	{Name: "majority-lww", read: majority, write: majority, Stamps: replica.WallClock, AntiEntropy: antiEntropy, Fsync: true,
		Claim: "R+W>N, therefore strongly consistent"},
	{Name: "majority-lww-writeback", read: majority, write: majority, Stamps: replica.WallClock, WriteBack: true, AntiEntropy: antiEntropy, Fsync: true,
		Claim: "linearizable: quorums overlap and reads repair"},
	{Name: "sloppy-majority", read: majority, write: majority, Stamps: replica.WallClock, Sloppy: true, Spare: 2, AntiEntropy: antiEntropy, Fsync: true,
		Claim: "always writeable, and still R+W>N"},
	{Name: "majority-query-tag", read: majority, write: majority, Stamps: replica.Logical, AntiEntropy: antiEntropy, Fsync: true,
		Claim: "linearizable: no clocks, and quorums overlap"},
	{Name: "abd", read: majority, write: majority, Stamps: replica.Logical, WriteBack: true, AntiEntropy: antiEntropy, Fsync: true,
		Claim: "a linearizable register under crash, pause, any partition, any clock"},
	{Name: "abd-nofsync", read: majority, write: majority, Stamps: replica.Logical, WriteBack: true, AntiEntropy: antiEntropy,
		Claim: "replication makes fsync unnecessary"},
	{Name: "caspaxos", read: majority, write: majority, Protocol: replica.CASPaxos, Stamps: replica.Logical, Fsync: true,
		Claim: "a linearizable register with compare-and-set, under the same"},
}

// Profiles gives all profiles for three nodes, the weakest first.
func Profiles() []Profile {
	out := make([]Profile, len(profiles))
	for i, p := range profiles {
		p.Timeout, p.Retry = 500*time.Millisecond, 50*time.Millisecond
		p.Scrub = scrub
		out[i] = p.For(3)
	}
	return out
}

// ProfileByName gives one of Profiles.
func ProfileByName(name string) (Profile, error) {
	var names []string
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("unknown profile %q; there are: %s", name, strings.Join(names, ", "))
}

// For fits the profile to n replicas of a key: R and W keep their meaning (one,
// a majority, all). The cluster has at least that many nodes; with exactly as
// many every node holds every key. Set R or W afterwards to override them.
func (p Profile) For(n int) Profile {
	p.N = n
	p.R, p.W = p.read.of(n, p.R), p.write.of(n, p.W)
	return p
}

// Nodes is the smallest cluster that the profile can show on what is claimed for
// it.
func (p Profile) Nodes() int { return p.N + p.Spare }

// Logical says that versions are stamped with logical counters, not clocks.
func (p Profile) Logical() bool { return p.Stamps == replica.Logical }

// Agreed says that each change is agreed by a majority, see [replica.CASPaxos].
func (p Profile) Agreed() bool { return p.Protocol == replica.CASPaxos }

// Validate says what is wrong with the profile for a cluster of that many
// nodes, and what would be right.
func (p Profile) Validate(nodes int) error {
	cfg := p.config(0, nodes)
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("profile %s: %w", p.Name, err)
	}
	if nodes < p.Nodes() {
		return fmt.Errorf("profile %s: with %d replicas of a key on %d nodes nobody can stand in for them: take %d nodes, or fewer replicas", p.Name, p.N, nodes, p.Nodes())
	}
	return nil
}

// config is the configuration of one node.
func (p Profile) config(id, nodes int) replica.Config {
	return replica.Config{
		ID: replica.NodeID(id), Nodes: nodes,
		Rules: replica.Rules{
			Protocol: p.Protocol,
			N:        p.N, R: p.R, W: p.W,
			Stamps: p.Stamps, WriteBack: p.WriteBack,
			ReadRepair: p.ReadRepair,
			Sloppy:     p.Sloppy,
		},
		AntiEntropy: p.AntiEntropy,
		Scrub:       p.Scrub,
		Timeout:     p.Timeout, Retry: p.Retry,
	}
}
