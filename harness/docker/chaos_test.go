//go:build chaos

package docker_test

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	dockerclient "github.com/docker/docker/client"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/harness/docker/agent"
)

const (
	nodes = 3
	lease = time.Minute // longer than any test

	// patience bounds the wait for what must happen by itself.
	patience = 15 * time.Second
)

// TestWorld breaks one cluster in every way, one after the other; each part
// leaves it whole.
func TestWorld(t *testing.T) {
	w := start(t, docker.Config{Nodes: nodes, Spares: 1})
	for _, part := range []struct {
		name string
		test func(*testing.T, *docker.World)
	}{
		{"links are cut in one direction", cutOneWay},
		{"cuts overlap", cutsOverlap},
		{"a cut ends with its lease", cutLease},
		{"traffic stalls and resumes", traffic},
		{"a killed node comes back with address and data", killAndStart},
		{"a killed node is started after its lease", killLease},
		{"a paused node stands still", pauseAndResume},
		{"a paused node can be killed", killPaused},
		{"a pause ends with its lease", pauseLease},
		{"a clock jumps and drifts", clockJump},
		{"a restarted node keeps its wrong clock", clockRestart},
		{"a wrong clock ends with its lease", clockLease},
		{"impossible requests are refused", refusals},
		{"logs go back to the first start", logs},
		{"a wiped node begins with an empty disk", wipe},
		{"a spare is started when it is wanted", spare},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(t, w) }) {
			return
		}
	}
	require.NoError(t, w.Close(t.Context()))
	require.NoError(t, w.Close(t.Context()), "closing again")
	require.Empty(t, leftOf(t, w.Run()))
	require.ErrorIs(t, w.Kill(t.Context(), 0, lease), harness.ErrClosed)
}

func start(t *testing.T, cfg docker.Config) *docker.World {
	t.Helper()
	if cfg.System == nil {
		cfg.System = testSystem{}
	}
	cfg.Logf = t.Logf
	began := time.Now()
	w, err := docker.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Logf("%d nodes ready after %v", cfg.Nodes, time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() { require.NoError(t, w.Close(context.Background())) })
	return w
}

func allLinks() []harness.Link {
	var links []harness.Link
	for from := range nodes {
		for to := range nodes {
			if from != to {
				links = append(links, harness.Link{From: from, To: to})
			}
		}
	}
	return links
}

// requireOnlyCut probes every link, and requires that just these are cut.
func requireOnlyCut(t *testing.T, w *docker.World, cut ...harness.Link) {
	t.Helper()
	links := allLinks()
	arrived, err := w.Probe(t.Context(), links)
	require.NoError(t, err)
	var dead []harness.Link
	for i, ok := range arrived {
		if !ok {
			dead = append(dead, links[i])
		}
	}
	require.ElementsMatch(t, cut, dead)
}

// eventually waits for what the world does by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, 20*time.Millisecond, what)
}

func cutOneWay(t *testing.T, w *docker.World) {
	require.NoError(t, w.Supports(harness.CanCut))
	requireOnlyCut(t, w)
	began := time.Now()
	require.NoError(t, w.Cut(t.Context(), "a", []harness.Link{{From: 0, To: 1}}, lease))
	t.Logf("cut in %v", time.Since(began))
	requireOnlyCut(t, w, harness.Link{From: 0, To: 1})
	require.NoError(t, w.Restore(t.Context(), "a"))
	require.NoError(t, w.Restore(t.Context(), "a"), "restoring again")
	requireOnlyCut(t, w)
}

func cutsOverlap(t *testing.T, w *docker.World) {
	shared := harness.Link{From: 0, To: 1}
	require.NoError(t, w.Cut(t.Context(), "a", []harness.Link{shared, {From: 1, To: 0}}, lease))
	require.NoError(t, w.Cut(t.Context(), "b", []harness.Link{shared, {From: 2, To: 0}}, lease))
	requireOnlyCut(t, w, shared, harness.Link{From: 1, To: 0}, harness.Link{From: 2, To: 0})
	require.NoError(t, w.Restore(t.Context(), "a"))
	requireOnlyCut(t, w, shared, harness.Link{From: 2, To: 0})
	require.NoError(t, w.Restore(t.Context(), "b"))
	requireOnlyCut(t, w)
}

