package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// EngineSocket is where the reaper's container has the engine's socket.
const EngineSocket = "/var/run/docker.sock"

// sweepTime bounds how long a reaper tries to remove a run.
const sweepTime = 2 * time.Minute

// reaper outlives the harness: when its input ends or the beats stop, it
// removes everything of its run, and then itself.
type reaper struct {
	run    string
	lease  time.Duration
	engine *http.Client

	expired chan struct{}
	once    sync.Once
	timer   *time.Timer
}

func newReaper(run string) *reaper {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", EngineSocket)
	}
	return &reaper{
		run: run, lease: RunLease,
		engine:  &http.Client{Transport: &http.Transport{DialContext: dial}},
		expired: make(chan struct{}),
	}
}

// hello proves that the engine answers through the mounted socket.
func (r *reaper) hello() (any, error) {
	if r.run == "" {
		return nil, fmt.Errorf("no run in %s", EnvRun)
	}
	resp, err := r.engine.Get("http://engine/_ping")
	if err != nil {
		return nil, fmt.Errorf("reach the engine from its own container: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reach the engine from its own container: %s", resp.Status)
	}
	r.timer = time.AfterFunc(r.lease, func() { r.once.Do(func() { close(r.expired) }) })
	_, err = os.Stat("/proc/sys/net/ipv4/tcp_rto_max_ms")
	return ReaperHello{TCPRTOMax: err == nil}, nil
}

func (r *reaper) handle(_ context.Context, op string, _ json.RawMessage) (any, error) {
	if op != OpBeat {
		return nil, unknownOp(op)
	}
	r.timer.Reset(r.lease)
	return nil, nil
}

func (r *reaper) done() <-chan struct{} { return r.expired }

// close removes the run. A request of the harness may still be on its way
// inside the engine when the harness dies, so the engine must list nothing of
// the run twice, a while apart.
func (r *reaper) close() error {
	if r.timer == nil {
		return nil // never greeted
	}
	r.timer.Stop()
	// The engine gives a container its short id as host name.
	self, err := r.self()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), sweepTime)
	defer cancel()
	if err := Sweep(ctx, r.engine, r.run, self); err != nil {
		return err
	}
	time.Sleep(500 * time.Millisecond)
	return Sweep(ctx, r.engine, r.run, self)
}

// self finds the reaper's own container, which must not remove itself while it
// is at work: the engine does that when it exits.
func (r *reaper) self() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	resp, err := r.engine.Get("http://engine/containers/" + host + "/json")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var c struct {
		ID string `json:"Id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
		return "", fmt.Errorf("find the reaper's own container %s: %w", host, err)
	}
	if c.ID == "" {
		return "", errors.New("the engine does not know the reaper's own container " + host)
	}
	return c.ID, nil
}
