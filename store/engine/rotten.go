package engine

import (
	"math"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// rotten is what was found damaged since the start. Pebble does not write a file
// with a damaged block again: a compaction of it fails. So the file stays until the
// node is replaced, and so do the gaps in scans.
type rotten struct {
	mu    sync.Mutex
	files map[string]struct{}
	gaps  []gap
}

// gap is a range of hashes of which not even the keys can be read: after the first
// hash, and before the second.
type gap struct{ after, from uint64 }

// DamagedFiles is how many files were found damaged since the start. Records in
// them are repaired when they are used, but not found by [Engine.Scan].
func (e *Engine) DamagedFiles() int {
	e.rotten.mu.Lock()
	defer e.rotten.mu.Unlock()
	return len(e.rotten.files)
}

// file takes note of a damaged one.
func (r *rotten) file(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files == nil {
		r.files = make(map[string]struct{})
	}
	r.files[name] = struct{}{}
}

// behind moves an iterator that has failed to the first record after a hash that
// can be read, and gives a hash at or before it. It says no if there is none.
func (r *rotten) behind(iter *pebble.Iterator, after uint64) (from uint64, ok bool) {
	r.mu.Lock() // not while seeking: Pebble tells file of what it meets
	known := r.gaps
	r.mu.Unlock()
	for _, g := range known { // they are only ever added to
		if g.after <= after && after < g.from && readable(iter, g.from) {
			return g.from, iter.Valid()
		}
	}
	if from, ok = search(iter, after); !ok {
		return from, ok
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.gaps) < maxGaps {
		r.gaps = append(r.gaps, gap{after, from})
	}
	return from, ok
}

const (
	maxGaps = 1024
	// fine is the shortest step of a search: of a billion records that are
	// evenly spread no two are closer on average. Each step into a damaged block
	// costs some milliseconds, since Pebble tries to find the bit that is wrong.
	fine = 1 << 34
)

// search finds the end of a gap, with steps of growing length and by halves.
func search(iter *pebble.Iterator, after uint64) (from uint64, ok bool) {
	low, step := after, uint64(fine) // low cannot be read
	for {
		if step == 0 || low > math.MaxUint64-step {
			return 0, false
		}
		if from = low + step; readable(iter, from) {
			break
		}
		low, step = from, step<<1
	}
	for from-low > fine {
		if middle := low + (from-low)/2; readable(iter, middle) {
			from = middle
		} else {
			low = middle
		}
	}
	return from, readable(iter, from) && iter.Valid()
}

// readable moves an iterator to the first record from a hash on, and says whether
// that worked. There need not be one.
func readable(iter *pebble.Iterator, hash uint64) bool {
	var buf [recordPrefix]byte
	return iter.SeekGE(hashKey(buf[:0], hash)) || iter.Error() == nil
}
