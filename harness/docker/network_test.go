package docker

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSubnets(t *testing.T) {
	testing := netip.MustParsePrefix("198.18.0.0/15") // RFC 2544
	seen := map[netip.Prefix]bool{}
	for i := range subnetCount {
		p := subnet(i)
		require.False(t, seen[p])
		seen[p] = true
		require.True(t, testing.Overlaps(p))
		require.True(t, p.Contains(hostIn(p, firstHost+maxNodes-1)))
	}
	require.Equal(t, "198.19.7.12", hostIn(subnet(7), 12).String())
}

func TestIsOverlap(t *testing.T) {
	for text, want := range map[string]bool{
		"Error response from daemon: Pool overlaps with other one on this address space":                             true,
		"Error response from daemon: invalid pool request: Pool overlaps with other one on this address space":       true,
		"cannot create network 1 (br-1): conflicts with network 2 (br-2): networks have overlapping IPv4":            true,
		"Error response from daemon: network with name assay-1 already exists":                                       false,
		"could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network": true,
	} {
		require.Equal(t, want, isOverlap(errors.New(text)), text)
	}
}

func TestIsLocal(t *testing.T) {
	require.True(t, isLocal(netip.MustParseAddr("127.0.0.1")))
	require.False(t, isLocal(netip.MustParseAddr("192.0.2.1"))) // RFC 5737: nobody's
}
