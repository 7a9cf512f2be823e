package docker

import (
	"context"
	"errors"
	"fmt"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"

	"github.com/assay-chaos/assay/harness/docker/agent"
)

// startReaper starts the one that removes the run if this process cannot.
func (w *World) startReaper(ctx context.Context) error {
	socket := w.engine.socketPath()
	var hello agent.ReaperHello
	reaper, _, err := w.engine.startAgent(ctx, spec{
		name: w.prefix + "-reaper", image: w.agentImage, labels: labels(w.run, agent.RoleReaper),
		env:     map[string]string{agent.EnvRun: w.run},
		network: "none", users: "host", binds: []string{socket + ":" + agent.EngineSocket},
		autoRemove: true,
	}, agent.RoleReaper, &hello)
	if err == nil {
		w.reaper, w.rtoMax = reaper, hello.TCPRTOMax
		go w.beat()
		return nil
	}
	err = fmt.Errorf("docker: the reaper, which removes the containers if this program is killed, cannot work with the engine's socket %s: %w; "+
		"set TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE to the socket's path on the engine's machine", socket, err)
	if !w.cfg.Unguarded || ctx.Err() != nil {
		return fmt.Errorf("%w, or permit a run without it (Config.Unguarded)", err)
	}
	w.cfg.Logf("%v", err)
	return nil
}

// beat tells the reaper that this process is alive.
func (w *World) beat() {
	tick := time.NewTicker(agent.BeatInterval)
	defer tick.Stop()
	for {
		select {
		case <-w.closed:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), agent.RunLease)
		err := w.reaper.call(ctx, agent.OpBeat, nil, nil)
		cancel()
		if err != nil && !w.closing.Load() {
			w.cfg.Logf("docker: the reaper does not answer: %v", err)
			return
		}
	}
}

// closeTimeout bounds Close if its context has no end.
const closeTimeout = time.Minute

// Close implements [harness.World]: it removes every container, network and
// volume of the run, and with them the faults in force. It may be called again;
// the later calls wait for the first one and return its error.
func (w *World) Close(ctx context.Context) error {
	return w.shut(ctx, func(ctx context.Context) error {
		w.unwatch()
		// The reaper goes last: until then it stands by if this process dies.
		if err := w.sweep(ctx, w.reaperID(ctx)); err != nil {
			return err
		}
		// A change that was under way may still have made something. It
		// has nothing to hold on to now, and no other begins.
		for _, n := range w.nodes {
			n.mu.Lock()
			n.killed.end()
			n.paused.end()
			n.clock.drop()
			n.mu.Unlock()
		}
		return w.sweep(ctx, "")
	})
}

// abandon is Close for a start that failed. Requests may still be on their way
// inside the engine, so the last word is the reaper's, which looks twice.
func (w *World) abandon(ctx context.Context) error {
	return w.shut(ctx, func(ctx context.Context) error {
		reaper := w.reaperID(ctx)
		if err := w.sweep(ctx, reaper); err != nil || reaper == "" {
			return err
		}
		removed, failed := w.engine.ContainerWait(ctx, reaper, container.WaitConditionRemoved)
		_ = w.reaper.conn.CloseWrite() // it may have ended already
		select {
		case <-removed:
			return nil
		case err := <-failed:
			if cerrdefs.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("docker: wait for the reaper: %w", err)
		}
	})
}

func (w *World) shut(ctx context.Context, remove func(context.Context) error) error {
	w.close.Do(func() {
		w.closing.Store(true)
		close(w.closed)
		w.Stop()
		ctx, cancel := context.WithTimeout(ctx, closeTimeout)
		defer cancel()
		if w.host != nil {
			w.host.close() // it takes its rules along
		}
		err := remove(ctx)
		for _, n := range w.nodes {
			if n.holder != nil {
				n.holder.close()
			}
		}
		if w.reaper != nil {
			w.reaper.close()
		}
		w.closeErr = errors.Join(err, w.engine.Close())
	})
	return w.closeErr
}

func (w *World) sweep(ctx context.Context, keep string) error {
	http := w.engine.http()
	defer http.CloseIdleConnections()
	if err := agent.Sweep(ctx, http, w.run, keep); err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	return nil
}

// reaperID is the reaper's container, or "" if there is none.
func (w *World) reaperID(ctx context.Context) string {
	if w.reaper == nil {
		return ""
	}
	c, err := w.engine.ContainerInspect(ctx, w.reaper.name)
	if err != nil {
		return ""
	}
	return c.ID
}

func (e *engine) createVolume(ctx context.Context, name string, labels map[string]string) (string, error) {
	v, err := e.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: labels})
	return v.Name, err
}
