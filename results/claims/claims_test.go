package claims_test

import (
	"flag"
	"fmt"
	"math/bits"
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
		Causal: p.Causal(), AntiEntropy: p.AntiEntropy > 0, ReadRepair: p.ReadRepair != replica.ReadRepairOff,
		Sloppy: p.Sloppy, Scrub: p.Scrub > 0,
	}
}

// expectations writes what theory expects of a claim about a setting: a line for
// each mix of faults, with its reason where that is not the one above.
func expectations(t *testing.T, b *strings.Builder, s claims.Setting, c checkers.Claim, mixes ...string) {
	t.Helper()
	var last string
	for _, mix := range mixes {
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
		fmt.Fprintf(b, "  %-19s %-9s %s\n", c, mix, line)
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
			expectations(t, &b, s, c, "none", "partition", "kill", "pause", "clock", "all", "bitflip", "slowdisk", "join", "leave", "replace")
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
	kinds := []string{"partition", "kill", "pause", "clock", "join", "leave", "replace", "bitflip", "slowdisk"}
	const most = 3 // kinds at a time
	all := 1 << len(kinds)
	faults := make([]claims.Faults, all)
	for mask := range faults {
		var specs []nemesis.Spec
		for i, k := range kinds {
			if mask&(1<<i) != 0 {
				specs = append(specs, nemesis.Spec{Kind: k})
			}
		}
		faults[mask] = claims.FaultsOf(specs)
	}
	for n := 1; n <= 3; n++ {
		for r := 1; r <= n; r++ {
			for w := 1; w <= n; w++ {
				for set := range 128 {
					s := claims.Setting{
						N: n, R: r, W: w, Logical: set&1 != 0, WriteBack: set&2 != 0, Fsync: set&4 != 0,
						AntiEntropy: set&8 != 0, ReadRepair: set&16 != 0, Agreed: set&32 != 0,
						Sloppy: set&64 != 0, Nodes: n + 2,
					}
					majorities := r == n/2+1 && w == n/2+1
					if s.Agreed && (!majorities || s.AntiEntropy || s.ReadRepair || s.Sloppy) {
						continue // no cluster is configured so
					}
					for _, c := range claims.Known() {
						holds := make([]bool, all)
						for mask := range all {
							if bits.OnesCount(uint(mask)) <= most {
								holds[mask] = claims.Expect(s, c, faults[mask]).Holds
							}
						}
						for mask := range all {
							for k := range kinds {
								more := mask | 1<<k
								if bits.OnesCount(uint(more)) <= most && !holds[mask] && holds[more] {
									t.Fatalf("%+v %s %b %b", s, c, mask, more)
								}
							}
						}
					}
					// The stronger claim implies the weaker.
					for mask, f := range faults {
						if bits.OnesCount(uint(mask)) > most {
							continue
						}
						implies := func(strong checkers.Claim, weaker ...checkers.Claim) {
							if !claims.Expect(s, strong, f).Holds {
								return
							}
							for _, weak := range weaker {
								if !claims.Expect(s, weak, f).Holds {
									t.Fatalf("%s without %s: %+v %b", strong, weak, s, mask)
								}
							}
						}
						if !f.Bitflip { // a replica that refuses what it has lost tells nothing wrong
							implies(checkers.Linearizable, checkers.NoLostWrites)
						}
						implies(checkers.Linearizable, checkers.FreshReads,
							checkers.Sequential, checkers.MonotonicReads, checkers.MonotonicWrites, checkers.WritesFollowReads)
						implies(checkers.FreshReads, checkers.ReadYourWrites, checkers.BoundedStaleness, checkers.NoComebacks, checkers.NoResurrections)
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
