package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// ledger is what clients did to keys with Causal stamps, and what they saw.
type ledger struct {
	t     *testing.T
	seed  uint64
	now   int
	all   []*change
	byID  map[uint64]*change
	value map[string]*change
	// strict: quorums meet, so that gets have to be complete, too.
	strict bool
	known  map[string]sight // by client and key; client anyone is who was the last
	drawn  sight            // what the request that was drawn last has seen
	gone   map[string][]replaced
}

const anyone = -1

// replaced is what an acknowledged change has replaced.
type replaced struct {
	seen  Context
	acked int
}

// sight is what a client knows of a key.
type sight struct {
	context Context
	changes []*change
}

// change is a put or delete, or a get that is under way.
type change struct {
	key, value string
	op         Op
	over       []*change // what the client had seen
	by         []*change // those that have seen it
	began      int
	acked      int // when; 0: not
	refused    bool
}

func newLedger(t *testing.T, seed uint64) *ledger {
	return &ledger{t: t, seed: seed, byID: make(map[uint64]*change), value: make(map[string]*change), known: make(map[string]sight), gone: make(map[string][]replaced)}
}

func place(client int, key string) string { return fmt.Sprint(client, key) }

// draw gives a client's next request. Some write blindly.
func (l *ledger) draw(rng *rand.Rand, client int, key string) Request {
	l.now++
	q := Request{Op: Get, Key: key}
	l.drawn = l.known[place(client, key)]
	known := l.drawn.context
	switch rng.IntN(8) {
	case 0:
		if known != nil {
			q.Op, q.Context = Delete, known
		}
	case 1:
		q.Op, q.Value = Put, fmt.Append(nil, l.now)
	case 2, 3, 4:
		q.Op, q.Value, q.Context = Put, fmt.Append(nil, l.now), known
	}
	return q
}

func (l *ledger) begin(id uint64, client int, q Request) {
	l.now++
	x := &change{key: q.Key, value: string(q.Value), op: q.Op, began: l.now}
	l.byID[id] = x
	if q.Op == Get {
		return
	}
	l.all = append(l.all, x)
	if q.Op == Put {
		require.NotContains(l.t, l.value, x.value, "a value is put twice")
		l.value[x.value] = x
	}
	if q.Context != nil {
		x.over = l.drawn.changes
		for _, o := range x.over {
			o.by = append(o.by, x)
		}
	}
}

// reply takes a reply, and says whether the request was carried out.
func (l *ledger) reply(client int, q Request, p Reply) bool {
	l.now++
	x := l.byID[q.ID]
	if p.Err != nil {
		x.refused = p.Err.Definite
		return false
	}
	x.acked = l.now
	now := sight{p.Siblings.Context, nil}
	switch q.Op {
	case Get:
		now.changes = l.read(p.Siblings)
		if l.strict {
			l.complete(q.Key, now.changes, x.began, "a get that began after them")
			l.noneBack(q.Key, p.Siblings, x.began, "a get that began after it")
		}
	case Put:
		now.changes = append(slices.Clone(x.over), x)
	}
	if q.Op != Get {
		l.gone[q.Key] = append(l.gone[q.Key], replaced{q.Context, l.now})
	}
	if q.Op != Delete {
		l.known[place(client, q.Key)], l.known[place(anyone, q.Key)] = now, now
	}
	return true
}

// noneBack checks that nothing is there which an acknowledged change had replaced
// before a time.
func (l *ledger) noneBack(key string, s *Siblings, before int, where string) {
	for _, g := range l.gone[key] {
		for _, v := range s.Values {
			require.False(l.t, g.acked < before && g.seen.includes(v.Dot), "seed %d: %s=%s was replaced, and is back for %s", l.seed, key, v.Value, where)
		}
	}
}

// read gives the changes whose values these are.
func (l *ledger) read(s *Siblings) []*change {
	seen := []*change{}
	for _, v := range s.Values {
		x := l.value[string(v.Value)]
		require.NotNil(l.t, x, "seed %d: nobody has put %q", l.seed, v.Value)
		require.False(l.t, x.refused, "seed %d: the put of %q was refused for certain", l.seed, v.Value)
		seen = append(seen, x)
	}
	return seen
}

// complete checks that everything acknowledged before a time is among some
// changes, or was overwritten by someone who had seen it.
func (l *ledger) complete(key string, seen []*change, before int, where string) {
	there := make(map[*change]bool)
	for _, x := range seen {
		there[x] = true
	}
	var explained func(x *change) bool
	explained = func(x *change) bool {
		is, known := there[x]
		if known {
			return is
		}
		there[x] = false
		for _, y := range x.by {
			if !y.refused && (y.op == Delete || explained(y)) {
				there[x] = true
				return true
			}
		}
		return false
	}
	for _, x := range l.all {
		if x.op == Put && x.key == key && x.acked != 0 && x.acked < before {
			require.True(l.t, explained(x), "seed %d: %s=%s was acknowledged and is lost for %s", l.seed, key, x.value, where)
		}
	}
}
