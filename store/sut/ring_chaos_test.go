//go:build chaos

package sut

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/harness/history"
)

// On real nodes a key lies where it lies in the simulator: k is on nodes 1, 3
// and 4, and node 0 coordinates it without a copy.
func TestThreeReplicasOfFiveInContainers(t *testing.T) {
	ctx := context.Background()
	p, err := ProfileByName("read-one-write-all") // so that all three have it when it is acknowledged
	require.NoError(t, err)
	s := New(p.For(3))
	w, err := docker.Start(ctx, docker.Config{System: s, Nodes: 5, Name: "sut", Logf: t.Logf})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close(ctx)) })

	require.NoError(t, put(t, s, w, 0, 7))
	for node, want := range []bool{1: true, 3: true, 4: true} {
		held, err := s.Inspect(ctx, w, node, []string{"k"})
		require.NoError(t, err)
		require.Equal(t, want, held[0].Present, "node %d", node)
		require.Equal(t, !want, held[0].Elsewhere, "node %d", node)
		got, err := read(t, s, w, node)
		require.NoError(t, err)
		require.Equal(t, history.Value(7), got, "node %d", node)
	}
	require.NoError(t, w.Kill(ctx, 3, lease))
	err = put(t, s, w, 0, 8)
	require.ErrorContains(t, err, "2 of 3 replicas")
	require.False(t, harness.IsDefinite(err), "two may have stored it")
}
