package docker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"

	"github.com/docker/docker/api/types/network"

	"github.com/assay-chaos/assay/harness/docker/agent"
)

// Each run has a bridge network with a /24 of its own, as an engine gives
// static addresses only in networks with a chosen subnet. They come from the
// upper half of 198.18.0.0/15, which RFC 2544 sets aside for testing networks,
// so that they collide with no real one.
const (
	subnetBase  = "198.19.%d.0/24"
	subnetCount = 256
	firstHost   = 10 // node 0
)

func subnet(i int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf(subnetBase, i))
}

// hostIn gives the n-th address of a /24.
func hostIn(p netip.Prefix, n int) netip.Addr {
	a := p.Addr().As4()
	a[3] = byte(n)
	return netip.AddrFrom4(a)
}

// createNetwork makes the run's network in the first subnet that is free,
// starting anywhere, so that concurrent runs seldom try the same.
func (e *engine) createNetwork(ctx context.Context, name string, labels map[string]string) (used netip.Prefix, err error) {
	start := rand.IntN(subnetCount)
	for i := range subnetCount {
		p := subnet((start + i) % subnetCount)
		_, err = e.NetworkCreate(ctx, name, network.CreateOptions{
			Driver: "bridge",
			IPAM:   &network.IPAM{Driver: "default", Config: []network.IPAMConfig{{Subnet: p.String(), Gateway: hostIn(p, 1).String()}}},
			Labels: labels,
		})
		if err == nil {
			return p, nil
		}
		if !isOverlap(err) {
			break
		}
	}
	return netip.Prefix{}, fmt.Errorf("docker: create network %s: %w", name, err)
}

// isOverlap recognises the engines' texts for a subnet that is taken; they have
// no code of their own.
func isOverlap(err error) bool {
	text := err.Error()
	return strings.Contains(text, "overlap") || strings.Contains(text, "Address already in use") || strings.Contains(text, "conflicts with network")
}

// isLocal says whether this process lives in the engine's network namespace: it
// does if the bridge's own address is one of ours. Then nodes can be reached
// without the engine's port proxy, which is slower and, worse, accepts
// connections for a node that is down.
func isLocal(bridge netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(bridge.AsSlice()) {
			return true
		}
	}
	return false
}

// labels are what everything of a run carries.
func labels(run, role string) map[string]string {
	return map[string]string{agent.LabelRun: run, agent.LabelRole: role}
}