func cutLease(t *testing.T, w *docker.World) {
	link := harness.Link{From: 2, To: 1}
	began := time.Now()
	require.NoError(t, w.Cut(t.Context(), "a", []harness.Link{link}, 1500*time.Millisecond))
	requireOnlyCut(t, w, link)
	eventually(t, "the link heals", func() bool {
		arrived, err := w.Probe(t.Context(), []harness.Link{link})
		return err == nil && arrived[0]
	})
	require.Greater(t, time.Since(began), 1400*time.Millisecond)
}

func traffic(t *testing.T, w *docker.World) {
	fetch := func(from, to int, ms int) error {
		_, err := get(t.Context(), w.Addr(from), "/call", url.Values{
			"url": {"http://" + w.NodeAddr(to).String() + ":" + strconv.Itoa(testnodePort) + "/ready"}, "ms": {strconv.Itoa(ms)},
		})
		return err
	}
	require.NoError(t, fetch(0, 1, 1000))
	require.NoError(t, w.Cut(t.Context(), "a", []harness.Link{{From: 0, To: 1}, {From: 1, To: 0}}, lease))
	require.ErrorContains(t, fetch(0, 1, 300), "deadline exceeded", "an established connection")
	require.ErrorContains(t, fetch(1, 0, 300), "deadline exceeded", "a new connection")
	require.NoError(t, fetch(0, 2, 1000), "a link that is not cut")
	_, err := get(t.Context(), w.Addr(1), "/ready", nil)
	require.NoError(t, err, "clients reach both sides")
	require.NoError(t, w.Restore(t.Context(), "a"))
	eventually(t, "traffic resumes", func() bool { return fetch(0, 1, 500) == nil })
}

func killAndStart(t *testing.T, w *docker.World) {
	ctx := t.Context()
	addr := w.Addr(1)
	_, err := get(ctx, addr, "/put", url.Values{"key": {"k"}, "value": {"kept"}})
	require.NoError(t, err)
	before, err := w.Status(ctx, 1)
	require.NoError(t, err)
	require.True(t, before.Up)
	require.Positive(t, before.Work)

	began := time.Now()
	require.NoError(t, w.Kill(ctx, 1, lease))
	t.Logf("killed in %v", time.Since(began))
	require.NoError(t, w.Kill(ctx, 1, lease), "killing again")
	down, err := w.Status(ctx, 1)
	require.NoError(t, err)
	require.False(t, down.Up)
	_, err = get(ctx, addr, "/ready", nil)
	require.ErrorContains(t, err, "connection refused", "a client must learn at once that nobody is there")
	requireOnlyCut(t, w) // its place in the network remains

	began = time.Now()
	require.NoError(t, w.Start(ctx, 1))
	require.NoError(t, w.Start(ctx, 1), "starting again")
	t.Logf("started in %v", time.Since(began))
	serves(t, w, 1)
	after, err := w.Status(ctx, 1)
	require.NoError(t, err)
	require.True(t, after.Up)
	require.NotEqual(t, before.Incarnation, after.Incarnation)
	require.Equal(t, addr, w.Addr(1))
	value, err := get(ctx, addr, "/get", url.Values{"key": {"k"}})
	require.NoError(t, err)
	require.Equal(t, "kept", value)
}

func serves(t *testing.T, w *docker.World, node int) {
	t.Helper()
	eventually(t, "the node serves", func() bool {
		return testSystem{}.Ready(t.Context(), w.Addr(node)) == nil
	})
}

func killLease(t *testing.T, w *docker.World) {
	require.NoError(t, w.Kill(t.Context(), 2, 500*time.Millisecond))
	serves(t, w, 2)
}

