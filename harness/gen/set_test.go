package gen_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-chaos/assay/harness/gen"
)

// A Set behaves as a map does, whatever is done to it.
func TestSetAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "n")
		number := rapid.IntRange(0, n-1)
		s, m := gen.NewSet(n), map[int]bool{}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			i := number.Draw(t, "i")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				s.Add(i)
				m[i] = true
			case 1:
				s.Remove(i)
				delete(m, i)
			case 2:
				old := slices.Clone(s)
				with := s.With(i)
				require.Equal(t, old, s)
				s, m[i] = with, true
			case 3:
				old := slices.Clone(s)
				without := s.Without(i)
				require.Equal(t, old, s)
				s = without
				delete(m, i)
			}
		}
		want := slices.Sorted(maps.Keys(m))
		require.Equal(t, want, slices.Collect(s.All()))
		require.Equal(t, len(want), s.Count())
		require.Equal(t, len(want) == 0, s.Empty())
		for k, i := range want {
			require.Equal(t, i, s.Nth(k))
		}
		require.Equal(t, -1, s.Nth(len(want)))
		for i := -1; i < n+70; i++ {
			require.Equal(t, m[i], s.Has(i))
		}
		lo, hi := rapid.IntRange(-5, n+5).Draw(t, "lo"), rapid.IntRange(-5, n+5).Draw(t, "hi")
		var in []int
		for _, i := range want {
			if lo <= i && i < hi {
				in = append(in, i)
			}
		}
		require.Equal(t, in, slices.Collect(s.Within(lo, hi).All()))
	})
}

func TestFullSet(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 128} {
		s := gen.FullSet(n)
		require.Equal(t, n, s.Count())
		require.False(t, s.Has(n))
	}
	require.Equal(t, -1, gen.FullSet(0).First())
}

func TestRandIsEven(t *testing.T) {
	r := gen.Context{Seed: 1}.Rand(0)
	var hits [10]int
	sum := 0.0
	for range 100_000 {
		hits[r.IntN(10)]++
		sum += r.Exp()
	}
	for _, h := range hits {
		require.InDelta(t, 10_000, h, 500)
	}
	require.InDelta(t, 100_000, sum, 2_000)
	require.Zero(t, r.IntN(0))
}
