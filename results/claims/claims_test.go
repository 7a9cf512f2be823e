package claims_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/store/replica"
	"github.com/assay-chaos/assay/store/sut"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// settingOf is what theory needs to know of a profile.
func settingOf(p sut.Profile) claims.Setting {
	return claims.Setting{
		Nodes: p.Nodes(), N: p.N, R: p.R, W: p.W, Agreed: p.Agreed(), Logical: p.Logical(), WriteBack: p.WriteBack, Fsync: p.Fsync,
		AntiEntropy: p.AntiEntropy > 0, ReadRepair: p.ReadRepair != replica.ReadRepairOff,
		Sloppy: p.Sloppy, Scrub: p.Scrub > 0,
	}
}

// What theory expects of every profile, readable as a whole: each change to it
// is a change to what assay says is true.
func TestExpectations(t *testing.T) {
	var b strings.Builder
	for _, p := range sut.Profiles() {
		s := settingOf(p)
		fmt.Fprintf(&b, "%s %d/%d/%d", p.Name, p.N, p.R, p.W)
		if p.Spare > 0 {
			fmt.Fprintf(&b, " on %d nodes", p.Nodes())
		}
		b.WriteByte('\n')
		for _, c := range claims.Known() {
			var last string
			for _, mix := range []string{"none", "partition", "kill", "pause", "clock", "all", "bitflip", "slowdisk"} {
				specs, err := nemesis.Parse(mix)
				require.NoError(t, err)
				x := claims.Expect(s, c, claims.FaultsOf(specs))
				require.NotEmpty(t, x.Reason)
				word := "breaks"
				if x.Holds {
					word = "holds"
				}
				line := fmt.Sprintf("%-6s %s", word, x.Reason)
				if line == last {
					line = "\""
				} else {
					last = line
				}
				fmt.Fprintf(&b, "  %-19s %-9s %s\n", c, mix, line)
			}
		}
		b.WriteByte('\n')
	}
	const golden = "testdata/expected.txt"
	if *rewrite {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

// With more nodes than replicas one thing changes: a coordinator may hold no copy.
func TestMoreNodesThanReplicas(t *testing.T) {
	for _, p := range sut.Profiles() {
		s := settingOf(p)
		more := s
		more.Nodes += 2
		for _, c := range claims.Known() {
			for mask := range 16 {
				f := claims.Faults{Partition: mask&1 != 0, Kill: mask&2 != 0, Pause: mask&4 != 0, Clock: mask&8 != 0}
				want := claims.Expect(s, c, f)
				if c == checkers.Available && want.Holds && f.Partition {
					require.Contains(t, []string{"read-repair-only", "one-one"}, p.Name)
					want = claims.Expectation{Reason: "one replica is enough, but a coordinator that is none may be cut off from all 3"}
				}
				require.Equal(t, want, claims.Expect(more, c, f), "%s %s %+v", p.Name, c, f)
			}
		}
	}
}

// More faults never make a promise.
func TestFaultsOnlyTakeAway(t *testing.T) {
	kinds := []string{"partition", "kill", "pause", "clock"}
	faults := func(mask int) claims.Faults {
		var specs []nemesis.Spec
		for i, k := range kinds {
			if mask&(1<<i) != 0 {
				specs = append(specs, nemesis.Spec{Kind: k})
			}
		}
		return claims.FaultsOf(specs)
	}
	for n := 1; n <= 5; n++ {
		for r := 1; r <= n; r++ {
			for w := 1; w <= n; w++ {
				for bits := range 128 {
					s := claims.Setting{
						N: n, R: r, W: w, Logical: bits&1 != 0, WriteBack: bits&2 != 0, Fsync: bits&4 != 0,
						AntiEntropy: bits&8 != 0, ReadRepair: bits&16 != 0, Agreed: bits&32 != 0,
						Sloppy: bits&64 != 0, Nodes: n + 2,
					}
					majorities := r == n/2+1 && w == n/2+1
					if s.Agreed && (!majorities || s.AntiEntropy || s.ReadRepair || s.Sloppy) {
						continue // no cluster is configured so
					}
					for _, c := range claims.Known() {
						for mask := range 16 {
							for more := range 16 {
								if mask&more == mask && !claims.Expect(s, c, faults(mask)).Holds {
									require.False(t, claims.Expect(s, c, faults(more)).Holds, "%+v %s %04b %04b", s, c, mask, more)
								}
							}
						}
					}
					// The stronger claim implies the weaker.
					for mask := range 16 {
						if claims.Expect(s, checkers.Linearizable, faults(mask)).Holds {
							require.True(t, claims.Expect(s, checkers.FreshReads, faults(mask)).Holds, "%+v %04b", s, mask)
							require.True(t, claims.Expect(s, checkers.NoLostWrites, faults(mask)).Holds, "%+v %04b", s, mask)
							for _, weak := range []checkers.Claim{checkers.Sequential, checkers.MonotonicReads, checkers.MonotonicWrites, checkers.WritesFollowReads} {
								require.True(t, claims.Expect(s, weak, faults(mask)).Holds, "%s %+v %04b", weak, s, mask)
							}
						}
						if claims.Expect(s, checkers.FreshReads, faults(mask)).Holds {
							for _, weak := range []checkers.Claim{checkers.ReadYourWrites, checkers.BoundedStaleness, checkers.NoComebacks, checkers.NoResurrections} {
								require.True(t, claims.Expect(s, weak, faults(mask)).Holds, "%s %+v %04b", weak, s, mask)
							}
						}
					}
				}
			}
		}
	}
}

func TestParse(t *testing.T) {
	got, err := claims.Parse("converges, linearizable,converges")
	require.NoError(t, err)
	require.Equal(t, []checkers.Claim{checkers.Linearizable, checkers.Converges}, got)
	got, err = claims.Parse("all")
	require.NoError(t, err)
	require.Equal(t, claims.All(), got)
	_, err = claims.Parse("perfect")
	require.ErrorContains(t, err, "linearizable, no-stale-read")
	_, err = claims.Parse("")
	require.Error(t, err)
}

// Every profile has something that people say of it, and it can be judged.
func TestClaimed(t *testing.T) {
	for _, p := range sut.Profiles() {
		require.NotEmpty(t, claims.Claimed(p.Name), p.Name)
		require.Subset(t, claims.Known(), claims.Claimed(p.Name))
	}
	require.Nil(t, claims.Claimed("unheard-of"))
}