func pauseAndResume(t *testing.T, w *docker.World) {
	ctx := t.Context()
	require.NoError(t, w.Pause(ctx, 0, lease))
	require.NoError(t, w.Pause(ctx, 0, lease), "pausing again")
	before, err := w.Status(ctx, 0)
	require.NoError(t, err)
	require.True(t, before.Up && before.Paused, "%+v", before)
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, testSystem{}.Ready(short, w.Addr(0)), "deadline exceeded")
	still, err := w.Status(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, before, still, "it did something, or is another process")

	require.NoError(t, w.Resume(ctx, 0))
	require.NoError(t, w.Resume(ctx, 0), "resuming again")
	serves(t, w, 0)
	after, err := w.Status(ctx, 0)
	require.NoError(t, err)
	require.False(t, after.Paused)
	require.Greater(t, after.Work, before.Work)
	require.Equal(t, before.Incarnation, after.Incarnation)
}

func killPaused(t *testing.T, w *docker.World) {
	require.NoError(t, w.Pause(t.Context(), 0, lease))
	require.NoError(t, w.Kill(t.Context(), 0, lease))
	down, err := w.Status(t.Context(), 0)
	require.NoError(t, err)
	require.False(t, down.Up || down.Paused, "%+v", down)
	require.NoError(t, w.Start(t.Context(), 0))
	serves(t, w, 0)
}

func pauseLease(t *testing.T, w *docker.World) {
	require.NoError(t, w.Pause(t.Context(), 1, 300*time.Millisecond))
	eventually(t, "the node resumes", func() bool {
		s, err := w.Status(t.Context(), 1)
		return err == nil && !s.Paused
	})
	serves(t, w, 1)
}

// requireOffset requires that a node's clock is wrong by this much, and all
// other clocks are right.
func requireOffset(t *testing.T, w *docker.World, node int, want time.Duration) {
	t.Helper()
	for i := range nodes {
		got, within, err := w.ClockOffset(t.Context(), i)
		require.NoError(t, err)
		expect := time.Duration(0)
		if i == node {
			expect = want
		}
		require.InDelta(t, expect, got, float64(within+time.Millisecond), "clock of node %d", i)
	}
}

func clockJump(t *testing.T, w *docker.World) {
	ctx := t.Context()
	require.NoError(t, w.Supports(harness.CanClock))
	requireOffset(t, w, 0, 0)
	began := time.Now()
	require.NoError(t, w.SetClock(ctx, 0, harness.Clock{Offset: -time.Hour}, lease))
	t.Logf("first clock set in %v", time.Since(began))
	requireOffset(t, w, 0, -time.Hour)
	began = time.Now()
	require.NoError(t, w.SetClock(ctx, 0, harness.Clock{Offset: 5 * time.Second, Drift: 0.5}, lease))
	t.Logf("second clock set in %v", time.Since(began))
	text, err := get(ctx, w.Addr(0), "/drift", url.Values{"ms": {"400"}})
	require.NoError(t, err)
	wall, mono, _ := strings.Cut(text, " ")
	require.InEpsilon(t, 1.5, number(t, wall)/number(t, mono), 0.01, "wall time against monotonic time")
	require.Less(t, number(t, mono), 1e9, "the monotonic clock goes on as before")
	require.NoError(t, w.SetClock(ctx, 0, harness.Clock{}, 0))
	requireOffset(t, w, 0, 0)
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(s, 64)
	require.NoError(t, err)
	return n
}

func clockRestart(t *testing.T, w *docker.World) {
	ctx := t.Context()
	require.NoError(t, w.SetClock(ctx, 1, harness.Clock{Offset: time.Minute}, lease))
	require.NoError(t, w.Kill(ctx, 1, lease))
	require.NoError(t, w.Start(ctx, 1))
	serves(t, w, 1)
	requireOffset(t, w, 1, time.Minute)

	require.NoError(t, w.Kill(ctx, 1, lease))
	require.NoError(t, w.SetClock(ctx, 1, harness.Clock{Offset: -time.Minute}, lease), "while it is down")
	require.NoError(t, w.Start(ctx, 1))
	serves(t, w, 1)
	requireOffset(t, w, 1, -time.Minute)
	require.NoError(t, w.SetClock(ctx, 1, harness.Clock{}, 0))
	requireOffset(t, w, 1, 0)
}

