package nemesis

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
)

func describe(eps []harness.Episode) []string {
	var lines []string
	for _, e := range eps {
		lines = append(lines, fmt.Sprintf("%v+%v %s %s", e.At, e.For, e.Fault.Kind(), e.Fault))
	}
	return lines
}

func TestScheduleIsAFunctionOfItsSeed(t *testing.T) {
	specs, err := Parse("all")
	require.NoError(t, err)
	differ := false
	for seed := range uint64(50) {
		a, err := Schedule(seed, specs, 5, 10*time.Second)
		require.NoError(t, err)
		b, err := Schedule(seed, specs, 5, 10*time.Second)
		require.NoError(t, err)
		require.Equal(t, describe(a), describe(b))
		c, err := Schedule(seed+1, specs, 5, 10*time.Second)
		require.NoError(t, err)
		differ = differ || !slices.Equal(describe(a), describe(c))
	}
	require.True(t, differ, "the seed changes nothing")
}

// Every kind and variant appears, inside the phase, and nothing overlaps that
// could not then be proved.
func TestScheduleCoversAndKeepsFaultsProvable(t *testing.T) {
	var lists []string
	for _, k := range Kinds() {
		lists = append(lists, k.Name)
		for _, v := range k.Variants {
			lists = append(lists, k.Name+":"+v)
		}
	}
	lists = append(lists, "all", "kill,pause,clock", "partition:one,partition:ring", "kill:all,pause,clock", "bitflip,slowdisk,kill")
	const length = 8 * time.Second
	for _, list := range lists {
		specs, err := Parse(list)
		require.NoError(t, err)
		for _, nodes := range []int{3, 5} {
			for seed := range uint64(40) {
				eps, err := Schedule(seed, specs, nodes, length)
				require.NoError(t, err)
				seen := map[string]bool{}
				for i, e := range eps {
					seen[e.Fault.Kind()] = true
					require.GreaterOrEqual(t, e.At, time.Duration(0))
					require.Positive(t, e.For)
					require.LessOrEqual(t, e.At+e.For, length)
					require.NotEmpty(t, e.Fault.Nodes(), e.Fault.String())
					for _, f := range eps[:i] {
						if f.At+f.For <= e.At || e.At+e.For <= f.At {
							continue
						}
						a, b := f.Fault.Kind(), e.Fault.Kind()
						if a == "partition" || b == "partition" {
							require.NotEqual(t, a, b, "two partitions at once: %v", describe(eps))
							continue
						}
						disk := func(kind string) bool { return kind == "bitflip" || kind == "slowdisk" }
						if disk(a) != disk(b) {
							continue // a process and its disk
						}
						for _, n := range e.Fault.Nodes() {
							require.NotContains(t, f.Fault.Nodes(), n, "%v", describe(eps))
						}
					}
				}
				flips := 0
				for _, e := range eps {
					if e.Fault.Kind() == "bitflip" {
						flips++
					}
				}
				require.LessOrEqual(t, flips, 1, "two disks that spoil records may spoil all copies of one")
				for _, s := range specs {
					require.True(t, seen[s.Kind], "%s, %d nodes, seed %d: no %s in %v", list, nodes, seed, s, describe(eps))
				}
			}
		}
	}
}

func TestScheduleSurvivesStorage(t *testing.T) {
	specs, err := Parse("all")
	require.NoError(t, err)
	eps, err := Schedule(7, specs, 5, 10*time.Second)
	require.NoError(t, err)
	data, err := Encode(eps)
	require.NoError(t, err)
	back, err := Decode(data)
	require.NoError(t, err)
	require.Equal(t, eps, back)
	_, err = Decode([]byte(`[{"kind":"comet"}]`))
	require.ErrorContains(t, err, "comet")
	_, err = Decode([]byte(`[{"kind":"kill","fault":"x"}]`))
	require.Error(t, err)
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		list string
		want []Spec
		err  string
	}{
		{"", nil, ""},
		{"none", nil, ""},
		{"partition, kill", []Spec{{Kind: "partition"}, {Kind: "kill"}}, ""},
		{"partition:ring,clock:drift", []Spec{{"partition", "ring"}, {"clock", "drift"}}, ""},
		{"meteor", nil, "unknown nemesis"},
		{"kill:gently", nil, "no variant"},
		{"kill,kill", nil, "named twice"},
	} {
		got, err := Parse(c.list)
		if c.err != "" {
			require.ErrorContains(t, err, c.err, c.list)
			continue
		}
		require.NoError(t, err, c.list)
		require.Equal(t, c.want, got, c.list)
	}
}

// The shapes, on five nodes in order 0 to 4: who can still send to whom.
func TestPartitionShapes(t *testing.T) {
	for _, c := range []struct {
		shape string
		want  string // a row a sender, x where cut
	}{
		{shapeOne, ".xxxx x.... x.... x.... x...."},
		{shapeHalves, "..xxx ..xxx xx... xx... xx..."},
		{shapeMajority, "..xxx ..xxx xx... xx... xx..."},
		{shapeBridge, "..... ...xx ...xx .xx.. .xx.."},
		{shapeRing, "..xx. ...xx x...x xx... .xx.."},
		{shapeOneWay, ".xxxx ..... ..... ..... ....."},
	} {
		p := NewPartition("p", c.shape, []int{0, 1, 2, 3, 4})
		grid := []byte("..... ..... ..... ..... .....")
		for _, l := range p.Links {
			grid[6*l.From+l.To] = 'x'
		}
		require.Equal(t, c.want, string(grid), c.shape)
		require.NotEmpty(t, p.Text)
	}
}
