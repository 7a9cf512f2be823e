package harness

import (
	"context"
	"fmt"
)

// Reconfigurable is a System whose nodes can join and leave while it serves.
// Faults that change the members need it; see [World.Spares] and [World.Wipe]
// for what the world does.
type Reconfigurable interface {
	System
	// Reconfigure asks the node via to have the members changed. It returns
	// nil when the change is certain to come, be it through or not. The nodes
	// to be added are spares: it starts them with [World.Start] when the
	// system wants them. After an error it is called again, perhaps with
	// another via, and must not change anything a second time.
	Reconfigure(ctx context.Context, w World, via int, c Change) error
	// Members tells who belongs to the cluster, as one node sees it. It asks
	// no other node.
	Members(ctx context.Context, w World, node int) (Membership, error)
}

// Change is a change of the members, all of it at a time.
type Change struct {
	Add, Remove []int
	// Lost says that the removed nodes are gone and their disks with them:
	// nobody should wait for what only they had.
	Lost bool
}

// Membership is who belongs to a cluster.
type Membership struct {
	// Nodes are the members, ascending; while a change is under way those
	// that there are going to be. nil: the node knows of none.
	Nodes []int
	// Changing says that a change is under way: what belongs to the new
	// members need not be there yet.
	Changing bool
}

// A Reconfiguration is a Fault that changes the members. When it has been applied
// no client talks to the removed nodes any more, and when it was proved to be
// through clients talk to those that were added.
type Reconfiguration interface {
	Fault
	Change() Change
}

// CheckReconfigurable is what a world's Supports answers for [CanReconfigure].
func CheckReconfigurable(s System) error {
	if _, ok := s.(Reconfigurable); !ok {
		return fmt.Errorf("the members of %q cannot be changed: implement harness.Reconfigurable for it, or leave out the faults join, leave and replace", s.Name())
	}
	return nil
}
