// Package engine keeps one replica's records on disk, in a Pebble database.
//
// It implements [replica.Storage] and the durable half of the protocol core's
// contract: writes are visible at once, become durable together (group
// commit), and the owner is told how far. It also keeps the node's boot number
// and refuses a directory that belongs to another node.
//
// A disk that fails, or is full, is no reason to end. What was not durable is
// reported as failed, reads go on, and the database is opened again in the
// background till that works; then the owner resumes:
//
//	       error of a write, sync, flush, …
//	works ────────────────────────────────▶ failed: Apply refuses, Get serves
//	  ▲                                        │ database fenced off its files,
//	  │ Resume                                 ▼ opened again and made durable
//	  └────────────────────────────────── ready to resume
//
// Nothing about quorums, peers or clients may enter here, and nothing may
// report a write as durable that a crash could still take back, unless fsync
// was switched off by configuration.
package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/assay-chaos/assay/store/replica"
)

// The zero Options' sizes. They are bounds and not taken before there is data,
// so a test cluster of many nodes on one machine pays for what it writes. Pebble
// takes the memtables, up to three of them, out of the cache: a cache that is
// not much larger keeps nothing, and every read of a key goes to the file.
const (
	defaultCacheSize    = 128 << 20
	defaultMemTableSize = 16 << 20
)

// Options say how an engine keeps its records.
type Options struct {
	// Fsync makes a write durable before it is reported so. Without it every
	// write counts as durable at once, although it may still be in the
	// process's memory: a killed process loses its last writes, even if the
	// machine stays up.
	Fsync bool
	// Owner names who the directory belongs to, for example "cluster/0". It
	// is written at the first Open and compared at every later one.
	Owner string
	// CacheSize and MemTableSize are in bytes. Zero means 128 MiB and
	// 16 MiB.
	CacheSize    int64
	MemTableSize uint64
	// FS is the file system, nil for the operating system's.
	FS vfs.FS
	// Synced hears how long each group commit took; nil: nobody asks.
	Synced func(took time.Duration)
	// Log takes Pebble's own errors; nil means slog.Default().
	Log *slog.Logger
}

// Engine is the store of one node. Get, Scan and Size may be called from any
// goroutine; Apply and Resume from one at a time.
type Engine struct {
	dir     string
	options Options
	cache   *pebble.Cache
	lock    io.Closer
	key     []byte // scratch of Apply

	rotten rotten

	live sync.RWMutex // held to use db, and to replace it
	db   *database

	writing sync.Mutex     // held by Apply
	workers sync.WaitGroup // the syncer, and who opens the database again
	quit    chan struct{}  // closed to end them
	wake    chan struct{}  // to the syncer: applied has grown
	moved   chan struct{}  // see Durable

	mu      sync.Mutex
	applied uint64    // ticket of the last Apply
	durable uint64    // every ticket up to here is durable, or was known to have failed at a Resume
	failed  error     // why nothing later will be, until Resume
	next    *database // open, and waits for Resume
	closing bool
}

