package node

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/assay-chaos/assay/store/replica"
	"github.com/assay-chaos/assay/store/trust"
)

// Config is how one node of a cluster runs. Cluster, Peers and the settings
// from N to AntiEntropy must be the same at all nodes; a node refuses the
// messages of one that differs.
type Config struct {
	// ID is this node's place in Peers.
	ID int
	// Cluster names the cluster, so that nodes of two clusters which reach
	// each other by mistake do not mix.
	Cluster string
	// Peers are the host:port at which the nodes reach each other, by ID,
	// with this node's own. Empty: this node is the whole cluster.
	Peers []string
	// N, R and W are replicas of a key, answers a read waits for, durable
	// copies a write waits for. Zero means all nodes for N and a majority of
	// them for R and W.
	N, R, W int
	// Protocol is how replicas come to hold one value. With CASPaxos R and W
	// are majorities, Stamps and WriteBack mean nothing, and there is no
	// ReadRepair and no AntiEntropy.
	Protocol replica.Protocol
	// Stamps is where versions come from.
	Stamps replica.Stamps
	// WriteBack: a read stores what it is about to answer at W replicas.
	WriteBack bool
	// ReadRepair is what a read does, after its answer, for replicas that
	// answered with an older record.
	ReadRepair replica.ReadRepair
	// Sloppy: other nodes stand in for replicas of a key that do not answer,
	// and hand over later what they were given. It needs more nodes than N.
	Sloppy bool
	// AntiEntropy is the time from one comparison with a peer to the next; 0:
	// replicas are never compared; [AntiEntropyAuto]: as suits the Protocol.
	AntiEntropy time.Duration
	// Keyspaces are keys with settings of their own, by their prefix; the
	// longest that fits a key counts.
	Keyspaces []Keyspace
	// Gossip is how often a node tells another one who is alive and who belongs
	// to the cluster. With it nodes can be added and removed while the cluster
	// serves; without it they are Peers for good.
	Gossip time.Duration
	// Collect is the time from one collection of tombstones to the next, see
	// package replica; 0: deleted keys leave them for good. It needs Gossip.
	Collect time.Duration
	// Scrub is how many of its records the node reads in a second to find damaged
	// ones before a client does; 0: none.
	Scrub int
	// Join: this node is not among the first members. It waits with an empty
	// Dir until a member adds it, and needs no Peers.
	Join bool
	// Fsync: a write is acknowledged only when it is on disk. Without it a
	// killed node forgets its last writes.
	Fsync bool
	// Timeout bounds one request, Retry is the time after which a message
	// without answer is sent again.
	Timeout, Retry time.Duration
	// MaxInFlight bounds the requests that this node works on; more are
	// refused at once.
	MaxInFlight int
	// MaxInFlightBytes bounds the memory for what those requests bring and
	// for the answers about many local keys.
	MaxInFlightBytes int64
	// Dir is where the node keeps its data.
	Dir string
	// ListenPeer and ListenClient are the host:port to listen on for other
	// nodes and for clients.
	ListenPeer, ListenClient string
	// TLS are the certificates with which nodes and clients trust each other.
	// Without them whoever reaches the addresses can talk.
	TLS trust.Files
}

// AntiEntropyAuto is once a second, and never with CASPaxos, which cannot have
// anti-entropy. So a node that is only told its protocol gets what goes with it.
const AntiEntropyAuto time.Duration = math.MinInt64

// DefaultConfig gives a cluster of one node on loopback. With Peers set it
// gives an ABD register on majorities, the strongest setting.
func DefaultConfig() Config {
	return Config{
		Cluster:          "assay",
		Stamps:           replica.Logical,
		WriteBack:        true,
		AntiEntropy:      AntiEntropyAuto,
		Fsync:            true,
		Timeout:          time.Second,
		Retry:            100 * time.Millisecond,
		MaxInFlight:      1024,
		MaxInFlightBytes: 256 << 20,
		Dir:              "data",
		ListenPeer:       "127.0.0.1:7800",
		ListenClient:     "127.0.0.1:7801",
	}
}

