package engine

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// How long the engine waits before it tries a disk again that has failed: the
// first time, and at most.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// Resume goes on after a failure if the disk is back, and says whether it did.
// All tickets up to the last Apply have been decided then: those above the one
// that Progress told with the error have failed. What Get shows from now on is
// durable; of the writes that failed it may show some.
//
// It is called like Apply, after the owner has heard of the failure. Durable
// receives when it is worth trying.
func (e *Engine) Resume() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed == nil {
		return true
	}
	next := e.next
	if next == nil || e.closing {
		return false
	}
	e.next = nil
	if next.failure() != nil {
		next.giveUp()
		e.workers.Go(func() { e.reopen(next) })
		return false
	}
	e.live.Lock() // nobody reads from the old one
	old := e.db
	e.db = next
	e.live.Unlock()
	old.giveUp()
	e.durable, e.failed = e.applied, nil
	return true
}

// failure takes note that a database has failed, which ends writing until
// Resume. After a failed fsync nobody knows what the disk holds, and a second
// fsync that succeeds proves nothing (Rebello et al., USENIX ATC 2020); so the
// database is opened again from what can be read.
func (e *Engine) failure(d *database, err error) {
	e.mu.Lock()
	if e.db != d || e.failed != nil {
		e.mu.Unlock()
		return // it is not in use: Resume sees it
	}
	e.failed = err
	if !e.closing {
		e.workers.Go(func() { e.reopen(d) })
	}
	e.mu.Unlock()
	poke(e.moved)
}

// reopen opens the database again, as often as it takes. The old one serves
// reads meanwhile.
func (e *Engine) reopen(old *database) {
	e.writing.Lock() // an Apply under way needs the files to end
	old.fence.close()
	e.writing.Unlock()
	full := vfs.IsNoSpaceError(old.failure())
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		select {
		case <-e.quit:
			return
		case <-time.After(pause):
		}
		if full && !e.hasRoom() {
			continue
		}
		d, err := openDatabase(e.dir, &e.options, e.cache, e.failure, e.rotten.file)
		if err == nil {
			err = guard(func() error { return d.setMeta(probeKey, nil) })
			if err != nil {
				d.giveUp()
			}
		}
		if err != nil {
			full = vfs.IsNoSpaceError(err)
			e.options.Log.Warn("the disk does not work yet", "error", err)
			continue
		}
		e.mu.Lock()
		e.next = d
		e.mu.Unlock()
		poke(e.moved)
		return
	}
}

// hasRoom says whether the disk has space to go on for a while. Where that
// cannot be told, it may.
func (e *Engine) hasRoom() bool {
	use, err := e.options.FS.GetDiskUsage(e.dir)
	return err != nil || use.AvailBytes >= 2*e.options.MemTableSize
}

// IsFull says that an error of this package is about a disk without space.
func IsFull(err error) bool { return vfs.IsNoSpaceError(err) }
