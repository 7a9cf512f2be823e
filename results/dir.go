package results

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The files of a run directory.
const (
	testFile     = "test.json"
	historyFile  = "history.assay"
	verdictsFile = "verdicts.json"
	replicasFile = "replicas.json"
	traceFile    = "trace.json"
	pageFile     = "index.html"
	logsDir      = "logs"
)

// Dir is a run directory on disk. One process writes it; any may read it.
type Dir struct{ path string }

// Create makes a new, empty run directory called name under root, and root
// itself where it is missing. If the name is taken it goes on with name-2,
// name-3, …: no run ever writes over another.
func Create(root, name string) (*Dir, error) {
	if name == "" || name == "." || !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) {
		return nil, fmt.Errorf("results: %q cannot name a run directory: it must be one plain file name", name)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, explain("making the directory for runs", err)
	}
	for i := 1; ; i++ {
		path := filepath.Join(root, name)
		if i > 1 {
			path += "-" + strconv.Itoa(i)
		}
		err := os.Mkdir(path, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, explain("making the run directory", err)
		}
		return &Dir{path}, nil
	}
}

// Open takes an existing run directory. The error says so if path is none.
func Open(path string) (*Dir, error) {
	if _, err := os.Stat(filepath.Join(path, testFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("results: %s is not a run directory: it holds no %s", path, testFile)
		}
		return nil, explain("opening the run directory", err)
	}
	return &Dir{path}, nil
}

// Path is where the directory is, as it was given.
func (d *Dir) Path() string { return d.path }

// PagePath is where the page is, or will be.
func (d *Dir) PagePath() string { return filepath.Join(d.path, pageFile) }

// HistoryPath is where the history is, or will be.
func (d *Dir) HistoryPath() string { return filepath.Join(d.path, historyFile) }

// CreateHistory opens the history for writing; the caller closes it. Unlike
// all other files it can be read while it grows, so that a crash of the
// harness loses only the end. A second history is refused.
func (d *Dir) CreateHistory() (io.WriteCloser, error) {
	f, err := os.OpenFile(d.HistoryPath(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, explain("creating the history", err)
	}
	return explainingFile{f}, nil
}

// explainingFile makes a full disk in the middle of a run a readable error.
type explainingFile struct{ *os.File }

func (f explainingFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, explain("writing the history", err)
}

func (f explainingFile) Close() error { return explain("closing the history", f.File.Close()) }

// WriteLog stores what a node wrote to its log.
func (d *Dir) WriteLog(node int, log []byte) error {
	if err := os.MkdirAll(filepath.Join(d.path, logsDir), 0o755); err != nil {
		return explain("making the directory for logs", err)
	}
	name := filepath.Join(logsDir, "node-"+strconv.Itoa(node)+".log")
	return d.write(name, func(w io.Writer) error {
		_, err := w.Write(log)
		return err
	})
}

// WriteKeyPage stores a picture of one key that render draws, and gives the
// file's name. The name is made of the key's index: a key's own name may hold
// anything.
func (d *Dir) WriteKeyPage(key int32, render func(io.Writer) error) (string, error) {
	name := fmt.Sprintf("key-%d.html", key)
	return name, d.write(name, render)
}

// write makes a file appear whole or not at all, replacing an older one.
func (d *Dir) write(name string, render func(io.Writer) error) error {
	return writeWhole(filepath.Join(d.path, name), name, render)
}

// WriteFile writes a file that appears complete or not at all.
func WriteFile(path string, render func(io.Writer) error) error {
	return writeWhole(path, filepath.Base(path), render)
}

// WriteJSON writes such a file, for people and programs.
func WriteJSON(path string, v any) error { return WriteFile(path, encodeJSON(v)) }

func encodeJSON(v any) func(io.Writer) error {
	return func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false) // a file for people and jq, not part of a page
		return enc.Encode(v)
	}
}

// writeWhole writes a file that appears complete or not at all; name is what
// errors call it.
func writeWhole(path, name string, render func(io.Writer) error) (err error) {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return explain("writing "+name, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(tmp) // what is left of it is worth nothing
		}
	}()
	buf := bufio.NewWriterSize(f, 64<<10)
	if err := render(buf); err != nil {
		return explain("writing "+name, err)
	}
	// Without the sync a power cut could leave the new name with no content.
	if err := errors.Join(buf.Flush(), f.Sync(), f.Close()); err != nil {
		return explain("writing "+name, err)
	}
	return explain("writing "+name, os.Rename(tmp, path))
}

func (d *Dir) writeJSON(name string, v any) error {
	return d.write(name, encodeJSON(v))
}

// readJSON fills v, and reports whether the file is there. The schema is
// looked at first: a newer one may not fit v at all.
func (d *Dir) readJSON(name string, v any) (bool, error) {
	p, err := os.ReadFile(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, explain("reading "+name, err)
	}
	var head struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(p, &head); err != nil {
		return false, fmt.Errorf("results: %s is damaged: %w", filepath.Join(d.path, name), err)
	}
	if head.Schema < 1 || head.Schema > Schema {
		return false, fmt.Errorf("results: %s has schema %d, this assay knows 1 to %d: read it with the version that wrote it",
			filepath.Join(d.path, name), head.Schema, Schema)
	}
	if err := json.Unmarshal(p, v); err != nil {
		return false, fmt.Errorf("results: %s is damaged: %w", filepath.Join(d.path, name), err)
	}
	return true, nil
}

// files lists what is there of logs and key pages, with slashes, in the order
// of their numbers.
func (d *Dir) files() (logs, keyPages []NumberedFile, err error) {
	logs, err = d.numbered(logsDir, "node-", ".log")
	if err != nil {
		return nil, nil, err
	}
	keyPages, err = d.numbered(".", "key-", ".html")
	return logs, keyPages, err
}

// NumberedFile is a file whose name carries a number.
type NumberedFile struct {
	N    int
	File string // relative to the run directory, with slashes
}

func (d *Dir) numbered(sub, prefix, suffix string) ([]NumberedFile, error) {
	entries, err := os.ReadDir(filepath.Join(d.path, sub))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, explain("listing the run directory", err)
	}
	var out []NumberedFile
	for _, e := range entries {
		middle, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok {
			continue
		}
		if middle, ok = strings.CutSuffix(middle, suffix); !ok {
			continue
		}
		n, err := strconv.Atoi(middle)
		if err != nil {
			continue // not one of ours
		}
		out = append(out, NumberedFile{n, filepath.ToSlash(filepath.Join(sub, e.Name()))})
	}
	slices.SortFunc(out, func(a, b NumberedFile) int { return a.N - b.N })
	return out, nil
}

// explain adds what a user can do about an error of the file system.
func explain(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("results: %s: %w: free some space there, or choose another place with --out", doing, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("results: %s: %w: choose a writable directory with --out", doing, err)
	}
	return fmt.Errorf("results: %s: %w", doing, err)
}
