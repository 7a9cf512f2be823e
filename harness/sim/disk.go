package sim

// Disk is the simulated disk of one node.
type Disk struct{}
