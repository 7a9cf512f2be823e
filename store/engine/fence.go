package engine

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// errFenced is what a database that was given up hears of its files.
var errFenced = errors.New("engine: this database was given up")

// fence ends a database's writing for good. A Pebble database that has met an
// error of its disk cannot always be closed, and its goroutines go on trying.
// Behind the fence they cannot touch the files any more, so that the next
// database can be opened on them.
//
// Reading goes on.
type fence struct {
	mu   sync.RWMutex
	down bool
}

// close lets what is under way end, and nothing begin.
func (f *fence) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
}

func (f *fence) closed() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.down
}

// do runs a change of the files.
func (f *fence) do(change func() error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.down {
		return errFenced
	}
	return change()
}

// fencedFS is a file system behind a fence. The directory's lock is the
// engine's, and stays when databases come and go.
type fencedFS struct {
	vfs.FS
	fence *fence
}

var _ vfs.FS = (*fencedFS)(nil)

func (fs *fencedFS) file(open func() (vfs.File, error)) (f vfs.File, err error) {
	err = fs.fence.do(func() error {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &fencedFile{f, fs.fence}, nil
}

func (fs *fencedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.file(func() (vfs.File, error) { return fs.FS.Create(name, c) })
}

func (fs *fencedFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return fs.file(func() (vfs.File, error) { return fs.FS.OpenReadWrite(name, c, o...) })
}

func (fs *fencedFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.file(func() (vfs.File, error) { return fs.FS.ReuseForWrite(old, name, c) })
}

// OpenDir gives a directory to sync.
func (fs *fencedFS) OpenDir(name string) (vfs.File, error) {
	return fs.file(func() (vfs.File, error) { return fs.FS.OpenDir(name) })
}

func (fs *fencedFS) Link(old, name string) error {
	return fs.fence.do(func() error { return fs.FS.Link(old, name) })
}

func (fs *fencedFS) Remove(name string) error {
	return fs.fence.do(func() error { return fs.FS.Remove(name) })
}

func (fs *fencedFS) RemoveAll(name string) error {
	return fs.fence.do(func() error { return fs.FS.RemoveAll(name) })
}

func (fs *fencedFS) Rename(old, name string) error {
	return fs.fence.do(func() error { return fs.FS.Rename(old, name) })
}

func (fs *fencedFS) MkdirAll(dir string, perm os.FileMode) error {
	return fs.fence.do(func() error { return fs.FS.MkdirAll(dir, perm) })
}

// Lock gives nothing: the engine holds the lock.
func (fs *fencedFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (fs *fencedFS) Unwrap() vfs.FS { return fs.FS }

type fencedFile struct {
	vfs.File
	fence *fence
}

func (f *fencedFile) Write(p []byte) (n int, err error) {
	err = f.fence.do(func() error { n, err = f.File.Write(p); return err })
	return n, err
}

func (f *fencedFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.fence.do(func() error { n, err = f.File.WriteAt(p, at); return err })
	return n, err
}

func (f *fencedFile) Preallocate(at, length int64) error {
	return f.fence.do(func() error { return f.File.Preallocate(at, length) })
}

func (f *fencedFile) Sync() error     { return f.fence.do(f.File.Sync) }
func (f *fencedFile) SyncData() error { return f.fence.do(f.File.SyncData) }

func (f *fencedFile) SyncTo(length int64) (full bool, err error) {
	err = f.fence.do(func() error { full, err = f.File.SyncTo(length); return err })
	return full, err
}
