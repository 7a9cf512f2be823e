package checkers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// several makes a history of one key with several values. Each operation ends
// before the next one begins, but for those that take longer.
type several struct{ h history.History }

func newSeveral() *several {
	return &several{history.History{Keys: []string{"k"}, Errors: []string{""}}}
}

func (s *several) op(p int32, f history.F, v history.Value) *history.Op {
	at := int64(10 * (len(s.h.Ops) + 1))
	s.h.Ops = append(s.h.Ops, history.Op{Process: p, F: f, Arg: v, Out: history.Nil, Call: at, Return: at + 5, Outcome: history.OK})
	return &s.h.Ops[len(s.h.Ops)-1]
}

func (s *several) write(p int32, v history.Value) *history.Op { return s.op(p, history.Write, v) }

func (s *several) add(p int32, v history.Value) *history.Op { return s.op(p, history.Add, v) }

func (s *several) read(p int32, seen ...history.Value) *history.Op {
	o := s.op(p, history.ReadAll, 0)
	if len(seen) > 0 {
		o.Out = history.Value(len(s.h.Lists))
		s.h.Lists = append(s.h.Lists, seen)
	}
	return o
}

func holding(values ...history.Value) []harness.Replica {
	return []harness.Replica{{Present: len(values) > 0, Values: values}}
}

func TestLostSiblings(t *testing.T) {
	for _, c := range []struct {
		name     string
		history  func(s *several)
		replicas [][]harness.Replica
		want     Verdict
		lost     int
	}{
		{"all there", func(s *several) { s.write(1, 1); s.add(2, 2) }, [][]harness.Replica{holding(1, 2), holding(1, 2)}, Held, 0},
		{"each at one replica", func(s *several) { s.write(1, 1); s.add(2, 2) }, [][]harness.Replica{holding(1), holding(2)}, Held, 0},
		{"gone", func(s *several) { s.write(1, 1); s.add(2, 2) }, [][]harness.Replica{holding(2), holding(2)}, Broken, 1},
		{"nothing is left", func(s *several) { s.write(1, 1); s.add(2, 2) }, [][]harness.Replica{holding(), holding()}, Broken, 2},
		{"replaced by one who had seen it", func(s *several) { s.write(1, 1); s.read(2, 1); s.write(2, 2) }, [][]harness.Replica{holding(2)}, Held, 0},
		{"replaced by an add", func(s *several) { s.write(1, 1); s.read(2, 1); s.add(2, 2) }, [][]harness.Replica{holding(2)}, Broken, 1},
		{"replaced by one who had seen another", func(s *several) { s.write(1, 1); s.add(1, 3); s.read(2, 3); s.write(2, 2) }, [][]harness.Replica{holding(2)}, Broken, 1},
		{"replaced by one who had seen it, and then that it was gone", func(s *several) { s.write(1, 1); s.read(2, 1); s.read(2); s.write(2, 2) }, [][]harness.Replica{holding(2)}, Broken, 1},
		{"what another process had seen does not count", func(s *several) { s.write(1, 1); s.read(3, 1); s.write(2, 2) }, [][]harness.Replica{holding(2)}, Broken, 1},
		{"replaced twice", func(s *several) { s.write(1, 1); s.read(2, 1); s.write(2, 2); s.read(1, 2); s.write(1, 3) }, [][]harness.Replica{holding(3)}, Held, 0},
		{"replaced by a write that is gone", func(s *several) { s.write(1, 1); s.read(2, 1); s.write(2, 2) }, [][]harness.Replica{holding()}, Broken, 2},
		{"replaced by one of unknown outcome that is there", func(s *several) { s.write(1, 1); s.read(2, 1); s.write(2, 2).Outcome = history.Info }, [][]harness.Replica{holding(2)}, Held, 0},
		{"one of unknown outcome that is not there is no excuse", func(s *several) { s.write(1, 1); s.read(2, 1); s.write(2, 2).Outcome = history.Info }, [][]harness.Replica{holding()}, Broken, 1},
		{"nor is one that failed", func(s *several) { s.write(1, 1); s.read(2, 1); s.write(2, 2).Outcome = history.Fail }, [][]harness.Replica{holding(2)}, Broken, 1},
		{"deleted by one who had seen it", func(s *several) { s.write(1, 1); s.read(2, 1); s.op(2, history.Delete, 0) }, [][]harness.Replica{holding()}, Held, 0},
		{"deleted, perhaps", func(s *several) { s.write(1, 1); s.read(2, 1); s.op(2, history.Delete, 0).Outcome = history.Info }, [][]harness.Replica{holding()}, Held, 0},
		{"deleted by one who had not", func(s *several) { s.write(1, 1); s.read(2); s.op(2, history.Delete, 0) }, [][]harness.Replica{holding()}, Broken, 1},
		{"a replica could not be read", func(s *several) { s.write(1, 1); s.read(2) }, [][]harness.Replica{holding(), nil}, Unknown, 1},
		{"no replica could be read", func(s *several) { s.write(1, 1); s.read(2) }, [][]harness.Replica{nil, nil}, Unknown, 0},
		{"a replica is elsewhere", func(s *several) { s.write(1, 1); s.read(2) }, [][]harness.Replica{holding(1), {{Elsewhere: true}}}, Held, 0},
		{"a value is written twice", func(s *several) { s.write(1, 1); s.write(2, 1) }, [][]harness.Replica{holding(1)}, Unknown, 0},
		{"nothing was acknowledged", func(s *several) { s.write(1, 1).Outcome = history.Info }, [][]harness.Replica{holding(1)}, Unknown, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSeveral()
			c.history(s)
			s.read(9) // so that it is a history of this kind
			require.NoError(t, s.h.Validate())
			r := NoLostWritesWith(DurabilityOptions{})(Input{History: &s.h, Replicas: c.replicas}, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.Equal(t, c.lost, r.Violations, r.Reason)
			require.NotEmpty(t, r.Reason)
		})
	}
}