// RegisterFlags binds the fields to flags, with their present values as
// defaults.
func (c *Config) RegisterFlags(f *pflag.FlagSet) {
	f.IntVar(&c.ID, "id", c.ID, "this node's place in --peers, from 0")
	f.StringVar(&c.Cluster, "cluster", c.Cluster, "name of the cluster")
	f.StringSliceVar(&c.Peers, "peers", c.Peers, "host:port of every node in order of id, this one included; none: a cluster of one")
	f.IntVar(&c.N, "n", c.N, "replicas of a key; 0: all nodes")
	f.IntVar(&c.R, "r", c.R, "answers a read waits for; 0: a majority")
	f.IntVar(&c.W, "w", c.W, "durable copies a write waits for; 0: a majority")
	f.Var((*protocolFlag)(&c.Protocol), "protocol", "how replicas come to hold one value: quorum (R and W replicas) or caspaxos (majorities; has compare-and-set)")
	f.Var((*stampsFlag)(&c.Stamps), "stamps", "where versions come from: wall (the clock, last writer wins) or logical (one above what R replicas know)")
	f.BoolVar(&c.WriteBack, "write-back", c.WriteBack, "a read stores what it answers at W replicas first")
	f.Var((*readRepairFlag)(&c.ReadRepair), "read-repair", "what a read does for replicas with older records: off, or async (sends them the newest one after the answer)")
	f.BoolVar(&c.Sloppy, "sloppy", c.Sloppy, "other nodes stand in for replicas that do not answer; needs more nodes than --n, and R+W>N no longer makes reads fresh")
	f.Var((*antiEntropyFlag)(&c.AntiEntropy), "anti-entropy", "time from one comparison of all records with a peer to the next; 0: never; auto: 1s, and never with caspaxos, which cannot have it")
	f.Var(keyspacesFlag{&c.Keyspaces}, "keyspace", "keys with settings of their own: their prefix, then name=value for protocol, n, r, w, stamps, write-back, read-repair and sloppy, for example 'bank/ protocol=caspaxos'; can be repeated")
	f.DurationVar(&c.Gossip, "gossip", c.Gossip, "how often a node tells another one who is alive and who belongs to the cluster, so that nodes can come and go; 0: the nodes are --peers for good")
	f.DurationVar(&c.Collect, "collect", c.Collect, "time from one collection of the tombstones of deleted keys to the next; needs --gossip, and all members alive; 0: they are kept")
	f.IntVar(&c.Scrub, "scrub", c.Scrub, "how many of its records a node reads in a second, all of them again and again, to find damaged ones before a client does; 0: none")
	f.BoolVar(&c.Join, "join", c.Join, "wait, with an empty --data, until a member of the cluster adds this node; needs no --peers")
	f.BoolVar(&c.Fsync, "fsync", c.Fsync, "acknowledge a write only when it is on disk; off: a killed node forgets its last writes")
	f.DurationVar(&c.Timeout, "timeout", c.Timeout, "how long a request may take")
	f.DurationVar(&c.Retry, "retry", c.Retry, "after which time a message without answer is sent again")
	f.IntVar(&c.MaxInFlight, "max-in-flight", c.MaxInFlight, "requests worked on at a time; more are refused")
	f.Int64Var(&c.MaxInFlightBytes, "max-in-flight-bytes", c.MaxInFlightBytes, "memory for what those requests bring, in bytes; more are refused")
	f.StringVar(&c.Dir, "data", c.Dir, "directory of the node's data")
	f.StringVar(&c.ListenPeer, "listen-peer", c.ListenPeer, "host:port to listen on for other nodes")
	f.StringVar(&c.ListenClient, "listen-client", c.ListenClient, "host:port to listen on for clients")
	f.StringVar(&c.TLS.CA, "tls-ca", c.TLS.CA, "PEM file of the authority whose nodes and clients are trusted; none: no TLS")
	f.StringVar(&c.TLS.Cert, "tls-cert", c.TLS.Cert, "PEM file of this node's certificate, for server and client authentication and this node's host in --peers")
	f.StringVar(&c.TLS.Key, "tls-key", c.TLS.Key, "PEM file of its private key")
}

// Args gives the flags that make this configuration, for whoever starts a node
// as a process.
func (c *Config) Args() []string {
	var args []string
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	copied := *c
	copied.RegisterFlags(f)
	f.VisitAll(func(f *pflag.Flag) {
		v := f.Value.String()
		switch f.Name {
		case "peers":
			v = strings.Join(c.Peers, ",") // the flag's own String puts brackets around it
		case "keyspace":
			for _, k := range c.Keyspaces {
				args = append(args, "--keyspace="+k.String())
			}
			return
		}
		args = append(args, "--"+f.Name+"="+v)
	})
	return args
}