func clockLease(t *testing.T, w *docker.World) {
	require.NoError(t, w.SetClock(t.Context(), 2, harness.Clock{Offset: time.Hour}, time.Second))
	requireOffset(t, w, 2, time.Hour)
	eventually(t, "the clock is right again", func() bool {
		got, _, err := w.ClockOffset(t.Context(), 2)
		return err == nil && got.Abs() < time.Minute
	})
	require.NoError(t, w.SetClock(t.Context(), 2, harness.Clock{Offset: time.Hour}, lease), "anew, after a lease was over")
	requireOffset(t, w, 2, time.Hour)
	require.NoError(t, w.SetClock(t.Context(), 2, harness.Clock{}, 0))
}

func refusals(t *testing.T, w *docker.World) {
	ctx := t.Context()
	require.ErrorContains(t, w.Kill(ctx, nodes+1, lease), "no node 4", "node 3 is a spare")
	require.ErrorContains(t, w.Kill(ctx, 0, 0), "lease")
	require.ErrorContains(t, w.Pause(ctx, 0, -1), "lease")
	require.ErrorContains(t, w.Cut(ctx, "a", []harness.Link{{From: 0, To: 9}}, lease), "no node 9")
	require.ErrorContains(t, w.SetClock(ctx, 0, harness.Clock{Drift: -1}, lease), "drift")
	require.ErrorContains(t, w.SetClock(ctx, 0, harness.Clock{Offset: 30 * 365 * 24 * time.Hour}, lease), "offset")
	require.Error(t, w.Supports("time travel"))
	requireOnlyCut(t, w)
}

func logs(t *testing.T, w *docker.World) {
	text, err := w.Log(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, 4, strings.Count(string(text), "testnode 1 on"), "starts of node 1 in its log:\n%s", text)
}

func wipe(t *testing.T, w *docker.World) {
	ctx := t.Context()
	addr := w.Addr(1)
	starts := func() int {
		text, err := w.Log(ctx, 1)
		require.NoError(t, err)
		return strings.Count(string(text), "testnode 1 on")
	}
	before := starts()
	_, err := get(ctx, addr, "/put", url.Values{"key": {"k"}, "value": {"lost"}})
	require.NoError(t, err)
	require.NoError(t, w.Kill(ctx, 1, 2*time.Second))
	require.NoError(t, w.Start(ctx, 1))
	serves(t, w, 1)
	require.NoError(t, w.Pause(ctx, 1, 2*time.Second))
	had := leftOf(t, w.Run())
	began := time.Now()
	require.NoError(t, w.Wipe(ctx, 1))
	t.Logf("wiped in %v", time.Since(began))
	require.NoError(t, w.Wipe(ctx, 1), "again")
	require.Len(t, leftOf(t, w.Run()), len(had)-2, "its container and its volume are gone")
	s, err := w.Status(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, harness.Status{}, s)
	require.ErrorContains(t, w.Kill(ctx, 1, lease), "it is a spare")
	require.Error(t, w.Pause(ctx, 1, lease))
	_, err = get(ctx, addr, "/ready", nil)
	require.ErrorContains(t, err, "connection refused")
	requireOnlyCut(t, w) // its place in the network remains
	require.NoError(t, w.Sleep(ctx, 2500*time.Millisecond))
	s, err = w.Status(ctx, 1)
	require.NoError(t, err)
	require.False(t, s.Up, "its leases are over")

	began = time.Now()
	require.NoError(t, w.Start(ctx, 1))
	t.Logf("started anew in %v", time.Since(began))
	serves(t, w, 1)
	require.Equal(t, addr, w.Addr(1))
	_, err = get(ctx, addr, "/get", url.Values{"key": {"k"}})
	require.ErrorContains(t, err, "404")
	require.Equal(t, before+2, starts(), "the log goes on")
}

