package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMeasure(t *testing.T) {
	o := options{Keys: 20_000, Clients: 4, Load: 200 * time.Millisecond, Dir: t.TempDir()}
	r, err := measure(t.Context(), o)
	require.NoError(t, err)
	require.Positive(t, r.ready)
	require.GreaterOrEqual(t, r.first, r.ready)
	require.GreaterOrEqual(t, r.counted, r.first)
	require.Greater(t, r.readyMem, int64(5e6), "of a program")
	require.GreaterOrEqual(t, r.countMem, r.readyMem)
	require.GreaterOrEqual(t, r.peak, r.countMem)
	require.Positive(t, r.after)
	require.Greater(t, r.disk, int64(20_000*8), "the keys are there")
	var out bytes.Buffer
	r.print(&out)
	require.Contains(t, out.String(), "20000 keys")
}

func TestOptionsThatCannotBe(t *testing.T) {
	_, err := measure(t.Context(), options{})
	require.ErrorContains(t, err, "--keys")
}
