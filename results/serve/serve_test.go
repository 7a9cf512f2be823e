package serve

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/experiment"
)

// folder makes a results folder with a broken run and one that held, and a secret
// beside it.
func folder(t *testing.T) string {
	base := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(base, "secret.txt"), []byte("secret"), 0o644))
	dir := filepath.Join(base, "results")
	for _, c := range []struct{ profile, nemesis string }{{"majority-lww", "clock"}, {"abd", "kill"}} {
		s := experiment.Default(experiment.Sim)
		s.Profile, s.Nemesis, s.Seed = c.profile, c.nemesis, 3
		s.SetDuration(8e9)
		d, err := results.Create(filepath.Join(dir, "runs"), s.Name())
		require.NoError(t, err)
		_, err = experiment.Execute(t.Context(), s, experiment.Options{Dir: d})
		require.NoError(t, err)
	}
	m := results.Matrix{Title: "a matrix", Columns: []string{"c"}, Rows: []results.Row{{Name: "r", Cells: []results.Cell{{Runs: 1}}}}}
	require.NoError(t, m.Save(filepath.Join(dir, "reference")))
	return dir
}

const brokenRun, heldRun = "runs/sim-majority-lww-clock-3", "runs/sim-abd-kill-3"

func start(t *testing.T, dir string) *httptest.Server {
	s, err := New(dir, slog.New(slog.NewTextHandler(io.Discard, nil)))
	require.NoError(t, err)
	web := httptest.NewServer(s)
	t.Cleanup(func() { web.Close(); require.NoError(t, s.Close()) })
	return web
}

func get(t *testing.T, web *httptest.Server, path string) (status int, body string, h http.Header) {
	r, err := web.Client().Get(web.URL + path)
	require.NoError(t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return r.StatusCode, string(text), r.Header
}

func TestPages(t *testing.T) {
	web := start(t, folder(t))
	for path, want := range map[string]string{
		"/":                       "2 of 2 runs",
		"/?verdict=broken":        "1 of 2 runs",
		"/?text=KILL":             "1 of 2 runs",
		"/?profile=nonesuch":      "0 of 2 runs",
		"/run/" + brokenRun + "/": "What went wrong",
		"/run/" + brokenRun + "/?from=1&to=1.1&key=r0&node=1": `value="r0"`,
		"/run/" + brokenRun + "/?from=0&to=1":                 "The messages behind it",
		"/part/" + heldRun + "?from=1&to=1.05":                "operations from 1.000 s to 1.050 s",
		"/file/" + brokenRun + "/test.json":                   `"profile": "majority-lww"`,
		"/run/" + brokenRun + "/logs/node-0.log":              "boot 1",
		"/file/reference/matrix.html":                         "a matrix",
	} {
		status, body, h := get(t, web, path)
		require.Equal(t, http.StatusOK, status, path)
		require.Contains(t, body, want, path)
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
	}
	_, body, _ := get(t, web, "/")
	require.Contains(t, body, `href="/file/reference/matrix.html"`)
	require.Less(t, strings.Index(body, heldRun), strings.Index(body, brokenRun), "the newest first")
}

// No path leads out of the folder, by whatever way.
func TestNothingOutside(t *testing.T) {
	dir := folder(t)
	require.NoError(t, os.Symlink("../secret.txt", filepath.Join(dir, "link.txt")))
	require.NoError(t, os.Symlink("/etc", filepath.Join(dir, "etc")))
	require.NoError(t, os.Symlink("../../../secret.txt", filepath.Join(dir, filepath.FromSlash(heldRun), "logs.txt")))
	web := start(t, dir)
	client := web.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, path := range []string{
		"/file/../secret.txt", "/file/%2e%2e/secret.txt", "/file/..%2fsecret.txt", "/file/runs/../../secret.txt", "/file//etc/passwd",
		"/file/link.txt", "/file/etc/passwd", "/file/runs", "/file/", "/run/../", "/run/%2e%2e/", "/run/etc/", "/run/runs/", "/part/..", "/part/", "/file/x%00y",
		"/run/" + heldRun + "/", // it has a link that leads out
	} {
		r, err := http.NewRequest(http.MethodGet, web.URL+"/", nil)
		require.NoError(t, err)
		r.URL.Opaque = path
		a, err := client.Do(r)
		require.NoError(t, err, path)
		body, err := io.ReadAll(a.Body)
		require.NoError(t, err)
		a.Body.Close()
		require.NotEqual(t, http.StatusOK, a.StatusCode, "%s: %s", path, body)
		require.NotContains(t, string(body), "root:", path)
		require.NotEqual(t, "secret", string(body), path)
	}
}

func TestOnlyReadsAndOnlyHere(t *testing.T) {
	web := start(t, t.TempDir())
	do := func(method, host string) int {
		r, err := http.NewRequest(method, web.URL+"/", nil)
		require.NoError(t, err)
		r.Host = host
		a, err := web.Client().Do(r)
		require.NoError(t, err)
		a.Body.Close()
		return a.StatusCode
	}
	for host, want := range map[string]int{
		"127.0.0.1:7900": 200, "localhost": 200, "localhost:1": 200, "[::1]:7900": 200, "10.1.2.3": 200,
		"evil.example": 421, "evil.example:7900": 421, "127.0.0.1.evil.example": 421,
	} {
		require.Equal(t, want, do(http.MethodGet, host), host)
	}
	for _, m := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		require.Equal(t, http.StatusMethodNotAllowed, do(m, "localhost"), m)
	}
	_, err := New(filepath.Join(t.TempDir(), "nonesuch"), nil)
	require.ErrorContains(t, err, "the results folder cannot be opened")
}

// What is broken in one directory hides nothing else.
func TestHostileFolder(t *testing.T) {
	dir := folder(t)
	bad := filepath.Join(dir, "runs", "bad")
	require.NoError(t, os.MkdirAll(bad, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(bad, "test.json"), []byte("{"), 0o644))
	evil := filepath.Join(dir, "runs", `<script>alert(1)`)
	require.NoError(t, os.MkdirAll(evil, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(evil, "test.json"), []byte(`{"schema":1,"profile":"<img src=x>"}`), 0o644))
	web := start(t, dir)
	status, body, _ := get(t, web, "/")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "3 of 3 runs")
	require.NotContains(t, body, "<img")
	require.NotContains(t, body, "<script")
	status, body, _ = get(t, web, "/run/runs/bad/")
	require.Equal(t, http.StatusInternalServerError, status)
	require.Contains(t, body, "test.json")
}
