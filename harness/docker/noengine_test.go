//go:build !chaos

// Testcontainers looks for the engine once in a process, so this cannot live
// beside the tests that have one.

package docker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/docker"
)

func TestNoEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
	began := time.Now()
	_, err := docker.Start(t.Context(), docker.Config{System: nothing{}, Nodes: 3})
	require.ErrorIs(t, err, docker.ErrNoEngine)
	require.ErrorContains(t, err, "/nonexistent/docker.sock")
	require.ErrorContains(t, err, "Install Docker Engine")
	require.ErrorContains(t, err, "DOCKER_HOST")
	require.Less(t, time.Since(began), 5*time.Second, "the user must know at once")
	t.Log(err)
}

func TestConfigIsChecked(t *testing.T) {
	_, err := docker.Start(t.Context(), docker.Config{Nodes: 3})
	require.ErrorContains(t, err, "Config.System")
	_, err = docker.Start(t.Context(), docker.Config{System: nothing{}})
	require.ErrorContains(t, err, "Config.Nodes is 0")
}

// nothing is never asked anything.
type nothing struct{ docker.System }
