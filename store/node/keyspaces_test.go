package node

import (
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/replica"
)

func TestKeyspaceRules(t *testing.T) {
	cfg := DefaultConfig()
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	cfg.RegisterFlags(f)
	require.NoError(t, f.Parse([]string{
		"--peers=a:1,b:1,c:1,d:1,e:1", "--n=3", "--r=1", "--w=3", "--write-back=false",
		"--keyspace=bank/ protocol=caspaxos", "--keyspace", "wide/  n=5", "--keyspace=wide/fast/ n=5 r=1 w=1 stamps=wall", "--keyspace=same/",
	}))
	require.NoError(t, cfg.Validate())
	d := cfg.withDefaults()
	core := d.replica()
	require.Equal(t, replica.Rules{N: 3, R: 1, W: 3, Stamps: replica.Logical}, core.Rules)
	require.Equal(t, []replica.Keyspace{
		{Prefix: "bank/", Rules: replica.Rules{Protocol: replica.CASPaxos, N: 3, R: 2, W: 2, Stamps: replica.Logical}},
		{Prefix: "same/", Rules: core.Rules},
		{Prefix: "wide/", Rules: replica.Rules{N: 5, R: 3, W: 3, Stamps: replica.Logical}},
		{Prefix: "wide/fast/", Rules: replica.Rules{N: 5, R: 1, W: 1, Stamps: replica.WallClock}},
	}, core.Keyspaces)
	require.Equal(t, time.Second, core.AntiEntropy)

	// The flags that make a configuration make the same again.
	again := DefaultConfig()
	f = pflag.NewFlagSet("", pflag.ContinueOnError)
	again.RegisterFlags(f)
	require.NoError(t, f.Parse(cfg.Args()))
	require.Equal(t, cfg, again)
	require.Contains(t, d.settings(), `keyspace="bank/"(n=3 protocol=caspaxos)`)

	for text, says := range map[string]string{
		"bank/ protocol=paxos":     `protocol cannot be "paxos"`,
		"bank/ fsync=false":        `"fsync=false" is no rule: write a prefix and then name=value, with the names n, protocol, r`,
		"bank/ n=3 n=5":            "n is there twice",
		"bank/ n=9":                `keyspace "bank/": N is 9`,
		"bank/ caspaxos":           `"caspaxos" is no rule`,
		"wide/ n=3":                `keyspace "wide/" is there twice`,
		"bank/ n=5 r=1 w=6":        "W is 6",
		"a/ protocol=caspaxos r=1": "with CASPaxos both are the majority",
	} {
		wrong := cfg
		wrong.Keyspaces = []Keyspace{{Prefix: "wide/"}}
		flag := keyspacesFlag{&wrong.Keyspaces}
		require.NoError(t, flag.Set(text))
		require.ErrorContains(t, wrong.Validate(), says, text)
	}
	require.ErrorContains(t, keyspacesFlag{&cfg.Keyspaces}.Set("n=3"), "names no prefix")
}

// One cluster, and three ways to keep a key.
func TestKeyspaces(t *testing.T) {
	c := startCluster(t, 5, true, func(c *Config) {
		c.N = 3
		c.Keyspaces = []Keyspace{{"bank/", "protocol=caspaxos"}, {"wide/", "n=5 w=5"}}
	})
	node := c.nodes[0].client
	ctx := within(t, 10*time.Second)
	_, err := node.CAS(ctx, "bank/a", nil, []byte("1"))
	require.NoError(t, err)
	_, err = node.CAS(ctx, "bank/a", []byte("2"), []byte("3"))
	_, mismatch := client.Mismatch(err)
	require.True(t, mismatch, "%v", err)
	_, err = node.CAS(ctx, "plain", nil, []byte("1"))
	require.ErrorContains(t, err, "use a keyspace with CASPaxos")
	_, err = node.Put(ctx, "plain", []byte("1"), client.W(4))
	require.ErrorContains(t, err, "a key has 3 replicas")
	_, err = node.Put(ctx, "wide/a", []byte("1"))
	require.NoError(t, err)
	for i, m := range c.nodes {
		held, err := m.client.Local(ctx, "wide/a")
		require.NoError(t, err)
		require.True(t, held[0].Found, "node %d", i)
		r, err := m.client.Get(ctx, "bank/a")
		require.NoError(t, err)
		require.Equal(t, "1", string(r.Value))
	}
}
