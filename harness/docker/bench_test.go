//go:build chaos

package docker_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	dockerclient "github.com/docker/docker/client"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
)

// BenchmarkStart measures a five-node cluster with the images there: until all
// nodes are ready, and until nothing is left of it.
func BenchmarkStart(b *testing.B) {
	warm, err := docker.Start(b.Context(), docker.Config{System: testSystem{}, Nodes: 1})
	require.NoError(b, err)
	require.NoError(b, warm.Close(b.Context()))
	var up, down time.Duration
	for b.Loop() {
		t0 := time.Now()
		w, err := docker.Start(b.Context(), docker.Config{System: testSystem{}, Nodes: 5})
		require.NoError(b, err)
		t1 := time.Now()
		require.NoError(b, w.Close(context.Background()))
		up += t1.Sub(t0)
		down += time.Since(t1)
	}
	b.ReportMetric(up.Seconds()*1000/float64(b.N), "ms/start")
	b.ReportMetric(down.Seconds()*1000/float64(b.N), "ms/close")
}

// BenchmarkStartBare is the engine's own part of BenchmarkStart: as many
// containers of the same image, made and started all at once by nothing but the
// engine, with no order between them and nothing to wait for.
func BenchmarkStartBare(b *testing.B) {
	warm, err := docker.Start(b.Context(), docker.Config{System: testSystem{}, Nodes: 1})
	require.NoError(b, err)
	require.NoError(b, warm.Close(b.Context()))
	engine, err := dockerclient.NewClientWithOpts(dockerclient.FromEnv, dockerclient.WithAPIVersionNegotiation())
	require.NoError(b, err)
	defer engine.Close()
	images, err := engine.ImageList(b.Context(), image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", "assay/agent"))})
	require.NoError(b, err)
	require.NotEmpty(b, images)
	const containers = 12 // five nodes, their holders, and two agents
	var up time.Duration
	for b.Loop() {
		t0 := time.Now()
		var ids [containers]string
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				c, err := engine.ContainerCreate(b.Context(), &container.Config{Image: images[0].ID, OpenStdin: true,
					Env: []string{"ASSAY_AGENT_ROLE=holder"}}, &container.HostConfig{}, nil, nil, "")
				if ids[i] = c.ID; err == nil {
					err = engine.ContainerStart(b.Context(), c.ID, container.StartOptions{})
				}
				if err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		up += time.Since(t0)
		for _, id := range ids {
			wg.Go(func() {
				if err := engine.ContainerRemove(context.Background(), id, container.RemoveOptions{Force: true}); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
	b.ReportMetric(up.Seconds()*1000/float64(b.N), "ms/start")
}

// BenchmarkFaults measures what each fault takes until it is in force.
func BenchmarkFaults(b *testing.B) {
	w, err := docker.Start(b.Context(), docker.Config{System: testSystem{}, Nodes: 5})
	require.NoError(b, err)
	defer func() { require.NoError(b, w.Close(context.Background())) }()
	var split []harness.Link
	for _, x := range []int{0, 1} {
		for _, y := range []int{2, 3, 4} {
			split = append(split, harness.Link{From: x, To: y}, harness.Link{From: y, To: x})
		}
	}
	ctx := b.Context()
	b.Run("cut and restore", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, w.Cut(ctx, "a", split, time.Minute))
			require.NoError(b, w.Restore(ctx, "a"))
		}
	})
	b.Run("probe all links", func(b *testing.B) {
		for b.Loop() {
			_, err := w.Probe(ctx, split)
			require.NoError(b, err)
		}
	})
	b.Run("pause and resume", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, w.Pause(ctx, 0, time.Minute))
			require.NoError(b, w.Resume(ctx, 0))
		}
	})
	b.Run("kill and start", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, w.Kill(ctx, 0, time.Minute))
			require.NoError(b, w.Start(ctx, 0))
		}
	})
	b.Run("status", func(b *testing.B) {
		for b.Loop() {
			_, err := w.Status(ctx, 0)
			require.NoError(b, err)
		}
	})
	b.Run("clock of a running agent", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, w.SetClock(ctx, 1, harness.Clock{Offset: time.Second}, time.Minute))
		}
	})
}