// withDefaults fills in what is zero or auto.
func (c Config) withDefaults() Config {
	if len(c.Peers) == 0 && !c.Join {
		c.Peers = []string{c.ListenPeer}
	}
	if c.N == 0 {
		c.N = len(c.Peers)
	}
	if c.R == 0 {
		c.R = c.N/2 + 1
	}
	if c.W == 0 {
		c.W = c.N/2 + 1
	}
	if c.AntiEntropy == AntiEntropyAuto {
		c.AntiEntropy = time.Second
		if c.Protocol == replica.CASPaxos && !slices.ContainsFunc(c.Keyspaces, func(k Keyspace) bool {
			return strings.Contains(k.Rules, "protocol=quorum")
		}) {
			c.AntiEntropy = 0
		}
	}
	return c
}

// Validate says which field is wrong and what would be right. Zero fields that
// have a default are right, and so is AntiEntropyAuto.
func (c *Config) Validate() error {
	d := c.withDefaults()
	switch {
	case d.Cluster == "" || strings.ContainsFunc(d.Cluster, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("node: Cluster (--cluster) is %q: give a name of printable ASCII, the same at all nodes", d.Cluster)
	case d.Gossip < 0:
		return fmt.Errorf("node: Gossip (--gossip) is %v: give the time from one message to the next, for example 1s, or 0 for members that never change", d.Gossip)
	case d.Collect < 0:
		return fmt.Errorf("node: Collect (--collect) is %v: give the time from one collection of tombstones to the next, for example 1m, or 0 to keep them", d.Collect)
	case d.Collect > 0 && d.Gossip == 0:
		return errors.New("node: Collect (--collect) is set, and Gossip (--gossip) is 0: tombstones can only be collected where nodes gossip; give --gossip 1s, or leave --collect out")
	case d.Scrub < 0:
		return fmt.Errorf("node: Scrub (--scrub) is %d: give the number of records to read in a second, for example 1000, or 0 for none", d.Scrub)
	case d.Join && d.Gossip == 0:
		return errors.New("node: Join (--join) is set, and Gossip (--gossip) is 0: a node can only join a cluster whose nodes gossip; give the same as they have")
	case d.Join && len(d.Peers) > 0:
		return errors.New("node: Join (--join) and Peers (--peers) are both set: a node that joins learns who the others are; take --peers out")
	case d.Join && (d.ID < 0 || d.ID >= replica.MaxNodes):
		return fmt.Errorf("node: ID (--id) is %d: the numbers of nodes are 0 to %d", d.ID, replica.MaxNodes-1)
	case d.Join && c.N == 0:
		return errors.New("node: N (--n) is 0, and Join (--join) is set: say how many replicas a key has in the cluster")
	case d.Join:
	case d.ID < 0 || d.ID >= len(d.Peers):
		return fmt.Errorf("node: ID (--id) is %d, and Peers (--peers) has %d addresses: give this node's place in it, from 0", d.ID, len(d.Peers))
	}
	switch {
	case d.Dir == "":
		return errors.New("node: Dir (--data) is empty: give a directory for the node's data")
	case d.ListenPeer == "":
		return errors.New("node: ListenPeer (--listen-peer) is empty: give the host:port to listen on for other nodes")
	case d.ListenClient == "":
		return errors.New("node: ListenClient (--listen-client) is empty: give the host:port to listen on for clients")
	case d.MaxInFlight < 1:
		return fmt.Errorf("node: MaxInFlight (--max-in-flight) is %d: allow at least one request", d.MaxInFlight)
	case d.MaxInFlightBytes < maxQuestion+maxAnswer:
		return fmt.Errorf("node: MaxInFlightBytes (--max-in-flight-bytes) is %d: allow at least %d, the cost of one question about many local keys", d.MaxInFlightBytes, maxQuestion+maxAnswer)
	}
	if err := d.TLS.Validate(); err != nil {
		return fmt.Errorf("node: TLS (--tls-ca, --tls-cert, --tls-key): %w", err)
	}
	seen := make(map[string]int)
	for i, p := range d.Peers {
		if p == "" {
			return fmt.Errorf("node: address %d in Peers (--peers) is empty: give its host:port", i)
		}
		if j, ok := seen[p]; ok {
			return fmt.Errorf("node: Peers (--peers) has %s for nodes %d and %d: every node has its own", p, j, i)
		}
		seen[p] = i
	}
	if _, err := d.keyspaces(); err != nil {
		return err
	}
	core := d.replica()
	if err := core.Validate(); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	return nil
}

// replica is the protocol core's part of a configuration that has its defaults,
// and whose keyspaces are right.
func (c *Config) replica() replica.Config {
	keyspaces, _ := c.keyspaces()
	return replica.Config{
		ID:          replica.NodeID(c.ID),
		Nodes:       len(c.Peers),
		Rules:       c.rules(),
		Keyspaces:   keyspaces,
		Gossip:      c.Gossip,
		Collect:     c.Collect,
		Scrub:       c.Scrub,
		Addrs:       c.Peers,
		Join:        c.Join,
		AntiEntropy: c.AntiEntropy,
		Timeout:     c.Timeout,
		Retry:       c.Retry,
	}
}

// settings is what all nodes must agree on, in words that show a difference.
func (c *Config) settings() string {
	text := fmt.Sprintf("nodes=%d ", len(c.Peers))
	if c.Gossip > 0 { // nodes come and go
		text = fmt.Sprintf("gossip=%s ", c.Gossip)
	}
	if c.Collect > 0 {
		text += fmt.Sprintf("collect=%s ", c.Collect)
	}
	own := c.rules()
	text += rulesText(&own)
	keyspaces, _ := c.keyspaces()
	if own.Protocol != replica.CASPaxos || len(keyspaces) > 0 {
		text += " anti-entropy=" + c.AntiEntropy.String()
	}
	for i := range keyspaces {
		text += fmt.Sprintf(" keyspace=%q(%s)", keyspaces[i].Prefix, rulesText(&keyspaces[i].Rules))
	}
	return text
}

func rulesText(u *replica.Rules) string {
	if u.Protocol == replica.CASPaxos { // the rest means nothing, or has one value
		return fmt.Sprintf("n=%d protocol=caspaxos", u.N)
	}
	return fmt.Sprintf("n=%d r=%d w=%d stamps=%s write-back=%t read-repair=%s sloppy=%t", u.N, u.R, u.W, (*stampsFlag)(&u.Stamps), u.WriteBack, u.ReadRepair, u.Sloppy)
}

// stampsFlag is replica.Stamps as a flag.
type stampsFlag replica.Stamps

func (s *stampsFlag) String() string {
	switch replica.Stamps(*s) {
	case replica.WallClock:
		return "wall"
	case replica.Logical:
		return "logical"
	}
	return strconv.Itoa(int(*s))
}

func (s *stampsFlag) Set(text string) error {
	switch text {
	case "wall":
		*s = stampsFlag(replica.WallClock)
	case "logical":
		*s = stampsFlag(replica.Logical)
	default:
		return fmt.Errorf("%q is neither wall nor logical", text)
	}
	return nil
}

func (*stampsFlag) Type() string { return "wall|logical" }

// protocolFlag is replica.Protocol as a flag.
type protocolFlag replica.Protocol

func (p *protocolFlag) String() string {
	switch replica.Protocol(*p) {
	case replica.Quorum:
		return "quorum"
	case replica.CASPaxos:
		return "caspaxos"
	}
	return strconv.Itoa(int(*p))
}

func (p *protocolFlag) Set(text string) error {
	switch text {
	case "quorum":
		*p = protocolFlag(replica.Quorum)
	case "caspaxos":
		*p = protocolFlag(replica.CASPaxos)
	default:
		return fmt.Errorf("%q is neither quorum nor caspaxos", text)
	}
	return nil
}

func (*protocolFlag) Type() string { return "quorum|caspaxos" }

// readRepairFlag is replica.ReadRepair as a flag.
type readRepairFlag replica.ReadRepair

func (r *readRepairFlag) String() string { return replica.ReadRepair(*r).String() }

func (r *readRepairFlag) Set(text string) error {
	for _, v := range []replica.ReadRepair{replica.ReadRepairOff, replica.ReadRepairAsync} {
		if text == v.String() {
			*r = readRepairFlag(v)
			return nil
		}
	}
	return fmt.Errorf("%q is neither off nor async", text)
}

func (*readRepairFlag) Type() string { return "off|async" }

// antiEntropyFlag is Config.AntiEntropy as a flag.
type antiEntropyFlag time.Duration

func (a *antiEntropyFlag) String() string {
	if time.Duration(*a) == AntiEntropyAuto {
		return "auto"
	}
	return time.Duration(*a).String()
}

func (a *antiEntropyFlag) Set(text string) error {
	if text == "auto" {
		*a = antiEntropyFlag(AntiEntropyAuto)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is neither auto nor a number with its unit, for example 1s or 250ms", text)
	}
	*a = antiEntropyFlag(d)
	return nil
}

func (*antiEntropyFlag) Type() string { return "auto|duration" }
