package replica

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

// TestStories runs the scenarios in testdata. After a change that is meant,
// write the new stories with
//
//	go test ./store/replica -run TestStories -rewrite
//
// and read the difference.
//
// The commands:
//
//	cluster n= r= w= stamps=logical|wall write-back=on|off [nodes=] [retry=100ms]
//	        [read-repair=async] [anti-entropy=1s] [sloppy=on]
//	cluster n= protocol=caspaxos [nodes=] [retry=100ms]
//	put n0 k v, get n0 k, delete n0 k; with R= and W= for this request alone
//	cas n0 k old new             old: absent, for a key that must be absent
//	deliver [from=n0] [to=n1] [what=query]    what is in the network now, once,
//	                             in order
//	drop, duplicate              the same packets
//	sync n0                      makes the buffered writes durable
//	disk-fails n0 [reached=1]    they fail; so many reached the disk nevertheless
//	settle-network               deliver until nothing is on its way
//	settle                       deliver and sync until nothing moves
//	crash n0, restart n0
//	cut n0 n1                    nothing gets from these to the others and back,
//	                             until heal
//	seen n0 9                    n0 has met ballots up to 9 on other keys
//	damage n0 k                  spoils the record on the disk
//	comparisons [n0]             shows what anti-entropy has done, at every node
//	strays                       shows the state of the hand-off at every node
//	clock n0 +5s                 sets the wall clock off
//	wait 100ms                   lets time pass
//	run 1s                       the same, and settles every 50ms
//	network                      shows what is on its way
//	replicas k                   shows what every node holds
//
// A line of a story is a message as it arrives, a record as it becomes durable,
// or a client's answer.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var c *cluster
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "cluster" {
				c = storyCluster(t, d)
			} else {
				require.NotNil(t, c, "%s: begin with cluster", d.Pos)
				play(t, c, d)
			}
			return c.told()
		})
	})
}

func storyCluster(t *testing.T, d *datadriven.TestData) *cluster {
	cfg := Config{Timeout: time.Second, Retry: 100 * time.Millisecond}
	var protocol, stamps, writeBack string
	d.ScanArgs(t, "n", &cfg.N)
	cfg.Nodes = cfg.N
	d.MaybeScanArgs(t, "nodes", &cfg.Nodes)
	d.MaybeScanArgs(t, "protocol", &protocol)
	if protocol == "caspaxos" {
		nodes := cfg.Nodes
		cfg = caspaxos(cfg.N)
		cfg.Nodes, stamps = nodes, "logical"
	} else {
		d.ScanArgs(t, "r", &cfg.R)
		d.ScanArgs(t, "w", &cfg.W)
		d.ScanArgs(t, "stamps", &stamps)
		d.ScanArgs(t, "write-back", &writeBack)
	}
	var readRepair string
	d.MaybeScanArgs(t, "read-repair", &readRepair)
	if readRepair == ReadRepairAsync.String() {
		cfg.ReadRepair = ReadRepairAsync
	}
	sloppy := "off"
	d.MaybeScanArgs(t, "sloppy", &sloppy)
	cfg.Sloppy = sloppy == "on"
	antiEntropy := "0s"
	d.MaybeScanArgs(t, "anti-entropy", &antiEntropy)
	retry := cfg.Retry.String()
	d.MaybeScanArgs(t, "retry", &retry)
	cfg.WriteBack = writeBack == "on"
	if stamps == "logical" {
		cfg.Stamps = Logical
	}
	var err error
	cfg.Retry, err = time.ParseDuration(retry)
	require.NoError(t, err)
	cfg.AntiEntropy, err = time.ParseDuration(antiEntropy)
	require.NoError(t, err)
	c, err := newCluster(cfg)
	require.NoError(t, err)
	return c
}

