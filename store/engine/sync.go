package engine

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// syncLoop is the group commit. Apply appends to Pebble's log without waiting;
// here one empty log entry is committed with sync, and since the log is
// sequential it makes everything durable that was appended before. Writes that
// arrive while the disk is busy share the next sync. So a lone write waits for
// one fsync and no timer, and under load the number of writes in a sync grows
// by itself.
//
// (Pebble has ApplyNoSyncWait for the same end. It is marked experimental, and
// costs a waiter for every batch.)
func (e *Engine) syncLoop() {
	for ending := false; !ending; {
		select {
		case <-e.wake:
		case <-e.quit:
			ending = true // after a last sync
		}
		e.mu.Lock()
		db, to, from, failed := e.db, e.applied, e.durable, e.failed
		e.mu.Unlock()
		if failed != nil || to == from {
			continue
		}
		start := time.Now()
		if err := guard(func() error { return db.LogData(nil, pebble.Sync) }); err != nil {
			_ = db.fail(fmt.Errorf("engine: sync %s: %w", e.dir, err)) // the owner hears it from Progress
			continue
		}
		e.options.Synced(time.Since(start))
		e.mu.Lock()
		if e.db == db && e.failed == nil {
			e.durable = to
		}
		e.mu.Unlock()
		poke(e.moved)
	}
}
