package node

import (
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/replica"
	"github.com/assay-chaos/assay/store/trust"
)

func TestArgsRoundTrip(t *testing.T) {
	for _, want := range []Config{
		DefaultConfig(),
		{
			ID: 1, Cluster: "c", Peers: []string{"10.0.0.1:1", "10.0.0.2:1"}, N: 2, R: 1, W: 2,
			Protocol: replica.CASPaxos, Stamps: replica.WallClock, WriteBack: false, Fsync: false,
			ReadRepair: replica.ReadRepairAsync, Sloppy: true, AntiEntropy: 250 * time.Millisecond,
			Timeout: 3 * time.Second, Retry: time.Millisecond, MaxInFlight: 7, MaxInFlightBytes: 9,
			TLS: trust.Files{CA: "ca", Cert: "c", Key: "k"},
			Dir: "/data dir", ListenPeer: ":1", ListenClient: ":2",
		},
	} {
		got := DefaultConfig()
		f := pflag.NewFlagSet("node", pflag.ContinueOnError)
		got.RegisterFlags(f)
		require.NoError(t, f.Parse(want.Args()))
		if len(got.Peers) == 0 {
			got.Peers = nil
		}
		require.Equal(t, want, got)
	}
}

func TestStampsFlag(t *testing.T) {
	c := DefaultConfig()
	f := pflag.NewFlagSet("node", pflag.ContinueOnError)
	c.RegisterFlags(f)
	require.ErrorContains(t, f.Parse([]string{"--stamps=sundial"}), "none of wall, logical and causal")
	require.ErrorContains(t, f.Parse([]string{"--read-repair=always"}), "neither off nor async")
	require.ErrorContains(t, f.Parse([]string{"--protocol=raft"}), "neither quorum nor caspaxos")
	require.ErrorContains(t, f.Parse([]string{"--anti-entropy=often"}), "neither auto nor a number with its unit")
}

// Anti-entropy is on where it can be, unless somebody says otherwise.
func TestAntiEntropyGoesWithTheProtocol(t *testing.T) {
	for _, test := range []struct {
		args []string
		want time.Duration
	}{
		{nil, time.Second},
		{[]string{"--protocol=caspaxos"}, 0},
		{[]string{"--anti-entropy=auto", "--protocol=caspaxos"}, 0},
		{[]string{"--anti-entropy=0", "--protocol=caspaxos"}, 0},
		{[]string{"--anti-entropy=0"}, 0},
		{[]string{"--anti-entropy=3s"}, 3 * time.Second},
	} {
		c := DefaultConfig()
		f := pflag.NewFlagSet("node", pflag.ContinueOnError)
		c.RegisterFlags(f)
		require.NoError(t, f.Parse(test.args))
		require.NoError(t, c.Validate(), test.args)
		require.Equal(t, test.want, c.withDefaults().AntiEntropy, test.args)
	}
	c := DefaultConfig()
	f := pflag.NewFlagSet("node", pflag.ContinueOnError)
	c.RegisterFlags(f)
	require.NoError(t, f.Parse([]string{"--protocol=caspaxos", "--anti-entropy=1s"}))
	require.ErrorContains(t, c.Validate(), "AntiEntropy is 1s, and CASPaxos has none")
}

// Every mistake is named, with the flag to change.
func TestValidate(t *testing.T) {
	c := DefaultConfig()
	require.NoError(t, c.Validate())
	for _, test := range []struct {
		change func(*Config)
		words  string
	}{
		{func(c *Config) { c.Cluster = "" }, "--cluster"},
		{func(c *Config) { c.Cluster = "a b" }, "--cluster"},
		{func(c *Config) { c.ID = 1 }, "--id"},
		{func(c *Config) { c.ID = -1 }, "--id"},
		{func(c *Config) { c.Dir = "" }, "--data"},
		{func(c *Config) { c.ListenPeer = "" }, "--listen-peer"},
		{func(c *Config) { c.ListenClient = "" }, "--listen-client"},
		{func(c *Config) { c.MaxInFlight = 0 }, "--max-in-flight"},
		{func(c *Config) { c.MaxInFlightBytes = 1 << 20 }, "--max-in-flight-bytes"},
		{func(c *Config) { c.TLS.CA = "ca.pem" }, "Cert is empty"},
		{func(c *Config) { c.Peers = []string{"a:1", ""} }, "address 1"},
		{func(c *Config) { c.Peers = []string{"a:1", "b:1", "a:1"} }, "nodes 0 and 2"},
		{func(c *Config) { c.Peers = []string{"a:1", "b:1"}; c.N = 3 }, "N is 3"},
		{func(c *Config) { c.R = 2 }, "R is 2"},
		{func(c *Config) { c.AntiEntropy = -1 }, "AntiEntropy is -1ns"},
		{func(c *Config) { c.Protocol, c.AntiEntropy = replica.CASPaxos, time.Second }, "AntiEntropy is 1s, and CASPaxos has none"},
		{func(c *Config) { c.Protocol, c.ReadRepair = replica.CASPaxos, replica.ReadRepairAsync }, "ReadRepair is async, and CASPaxos has none"},
		{func(c *Config) { c.W = -1 }, "W is -1"},
		{func(c *Config) { c.Timeout = 0 }, "Timeout is 0"},
		{func(c *Config) { c.Retry = 0 }, "Retry is 0"},
	} {
		c := DefaultConfig()
		test.change(&c)
		require.ErrorContains(t, c.Validate(), test.words)
		_, err := Open(c, nil)
		require.ErrorContains(t, err, test.words)
	}
}
