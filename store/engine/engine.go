// Package engine keeps one replica's records on disk, in a Pebble database.
//
// It implements [replica.Storage] and the durable half of the protocol core's
// contract: writes are visible at once, become durable together (group
// commit), and the owner is told how far. It also keeps the node's boot number
// and refuses a directory that belongs to another node.
//
// Nothing about quorums, peers or clients may enter here, and nothing may
// report a write as durable that a crash could still take back, unless fsync
// was switched off by configuration.
package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/assay-chaos/assay/store/replica"
)

// The zero Options' sizes: small, because a test cluster runs many nodes on
// one machine.
const (
	defaultCacheSize    = 8 << 20
	defaultMemTableSize = 4 << 20
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
	// CacheSize and MemTableSize are in bytes. Zero means 8 MiB and 4 MiB.
	CacheSize    int64
	MemTableSize uint64
	// FS is the file system, nil for the operating system's.
	FS vfs.FS
	// Synced hears how long each group commit took; nil: nobody asks.
	Synced func(took time.Duration)
	// Log takes Pebble's own errors; nil means slog.Default().
	Log *slog.Logger
}

// Engine is the store of one node. Get may be called from any goroutine; Apply
// from one at a time.
type Engine struct {
	db    *pebble.DB
	dir   string
	log   *slog.Logger
	fsync bool
	heard func(time.Duration) // Options.Synced, never nil
	key   []byte              // scratch of Apply

	syncer sync.WaitGroup
	wake   chan struct{} // to the syncer: applied has grown, or closing
	moved  chan struct{} // see Durable

	mu      sync.Mutex
	applied uint64 // ticket of the last Apply
	durable uint64 // every ticket up to here is durable
	failed  error  // why nothing later ever will be
	closing bool
}

// Open opens the store in dir, and makes it if it is not there. An error names
// the directory and what is wrong with it.
func Open(dir string, o Options) (*Engine, error) {
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
	cache := pebble.NewCache(o.CacheSize)
	defer cache.Unref() // the database holds its own reference
	db, err := pebble.Open(dir, &pebble.Options{
		Cache:              cache,
		MemTableSize:       o.MemTableSize,
		FormatMajorVersion: pebble.FormatNewest,
		FS:                 o.FS,
		Logger:             logger{o.Log},
	})
	if err != nil {
		return nil, fmt.Errorf("engine: open data directory %s: %w", dir, err)
	}
	e := &Engine{
		db:    db,
		dir:   dir,
		log:   o.Log,
		fsync: o.Fsync,
		heard: o.Synced,
		wake:  make(chan struct{}, 1),
		moved: make(chan struct{}, 1),
	}
	if err := e.claim(o.Owner); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if e.fsync {
		e.syncer.Go(e.syncLoop)
	}
	return e, nil
}

// Get reads the record of a key, durable or not. The value is the caller's. A
// damaged record gives an error that is [ErrCorrupt] and names the key.
func (e *Engine) Get(key string) (replica.Record, bool, error) {
	k := recordKey(make([]byte, 0, 64), key)
	v, closer, err := e.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return replica.Record{}, false, nil
	}
	if err != nil {
		return replica.Record{}, false, fmt.Errorf("engine: read key %q in %s: %w", key, e.dir, err)
	}
	rec, err := decodeRecord(k, v)
	closer.Close()
	if err != nil {
		return replica.Record{}, false, fmt.Errorf("engine: read key %q in %s: %w", key, e.dir, err)
	}
	return rec, true, nil
}

