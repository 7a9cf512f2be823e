package gen_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/gen/gentest"
	"github.com/assay-chaos/assay/harness/history"
)

// composition draws a generator of up to depth levels.
func composition(t *rapid.T, depth int) gen.Generator {
	if depth == 0 {
		if rapid.Bool().Draw(t, "func") {
			return gen.Func(func(c gen.Context) gen.Op {
				r := c.Rand(99)
				return gen.Op{F: history.Write, Arg: history.Value(r.IntN(100)), Key: int32(r.IntN(5))}
			})
		}
		return gen.Repeat(gen.Op{F: rapid.SampledFrom([]history.F{history.Read, history.Write, history.CAS}).Draw(t, "f")})
	}
	part := func() gen.Generator { return composition(t, depth-1) }
	n := rapid.IntRange(1, 5)
	duration := func() time.Duration {
		return time.Duration(rapid.IntRange(1, 50).Draw(t, "ms")) * time.Millisecond
	}
	switch rapid.IntRange(0, 12).Draw(t, "combinator") {
	case 0:
		return gen.Unique(part())
	case 1:
		return gen.Limit(n.Draw(t, "limit")*3, part())
	case 2:
		return gen.TimeLimit(duration(), part())
	case 3:
		return gen.Rate(float64(10*n.Draw(t, "rate")), part())
	case 4:
		return gen.Delay(duration(), part())
	case 5:
		return gen.Sequence(part(), part())
	case 6:
		return gen.Phases(part(), part())
	case 7:
		return gen.Mix(gen.Weight(1, part()), gen.Weight(float64(n.Draw(t, "weight")), part()))
	case 8:
		return gen.Any(part(), part())
	case 9:
		return gen.Reserve(part(), gen.Workers(n.Draw(t, "share"), part()))
	case 10:
		p := part()
		return gen.EachWorker(func(int) gen.Generator { return p })
	case 11:
		p := part()
		return gen.Keys(n.Draw(t, "keys")*2, n.Draw(t, "at once"), func(int32) gen.Generator { return p })
	default:
		return gen.FilterF(part(), history.Write, history.Read)
	}
}

// checked asks everything twice, before and after going on, and remembers
// whether the answers differed.
type checked struct {
	g      gen.Generator
	impure *bool
}

func (p checked) Next(c gen.Context) (gen.Op, gen.State, gen.Generator) {
	op, st, g := p.g.Next(c)
	if st == gen.Ready {
		later := c
		later.Seed++
		later.Time = op.Time
		later.Idle = c.Idle.Without(op.Worker)
		_, _, g2 := g.Next(later)
		if g2 != nil {
			g2.Next(later)
		}
		g.Update(later, gen.Completion{Op: &history.Op{F: op.F, Key: op.Key}, Worker: op.Worker, Route: op.Route})
	}
	op2, st2, g2 := p.g.Next(c)
	if op != op2 || st != st2 {
		*p.impure = true
	}
	// The second answer's generator must be as good as the first's.
	return op, st, checked{g2, p.impure}
}

func (p checked) Update(c gen.Context, d gen.Completion) gen.Generator {
	p.g.Update(c, d)
	return checked{p.g.Update(c, d), p.impure}
}

func TestNextIsPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := composition(t, rapid.IntRange(1, 4).Draw(t, "depth"))
		config := gentest.Config{
			Workers: rapid.IntRange(1, 70).Draw(t, "workers"),
			Seed:    rapid.Uint64().Draw(t, "seed"),
			Outcome: func(op gen.Op) (time.Duration, history.Outcome) {
				h := gen.Derive(uint64(op.Time), uint64(op.Worker))
				return time.Duration(h % 20e6), history.Outcome(h >> 32 % 3)
			},
			Max: 60,
		}
		impure := false
		first, err1 := gentest.Play(checked{g, &impure}, config)
		require.False(t, impure, "the same question got two answers")
		second, err2 := gentest.Play(g, config)
		require.Equal(t, first, second, "asking more than once changed what followed")
		require.Equal(t, err1, err2)
		if err1 != nil {
			require.ErrorContains(t, err1, "would wait for ever", "the only thing that may be wrong: a share without workers")
		}
	})
}
