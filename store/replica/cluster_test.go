package replica

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// cluster is a driver for several cores in one goroutine. Nothing happens by
// itself: messages lie in the network and writes in the disks' buffers until a
// test moves them. What happens is told in story.
type cluster struct {
	cfg     Config
	mono    time.Duration
	nodes   []*machine
	network []packet // in order of sending
	cut     nodeSet  // a side of a partition: no packet gets from or to the others
	lastReq uint64
	asked   map[uint64]Request // not answered yet
	quiet   bool               // tell no story
	story   strings.Builder
	onReply func(node NodeID, q Request, p Reply)
	onWrite func(m *machine, w Write)

	onDamage func(Damage)
}

type packet struct {
	from, to NodeID
	m        Message
}

// machine is one node: a core, and a disk that survives crashes.
type machine struct {
	id     NodeID
	core   *Replica // nil: down
	boot   uint64
	disk   map[string]Record // durable
	view   map[string]Record // what the core's Storage shows
	buffer []Write           // not durable yet
	seq    uint64            // ticket of the last in buffer
	skew   time.Duration
	broken error // Get fails with it
	join   bool  // it is no first member
	// The keys whose record is damaged, on the disk and in the view.
	diskDamage, viewDamage map[string]bool
}

func (m *machine) Get(key string) (Record, bool, error) {
	if m.broken != nil {
		return Record{}, false, m.broken
	}
	if m.viewDamage[key] {
		return Record{}, false, fmt.Errorf("key %s: %w", key, ErrCorrupt)
	}
	rec, ok := m.view[key]
	return rec, ok, nil
}

// damage spoils a record on a node's disk. While a newer one is under way, the
// view shows that.
func (m *machine) damage(key string) {
	m.diskDamage[key] = true
	for _, w := range m.buffer {
		if w.Key == key {
			return
		}
	}
	if m.core != nil {
		m.viewDamage[key] = true
	}
}

// keep applies a write.
func keep(records map[string]Record, w Write) {
	if w.Record.IsZero() {
		delete(records, w.Key)
		return
	}
	records[w.Key] = w.Record
}

// reach makes a write durable.
func (m *machine) reach(w Write) {
	keep(m.disk, w)
	delete(m.diskDamage, w.Key)
}

func (m *machine) Scan(from uint64, f func(string, Stamp, error) bool) error {
	if m.broken != nil {
		return m.broken
	}
	return scanMap(m.view, m.viewDamage, from, f)
}

// scanMap is Storage.Scan of a small map.
func scanMap(records map[string]Record, damaged map[string]bool, from uint64, f func(string, Stamp, error) bool) error {
	var keys []string
	for key := range records {
		if KeyHash(key) >= from {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(KeyHash(a), KeyHash(b)), cmp.Compare(a, b))
	})
	for _, key := range keys {
		stamp, err := records[key].Stamp, error(nil)
		if damaged[key] {
			stamp, err = Stamp{}, ErrCorrupt
		} else if records[key].IsZero() {
			continue
		}
		if !f(key, stamp, err) {
			break
		}
	}
	return nil
}

