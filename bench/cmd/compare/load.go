package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"
)

// The operations.
const (
	opPut = "put"
	opGet = "get"
	opCAS = "cas"
	opRMW = "rmw"
)

// casPrefix is that of the keys that are compared and set.
const casPrefix = "cas-"

// opTimeout bounds one operation. It is long: a comparison has no faults, and
// an operation that takes so long shall be seen in the latency.
const opTimeout = 10 * time.Second

// load is the clients of one system in one round.
type load struct {
	o       *options
	conns   []conn
	workers []*worker
}

// worker is one goroutine's state. The keys of cas are owned: by the worker whose
// number is theirs modulo the number of workers. So it knows their values, and is
// never refused. Those of rmw are everybody's.
type worker struct {
	id, of int
	conn   conn
	random *rand.Rand
	keys   int
	value  []byte
	count  uint64            // makes values differ
	last   map[string][]byte // what it wrote last; right for owned keys
	took   []time.Duration

	conflicts int // times that a compare-and-set found something else
}

func newLoad(o *options, conns []conn) *load {
	l := &load{o: o, conns: conns}
	for i := range o.Clients {
		l.workers = append(l.workers, &worker{
			id: i, of: o.Clients,
			conn:   conns[i%len(conns)],
			random: rand.New(rand.NewPCG(o.Seed, uint64(i))),
			keys:   o.Keys,
			value:  make([]byte, o.Value),
			last:   make(map[string][]byte),
		})
	}
	return l
}

func keyName(i int) string { return fmt.Sprintf("key-%06d", i) }
func ownKey(i int) string  { return fmt.Sprintf(casPrefix+"own-%06d", i) }
func allKey(i int) string  { return fmt.Sprintf(casPrefix+"all-%06d", i) }

// next gives a value that was not written before.
func (w *worker) next() []byte {
	w.count++
	binary.BigEndian.PutUint32(w.value, uint32(w.id))
	binary.BigEndian.PutUint32(w.value[4:], uint32(w.count))
	return w.value
}

// each runs f for all workers at once and joins their errors. A worker that
// fails ends the others.
func (l *load) each(ctx context.Context, f func(ctx context.Context, w *worker) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, w := range l.workers {
		wg.Go(func() {
			if err := f(ctx, w); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// fill writes every key once.
func (l *load) fill(ctx context.Context) error {
	return l.each(ctx, func(ctx context.Context, w *worker) error {
		for i := w.id; i < w.keys && ctx.Err() == nil; i += w.of {
			keys := []string{keyName(i)}
			if slices.Contains(l.o.Ops, opRMW) {
				keys = append(keys, allKey(i))
			}
			if slices.Contains(l.o.Ops, opCAS) {
				keys = append(keys, ownKey(i))
			}
			for _, key := range keys {
				if err := w.conn.Put(ctx, key, w.next()); err != nil {
					return err
				}
				w.last[key] = slices.Clone(w.value)
			}
		}
		return nil
	})
}

// run does one operation after the other for about d. An error of any ends it:
// nothing is broken here, so nothing may fail.
func (l *load) run(ctx context.Context, op string, d time.Duration) (sample, error) {
	do := operations[op]
	cpu := processCPU()
	start := time.Now()
	err := l.each(ctx, func(ctx context.Context, w *worker) error {
		w.took, w.conflicts = w.took[:0], 0
		for before := time.Now(); before.Sub(start) < d && ctx.Err() == nil; {
			opCtx, cancel := context.WithTimeout(ctx, opTimeout)
			err := do(opCtx, w)
			cancel()
			if err != nil {
				return fmt.Errorf("%s: %w", op, err)
			}
			now := time.Now()
			w.took = append(w.took, now.Sub(before))
			before = now
		}
		return nil
	})
	elapsed := time.Since(start)
	if err != nil {
		return sample{}, err
	}
	var took []time.Duration
	conflicts := 0
	for _, w := range l.workers {
		took = append(took, w.took...)
		conflicts += w.conflicts
	}
	if len(took) == 0 {
		return sample{}, fmt.Errorf("%s: nothing was done within %v", op, d)
	}
	slices.Sort(took)
	return sample{
		Op:        op,
		Count:     len(took),
		Conflicts: float64(conflicts) / float64(conflicts+len(took)),
		Rate:      float64(len(took)) / elapsed.Seconds(),
		P50:       quantile(took, 0.50),
		P99:       quantile(took, 0.99),
		ClientCPU: (processCPU() - cpu).Seconds() * 1e6 / float64(len(took)),
		Load:      loadAverage(),
	}, nil
}

// operations are what a worker does again and again. Each ends with a success.
var operations = map[string]func(context.Context, *worker) error{
	opPut: func(ctx context.Context, w *worker) error {
		return w.conn.Put(ctx, keyName(w.random.IntN(w.keys)), w.next())
	},
	opGet: func(ctx context.Context, w *worker) error {
		_, err := w.get(ctx, keyName(w.random.IntN(w.keys)))
		return err
	},
	opCAS: func(ctx context.Context, w *worker) error {
		key := ownKey(w.id + w.of*w.random.IntN((w.keys-w.id+w.of-1)/w.of))
		_, done, err := w.conn.CAS(ctx, key, w.last[key], w.next())
		if err == nil && !done {
			err = fmt.Errorf("compare-and-set of %s was refused, and nobody else writes it", key)
		}
		w.last[key] = slices.Clone(w.value)
		return err
	},
	opRMW: func(ctx context.Context, w *worker) error {
		key := allKey(w.random.IntN(w.keys))
		have, err := w.get(ctx, key)
		for err == nil {
			var done bool
			if have, done, err = w.conn.CAS(ctx, key, have, w.next()); done {
				break
			}
			w.conflicts++
		}
		return err
	},
}

// get reads a key that has a value.
func (w *worker) get(ctx context.Context, key string) ([]byte, error) {
	v, err := w.conn.Get(ctx, key)
	if err == nil && len(v) != len(w.value) {
		err = fmt.Errorf("read a value of %d bytes, and all written ones have %d", len(v), len(w.value))
	}
	return v, err
}

// processCPU is the CPU time that this process has used: the clients'.
func processCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// quantile of sorted durations, by nearest rank.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}
