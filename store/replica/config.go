package replica

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxNodes is how many nodes a cluster can have: the coordinator keeps sets of
// nodes in one word.
const MaxNodes = 64

// Validate says which field of the configuration is wrong, and what would be
// right.
func (c *Config) Validate() error {
	switch {
	case c.Gossip < 0:
		return fmt.Errorf("replica: Gossip is %v: set it to a few round trips, for example 1s, or to 0 for a cluster whose nodes never change", c.Gossip)
	case c.Join && c.Gossip == 0:
		return errors.New("replica: Join is set and Gossip is 0: a node can only join a cluster whose nodes gossip")
	case c.Collect < 0:
		return fmt.Errorf("replica: Collect is %v: set it to the time from one collection of tombstones to the next, for example 1m, or to 0 to keep them", c.Collect)
	case c.Scrub < 0:
		return fmt.Errorf("replica: Scrub is %d: set it to how many records to read in a second, for example 1000, or to 0 for none", c.Scrub)
	case c.Collect > 0 && c.Gossip == 0:
		return errors.New("replica: Collect is set and Gossip is 0: tombstones can only be collected where the nodes gossip")
	case c.Join && c.ID >= MaxNodes:
		return fmt.Errorf("replica: ID is %d: the numbers of nodes are 0 to %d", c.ID, MaxNodes-1)
	case c.Join: // it learns who they are
	case c.Nodes < 1 || c.Nodes > MaxNodes:
		return fmt.Errorf("replica: Nodes is %d: set it to the size of the cluster, 1 to %d", c.Nodes, MaxNodes)
	case int64(c.ID) >= int64(c.Nodes):
		return fmt.Errorf("replica: ID is %d: the nodes of a cluster of %d are 0 to %d", c.ID, c.Nodes, c.Nodes-1)
	}
	switch {
	case c.AntiEntropy < 0:
		return fmt.Errorf("replica: AntiEntropy is %v: set it to the time from one comparison to the next, for example 1s, or to 0 for none", c.AntiEntropy)
	case c.AntiEntropy > 0 && !c.some(func(u *Rules) bool { return u.Protocol != CASPaxos }):
		return fmt.Errorf("replica: AntiEntropy is %v, and CASPaxos has none, since it would overwrite what a replica has promised: set it to 0", c.AntiEntropy)
	case c.Timeout <= 0:
		return fmt.Errorf("replica: Timeout is %v: set it to how long a request may take, for example 1s", c.Timeout)
	case c.Retry <= 0:
		return fmt.Errorf("replica: Retry is %v: set it to a few round trips, for example 100ms", c.Retry)
	}
	nodes := c.Nodes
	if c.Join {
		nodes = MaxNodes
	}
	if err := c.Rules.validate("replica", nodes); err != nil {
		return err
	}
	for i := range c.Keyspaces {
		k := &c.Keyspaces[i]
		if k.Prefix == "" {
			return fmt.Errorf("replica: Keyspaces[%d] has no Prefix: the rules of all other keys are those of the Config itself", i)
		}
		for _, other := range c.Keyspaces[:i] {
			if other.Prefix == k.Prefix {
				return fmt.Errorf("replica: keyspace %q is there twice: take one of them out", k.Prefix)
			}
		}
		if err := k.validate(fmt.Sprintf("replica: keyspace %q", k.Prefix), nodes); err != nil {
			return err
		}
	}
	return nil
}

// validate says which of the rules is wrong in a cluster of that many nodes, and
// what would be right; where begins the error.
func (u *Rules) validate(where string, nodes int) error {
	switch {
	case u.N < 1 || u.N > nodes:
		return fmt.Errorf("%s: N is %d: a cluster of %d nodes can have 1 to %d replicas of a key", where, u.N, nodes, nodes)
	case u.R < 1 || u.R > u.N:
		return fmt.Errorf("%s: R is %d: a read can wait for 1 to %d replicas", where, u.R, u.N)
	case u.W < 1 || u.W > u.N:
		return fmt.Errorf("%s: W is %d: a write can wait for 1 to %d replicas", where, u.W, u.N)
	case u.Protocol != Quorum && u.Protocol != CASPaxos:
		return fmt.Errorf("%s: Protocol is %d: set it to Quorum (%d) or CASPaxos (%d)", where, u.Protocol, Quorum, CASPaxos)
	case u.Protocol == CASPaxos && (u.R != u.majority() || u.W != u.majority()):
		return fmt.Errorf("%s: R is %d and W is %d: with CASPaxos both are the majority of N, %d", where, u.R, u.W, u.majority())
	case u.Stamps != WallClock && u.Stamps != Logical:
		return fmt.Errorf("%s: Stamps is %d: set it to WallClock (%d) or Logical (%d)", where, u.Stamps, WallClock, Logical)
	case u.ReadRepair > ReadRepairAsync:
		return fmt.Errorf("%s: ReadRepair is %d: set it to ReadRepairOff (%d) or ReadRepairAsync (%d)", where, u.ReadRepair, ReadRepairOff, ReadRepairAsync)
	case u.Protocol == CASPaxos && u.Sloppy:
		return fmt.Errorf("%s: with CASPaxos quorums cannot be Sloppy: its majorities are of a key's own replicas, or they would not meet", where)
	case u.Protocol == CASPaxos && u.ReadRepair != ReadRepairOff:
		return fmt.Errorf("%s: ReadRepair is %s, and CASPaxos has none, since it would overwrite what a replica has promised: set it to off", where, u.ReadRepair)
	}
	return nil
}

// some says whether a condition is true of any of the rules.
func (c *Config) some(is func(*Rules) bool) bool {
	if is(&c.Rules) {
		return true
	}
	for i := range c.Keyspaces {
		if is(&c.Keyspaces[i].Rules) {
			return true
		}
	}
	return false
}

// mostReplicas is the greatest N.
func (c *Config) mostReplicas() int {
	most := c.N
	for i := range c.Keyspaces {
		most = max(most, c.Keyspaces[i].N)
	}
	return most
}

// ownRules are those of the keys of this package.
var ownRules = Rules{Protocol: CASPaxos}

// rules gives the rules of a key.
func (c *Config) rules(key string) *Rules {
	if strings.HasPrefix(key, reserved) {
		return &ownRules
	}
	for i := range c.Keyspaces { // the longest prefix first, see New
		if strings.HasPrefix(key, c.Keyspaces[i].Prefix) {
			return &c.Keyspaces[i].Rules
		}
	}
	return &c.Rules
}

// settled is the configuration as rules needs it, and safe from later changes of
// the caller's.
func (c Config) settled() Config {
	c.Keyspaces = slices.Clone(c.Keyspaces)
	slices.SortFunc(c.Keyspaces, func(a, b Keyspace) int {
		return cmp.Or(cmp.Compare(len(b.Prefix), len(a.Prefix)), cmp.Compare(a.Prefix, b.Prefix))
	})
	return c
}

// majority is the smallest number of replicas of which any two sets share one.
func (u *Rules) majority() int { return u.N/2 + 1 }
