// Package serve shows a results folder in a browser: the runs, the matrices and
// the nights in it, and each run with its operations to move through. It reads,
// and does nothing else: no path leads out of the folder, nothing is executed, and
// nothing is changed.
package serve

import (
	"bytes"
	_ "embed" // the parts of the pages
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/assay-chaos/assay/results"
)

// Server is an [http.Handler] over one results folder.
type Server struct {
	dir  string
	root *os.Root
	log  *slog.Logger
	mux  *http.ServeMux
	runs *runs
}

// New opens a results folder. Close gives it back.
func New(dir string, log *slog.Logger) (*Server, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("serve: the results folder cannot be opened: %w", err)
	}
	s := &Server{dir: dir, root: root, log: log, mux: http.NewServeMux(), runs: newRuns(dir, root)}
	s.mux.HandleFunc("GET /{$}", s.index)
	s.mux.HandleFunc("GET /run/{path...}", s.run)
	s.mux.HandleFunc("GET /part/{path...}", s.part)
	s.mux.HandleFunc("GET /file/{path...}", s.file)
	return s, nil
}

// Close closes the folder.
func (s *Server) Close() error { return s.root.Close() }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if !local(r.Host) {
		// A page of another site that made its name lead here would be able to
		// read everything.
		http.Error(w, "this server is called by the address that it listens on, or localhost", http.StatusMisdirectedRequest)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "nothing can be changed here", http.StatusMethodNotAllowed)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// local says that a Host header is an address or localhost, and no name that
// somebody may have made lead here.
func local(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil || name == "localhost"
}

// fail answers with what went wrong.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, errOutside) {
		http.Error(w, "there is nothing here: "+r.URL.Path, http.StatusNotFound)
		return
	}
	s.log.Warn("a page cannot be shown", "path", r.URL.Path, "error", err)
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// send sends a whole page, or says that it could not be made.
func (s *Server) send(w http.ResponseWriter, r *http.Request, make func(io.Writer) error) {
	var b bytes.Buffer
	if err := make(&b); err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(b.Bytes())
}

var (
	//go:embed assets/index.html
	indexSource   string
	indexTemplate = template.Must(template.New("index").Parse(indexSource))
)

func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	found, err := s.find()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	m := newIndex(found, r.URL.Query())
	s.send(w, r, func(w io.Writer) error { return indexTemplate.Execute(w, m) })
}

func (s *Server) run(w http.ResponseWriter, r *http.Request) {
	rel := r.PathValue("path")
	if s.runs.isFile(rel) { // its page links to it
		http.Redirect(w, r, "/file/"+escape(rel), http.StatusFound)
		return
	}
	if !strings.HasSuffix(rel, "/") { // links in the page are relative to the run
		to := "/run/" + escape(rel) + "/"
		if r.URL.RawQuery != "" {
			to += "?" + r.URL.RawQuery
		}
		http.Redirect(w, r, to, http.StatusFound)
		return
	}
	rel = strings.TrimSuffix(rel, "/")
	run, err := s.runs.get(rel)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.send(w, r, func(w io.Writer) error { return results.ExplorePage(w, run, r.URL.Query(), "/part/"+escape(rel)) })
}

func (s *Server) part(w http.ResponseWriter, r *http.Request) {
	run, err := s.runs.get(r.PathValue("path"))
	if err == nil && run.History == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.send(w, r, func(w io.Writer) error {
		return results.Explore(w, run, results.ParseWindow(run.History, r.URL.Query()))
	})
}

// types are the files that are shown; others are for download.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".json": "application/json", ".jsonl": "text/plain; charset=utf-8", ".log": "text/plain; charset=utf-8",
	".txt": "text/plain; charset=utf-8", ".md": "text/plain; charset=utf-8", ".xml": "text/plain; charset=utf-8", ".svg": "image/svg+xml",
}

func (s *Server) file(w http.ResponseWriter, r *http.Request) {
	rel := r.PathValue("path")
	f, err := s.root.Open(filepath.FromSlash(path.Clean(rel)))
	if err != nil {
		s.fail(w, r, outside(err))
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		s.fail(w, r, fs.ErrNotExist)
		return
	}
	kind := types[strings.ToLower(path.Ext(rel))]
	if kind == "" {
		kind = "application/octet-stream"
		w.Header().Set("Content-Disposition", "attachment")
	}
	// Pages have a stricter policy of their own; Porcupine's has its own script.
	w.Header().Set("Content-Security-Policy", "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:")
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// escape makes a path stand in a URL.
func escape(rel string) string { return (&url.URL{Path: rel}).EscapedPath() }