// Open opens the store in dir, and makes it if it is not there. An error names
// the directory and what is wrong with it.
func Open(dir string, o Options) (_ *Engine, err error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Synced == nil {
		o.Synced = func(time.Duration) {}
	}
	if o.CacheSize == 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.MemTableSize == 0 {
		o.MemTableSize = defaultMemTableSize
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	e := &Engine{
		dir:     dir,
		options: o,
		quit:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		moved:   make(chan struct{}, 1),
	}
	if err := makeDir(o.FS, dir); err != nil {
		return nil, fmt.Errorf("engine: make data directory %s: %w", dir, err)
	}
	if e.lock, err = o.FS.Lock(o.FS.PathJoin(dir, "LOCK")); err != nil {
		return nil, fmt.Errorf("engine: lock data directory %s: is another node running on it? %w", dir, err)
	}
	e.cache = pebble.NewCache(o.CacheSize)
	db, err := openDatabase(dir, &e.options, e.cache, e.failure, e.rotten.file)
	if err != nil {
		return nil, errors.Join(err, e.release())
	}
	e.mu.Lock()
	e.db = db
	e.mu.Unlock()
	if err := db.failure(); err != nil {
		e.failure(db, err)
	}
	if err := e.claim(o.Owner); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	if o.Fsync {
		e.workers.Go(e.syncLoop)
	}
	return e, nil
}

// makeDir makes a directory, and those above it, durably.
func makeDir(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := fs.PathDir(dir)
	if parent == dir {
		return nil
	}
	if err := makeDir(fs, parent); err != nil {
		return err
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	d, err := fs.OpenDir(parent)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// release frees what all databases share.
func (e *Engine) release() error {
	e.cache.Unref() // a database that is open holds its own reference
	if err := e.lock.Close(); err != nil {
		return fmt.Errorf("engine: unlock data directory %s: %w", e.dir, err)
	}
	return nil
}

// Get reads the record of a key, durable or not. The value is the caller's. A
// damaged record gives an error that is [ErrCorrupt] and names the key. The zero
// record, which the core writes where a damaged one turned out to be nobody's,
// is no record.
func (e *Engine) Get(key string) (replica.Record, bool, error) {
	k := recordKey(make([]byte, 0, 64), key)
	e.live.RLock()
	defer e.live.RUnlock()
	v, closer, err := e.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return replica.Record{}, false, nil
	}
	if pebble.IsCorruptionError(err) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return replica.Record{}, false, fmt.Errorf("engine: read key %q in %s: %w", key, e.dir, err)
	}
	rec, err := decodeRecord(k, v)
	closer.Close()
	if err != nil {
		return replica.Record{}, false, fmt.Errorf("engine: read key %q in %s: %w", key, e.dir, err)
	}
	return rec, !rec.IsZero(), nil
}

// Apply stores writes in order, as one atomic batch. Get sees them when Apply
// returns; they are durable when [Engine.Progress] has reached seq, which must
// grow from call to call. After an error, this and every later Apply fails until
// [Engine.Resume]; Progress tells the same error.
func (e *Engine) Apply(seq uint64, writes []replica.Write) error {
	e.writing.Lock()
	defer e.writing.Unlock()
	e.mu.Lock()
	db, err := e.db, e.failed
	e.mu.Unlock()
	if err == nil {
		err = guard(func() error { return e.write(db, writes) })
		if err != nil {
			err = db.fail(fmt.Errorf("engine: write to %s: %w", e.dir, err))
		}
	}
	e.mu.Lock()
	e.applied = seq // not before: the syncer makes durable what is applied
	if !e.options.Fsync && e.failed == nil {
		e.durable = seq
	}
	e.mu.Unlock()
	if e.options.Fsync && err == nil {
		poke(e.wake)
	}
	return err
}

// write commits a batch without waiting for the disk.
func (e *Engine) write(db *database, writes []replica.Write) error {
	b := db.NewBatch()
	for i := range writes {
		w := &writes[i]
		e.key = recordKey(e.key[:0], w.Key)
		if w.Record.IsZero() {
			if err := b.Delete(e.key, nil); err != nil {
				return errors.Join(fmt.Errorf("key %q: %w", w.Key, err), b.Close())
			}
			continue
		}
		v, err := encodeRecord(e.key, &w.Record)
		if err != nil {
			return errors.Join(fmt.Errorf("key %q: %w", w.Key, err), b.Close())
		}
		if err := b.Set(e.key, v, nil); err != nil {
			return errors.Join(fmt.Errorf("key %q: %w", w.Key, err), b.Close())
		}
	}
	return db.commit(b)
}

// Durable gives a channel that receives after Progress has changed by itself:
// one value may stand for several changes.
func (e *Engine) Durable() <-chan struct{} { return e.moved }

// Progress tells how far the writes are durable. With an error, which is the
// disk's, no ticket above seq will ever be durable; such writes may or may not
// be there later. It stays until [Engine.Resume] has worked. Tickets that were
// told as failed do not count afterwards.
func (e *Engine) Progress() (seq uint64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.durable, e.failed
}

// NextBoot gives a number that is greater than any it gave before for this
// directory. It is durable when NextBoot returns, whatever Options.Fsync says:
// the uniqueness of stamps hangs on it.
func (e *Engine) NextBoot() (uint64, error) {
	boot := uint64(1)
	v, err := e.db.meta(bootKey)
	if err != nil {
		return 0, fmt.Errorf("engine: read boot number in %s: %w", e.dir, err)
	}
	if v != nil {
		if len(v) != 8 {
			return 0, fmt.Errorf("engine: read boot number in %s: %w: %d bytes", e.dir, ErrCorrupt, len(v))
		}
		boot = binary.BigEndian.Uint64(v) + 1
	}
	if err := e.db.setMeta(bootKey, binary.BigEndian.AppendUint64(nil, boot)); err != nil {
		return 0, fmt.Errorf("engine: write boot number in %s: %w", e.dir, err)
	}
	return boot, nil
}

// Close makes what was applied durable and closes the database. No call may be
// in progress or follow. After a disk error it leaves the files as they are: the
// next Open recovers what is durable.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return nil
	}
	e.closing = true
	e.mu.Unlock()
	close(e.quit)
	e.workers.Wait()
	_, err := e.Progress()
	if err == nil {
		err = guard(e.db.Close)
		if err != nil {
			err = fmt.Errorf("engine: close %s: %w", e.dir, err)
		}
	}
	// Not everything that failed can be closed. Nothing of it may write when
	// the lock is gone.
	e.db.fence.close()
	if e.next != nil {
		e.next.giveUp()
	}
	return errors.Join(err, e.release())
}

// claim writes the owner and the layout into a new directory, and compares them
// in an old one.
func (e *Engine) claim(owner string) error {
	v, err := e.db.meta(ownerKey)
	if err != nil {
		return fmt.Errorf("engine: read owner of %s: %w", e.dir, err)
	}
	l, err := e.db.meta(layoutKey)
	if err != nil {
		return fmt.Errorf("engine: read layout of %s: %w", e.dir, err)
	}
	switch {
	case v != nil && string(l) != fmt.Sprint(layout):
		return fmt.Errorf("engine: data directory %s has layout %q, and this program only reads layout %d: another version of it has written the directory; use that version, or give an empty directory to start with nothing", e.dir, l, layout)
	case v == nil:
		// The layout first: a directory with an owner has one.
		if err := e.db.setMeta(layoutKey, fmt.Append(nil, layout)); err != nil {
			return fmt.Errorf("engine: write layout of %s: %w", e.dir, err)
		}
		if err := e.db.setMeta(ownerKey, []byte(owner)); err != nil {
			return fmt.Errorf("engine: write owner of %s: %w", e.dir, err)
		}
	case string(v) != owner:
		return fmt.Errorf("engine: data directory %s belongs to %q, and this is %q: give the directory of this node, or an empty one to start with nothing", e.dir, v, owner)
	}
	return nil
}

// poke fills a channel of one, and does nothing when it is full.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