// Apply stores writes in order, as one atomic batch. Get sees them when Apply
// returns; they are durable when [Engine.Progress] has reached seq, which must
// grow from call to call. After an error nothing of this Apply or any later
// one will become durable, and Progress tells the same error.
func (e *Engine) Apply(seq uint64, writes []replica.Write) error {
	if _, err := e.Progress(); err != nil {
		return err
	}
	err := guard(func() error {
		b := e.db.NewBatch()
		for i := range writes {
			w := &writes[i]
			e.key = recordKey(e.key[:0], w.Key)
			v, err := encodeRecord(e.key, &w.Record)
			if err != nil {
				return errors.Join(fmt.Errorf("key %q: %w", w.Key, err), b.Close())
			}
			if err := b.Set(e.key, v, nil); err != nil {
				return errors.Join(fmt.Errorf("key %q: %w", w.Key, err), b.Close())
			}
		}
		if err := b.Commit(pebble.NoSync); err != nil {
			return err
		}
		return b.Close()
	})
	if err != nil {
		return e.fail(fmt.Errorf("engine: write to %s: %w", e.dir, err))
	}
	e.mu.Lock()
	e.applied = seq
	if !e.fsync {
		e.durable = seq
	}
	e.mu.Unlock()
	if e.fsync {
		poke(e.wake)
	}
	return nil
}

// Durable gives a channel that receives after Progress has changed by itself:
// one value may stand for several changes.
func (e *Engine) Durable() <-chan struct{} { return e.moved }

// Progress tells how far the writes are durable. A non-nil error is final: the
// disk failed, and no ticket above seq will ever be durable. Such writes may or
// may not be there after a restart.
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
	v, err := e.meta(bootKey)
	if err != nil {
		return 0, fmt.Errorf("engine: read boot number in %s: %w", e.dir, err)
	}
	if v != nil {
		if len(v) != 8 {
			return 0, fmt.Errorf("engine: read boot number in %s: %w: %d bytes", e.dir, ErrCorrupt, len(v))
		}
		boot = binary.BigEndian.Uint64(v) + 1
	}
	if err := e.setMeta(bootKey, binary.BigEndian.AppendUint64(nil, boot)); err != nil {
		return 0, fmt.Errorf("engine: write boot number in %s: %w", e.dir, err)
	}
	return boot, nil
}

// Close makes what was applied durable and closes the database. No call may be
// in progress or follow. After a disk error it leaves the database as it is:
// the next Open recovers what is durable.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return nil
	}
	e.closing = true
	e.mu.Unlock()
	poke(e.wake)
	e.syncer.Wait()
	if _, err := e.Progress(); err != nil {
		// Pebble's commit pipeline is stuck after a failed write of its log;
		// closing it could wait for ever.
		return err
	}
	if err := guard(e.db.Close); err != nil {
		return fmt.Errorf("engine: close %s: %w", e.dir, err)
	}
	return nil
}

// claim writes the owner and the layout into a new directory, and compares them
// in an old one.
func (e *Engine) claim(owner string) error {
	v, err := e.meta(ownerKey)
	if err != nil {
		return fmt.Errorf("engine: read owner of %s: %w", e.dir, err)
	}
	l, err := e.meta(layoutKey)
	if err != nil {
		return fmt.Errorf("engine: read layout of %s: %w", e.dir, err)
	}
	switch {
	case v != nil && string(l) != fmt.Sprint(layout):
		return fmt.Errorf("engine: data directory %s has layout %q, and this program only reads layout %d: another version of it has written the directory; use that version, or give an empty directory to start with nothing", e.dir, l, layout)
	case v == nil:
		// The layout first: a directory with an owner has one.
		if err := e.setMeta(layoutKey, fmt.Append(nil, layout)); err != nil {
			return fmt.Errorf("engine: write layout of %s: %w", e.dir, err)
		}
		if err := e.setMeta(ownerKey, []byte(owner)); err != nil {
			return fmt.Errorf("engine: write owner of %s: %w", e.dir, err)
		}
	case string(v) != owner:
		return fmt.Errorf("engine: data directory %s belongs to %q, and this is %q: give the directory of this node, or an empty one to start with nothing", e.dir, v, owner)
	}
	return nil
}

// meta reads a value about the store itself, nil when absent.
func (e *Engine) meta(key []byte) ([]byte, error) {
	v, closer, err := e.db.Get(key)
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
func (e *Engine) setMeta(key, body []byte) error {
	return guard(func() error { return e.db.Set(key, seal(key, sealPlain, body), pebble.Sync) })
}

// poke fills a channel of one, and does nothing when it is full.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