func TestFreshSiblings(t *testing.T) {
	for _, c := range []struct {
		name    string
		history func(s *several)
		want    Verdict
		stale   int
	}{
		{"seen", func(s *several) { s.write(1, 1); s.add(2, 2); s.read(3, 1, 2) }, Held, 0},
		{"missed", func(s *several) { s.write(1, 1); s.add(2, 2); s.read(3, 2) }, Broken, 1},
		{"missed by two", func(s *several) { s.write(1, 1); s.read(3); s.read(4) }, Broken, 2},
		{"under way", func(s *several) { s.write(1, 1).Return = 25; s.read(3) }, Held, 0},
		{"of unknown outcome", func(s *several) { s.write(1, 1).Outcome = history.Info; s.read(3) }, Held, 0},
		{"replaced", func(s *several) { s.write(1, 1); s.read(2, 1); s.write(2, 2); s.read(3, 2) }, Held, 0},
		{"one that is replaced is seen again", func(s *several) { s.write(1, 1); s.read(2, 1); s.write(2, 2); s.read(3, 1) }, Broken, 1},
		{"deleted", func(s *several) { s.write(1, 1); s.read(2, 1); s.op(2, history.Delete, 0); s.read(3) }, Held, 0},
		{"deleted later", func(s *several) { s.write(1, 1); s.read(2, 1); s.read(3); s.op(2, history.Delete, 0) }, Broken, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSeveral()
			c.history(s)
			require.NoError(t, s.h.Validate())
			r := FreshReadsWith(Options{})(Input{History: &s.h}, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.Equal(t, c.stale, r.Violations, r.Reason)
		})
	}
}

func TestLinearizableSiblings(t *testing.T) {
	judge := func(f func(s *several)) Result {
		s := newSeveral()
		f(s)
		require.NoError(t, s.h.Validate())
		return LinearizableWith(Options{})(Input{History: &s.h}, Budget{})
	}
	r := judge(func(s *several) { s.write(1, 1); s.add(2, 2); s.read(3, 2) })
	require.Equal(t, Held, r.Verdict, "one value at a time is a register: %s", r.Reason)
	r = judge(func(s *several) { s.write(1, 1); s.add(2, 2); s.read(3, 1) })
	require.Equal(t, Broken, r.Verdict, "an old one: %s", r.Reason)
	r = judge(func(s *several) { s.write(1, 1); s.add(2, 2); s.read(3, 2, 2); s.read(3, 1, 2) })
	require.Equal(t, Broken, r.Verdict)
	require.Equal(t, []int{3}, r.Ops, "one value twice is one value")
	require.Contains(t, r.Reason, "saw several values at once")
}

// A history of sets is none of these, and one of registers neither.
func TestSeveralValues(t *testing.T) {
	s := newSeveral()
	require.False(t, SeveralValues(nil))
	s.add(1, 1)
	s.read(1, 1)
	require.False(t, SeveralValues(&s.h))
	s.write(1, 2)
	require.True(t, SeveralValues(&s.h))
	s.op(1, history.Read, 0)
	require.False(t, SeveralValues(&s.h))
}
