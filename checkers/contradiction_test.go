package checkers

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// circleText writes a circle with the operations as numbers from 1.
func circleText(circle []Precedence) string {
	name := func(i int) string {
		if i == Initially {
			return "start"
		}
		return fmt.Sprint(i + 1)
	}
	var parts []string
	for _, o := range circle {
		s := name(o.Before) + map[Why]string{EndedBefore: " ended before ", ReadsFrom: " is read by ", Replaced: " saw what was replaced by ", Hidden: " is hidden by "}[o.Why] + name(o.After)
		if o.Why == Replaced || o.Why == Hidden {
			s += fmt.Sprintf(" (%s read %s)", name(o.Reader), name(o.Writer))
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, ", ")
}

func TestContradictions(t *testing.T) {
	for history, want := range map[string]string{
		"w1@1-2 w2@5-6 r1@10-11":                   "2 ended before 3, 3 saw what was replaced by 2 (3 read 1)",
		"w1@1-2 w2@3-20 r2@4-5 r1@6-7":             "2 is read by 3, 3 ended before 4, 4 saw what was replaced by 2 (4 read 1)",
		"r7@3-4 w7@5-6":                            "1 ended before 2, 2 is read by 1",
		"w1@1-2 rnil@6-7":                          "1 ended before 2, 2 saw what was replaced by 1 (2 read start)",
		"w9@4-5 c9>2@6-9 c9>3@6-9":                 "2 saw what was replaced by 3 (2 read 1), 3 saw what was replaced by 2 (3 read 1)",
		"c1>2@3-9 c2>1@3-9":                        "1 is read by 2, 2 is read by 1",
		"w1@1-2 c1>2@3? r2@6-7 r1@8-9":             "2 is read by 3, 3 ended before 4, 4 saw what was replaced by 2 (4 read 1)",
		"a@1-2 a@3-4":                              "1 ended before 2, 2 saw what was replaced by 1 (2 read start)",
		"w1@1-9 w2@1-9 r1@10-11 r2@12-13 r1@14-15": "1 is hidden by 2 (4 read 2), 2 is hidden by 1 (3 read 1)",
		"r7@5-6":                             "",
		"w1@1-2 r1@3-4":                      "",
		"w1@1-2 w1@3-4 r2@5-6 w2@7-8 r1@9-9": "3 ended before 4, 4 is read by 3",
	} {
		h := parse(t, history)
		var all []int
		for i := range h.Ops {
			all = append(all, i)
		}
		got := circleText(Contradiction(h, all, Options{}))
		require.Equal(t, want, got, history)
	}
}

// Where every value has one writer a circle is found exactly where no order
// explains what was seen, values from nowhere aside.
func TestContradictionsAgreeWithTheOracle(t *testing.T) {
	broken := 0
	for seed := range uint64(20_000) {
		rng := rand.New(rand.NewPCG(seed, 14))
		s := small{Rand: rng, maxOps: 10, cas: seed%2 == 0}
		h := &history.History{Keys: []string{"x"}, Ops: s.history()}
		var all []int
		written := map[history.Value]bool{history.Nil: true}
		for i := range h.Ops {
			all = append(all, i)
			if v, wrote := writes(&h.Ops[i]); wrote {
				written[v] = true
			}
		}
		nowhere := false
		for i := range h.Ops {
			if v, saw := (Options{}).observes(&h.Ops[i]); saw && !written[v] {
				nowhere = true
			}
			if o := &h.Ops[i]; o.F == history.CAS && o.Outcome != history.Fail && !written[o.Arg] {
				nowhere = true
			}
		}
		if nowhere {
			continue
		}
		circle := Contradiction(h, all, Options{})
		ok := oracle(h.Ops, Options{})
		require.Equal(t, ok, circle == nil, "seed %d: %s: %s", seed, notation(h.Ops), circleText(circle))
		if ok {
			continue
		}
		broken++
		for i, o := range circle {
			require.Equal(t, o.After, circle[(i+1)%len(circle)].Before)
		}
	}
	require.Greater(t, broken, 2_000)
}
