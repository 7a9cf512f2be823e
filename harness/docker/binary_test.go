package docker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/docker/agent"
)

func TestGoBinary(t *testing.T) {
	b, err := GoBinary(t.Context(), agentPackage, "arm64")
	require.NoError(t, err)
	require.NoError(t, checkStatic(b, "arm64"))
	require.ErrorContains(t, checkStatic(b, "amd64"), "the engine runs amd64")
	require.ErrorContains(t, checkStatic([]byte("MZ"), "amd64"), "not a Linux program")

	_, err = GoBinary(t.Context(), agentPackage+"/nonexistent", "amd64")
	require.ErrorContains(t, err, "nonexistent", "the go command says why")
}

func TestAgentBinaryIsBuiltWhenThisProgramCannotBeOne(t *testing.T) {
	require.False(t, agent.SelfIsAgent(), "a test binary does not call agent.MaybeMain")
	b, err := agentBinary(t.Context(), "arm64")
	require.NoError(t, err)
	require.NoError(t, checkStatic(b, "arm64"))
}
