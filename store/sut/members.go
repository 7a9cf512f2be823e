package sut

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

var _ harness.Reconfigurable = (*System)(nil)

// Reconfigure has the members changed, of a cluster whose profile has Gossip.
func (s *System) Reconfigure(ctx context.Context, w harness.World, via int, c harness.Change) error {
	for _, n := range c.Add {
		if err := w.Start(ctx, n); err != nil {
			return err
		}
	}
	switch w := w.(type) {
	case *sim.World:
		return reconfigureSim(ctx, w, via, c)
	case *docker.World:
		return reconfigureHTTP(ctx, w, via, c)
	}
	return unknownWorld(w)
}

// Members tells who the members are in a node's view.
func (s *System) Members(ctx context.Context, w harness.World, node int) (harness.Membership, error) {
	switch w := w.(type) {
	case *sim.World:
		return membersSim(w, node)
	case *docker.World:
		return membersHTTP(ctx, w.Addr(node))
	}
	return harness.Membership{}, unknownWorld(w)
}

func reconfigureSim(ctx context.Context, w *sim.World, via int, c harness.Change) error {
	change := &replica.Change{Lost: c.Lost}
	for _, n := range c.Add {
		change.Add = append(change.Add, replica.Member{ID: replica.NodeID(n)})
	}
	for _, n := range c.Remove {
		change.Remove = append(change.Remove, replica.NodeID(n))
	}
	answer, err := w.Call(ctx, via, replica.Request{Op: replica.Reconfigure, Change: change})
	if err != nil {
		return err
	}
	p, ok := answer.(replica.Reply)
	if !ok {
		return fmt.Errorf("node %d answered with a %T", via, answer)
	}
	if p.Err != nil {
		return p.Err
	}
	return nil
}

func membersSim(w *sim.World, id int) (harness.Membership, error) {
	n, ok := w.Node(id).(*node)
	if !ok {
		return harness.Membership{}, fmt.Errorf("node %d: %w", id, errDown)
	}
	v := n.core.View()
	m := harness.Membership{Changing: v.Before != nil}
	for _, member := range v.Members {
		m.Nodes = append(m.Nodes, int(member.ID))
	}
	return m, nil
}

func reconfigureHTTP(ctx context.Context, w *docker.World, via int, c harness.Change) error {
	change := httpapi.Change{Lost: c.Lost}
	for _, n := range c.Add {
		addr := netip.AddrPortFrom(w.NodeAddr(n), peerPort)
		change.Add = append(change.Add, httpapi.NewMember{ID: uint32(n), Addr: addr.String()})
	}
	for _, n := range c.Remove {
		change.Remove = append(change.Remove, uint32(n))
	}
	node := client.New(w.Addr(via))
	defer node.Close()
	return node.Change(ctx, change)
}

func membersHTTP(ctx context.Context, addr string) (harness.Membership, error) {
	c := client.New(addr)
	defer c.Close()
	told, err := c.Members(ctx)
	m := harness.Membership{Changing: told.Changing}
	for _, one := range told.Members {
		if one.State != httpapi.MemberLeaves {
			m.Nodes = append(m.Nodes, int(one.ID))
		}
	}
	return m, err
}
