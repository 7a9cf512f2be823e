package checkers

import (
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// Why one operation comes before another.
type Why uint8

const (
	// EndedBefore: it had ended when the other was called.
	EndedBefore Why = iota + 1
	// ReadsFrom: the other saw what it wrote.
	ReadsFrom
	// Replaced: it saw a value that the other replaced: the writer of that
	// value comes before the other.
	Replaced
	// Hidden: the other wrote what a reader saw that comes after both, so
	// nothing it wrote can have come in between.
	Hidden
)

// Initially stands for the initial state where an operation is expected.
const Initially = -1

// Precedence is one thing that is certain about the order of operations: where one
// is, in every order that explains what was seen.
type Precedence struct {
	Before, After int // places in History.Ops, Initially for the initial state
	Why           Why
	// Writer and Reader are what Replaced and Hidden rest on: the reader saw
	// the writer's value.
	Writer, Reader int
}

// mostContradicting bounds the operations that are looked at: the cost grows
// with their third power.
const mostContradicting = 100

// Contradiction shows why no order explains some operations of a history: each
// of the orders it gives is certain, and together they are a circle, in which
// the first operation comes before itself. It is nil where these rules do not
// find one: a value from nowhere needs none, and of values that several
// operations wrote nothing certain is known.
//
// The rules are those for histories in which it is known who wrote what was
// read (Gibbons and Korach, "Testing shared memories", 1997, and the
// anti-dependencies of Adya, "Weak consistency", 1999): of two writes the one
// that is before a reader of the other is before that other, and the one that
// is after it is after its readers.
func Contradiction(h *history.History, ops []int, opts Options) []Precedence {
	if len(ops) == 0 || len(ops) > mostContradicting {
		return nil
	}
	c := newContradiction(h, ops, opts)
	if c == nil {
		return nil
	}
	for {
		if circle := c.circle(); circle != nil {
			return circle
		}
		// What was replaced makes the plainer story, so it goes first.
		if !c.infer(Replaced) && !c.infer(Hidden) {
			return nil
		}
	}
}

// sight is an observation of which it is known where it comes from.
type sight struct {
	key            int32
	writer, reader int // nodes
}

// valueAt is a value of a register.
type valueAt struct {
	key   int32
	value history.Value
}

// contradiction is a graph of operations; node 0 is the initial state.
type contradiction struct {
	ops    []int
	edges  [][]Precedence // edges[from][to], Why 0 for none
	reach  [][]bool
	sights []sight
	writes []map[int32]bool // the keys that a node writes
}

func newContradiction(h *history.History, ops []int, opts Options) *contradiction {
	c := &contradiction{ops: []int{Initially}}
	g := &grounds{h: h, opts: opts}
	writers := make(map[valueAt][]int)
	c.writes = []map[int32]bool{{}}
	for _, i := range ops {
		o := &h.Ops[i]
		n := len(c.ops)
		wrote, matters := map[int32]bool{}, false
		g.touches(o, func(t touch) {
			c.writes[0][t.key] = true
			matters = matters || t.sees && o.Outcome != history.Info
			if t.writes && o.Outcome != history.Fail {
				matters = true
				wrote[t.key] = true
				writers[valueAt{t.key, t.wrote}] = append(writers[valueAt{t.key, t.wrote}], n)
			}
		})
		if matters {
			c.ops, c.writes = append(c.ops, i), append(c.writes, wrote)
		}
	}
	n := len(c.ops)
	c.edges = make([][]Precedence, n)
	for i := range c.edges {
		c.edges[i] = make([]Precedence, n)
	}
	for i := 1; i < n; i++ {
		c.edge(0, i, EndedBefore, 0, 0)
		for j := 1; j < n; j++ {
			if i != j && h.Ops[c.ops[i]].End() < h.Ops[c.ops[j]].Call {
				c.edge(i, j, EndedBefore, 0, 0)
			}
		}
	}
	// One of unknown outcome happened, and saw what it asks for, if what it
	// wrote was seen.
	happened := make([]bool, n)
	for r := 1; r < n; r++ {
		if h.Ops[c.ops[r]].Outcome != history.Info {
			c.look(r, g, writers, happened)
		}
	}
	return c
}

// look finds what an operation that happened saw, and whose.
func (c *contradiction) look(r int, g *grounds, writers map[valueAt][]int, happened []bool) {
	if happened[r] {
		return
	}
	happened[r] = true
	o := &g.h.Ops[c.ops[r]]
	g.touches(o, func(t touch) {
		if !t.sees || t.blind || t.whole {
			return
		}
		from := writers[valueAt{t.key, t.saw}]
		if t.saw == g.initial() {
			from = append([]int{0}, from...)
		}
		// A transaction sees what it wrote itself; nothing else does.
		if len(from) != 1 || from[0] == r && o.F == history.Transact {
			return
		}
		c.edge(from[0], r, ReadsFrom, 0, 0)
		c.sights = append(c.sights, sight{key: t.key, writer: from[0], reader: r})
		if from[0] != 0 {
			c.look(from[0], g, writers, happened)
		}
	})
}

func (c *contradiction) edge(from, to int, why Why, writer, reader int) {
	if c.edges[from][to].Why == 0 {
		c.edges[from][to] = Precedence{Before: c.ops[from], After: c.ops[to], Why: why, Writer: c.ops[writer], Reader: c.ops[reader]}
	}
}

// infer adds the orders that follow by one rule; false if there are none.
func (c *contradiction) infer(rule Why) bool {
	added := false
	for _, s := range c.sights {
		for x := range c.ops {
			if x == s.writer || x == s.reader || !c.writes[x][s.key] {
				continue
			}
			from, to := s.reader, x
			follows := c.reach[s.writer][x]
			if rule == Hidden {
				from, to = x, s.writer
				follows = c.reach[x][s.reader]
			}
			if follows && !c.reach[from][to] {
				c.edge(from, to, rule, s.writer, s.reader)
				added = true
			}
		}
	}
	return added
}

// circle gives a shortest circle, the operation that was called first in front;
// nil if there is none. It works out who reaches whom.
func (c *contradiction) circle() []Precedence {
	n := len(c.ops)
	c.reach = make([][]bool, n)
	var best []Precedence
	for start := range n {
		c.reach[start] = make([]bool, n)
		from := make([]int, n)
		queue := []int{start}
		for len(queue) > 0 {
			at := queue[0]
			queue = queue[1:]
			for to := range n {
				if c.edges[at][to].Why == 0 || c.reach[start][to] {
					continue
				}
				c.reach[start][to], from[to] = true, at
				queue = append(queue, to)
			}
		}
		if !c.reach[start][start] {
			continue
		}
		var circle []Precedence
		for at := start; ; {
			circle = append(circle, c.edges[from[at]][at])
			if at = from[at]; at == start {
				break
			}
		}
		slices.Reverse(circle)
		if best == nil || len(circle) < len(best) {
			best = circle
		}
	}
	return best
}
