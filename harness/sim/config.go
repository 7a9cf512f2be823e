package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// Config describes a simulated world. Only System and Nodes must be set: the
// zero value of every other field is a sensible cluster in one machine room.
type Config struct {
	System System `json:"-"`
	Nodes  int
	// Spares is how many nodes may come later, see [harness.World].
	Spares int
	// Seed decides everything that is left to chance.
	Seed uint64
	Net  NetConfig
	Disk DiskConfig
	// Boot is how long a restart takes; by default 50 ms. The first boot
	// takes no time.
	Boot Latency
	// MaxAwait is how much virtual time one Await may take before it is
	// given up as stuck; by default an hour.
	MaxAwait time.Duration
	// Trace, when not nil, is told of everything that happens, in order. It
	// must not call the world.
	Trace func(Event) `json:"-"`
}

// NetConfig describes the network. Probabilities are of each message on its
// own.
type NetConfig struct {
	// Latency is of messages between two nodes; by default 0.5 ms, and
	// above 5 ms for one in a hundred.
	Latency Latency
	// Links are the directions whose latency differs.
	Links []LinkLatency
	// Client is the latency between a client and a node, each way; by
	// default 0.2 ms, and above 1 ms for one in a hundred. Nothing is lost
	// there, and no cut reaches it.
	Client Latency
	// Loss is the probability that a message between nodes is lost.
	Loss float64
	// Duplicate is the probability that a message arrives twice.
	Duplicate float64
	// InOrder keeps the messages of one direction in order, as one TCP
	// connection does: a late message holds up those behind it. Otherwise
	// each takes its own time, and they overtake each other.
	InOrder bool
	// Reorder is the probability that a message leaves the order that
	// InOrder keeps.
	Reorder float64
}

// LinkLatency is the latency of one direction between two nodes.
type LinkLatency struct {
	Link    harness.Link
	Latency Latency
}

// DiskConfig describes the disks.
type DiskConfig struct {
	// Sync is how long a Disk.Sync takes; by default 0.5 ms, and above 5 ms
	// for one in a hundred.
	Sync Latency
	// WriteBack is the age at which data is durable without a sync, as an
	// operating system writes its cache back; by default 5 s. Negative:
	// never.
	WriteBack time.Duration
	// KeepUnsynced keeps everything at a crash, as when the process dies and
	// the machine lives on. Otherwise a crash is a loss of power.
	KeepUnsynced bool
	// NoTornWrites makes a crash lose or keep each write as a whole.
	NoTornWrites bool
}

// withDefaults fills in what was left out and checks the rest.
func (c Config) withDefaults() (Config, error) {
	if c.System == nil {
		return c, errors.New("sim: Config.System is nil: name the system to simulate")
	}
	const most = 1 << 10
	if c.Nodes < 1 || c.Nodes > most {
		return c, fmt.Errorf("sim: Config.Nodes is %d: it must be from 1 to %d", c.Nodes, most)
	}
	if c.Spares < 0 || c.Nodes+c.Spares > most {
		return c, fmt.Errorf("sim: Config.Spares is %d: with %d nodes it must be from 0 to %d", c.Spares, c.Nodes, most-c.Nodes)
	}
	c.Net.Latency = c.Net.Latency.orDefault(Latency{Min: 50 * time.Microsecond, Median: 500 * time.Microsecond, P99: 5 * time.Millisecond})
	c.Net.Client = c.Net.Client.orDefault(Latency{Min: 50 * time.Microsecond, Median: 200 * time.Microsecond, P99: time.Millisecond})
	c.Disk.Sync = c.Disk.Sync.orDefault(Latency{Min: 100 * time.Microsecond, Median: 500 * time.Microsecond, P99: 5 * time.Millisecond})
	c.Boot = c.Boot.orDefault(Latency{Median: 50 * time.Millisecond})
	if c.Disk.WriteBack == 0 {
		c.Disk.WriteBack = 5 * time.Second
	}
	if c.MaxAwait == 0 {
		c.MaxAwait = time.Hour
	}
	if c.MaxAwait < 0 {
		return c, fmt.Errorf("sim: Config.MaxAwait is %v: it must not be negative", c.MaxAwait)
	}
	for _, p := range []struct {
		name string
		p    float64
	}{{"Loss", c.Net.Loss}, {"Duplicate", c.Net.Duplicate}, {"Reorder", c.Net.Reorder}} {
		if !(p.p >= 0 && p.p <= 1) {
			return c, fmt.Errorf("sim: Config.Net.%s is %v: a probability is from 0 to 1", p.name, p.p)
		}
	}
	if c.Net.Reorder > 0 && !c.Net.InOrder {
		return c, errors.New("sim: Config.Net.Reorder needs InOrder: without it messages keep no order that one could leave")
	}
	errs := []error{
		c.Net.Latency.validate("Config.Net.Latency"),
		c.Net.Client.validate("Config.Net.Client"),
		c.Disk.Sync.validate("Config.Disk.Sync"),
		c.Boot.validate("Config.Boot"),
	}
	for i, l := range c.Net.Links {
		field := fmt.Sprintf("Config.Net.Links[%d]", i)
		if err := checkLink(l.Link, c.Nodes+c.Spares); err != nil {
			errs = append(errs, fmt.Errorf("sim: %s: %w", field, err))
		}
		errs = append(errs, l.Latency.validate(field+".Latency"))
	}
	return c, errors.Join(errs...)
}

// checkLink says what is wrong with a link.
func checkLink(l harness.Link, nodes int) error {
	if l.From < 0 || l.From >= nodes || l.To < 0 || l.To >= nodes {
		return fmt.Errorf("link %d→%d: the nodes are 0 to %d", l.From, l.To, nodes-1)
	}
	if l.From == l.To {
		return fmt.Errorf("link %d→%d: a node has no link to itself", l.From, l.To)
	}
	return nil
}