func spare(t *testing.T, w *docker.World) {
	ctx := t.Context()
	require.Equal(t, []int{nodes, 1}, []int{w.Nodes(), w.Spares()})
	require.ErrorContains(t, w.Supports(harness.CanReconfigure), "implement harness.Reconfigurable")
	s, err := w.Status(ctx, nodes)
	require.NoError(t, err)
	require.Equal(t, harness.Status{}, s)
	text, err := w.Log(ctx, nodes)
	require.NoError(t, err)
	require.Empty(t, text)
	links := []harness.Link{{From: nodes, To: 0}, {From: 0, To: nodes}}
	arrived, err := w.Probe(ctx, links)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true}, arrived)
	require.NoError(t, w.Cut(ctx, "spare", links[:1], lease))
	arrived, err = w.Probe(ctx, links)
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, arrived)
	require.NoError(t, w.Restore(ctx, "spare"))
	require.NoError(t, w.Start(ctx, nodes))
	serves(t, w, nodes)
	require.NoError(t, w.Kill(ctx, nodes, lease))
	require.NoError(t, w.Start(ctx, nodes))
	serves(t, w, nodes)
	require.Error(t, w.Start(ctx, nodes+1))
}

// TestPublishedPorts is how nodes are reached where the engine is elsewhere.
func TestPublishedPorts(t *testing.T) {
	w := start(t, docker.Config{Nodes: 1, Publish: true})
	addr := w.Addr(0)
	require.True(t, strings.HasPrefix(addr, "127.0.0.1:"), addr)
	require.NoError(t, w.Kill(t.Context(), 0, lease))
	require.NoError(t, w.Start(t.Context(), 0))
	serves(t, w, 0)
	require.Equal(t, addr, w.Addr(0))
}

// TestFiveNodes is the size of a usual run, and ends it by its context.
func TestFiveNodes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	w, err := docker.Start(ctx, docker.Config{System: testSystem{}, Nodes: 5, Logf: t.Logf})
	defer cancel()
	require.NoError(t, err)
	t.Logf("5 nodes ready after %v", time.Since(began).Round(time.Millisecond))
	require.Len(t, leftOf(t, w.Run()), 5*3+2+1, "nodes with holders and volumes, reaper, host, network")
	began = time.Now()
	cancel()
	require.NoError(t, w.Close(context.Background()), "waits for the closing that the context began")
	t.Logf("closed in %v", time.Since(began).Round(time.Millisecond))
	require.Empty(t, leftOf(t, w.Run()))
}

// TestStartFails leaves nothing behind either.
func TestStartFails(t *testing.T) {
	var seen []string
	system := brokenSystem{run: func(peers []docker.Peer) { seen = append(seen, peers[0].Addr.String()) }}
	_, err := docker.Start(t.Context(), docker.Config{System: system, Nodes: 1, Name: "assay-broken"})
	require.ErrorContains(t, err, "its process has ended")
	require.ErrorContains(t, err, "usage: testnode", "the end of the node's log")
	require.Len(t, seen, 1)
	for _, name := range everything(t, filters.NewArgs(filters.Arg("label", agent.LabelRun))) {
		require.NotContains(t, name, "assay-broken")
	}
}

// brokenSystem's nodes exit at once.
type brokenSystem struct {
	testSystem
	run func([]docker.Peer)
}

func (s brokenSystem) Container(node int, peers []docker.Peer) docker.Container {
	s.run(peers)
	c := s.testSystem.Container(node, peers)
	c.Cmd = nil
	return c
}

// leftOf lists what the engine has of a run.
func leftOf(t *testing.T, run string) []string {
	t.Helper()
	return everything(t, filters.NewArgs(filters.Arg("label", agent.LabelRun+"="+run)))
}

func everything(t *testing.T, f filters.Args) []string {
	t.Helper()
	ctx := context.Background() // cleanups ask too
	cli, err := dockerclient.NewClientWithOpts(dockerclient.FromEnv, dockerclient.WithAPIVersionNegotiation())
	require.NoError(t, err)
	defer cli.Close()
	var left []string
	containers, err := cli.ContainerList(ctx, container.ListOptions{All: true, Filters: f})
	require.NoError(t, err)
	for _, c := range containers {
		left = append(left, "container "+strings.Join(c.Names, ","))
	}
	networks, err := cli.NetworkList(ctx, network.ListOptions{Filters: f})
	require.NoError(t, err)
	for _, n := range networks {
		left = append(left, "network "+n.Name)
	}
	volumes, err := cli.VolumeList(ctx, volume.ListOptions{Filters: f})
	require.NoError(t, err)
	for _, v := range volumes.Volumes {
		left = append(left, "volume "+v.Name)
	}
	return left
}
