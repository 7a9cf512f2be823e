package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// database is one opening of the Pebble database. After an error of the disk it
// is given up, and another is opened in its place: what a database has in
// memory is no longer what it has on the disk.
type database struct {
	*pebble.DB
	dir    string
	fence  fence
	log    *slog.Logger
	onFail func(*database, error) // told of every error that ends writing
	onRot  func(file string)      // told of every block that is damaged

	dead chan struct{} // closed when failed is set

	mu     sync.Mutex
	failed error     // the first error of the disk
	logged time.Time // when a damaged file was last logged
}

// openDatabase opens what is in the directory, and tells onFail, once or
// more, of an error that Pebble meets in the background. Everything that Get shows
// of an opened database is durable, if o.Fsync is set: the log that it was
// found in may never have been synced before, and only be in the page cache.
func openDatabase(dir string, o *Options, cache *pebble.Cache, onFail func(*database, error), onRot func(file string)) (*database, error) {
	d := &database{dir: dir, log: o.Log, onFail: onFail, onRot: onRot, dead: make(chan struct{})}
	err := guard(func() (err error) {
		d.DB, err = pebble.Open(dir, &pebble.Options{
			Cache:              cache,
			MemTableSize:       o.MemTableSize,
			FormatMajorVersion: pebble.FormatNewest,
			FS:                 &fencedFS{FS: o.FS, fence: &d.fence},
			Logger:             logger{d},
			EventListener: &pebble.EventListener{
				BackgroundError: d.backgroundError,
				DataCorruption:  d.damagedFile,
			},
			// Room for writes while a flush fails: Pebble makes a writer
			// wait when there is none, and nobody could tell it why.
			MemTableStopWritesThreshold: 4,
		})
		return err
	})
	if err == nil && o.Fsync {
		err = guard(d.Flush)
	}
	if err != nil {
		d.giveUp()
		return nil, fmt.Errorf("engine: open data directory %s: %w", dir, err)
	}
	return d, nil
}

// meta reads a value about the store itself, nil when absent.
func (d *database) meta(key []byte) ([]byte, error) {
	v, closer, err := d.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	body, err := open(key, v)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, body...), nil
}

// setMeta writes one durably.
func (d *database) setMeta(key, body []byte) error {
	return guard(func() error { return d.Set(key, seal(key, sealPlain, body), pebble.Sync) })
}

// fail keeps the first error of the disk and gives it.
func (d *database) fail(err error) error {
	d.mu.Lock()
	if d.failed == nil {
		d.failed = err
		close(d.dead)
	}
	err = d.failed
	d.mu.Unlock()
	d.onFail(d, err)
	return err
}

// failure is the first error of the disk, nil while there is none.
func (d *database) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// commit commits a batch without waiting for the disk. It ends when the database
// fails, too: Pebble makes a writer wait for a flush, also where the flush has met
// an error of which it cannot go on, and then for ever. Whether such a batch was
// committed nobody knows.
func (d *database) commit(b *pebble.Batch) error {
	done := make(chan error, 1)
	go func() {
		done <- guard(func() error {
			if err := b.Commit(pebble.NoSync); err != nil {
				return err
			}
			return b.Close()
		})
	}()
	select {
	case err := <-done:
		return err
	case <-d.dead:
		return d.failure()
	}
}

// giveUp keeps the database from its files and tries to free what it holds.
// Closing may never end: goroutines that were stopped in the middle of
// something hold locks. Then the memory of its memtables is lost till the process
// ends.
func (d *database) giveUp() {
	d.fence.close()
	if d.DB != nil {
		go func() { _ = guard(d.DB.Close) }() // it fails, behind the fence
	}
}

// backgroundError hears what goes wrong with a flush or a compaction. Pebble
// holds its lock meanwhile.
func (d *database) backgroundError(err error) {
	switch {
	case d.fence.closed():
		// Pebble begins again at once, for ever, until it is closed.
		time.Sleep(10 * time.Millisecond)
	case errors.Is(err, context.Canceled), errors.Is(err, pebble.ErrCancelledCompaction):
	case pebble.IsCorruptionError(err):
		// The damage is known, and opening again does not mend it. Writing
		// goes on; the file stays as it is.
	default:
		_ = d.fail(fmt.Errorf("engine: flush or compact %s: %w", d.dir, err)) // onFail has heard it
	}
}

// damagedFile hears of a block that is not what was written. Who reads a record
// in it gets an error; here it is only logged, once a second at most.
func (d *database) damagedFile(info pebble.DataCorruptionInfo) {
	d.onRot(info.Path)
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.logged) > time.Second {
		d.logged = now
		d.log.Error("a file of the store is damaged: its records are repaired from the peers when they are read; replace the node when you can (assay members replace)",
			"file", info.Path, "range", info.Bounds.String(), "error", info.Details.Error())
	}
}

// fatal is how logger hands Pebble's last words to guard.
type fatal struct {
	text  string
	cause error // nil if they name none
}

func (f fatal) Error() string { return f.text }
func (f fatal) Unwrap() error { return f.cause }

// logger is Pebble's logger. Pebble reports an unusable log by Fatalf and
// expects not to go on. The process must: it has reads to serve, and the disk
// may come back. So the goroutine is ended, and the database is given up. A
// call of ours is unwound to guard; a goroutine of Pebble's own ends there,
// after what it has deferred.
type logger struct{ d *database }

// Infof drops Pebble's talk about flushes and compactions.
func (logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	if !l.d.fence.closed() {
		l.d.log.Error(fmt.Sprintf(format, args...))
	}
}

func (l logger) Fatalf(format string, args ...any) {
	f := fatal{text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			f.cause = err
		}
	}
	if guarded() {
		panic(f)
	}
	if !l.d.fence.closed() {
		_ = l.d.fail(fmt.Errorf("engine: %s: %w", l.d.dir, f)) // onFail has heard it
	}
	runtime.Goexit()
}

// guard turns a panic inside Pebble into an error. Pebble panics with what it
// cannot handle, a log file that does not close for example.
func guard(f func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			err = p
		default:
			err = fmt.Errorf("pebble: %v", p)
		}
	}()
	return f()
}

// guarded says whether guard is among the callers.
func guarded() bool {
	pcs := make([]uintptr, 128)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "/store/engine.guard") {
			return true
		}
		if !more {
			return false
		}
	}
}
