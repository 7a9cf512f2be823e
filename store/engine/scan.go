package engine

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/assay-chaos/assay/store/replica"
)

// scanEnd is behind all records.
var scanEnd = []byte{'k' + 1}

// Scan goes through the records in order of their keys' hashes, beginning with
// from, until f returns false. It sees what was applied when it began. A
// damaged record is logged, and f gets its error, which is [ErrCorrupt].
func (e *Engine) Scan(from uint64, f func(key string, s replica.Stamp, err error) bool) error {
	var buf [recordPrefix]byte
	iter, err := e.db.NewIter(&pebble.IterOptions{LowerBound: hashKey(buf[:0], from), UpperBound: scanEnd})
	if err != nil {
		return fmt.Errorf("engine: scan %s: %w", e.dir, err)
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		k := iter.Key()
		v, err := iter.ValueAndErr()
		if err != nil {
			break // Error tells it again
		}
		if len(k) < recordPrefix {
			e.log.Error("stored bytes are damaged", "dir", e.dir, "at", fmt.Sprintf("%x", k))
			continue
		}
		key := string(k[recordPrefix:])
		stamp, err := decodeStamp(k, v)
		if err != nil {
			err = fmt.Errorf("engine: scan %s: key %q: %w", e.dir, key, err)
			e.log.Error("a record is damaged: it counts as missing here", "key", key, "error", err)
		}
		if !f(key, stamp, err) {
			break
		}
	}
	if err := errors.Join(iter.Error(), iter.Close()); err != nil {
		return fmt.Errorf("engine: scan %s: %w", e.dir, err)
	}
	return nil
}

// decodeStamp checks a whole record and gives its stamp.
func decodeStamp(key, sealed []byte) (replica.Stamp, error) {
	rec, err := decodeRecord(key, sealed)
	return rec.Stamp, err
}
