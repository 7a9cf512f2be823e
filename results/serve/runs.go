package serve

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assay-chaos/assay/results"
)

// errOutside is for paths that would lead out of the folder.
var errOutside = errors.New("outside the results folder")

// outside makes one error of all that os.Root says of such paths.
func outside(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return errOutside
	}
	return err
}

// kept is how many runs are kept in memory: a history takes 56 bytes an operation.
const kept = 4

// runs reads run directories, and keeps the last ones.
type runs struct {
	dir  string
	root *os.Root

	mu    sync.Mutex
	cache []cached // the latest first
}

type cached struct {
	rel  string
	when time.Time // the newest change of its files
	run  *results.Run
}

func newRuns(dir string, root *os.Root) *runs { return &runs{dir: dir, root: root} }

// isFile says that a path is a file of a run.
func (c *runs) isFile(rel string) bool {
	info, err := c.root.Stat(filepath.FromSlash(rel))
	return err == nil && info.Mode().IsRegular()
}

// get reads the run in a directory below the folder.
func (c *runs) get(rel string) (*results.Run, error) {
	rel = path.Clean(rel)
	when, err := c.inside(rel)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, x := range c.cache {
		if x.rel == rel && x.when.Equal(when) {
			c.cache = slices.Insert(slices.Delete(c.cache, i, i+1), 0, x)
			return x.run, nil
		}
	}
	run, err := results.Load(filepath.Join(c.dir, filepath.FromSlash(rel)))
	if err != nil {
		return nil, err
	}
	c.cache = slices.DeleteFunc(c.cache, func(x cached) bool { return x.rel == rel })
	c.cache = slices.Insert(c.cache, 0, cached{rel, when, run})
	c.cache = c.cache[:min(len(c.cache), kept)]
	return run, nil
}

// inside says whether everything in a run directory is in the folder, and when it
// last changed. Links that lead out are refused by os.Root.
func (c *runs) inside(rel string) (when time.Time, err error) {
	if !filepath.IsLocal(filepath.FromSlash(rel)) {
		return when, errOutside
	}
	if _, err := c.root.Stat(filepath.FromSlash(rel + "/test.json")); err != nil {
		return when, outside(err)
	}
	err = fs.WalkDir(c.root.FS(), rel, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return outside(err)
		}
		if d.Type()&fs.ModeSymlink != 0 {
			return errOutside
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(when) {
			when = info.ModTime()
		}
		return err
	})
	return when, err
}

// found is something that the folder has.
type found struct {
	Path    string // of its directory or file, below the folder
	When    time.Time
	Test    results.Test
	Verdict string // "" if it was not judged
	Claims  string // that were broken
}

// contents are what the folder has.
type contents struct {
	Runs     []found
	Matrices []found
	Nights   []found
}

// deepest is how far down the folder is searched.
const deepest = 6

// find looks through the folder.
func (s *Server) find() (contents, error) {
	var c contents
	err := fs.WalkDir(s.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be read is not there
		}
		if d.IsDir() {
			if strings.Count(name, "/") >= deepest || name != "." && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		f := found{Path: path.Dir(name), When: info.ModTime()}
		switch d.Name() {
		case "test.json":
			if run, err := results.Peek(filepath.Join(s.dir, filepath.FromSlash(f.Path))); err == nil {
				f.Test, f.When = run.Test, run.Test.Started
				if v := run.Verdicts; v != nil {
					f.Verdict = v.Verdict.String()
					if v.Error != "" && f.Verdict != "broken" {
						f.Verdict = "failed"
					}
					var broken []string
					for _, r := range v.Results {
						if r.Verdict.String() == "broken" {
							broken = append(broken, string(r.Claim))
						}
					}
					f.Claims = strings.Join(broken, ", ")
				}
				c.Runs = append(c.Runs, f)
			}
		case "matrix.html":
			f.Path = name
			c.Matrices = append(c.Matrices, f)
		case "summary.md":
			f.Path = name
			c.Nights = append(c.Nights, f)
		}
		return nil
	})
	for _, list := range [][]found{c.Runs, c.Matrices, c.Nights} {
		slices.SortStableFunc(list, func(a, b found) int { return b.When.Compare(a.When) })
	}
	return c, err
}
