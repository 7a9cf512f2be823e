package claims_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/store/sut"
)

// uses are the ways to use a store, with what is asked of each, on settings that
// show what it depends on.
var uses = []struct {
	name     string
	use      claims.Use
	profiles []string
	claims   []checkers.Claim
}{
	{"changed by compare-and-set", claims.Changed, []string{"caspaxos"}, []checkers.Claim{checkers.Linearizable, checkers.NoLostElements, checkers.Counted, checkers.Conserved}},
	{"changed by a plain put", claims.Blind, []string{"abd"}, []checkers.Claim{checkers.Linearizable, checkers.NoLostElements, checkers.Counted}},
	{"spread over several keys", claims.Spread, []string{"abd"}, []checkers.Claim{checkers.Linearizable, checkers.Conserved}},
	{"written once", claims.Posted, []string{"one-one", "abd", "abd-nofsync", "read-repair-only"}, []checkers.Claim{checkers.Linearizable, checkers.NoLostWrites, checkers.MonotonicReads, checkers.Converges}},
	{"behind a cache", claims.Cached, []string{"abd", "one-one", "caspaxos", "read-repair-only"}, []checkers.Claim{checkers.Linearizable, checkers.FreshReads, checkers.Converges, checkers.ConvergesWhenRead}},
	{"under a lease", claims.Leased, []string{"caspaxos"}, []checkers.Claim{checkers.Linearizable, checkers.NoLostElements, checkers.Recovers}},
	{"under a lease, fenced", claims.Fenced, []string{"caspaxos"}, []checkers.Claim{checkers.Linearizable, checkers.NoLostElements, checkers.Recovers}},
}

// What theory expects of workloads, readable as a whole.
func TestExpectationsOfUses(t *testing.T) {
	var b strings.Builder
	for _, u := range uses {
		for _, name := range u.profiles {
			p, err := sut.ProfileByName(name)
			require.NoError(t, err)
			s := settingOf(p)
			s.Use = u.use
			fmt.Fprintf(&b, "%s: %s %d/%d/%d\n", u.name, p.Name, p.N, p.R, p.W)
			for _, c := range u.claims {
				expectations(t, &b, s, c, "none", "partition", "kill", "pause", "clock", "all")
			}
			b.WriteByte('\n')
		}
	}
	const golden = "testdata/expected-uses.txt"
	if *rewrite {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

// However a store is used, more faults never make a promise.
func TestFaultsOnlyTakeAwayFromUses(t *testing.T) {
	faults := func(mask int) claims.Faults {
		return claims.Faults{Partition: mask&1 != 0, Kill: mask&2 != 0, Pause: mask&4 != 0, Clock: mask&8 != 0}
	}
	for _, u := range uses {
		for _, p := range sut.Profiles() {
			s := settingOf(p)
			s.Use = u.use
			for _, c := range u.claims {
				for mask := range 16 {
					for more := range 16 {
						if mask&more == mask && !claims.Expect(s, c, faults(mask)).Holds {
							require.False(t, claims.Expect(s, c, faults(more)).Holds, "%s on %s: %s %04b %04b", u.name, p.Name, c, mask, more)
						}
					}
				}
			}
		}
	}
}
