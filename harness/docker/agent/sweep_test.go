package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeEngine is as much of an engine as Sweep sees: objects with labels, and a
// network that cannot go while containers are in it.
type fakeEngine struct {
	t          *testing.T
	mu         sync.Mutex
	containers map[string]map[string]string // labels by id
	networks   map[string]map[string]string
	volumes    map[string]map[string]string
	calls      []string
	deaf       bool // removes nothing
}

func (f *fakeEngine) client() *http.Client {
	s := httptest.NewServer(f)
	f.t.Cleanup(s.Close)
	to, err := url.Parse(s.URL)
	require.NoError(f.t, err)
	return &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(to)}}
}

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, r.Method+" "+r.URL.Path)
	var filters struct{ Label []string }
	_ = json.Unmarshal([]byte(r.FormValue("filters")), &filters) // none for changes
	list := func(m map[string]map[string]string, idField string) []map[string]any {
		out := []map[string]any{}
		for id, labels := range m {
			for k, v := range labels {
				if len(filters.Label) == 1 && filters.Label[0] == k+"="+v {
					out = append(out, map[string]any{idField: id, "Labels": labels, "State": "running"})
				}
			}
		}
		return out
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodGet && parts[0] == "containers":
		_ = json.NewEncoder(w).Encode(list(f.containers, "Id"))
	case r.Method == http.MethodGet && parts[0] == "networks":
		_ = json.NewEncoder(w).Encode(list(f.networks, "Id"))
	case r.Method == http.MethodGet && parts[0] == "volumes":
		_ = json.NewEncoder(w).Encode(map[string]any{"Volumes": list(f.volumes, "Name")})
	case r.Method == http.MethodPost && len(parts) == 3 && parts[2] == "stop":
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete && f.deaf:
		http.Error(w, "busy", http.StatusInternalServerError)
	case r.Method == http.MethodDelete && parts[0] == "containers":
		delete(f.containers, parts[1])
	case r.Method == http.MethodDelete && parts[0] == "networks":
		if len(f.containers) > 2 {
			http.Error(w, "has active endpoints", http.StatusForbidden)
			return
		}
		delete(f.networks, parts[1])
	case r.Method == http.MethodDelete && parts[0] == "volumes":
		delete(f.volumes, parts[1])
	default:
		f.t.Errorf("unexpected %s %s", r.Method, r.URL)
	}
}

func newFakeEngine(t *testing.T) *fakeEngine {
	ours, others := map[string]string{LabelRun: "r1"}, map[string]string{LabelRun: "r2"}
	return &fakeEngine{
		t: t,
		containers: map[string]map[string]string{
			"node": ours, "reaper": ours, "host": {LabelRun: "r1", LabelRole: RoleHost}, "other": others,
		},
		networks: map[string]map[string]string{"n1": ours, "n2": others},
		volumes:  map[string]map[string]string{"v1": ours, "v2": others},
	}
}

func TestSweep(t *testing.T) {
	f := newFakeEngine(t)
	require.NoError(t, Sweep(t.Context(), f.client(), "r1", "reaper"))
	require.Len(t, f.containers, 2)
	require.Contains(t, f.containers, "reaper", "it is at work")
	require.Contains(t, f.containers, "other", "another run")
	require.Equal(t, map[string]map[string]string{"n2": {LabelRun: "r2"}}, f.networks)
	require.Equal(t, map[string]map[string]string{"v2": {LabelRun: "r2"}}, f.volumes)
	stop, remove := -1, -1
	for i, c := range f.calls {
		switch c {
		case "POST /containers/host/stop":
			stop = i
		case "DELETE /containers/host":
			remove = i
		}
	}
	require.True(t, stop >= 0 && stop < remove, "the host's agent takes its rules along: %v", f.calls)
}

func TestSweepSaysWhatIsLeft(t *testing.T) {
	f := newFakeEngine(t)
	f.deaf = true
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := Sweep(ctx, f.client(), "r1", "")
	require.ErrorContains(t, err, "remove run r1")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestReaperGivesUpOnASilentHarness(t *testing.T) {
	r := newReaper("r1")
	r.lease = 200 * time.Millisecond
	f := &pingEngine{}
	s := httptest.NewServer(f)
	defer s.Close()
	to, err := url.Parse(s.URL)
	require.NoError(t, err)
	r.engine = &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(to)}}
	_, err = r.hello()
	require.NoError(t, err)
	for range 4 {
		time.Sleep(r.lease / 2)
		_, err := r.handle(t.Context(), OpBeat, nil)
		require.NoError(t, err)
	}
	select {
	case <-r.done():
		t.Fatal("it gave up in spite of the beats")
	default:
	}
	select {
	case <-r.done():
	case <-time.After(10 * time.Second):
		t.Fatal("it did not give up")
	}
}

type pingEngine struct{}

func (*pingEngine) ServeHTTP(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "OK") }
