package sut

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProfilesFitTheCluster(t *testing.T) {
	var got []string
	for _, p := range Profiles() {
		for _, nodes := range []int{1, 3, 4, 5} {
			p := p.For(nodes)
			require.NoError(t, p.Validate(p.Nodes()), p.Name)
		}
		require.NotEmpty(t, p.Claim, p.Name)
		five := p.For(5)
		got = append(got, fmt.Sprintf("%s %d/%d/%d %d/%d/%d", p.Name, p.N, p.R, p.W, five.N, five.R, five.W))
	}
	require.Equal(t, []string{
		"read-repair-only 3/1/1 5/1/1",
		"one-one 3/1/1 5/1/1",
		"read-one-write-all 3/1/3 5/1/5",
		"write-one-read-all 3/3/1 5/5/1",
		"majority-lww 3/2/2 5/3/3",
		"majority-lww-writeback 3/2/2 5/3/3",
		"sloppy-majority 3/2/2 5/3/3", "causal-siblings 3/2/2 5/3/3",
		"majority-query-tag 3/2/2 5/3/3",
		"abd 3/2/2 5/3/3",
		"abd-nofsync 3/2/2 5/3/3",
		"caspaxos 3/2/2 5/3/3",
	}, got)
}

func TestProfileErrors(t *testing.T) {
	_, err := ProfileByName("adb")
	require.ErrorContains(t, err, `unknown profile "adb"; there are: read-repair-only, one-one,`)

	p, err := ProfileByName("abd")
	require.NoError(t, err)
	require.NoError(t, p.Validate(5), "three replicas on five nodes")
	require.ErrorContains(t, p.Validate(2), "profile abd: replica: N is 3: a cluster of 2 nodes can have 1 to 2 replicas of a key")
	sloppy, err := ProfileByName("sloppy-majority")
	require.NoError(t, err)
	require.NoError(t, sloppy.Validate(5))
	require.ErrorContains(t, sloppy.Validate(3), "profile sloppy-majority: with 3 replicas of a key on 3 nodes nobody can stand in for them: take 5 nodes, or fewer replicas")
	p.W = 4
	require.ErrorContains(t, p.Validate(3), "W is 4")
}

// A profile that is written by hand keeps its numbers.
func TestOwnProfile(t *testing.T) {
	p := Profile{Name: "own", R: 2, W: 4}.For(5)
	require.Equal(t, []int{5, 2, 4}, []int{p.N, p.R, p.W})
}
