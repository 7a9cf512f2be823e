package replica

import "fmt"

// MaxNodes is how many nodes a cluster can have: the coordinator keeps sets of
// nodes in one word.
const MaxNodes = 64

// Validate says which field of the configuration is wrong, and what would be
// right.
func (c *Config) Validate() error {
	switch {
	case c.Nodes < 1 || c.Nodes > MaxNodes:
		return fmt.Errorf("replica: Nodes is %d: set it to the size of the cluster, 1 to %d", c.Nodes, MaxNodes)
	case int64(c.ID) >= int64(c.Nodes):
		return fmt.Errorf("replica: ID is %d: the nodes of a cluster of %d are 0 to %d", c.ID, c.Nodes, c.Nodes-1)
	case c.N < 1 || c.N > c.Nodes:
		return fmt.Errorf("replica: N is %d: a cluster of %d nodes can have 1 to %d replicas of a key", c.N, c.Nodes, c.Nodes)
	case c.R < 1 || c.R > c.N:
		return fmt.Errorf("replica: R is %d: a read can wait for 1 to %d replicas", c.R, c.N)
	case c.W < 1 || c.W > c.N:
		return fmt.Errorf("replica: W is %d: a write can wait for 1 to %d replicas", c.W, c.N)
	case c.Protocol != Quorum && c.Protocol != CASPaxos:
		return fmt.Errorf("replica: Protocol is %d: set it to Quorum (%d) or CASPaxos (%d)", c.Protocol, Quorum, CASPaxos)
	case c.Protocol == CASPaxos && (c.R != c.majority() || c.W != c.majority()):
		return fmt.Errorf("replica: R is %d and W is %d: with CASPaxos both are the majority of N, %d", c.R, c.W, c.majority())
	case c.Stamps != WallClock && c.Stamps != Logical:
		return fmt.Errorf("replica: Stamps is %d: set it to WallClock (%d) or Logical (%d)", c.Stamps, WallClock, Logical)
	case c.ReadRepair > ReadRepairAsync:
		return fmt.Errorf("replica: ReadRepair is %d: set it to ReadRepairOff (%d) or ReadRepairAsync (%d)", c.ReadRepair, ReadRepairOff, ReadRepairAsync)
	case c.AntiEntropy < 0:
		return fmt.Errorf("replica: AntiEntropy is %v: set it to the time from one comparison to the next, for example 1s, or to 0 for none", c.AntiEntropy)
	case c.Protocol == CASPaxos && c.ReadRepair != ReadRepairOff:
		return fmt.Errorf("replica: ReadRepair is %s, and CASPaxos has none, since it would overwrite what a replica has promised: set it to off", c.ReadRepair)
	case c.Protocol == CASPaxos && c.AntiEntropy > 0:
		return fmt.Errorf("replica: AntiEntropy is %v, and CASPaxos has none, since it would overwrite what a replica has promised: set it to 0", c.AntiEntropy)
	case c.Timeout <= 0:
		return fmt.Errorf("replica: Timeout is %v: set it to how long a request may take, for example 1s", c.Timeout)
	case c.Retry <= 0:
		return fmt.Errorf("replica: Retry is %v: set it to a few round trips, for example 100ms", c.Retry)
	}
	return nil
}

// majority is the smallest number of replicas of which any two sets share one.
func (c *Config) majority() int { return c.N/2 + 1 }
