package engine

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/assay-chaos/assay/store/replica"
)

// scanEnd is behind all records.
var scanEnd = []byte{'k' + 1}

// Scan goes through the records in order of their keys' hashes, beginning with
// from, until f returns false. It sees what was applied when it began. A
// damaged record is logged, and f gets its error, which is [ErrCorrupt]. The zero
// record is passed over, as in [Engine.Get]. Behind a damaged block it goes on, and
// its error is [replica.ErrGap] then. f must not call the engine.
func (e *Engine) Scan(from uint64, f func(key string, s replica.Stamp, err error) bool) (err error) {
	var buf [recordPrefix]byte
	e.live.RLock()
	defer e.live.RUnlock()
	iter, err := e.db.NewIter(&pebble.IterOptions{LowerBound: hashKey(buf[:0], from), UpperBound: scanEnd})
	if err != nil {
		return fmt.Errorf("engine: scan %s: %w", e.dir, err)
	}
	defer func() {
		if closed := iter.Close(); err == nil && closed != nil {
			err = fmt.Errorf("engine: scan %s: %w", e.dir, closed)
		}
	}()
	var gap error
	next := from // no record before it is still to come
	for ok := iter.First(); ; {
		for ; ok; ok = iter.Next() {
			k := iter.Key()
			if len(k) >= recordPrefix {
				next = binary.BigEndian.Uint64(k[1:])
			}
			v, err := iter.ValueAndErr()
			if err != nil && !pebble.IsCorruptionError(err) {
				return fmt.Errorf("engine: scan %s: %w", e.dir, err)
			}
			if !e.scanned(k, v, err, f) {
				return gap
			}
		}
		err := iter.Error()
		if err == nil {
			return gap
		}
		if !pebble.IsCorruptionError(err) {
			return fmt.Errorf("engine: scan %s: %w", e.dir, err)
		}
		gap = fmt.Errorf("engine: scan %s: %w: %w", e.dir, replica.ErrGap, err)
		if next, ok = e.rotten.behind(iter, next); !ok {
			return gap
		}
	}
}

// scanned tells f of what an iterator has found, and says whether to go on. An error
// is of a value that is damaged.
func (e *Engine) scanned(k, v []byte, err error, f func(key string, s replica.Stamp, err error) bool) bool {
	if len(k) < recordPrefix {
		e.options.Log.Error("stored bytes are damaged", "dir", e.dir, "at", fmt.Sprintf("%x", k))
		return true
	}
	key := string(k[recordPrefix:])
	var stamp replica.Stamp
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	} else {
		stamp, err = decodeStamp(k, v)
	}
	if err != nil {
		err = fmt.Errorf("engine: scan %s: key %q: %w", e.dir, key, err)
		e.options.Log.Error("a record is damaged: it counts as missing here", "key", key, "error", err)
	}
	if err == nil && stamp == (replica.Stamp{}) {
		return true
	}
	return f(key, stamp, err)
}

// decodeStamp checks a whole record and gives its stamp.
func decodeStamp(key, sealed []byte) (replica.Stamp, error) {
	rec, err := decodeRecord(key, sealed)
	return rec.Stamp, err
}
