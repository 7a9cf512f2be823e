package agent

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func newHolder(t *testing.T) (*holder, string) {
	t.Helper()
	h := &holder{}
	greeting, err := h.hello()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.close()) })
	return h, "127.0.0.1:" + strconv.Itoa(greeting.(HolderHello).ProbePort)
}

func ask(t *testing.T, p player, op string, args any) (any, error) {
	t.Helper()
	raw, err := json.Marshal(args)
	require.NoError(t, err)
	return p.handle(t.Context(), op, raw)
}

func TestProbe(t *testing.T) {
	a, _ := newHolder(t)
	b, addr := newHolder(t)

	_, err := ask(t, a, OpSend, SendArgs{To: addr, Nonce: "n1", Tries: 2})
	require.NoError(t, err)
	for range 2 { // it is remembered, and may be asked for again
		got, err := ask(t, b, OpAwait, AwaitArgs{Nonce: "n1", MS: 10_000})
		require.NoError(t, err)
		require.Equal(t, AwaitResult{Arrived: true}, got)
	}
	got, err := ask(t, b, OpAwait, AwaitArgs{Nonce: "n2", MS: 1})
	require.NoError(t, err)
	require.Equal(t, AwaitResult{Arrived: false}, got, "another packet is no proof")
	require.Empty(t, b.wait)

	_, err = ask(t, a, OpSend, SendArgs{To: "nowhere", Nonce: "n1", Tries: 1})
	require.ErrorContains(t, err, "nowhere")
	_, err = a.handle(t.Context(), OpSend, json.RawMessage(`[]`))
	require.ErrorContains(t, err, "arguments of")
}

func TestProbeMemoryIsBounded(t *testing.T) {
	h, _ := newHolder(t)
	for i := range 2 * maxSeen {
		h.arrived(fmt.Sprint(i))
	}
	require.Len(t, h.seen, maxSeen)
	require.Len(t, h.order, maxSeen)
	require.True(t, h.seen[fmt.Sprint(2*maxSeen-1)])
	require.False(t, h.seen["0"])
}
