package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Sweep removes every container, network and volume that carries
// [LabelRun] = run, and nothing else, through the engine's HTTP API. The host's
// agent is stopped before it is removed, so that it takes its rules along. The
// container keep, if any, stays. Sweep returns when the engine lists nothing
// more of the run, or an error that says what was left when ctx was done.
//
// The client must send every request to the engine, whatever the host in the
// address. Paths are unversioned: each engine answers in its own version.
func Sweep(ctx context.Context, engine *http.Client, run, keep string) error {
	s := sweeper{ctx: ctx, engine: engine, run: run, keep: keep}
	for {
		left, err := s.round()
		if err == nil && left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove run %s: %d objects left: %w", run, left, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type sweeper struct {
	ctx       context.Context
	engine    *http.Client
	run, keep string
}

// round removes what it finds and says how much that was.
func (s sweeper) round() (found int, err error) {
	var containers []struct {
		ID     string `json:"Id"`
		State  string
		Labels map[string]string
	}
	if err := s.list("/containers/json?all=1&", &containers); err != nil {
		return 1, err
	}
	var all parallel
	for _, c := range containers {
		if c.ID == s.keep {
			continue
		}
		found++
		all.do(func() error {
			if c.Labels[LabelRole] == RoleHost && c.State == "running" {
				if err := s.call(http.MethodPost, "/containers/"+c.ID+"/stop?t=2"); err != nil {
					return err
				}
			}
			return s.call(http.MethodDelete, "/containers/"+c.ID+"?force=1&v=1")
		})
	}
	if err := all.wait(); err != nil {
		return found, err
	}

	var networks []struct {
		ID string `json:"Id"`
	}
	if err := s.list("/networks?", &networks); err != nil {
		return found + 1, err
	}
	for _, n := range networks {
		found++
		all.do(func() error { return s.call(http.MethodDelete, "/networks/"+n.ID) })
	}
	var volumes struct {
		Volumes []struct{ Name string }
	}
	if err := s.list("/volumes?", &volumes); err != nil {
		return found + 1, errors.Join(err, all.wait())
	}
	for _, v := range volumes.Volumes {
		found++
		all.do(func() error { return s.call(http.MethodDelete, "/volumes/"+url.PathEscape(v.Name)+"?force=1") })
	}
	return found, all.wait()
}

func (s sweeper) list(path string, into any) error {
	filters, err := json.Marshal(map[string][]string{"label": {LabelRun + "=" + s.run}})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, "http://engine"+path+"filters="+url.QueryEscape(string(filters)), nil)
	if err != nil {
		return err
	}
	resp, err := s.engine.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, body)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// call does one change. That the object is gone, or going, is success; that a
// network or volume is still in use shows in the next round.
func (s sweeper) call(method, path string) error {
	req, err := http.NewRequestWithContext(s.ctx, method, "http://engine"+path, nil)
	if err != nil {
		return err
	}
	resp, err := s.engine.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode < 400, resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusConflict:
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
	return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, body)
}

// parallel runs functions concurrently and joins their errors.
type parallel struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (p *parallel) do(f func() error) {
	p.wg.Go(func() {
		if err := f(); err != nil {
			p.mu.Lock()
			p.errs = append(p.errs, err)
			p.mu.Unlock()
		}
	})
}

func (p *parallel) wait() error {
	p.wg.Wait()
	err := errors.Join(p.errs...)
	p.errs = nil
	return err
}
