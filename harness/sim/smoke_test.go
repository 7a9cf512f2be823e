package sim

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSmoke(t *testing.T) {
	w, err := New(Config{System: echoSystem(), Nodes: 3})
	require.NoError(t, err)
	err = w.Await(context.Background(), func(ctx context.Context) error {
		ctx, cancel := w.Timeout(ctx, time.Second)
		defer cancel()
		r, err := w.Call(ctx, 1, 42)
		require.NoError(t, err)
		require.Equal(t, 42, r)
		return w.Sleep(ctx, time.Millisecond)
	})
	require.NoError(t, err)
	require.NoError(t, w.Close(context.Background()))
}
