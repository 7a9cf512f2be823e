package node

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// scrape gives a node's figures as Prometheus would see them.
func scrape(t *testing.T, addr string) string {
	resp, err := http.Get("http://" + addr + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(text)
}

// figure finds one sample.
func figure(t *testing.T, text, sample string) float64 {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(sample) + ` (\S+)$`).FindStringSubmatch(text)
	require.NotNil(t, m, "no %s in\n%s", sample, text)
	v, err := strconv.ParseFloat(m[1], 64)
	require.NoError(t, err)
	return v
}

// The figures are those of what was done.
func TestMetrics(t *testing.T) {
	c := startCluster(t, 3, false, func(c *Config) { c.Timeout = 300 * time.Millisecond })
	ctx := within(t, 20*time.Second)
	n := c.nodes[0]
	for i := range 5 {
		_, err := n.client.Put(ctx, key(i), []byte("v"))
		require.NoError(t, err)
	}
	_, err := n.client.Get(ctx, "absent")
	require.NoError(t, err)
	_, err = n.client.Put(ctx, "", nil)
	require.Error(t, err)
	text := scrape(t, n.cfg.ListenClient)
	requests := func(op, outcome string) string {
		return fmt.Sprintf(`assay_request_duration_seconds_count{op="%s",outcome="%s"}`, op, outcome)
	}
	require.EqualValues(t, 5, figure(t, text, requests("PUT", "ok")))
	require.EqualValues(t, 1, figure(t, text, requests("GET", "ok")), "an absent key is an answer")
	require.EqualValues(t, 1, figure(t, text, requests("PUT", "refused-invalid")))
	require.Zero(t, figure(t, text, "assay_requests_in_flight"))
	require.Zero(t, figure(t, text, "assay_requests_in_flight_bytes"))
	require.Zero(t, figure(t, text, "assay_storage_failed"))
	require.EqualValues(t, 1, figure(t, text, "assay_boot"))
	require.Positive(t, figure(t, text, "assay_storage_bytes"))
	require.Positive(t, figure(t, text, "assay_fsync_duration_seconds_count"))
	require.Contains(t, text, "assay_build_info{")
	require.Contains(t, text, "go_goroutines")
	require.Contains(t, text, `assay_loop_queue{of="clients"}`)
	sent, received := 0.0, 0.0 // a majority is one of the two, and the other may not be connected yet
	for _, peer := range []string{"1", "2"} {
		sent += figure(t, text, `assay_peer_messages_sent_total{peer="`+peer+`"}`)
		require.Zero(t, figure(t, text, `assay_peer_messages_dropped_total{peer="`+peer+`"}`))
		require.GreaterOrEqual(t, figure(t, text, `assay_peer_queue_messages{peer="`+peer+`"}`), 0.0)
		received += figure(t, text, `assay_peer_messages_received_total{peer="`+peer+`"}`)
	}
	require.GreaterOrEqual(t, sent, 10.0)
	require.GreaterOrEqual(t, received, 10.0, "each of 5 writes needs two rounds of answers")
	require.NotContains(t, text, `peer="0"`)

	// What may have happened is told apart from what did not.
	require.NoError(t, c.stop(1))
	require.NoError(t, c.stop(2))
	_, err = n.client.Get(ctx, "a")
	require.Error(t, err)
	text = scrape(t, n.cfg.ListenClient)
	require.EqualValues(t, 1, figure(t, text, requests("GET", "refused-unavailable")))
}