func newCluster(cfg Config) (*cluster, error) {
	c := &cluster{cfg: cfg, mono: time.Second, asked: make(map[uint64]Request)}
	for i := range cfg.Nodes {
		m := &machine{id: NodeID(i), disk: make(map[string]Record), diskDamage: make(map[string]bool)}
		c.nodes = append(c.nodes, m)
		if err := c.start(m); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// spare adds a machine that waits to be added to the cluster.
func (c *cluster) spare() (*machine, error) {
	m := &machine{id: NodeID(len(c.nodes)), disk: make(map[string]Record), diskDamage: make(map[string]bool), join: true}
	c.nodes = append(c.nodes, m)
	return m, c.start(m)
}

func (c *cluster) start(m *machine) error {
	cfg := c.cfg
	cfg.ID, cfg.Join = m.id, m.join
	m.boot++
	m.view = make(map[string]Record, len(m.disk))
	for k, rec := range m.disk {
		m.view[k] = rec
	}
	m.viewDamage = maps.Clone(m.diskDamage)
	core, err := New(cfg, m.boot, m)
	m.core = core
	return err
}

func (c *cluster) crash(m *machine) {
	m.core, m.view, m.buffer, m.seq = nil, nil, nil, 0
}

func (c *cluster) now(m *machine) Now {
	return Now{Mono: c.mono, Wall: int64(c.mono + m.skew)}
}

// carry carries out what an input to m has led to.
func (c *cluster) carry(m *machine) {
	out := m.core.Take()
	for _, w := range out.Writes {
		if c.onWrite != nil {
			c.onWrite(m, w)
		}
		keep(m.view, w)
		delete(m.viewDamage, w.Key)
		m.buffer = append(m.buffer, w)
	}
	m.seq = out.Seq
	for _, e := range out.Messages {
		c.network = append(c.network, packet{from: m.id, to: e.To, m: e.Message})
	}
	if out.View != nil {
		c.tellf("n%d view %d: %s", m.id, out.View.Epoch, out.View)
	}
	for _, d := range out.Damage {
		if c.onDamage != nil {
			c.onDamage(d)
		}
		switch {
		case d.Hopeless:
			c.tellf("n%d finds %s damaged, for good", m.id, d.Key)
		case !d.Repaired:
			c.tellf("n%d finds %s damaged", m.id, d.Key)
		case d.Stamp == Stamp{}:
			c.tellf("n%d repairs %s: nobody has it", m.id, d.Key)
		default:
			c.tellf("n%d repairs %s: %s", m.id, d.Key, c.stampText(d.Stamp))
		}
	}
	for _, p := range out.Replies {
		q := c.asked[p.ID]
		delete(c.asked, p.ID)
		c.tellf("n%d %s", m.id, c.replyText(q, p))
		if c.onReply != nil {
			c.onReply(m.id, q, p)
		}
	}
}

// request gives a client's request to a node.
func (c *cluster) request(m *machine, op Op, key, value string) uint64 {
	q := Request{Op: op, Key: key}
	if op == Put {
		q.Value = []byte(value)
	}
	return c.ask(m, q)
}

// ask is request with everything that can be said in one.
func (c *cluster) ask(m *machine, q Request) uint64 {
	c.lastReq++
	q.ID = c.lastReq
	c.asked[q.ID] = q
	m.core.Request(c.now(m), q)
	c.carry(m)
	return q.ID
}

// deliver takes packet i out of the network to its node.
func (c *cluster) deliver(i int) {
	p := c.network[i]
	c.network = slices.Delete(c.network, i, i+1)
	m := c.nodes[p.to]
	if c.cut.has(p.from) != c.cut.has(p.to) {
		c.tellf("%s  (lost)", c.packetText(p))
		return
	}
	if m.core == nil {
		c.tellf("%s  (n%d is down)", c.packetText(p), p.to)
		return
	}
	c.tellf("%s", c.packetText(p))
	m.core.Receive(c.now(m), p.from, p.m)
	c.carry(m)
}

// sync makes everything in a node's buffer durable.
func (c *cluster) sync(m *machine) { c.syncSome(m, len(m.buffer)) }

// syncSome makes the first n writes in a node's buffer durable.
func (c *cluster) syncSome(m *machine, n int) {
	seq := m.seq - uint64(len(m.buffer)-n)
	for _, w := range m.buffer[:n] {
		c.tellf("n%d disk %s %s", m.id, w.Key, c.heldText(w.Record))
		m.reach(w)
	}
	m.buffer = slices.Delete(m.buffer, 0, n)
	m.core.Persisted(c.now(m), seq)
	c.carry(m)
}

// fail makes what is in a node's buffer fail. The first n records have reached
// the disk nevertheless.
func (c *cluster) fail(m *machine, n int) {
	seq := m.seq
	for i, w := range m.buffer {
		if i < n {
			m.reach(w)
		}
		c.tellf("n%d disk fails: %s %s", m.id, w.Key, c.heldText(w.Record))
	}
	m.buffer = m.buffer[:0]
	m.core.Failed(c.now(m), seq, errTest)
	c.carry(m)
}

// reopen opens a node's storage again after what was in its buffer has failed.
func (c *cluster) reopen(m *machine) {
	m.view, m.viewDamage = maps.Clone(m.disk), maps.Clone(m.diskDamage)
	m.core.Reopened()
}

// advance lets time pass, and ticks every node whose deadline has come.
func (c *cluster) advance(d time.Duration) {
	for end := c.mono + d; ; {
		next := end
		for _, m := range c.nodes {
			if m.core != nil {
				if t := m.core.Deadline(); t != 0 {
					next = min(next, t)
				}
			}
		}
		c.mono = max(c.mono, next)
		ticked := false
		for _, m := range c.nodes {
			if m.core == nil {
				continue
			}
			if t := m.core.Deadline(); t != 0 && t <= c.mono {
				m.core.Tick(c.now(m))
				c.carry(m)
				ticked = true
			}
		}
		if !ticked && c.mono >= end {
			return
		}
	}
}

// settle delivers and syncs until nothing moves any more.
func (c *cluster) settle() {
	for moved := true; moved; {
		moved = false
		for len(c.network) > 0 {
			c.deliver(0)
			moved = true
		}
		for _, m := range c.nodes {
			if m.core != nil && len(m.buffer) > 0 {
				c.sync(m)
				moved = true
			}
		}
	}
}

func (c *cluster) tellf(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(&c.story, format+"\n", args...)
	}
}

// told gives the story since the last call.
func (c *cluster) told() string {
	s := c.story.String()
	c.story.Reset()
	return s
}

func (c *cluster) stampText(s Stamp) string {
	if c.cfg.Stamps == WallClock {
		return fmt.Sprintf("%v.%d.%d.%d", time.Duration(s.Counter), s.Node, s.Boot, s.Seq)
	}
	return s.String()
}

func (c *cluster) recordText(r Record) string {
	s := fmt.Sprintf("%s %q", c.stampText(r.Stamp), r.Value)
	switch {
	case r.Stamp == Stamp{}:
		s = "nothing"
	case r.Deleted:
		s = c.stampText(r.Stamp) + " deleted"
	}
	if b := r.ballots(); b.Accepted != (Stamp{}) {
		s += " under " + c.stampText(b.Accepted)
	}
	return s
}

// heldText is a record on disk, with what was promised.
func (c *cluster) heldText(r Record) string {
	if b := r.ballots(); b.Promise != b.Accepted {
		return c.recordText(r) + ", promised " + c.stampText(b.Promise)
	}
	return c.recordText(r)
}

func (c *cluster) packetText(p packet) string {
	m := p.m
	s := fmt.Sprintf("n%d→n%d ", p.from, p.to)
	switch m.Type {
	case MsgQuery:
		if m.TagOnly {
			return s + "query stamp of " + m.Key
		}
		return s + "query " + m.Key
	case MsgRecord:
		if m.TagOnly && !m.Record.IsZero() {
			return s + "record " + m.Key + " " + c.stampText(m.Record.Stamp)
		}
		return s + "record " + m.Key + " " + c.recordText(m.Record)
	case MsgStore:
		return s + "store " + m.Key + " " + c.recordText(m.Record)
	case MsgStored:
		return s + "stored " + m.Key
	case MsgRefuse:
		return s + "refuse " + m.Key
	case MsgVoid:
		return s + "void " + m.Key
	case MsgVoided:
		return s + "voided " + m.Key
	case MsgTree:
		// The digits that the hashes of the range have in common.
		from, to := fmt.Sprintf("%016x", m.Tree.From), fmt.Sprintf("%016x", m.Tree.To)
		if m.Tree.To == 0 {
			return s + "compare " + from[:m.Tree.Depth] + "…"
		}
		n := 0
		for n < len(to) && from[n] == to[n] {
			n++
		}
		return s + "list " + from[:n] + "…"
	case MsgSums:
		if len(m.Tree.Sums) == 0 {
			return s + "the same"
		}
		return s + "sums"
	case MsgKeys:
		s += "keys"
		for _, v := range m.Tree.Keys {
			s += " " + v.Key + " " + c.stampText(v.Stamp)
		}
		return s
	case MsgGossip:
		return s + "gossip"
	case MsgForget:
		return s + "forget " + m.Key + " " + c.stampText(m.Record.Stamp)
	case MsgView:
		return fmt.Sprintf("%sview %d: %s", s, m.View.Epoch, m.View)
	case MsgPrepare:
		return s + "prepare " + m.Key + " " + c.stampText(m.Record.ballots().Promise)
	case MsgPromise:
		return s + "promise " + m.Key + " " + c.stampText(m.Record.ballots().Promise) + ", holds " + c.recordText(m.Record)
	case MsgAccept:
		return s + "accept " + m.Key + " " + c.recordText(m.Record) + ", next " + c.stampText(m.Record.ballots().Promise)
	case MsgAccepted:
		return s + "accepted " + m.Key
	case MsgConflict:
		return s + "conflict " + m.Key + ", promised " + c.stampText(m.Record.ballots().Promise)
	}
	return s + "?"
}

func (c *cluster) replyText(q Request, p Reply) string {
	s := [...]string{Get: "get ", Put: "put ", Delete: "delete ", CAS: "cas ", Reconfigure: "reconfigure "}[q.Op] + q.Key
	switch {
	case q.Op == Reconfigure:
		s += changeText(q.Change)
	case q.Op == Put:
		s += fmt.Sprintf(" %q", q.Value)
	case q.ExpectAbsent:
		s += fmt.Sprintf(" absent %q", q.Value)
	case q.Op == CAS:
		s += fmt.Sprintf(" %q %q", q.Expect, q.Value)
	}
	switch {
	case p.Err != nil && p.Err.Code == CodeMismatch && !p.Found:
		return s + ": not done, it is absent"
	case p.Err != nil && p.Err.Code == CodeMismatch:
		return fmt.Sprintf("%s: not done, it is %s", s, c.recordText(Record{Stamp: p.Stamp, Value: p.Value}))
	case p.Err != nil && p.Err.Definite:
		return s + ": failed, not done: " + p.Err.Text
	case p.Err != nil:
		return s + ": failed, may be done: " + p.Err.Text
	case q.Op == Get && p.Stamp == Stamp{}:
		return fmt.Sprintf("%s: nothing, by %d", s, p.Reached)
	case q.Op == Get:
		return fmt.Sprintf("%s: %s, by %d", s, c.recordText(Record{Stamp: p.Stamp, Value: p.Value, Deleted: !p.Found}), p.Reached)
	}
	if q.Op == Reconfigure {
		return s + ": agreed"
	}
	return fmt.Sprintf("%s: ok %s, by %d", s, c.stampText(p.Stamp), p.Reached)
}

func changeText(ch *Change) string {
	s := "+" + numbers(ch.Add)
	for _, id := range ch.Remove {
		s += fmt.Sprintf(" -%d", id)
	}
	if ch.Lost {
		s += " lost"
	}
	return s
}