// play runs one command of a story.
func play(t *testing.T, c *cluster, d *datadriven.TestData) {
	word := func(i int) string {
		require.Greater(t, len(d.CmdArgs), i, "%s: %s needs more arguments", d.Pos, d.Cmd)
		return d.CmdArgs[i].Key
	}
	node := func() *machine { return c.nodes[nodeNumber(t, word(0))] }
	switch d.Cmd {
	case "put", "get", "delete":
		q := Request{Op: map[string]Op{"put": Put, "get": Get, "delete": Delete}[d.Cmd], Key: word(1)}
		if q.Op == Put {
			q.Value = []byte(word(2))
		}
		d.MaybeScanArgs(t, "R", &q.R)
		d.MaybeScanArgs(t, "W", &q.W)
		c.ask(node(), q)
	case "cas":
		q := Request{Op: CAS, Key: word(1), Expect: []byte(word(2)), Value: []byte(word(3))}
		if word(2) == "absent" {
			q.Expect, q.ExpectAbsent = nil, true
		}
		c.ask(node(), q)
	case "deliver", "drop", "duplicate":
		move(t, c, d)
	case "sync":
		c.sync(node())
	case "disk-fails":
		reached := 0
		d.MaybeScanArgs(t, "reached", &reached)
		c.fail(node(), reached)
	case "settle-network":
		for len(c.network) > 0 {
			c.deliver(0)
		}
	case "settle":
		c.settle()
	case "crash":
		c.crash(node())
	case "restart":
		require.NoError(t, c.start(node()))
	case "cut":
		for _, arg := range d.CmdArgs {
			c.cut.add(nodeNumber(t, arg.Key))
		}
	case "heal":
		c.cut = 0
	case "damage":
		node().damage(word(1))
	case "seen":
		counter, err := strconv.ParseInt(word(1), 10, 64)
		require.NoError(t, err)
		node().core.see(Stamp{Counter: counter})
	case "comparisons":
		of := c.nodes
		if len(d.CmdArgs) > 0 {
			of = []*machine{node()}
		}
		for _, m := range of {
			c.tellf("n%d: %+v", m.id, m.core.RepairStats())
		}
	case "strays":
		for _, m := range c.nodes {
			if m.core != nil {
				c.tellf("n%d: %+v", m.id, m.core.HandoffStats())
			}
		}
	case "clock":
		skew, err := time.ParseDuration(word(1))
		require.NoError(t, err)
		node().skew = skew
	case "wait":
		by, err := time.ParseDuration(word(0))
		require.NoError(t, err)
		c.advance(by)
	case "run":
		by, err := time.ParseDuration(word(0))
		require.NoError(t, err)
		for end := c.mono + by; c.mono < end; {
			c.advance(50 * time.Millisecond)
			c.settle()
		}
	case "network":
		for _, p := range c.network {
			c.tellf("%s", c.packetText(p))
		}
	case "replicas":
		for _, m := range c.nodes {
			c.tellf("%s", c.replicaText(m, word(0)))
		}
	default:
		t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	}
}

// move delivers, drops or duplicates the packets that match from= and to=.
func move(t *testing.T, c *cluster, d *datadriven.TestData) {
	matches := func(p packet) bool { return true }
	for _, arg := range d.CmdArgs {
		also := matches
		if arg.Key == "what" {
			matches = func(p packet) bool { return strings.Fields(c.packetText(p))[1] == arg.Vals[0] && also(p) }
			continue
		}
		n := nodeNumber(t, arg.Vals[0])
		switch arg.Key {
		case "from":
			matches = func(p packet) bool { return p.from == n && also(p) }
		case "to":
			matches = func(p packet) bool { return p.to == n && also(p) }
		default:
			t.Fatalf("%s: unknown argument %s", d.Pos, arg.Key)
		}
	}
	var chosen, rest []packet
	for _, p := range c.network {
		if matches(p) {
			chosen = append(chosen, p)
		} else {
			rest = append(rest, p)
		}
	}
	require.NotEmpty(t, chosen, "%s: no such packet in the network", d.Pos)
	switch d.Cmd {
	case "deliver":
		// What the deliveries lead to queues up behind the rest.
		c.network = slices.Concat(chosen, rest)
		for range chosen {
			c.deliver(0)
		}
	case "drop":
		c.network = rest
		for _, p := range chosen {
			c.tellf("%s  (lost)", c.packetText(p))
		}
	case "duplicate":
		c.network = slices.Concat(c.network, chosen)
	}
}

func nodeNumber(t *testing.T, name string) NodeID {
	var n NodeID
	_, err := fmt.Sscanf(name, "n%d", &n)
	require.NoError(t, err, "a node is called n0, n1, …, not %q", name)
	return n
}

func (c *cluster) replicaText(m *machine, key string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "n%d: ", m.id)
	if m.core != nil && !m.core.placement.Holds(m.id, key) {
		s.WriteString("no replica of it, holds ")
	}
	if m.core == nil {
		fmt.Fprintf(&s, "down, on disk %s", c.heldText(m.disk[key]))
		if m.diskDamage[key] {
			s.WriteString(", damaged")
		}
		return s.String()
	}
	s.WriteString(c.heldText(m.view[key]))
	if held := c.heldText(m.disk[key]); held != c.heldText(m.view[key]) {
		fmt.Fprintf(&s, ", on disk %s", held)
	}
	if m.viewDamage[key] {
		s.WriteString(", damaged")
	}
	return s.String()
}
