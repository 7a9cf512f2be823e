package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// settle reads the replicas until they agree or Test.Settle is over, and keeps
// what they held at last. Nobody talks to the system meanwhile, so what
// converges here converges by itself.
//
// Replicas that did not may be read back: clients read every key on which they
// differ, at every node, and the replicas are watched once more. What converges
// then converges when it is read.
func (r *run) settle(ctx context.Context, stopped int64) error {
	r.report(PhaseSettle)
	return r.world.Await(ctx, func(ctx context.Context) (err error) {
		if r.result.Replicas, r.result.Settled, err = r.watch(ctx, stopped); err != nil {
			return err
		}
		before := r.result.Replicas
		if r.test.ReadBack == 0 || r.result.Settled >= 0 || before == nil {
			return nil
		}
		r.readBack(ctx, before)
		r.result.ReadBack, r.result.ReadBackSettled, err = r.watch(ctx, r.now())
		return err
	})
}

// watch reads the replicas until they agree or Test.Settle is over, counted from
// a time. It gives what they held at last, and how long it took them; negative if
// they did not agree.
func (r *run) watch(ctx context.Context, from int64) (last [][]Replica, settled time.Duration, err error) {
	end := from + int64(r.test.Settle)
	pause := time.Millisecond
	for {
		replicas, err := r.inspectAll(ctx)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			r.warn("the replicas were not read: %v", err)
			return nil, -1, nil
		case ctx.Err() != nil:
			return last, -1, ctx.Err()
		}
		last = replicas
		r.keepSample(replicas)
		if err == nil && agree(replicas) {
			return last, time.Duration(r.now() - from), nil
		}
		left := time.Duration(end - r.now())
		if left <= 0 {
			if err != nil {
				r.warn("the replicas could not be read: %v", err)
			}
			return last, -1, nil
		}
		if err := r.world.Sleep(ctx, min(pause, left)); err != nil {
			return last, -1, err
		}
		// Never coarser than a twentieth of what is measured.
		pause = min(pause*3/2, max(r.test.Settle/20, time.Millisecond))
		r.progressNow()
	}
}

// readBack reads the keys on which replicas differ through a client of each node.
// What it reads is in no history: it is about what reading does to the replicas.
func (r *run) readBack(ctx context.Context, replicas [][]Replica) {
	var failed error
	for node := range replicas {
		s := slot{node: node}
		if err := r.openClient(ctx, &s); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for key := range r.test.Workload.Keys {
			if agreeOn(replicas, key) {
				continue
			}
			if err := r.readKey(ctx, s.client, r.test.Workload.Keys[key], int32(key)); err != nil {
				failed = errors.Join(failed, fmt.Errorf("reading back at node %d: %w", node, err))
				break // a node that does not answer one will hardly answer others
			}
		}
		r.closeClient(&s)
		r.progressNow()
	}
	if failed != nil {
		r.warn("not every key could be read back: %v", failed)
	}
}

// readKey reads one key, within the time limit of an operation.
func (r *run) readKey(ctx context.Context, c Client, name string, key int32) error {
	ctx, cancel := r.world.Timeout(ctx, r.test.OpTimeout)
	defer cancel()
	op := history.Op{F: r.test.ReadBack, Key: key, Arg: history.Nil, Arg2: history.Nil, Out: history.Nil}
	return guard(func() error {
		if all, ok := c.(Lister); ok && op.F == history.ReadAll {
			_, err := all.InvokeAll(ctx, name, &op)
			return err
		}
		return c.Invoke(ctx, name, &op)
	})
}

// sample reads the replicas to see how far they differ.
func (r *run) sample(ctx context.Context) error {
	look := func(ctx context.Context) error {
		replicas, err := r.readAll(func(node int) (row []Replica, err error) {
			err = guard(func() error {
				row, err = r.test.System.Inspect(ctx, r.world, node, r.test.Workload.Keys)
				return err
			})
			return row, err
		})
		if errors.Is(err, errors.ErrUnsupported) {
			r.opts.Sample = 0 // it cannot tell
			return nil
		}
		r.keepSample(replicas)
		return ctx.Err()
	}
	if w, ok := r.world.(Observed); ok {
		return w.Observe(ctx, look)
	}
	return r.world.Await(ctx, look)
}

func (r *run) keepSample(replicas [][]Replica) {
	s := Sample{At: r.now()}
	for _, row := range replicas {
		if row == nil {
			s.Unread++
		}
	}
	for key := range r.test.Workload.Keys {
		if !agreeOn(replicas, key) {
			s.Differ++
		}
	}
	r.result.Samples = append(r.result.Samples, s)
}

// inspectAll reads all replicas. The row of a node that cannot be read is nil.
func (r *run) inspectAll(ctx context.Context) ([][]Replica, error) {
	return r.readAll(func(node int) (row []Replica, err error) {
		err = r.step(ctx, func(ctx context.Context) (err error) {
			row, err = r.test.System.Inspect(ctx, r.world, node, r.test.Workload.Keys)
			return err
		})
		return row, err
	})
}

// readAll reads all replicas in some way.
func (r *run) readAll(read func(node int) ([]Replica, error)) ([][]Replica, error) {
	keys := r.test.Workload.Keys
	replicas := make([][]Replica, r.world.Nodes())
	var errs error
	for node := range replicas {
		row, err := read(node)
		replicas[node] = row
		if err == nil && len(replicas[node]) != len(keys) {
			err = fmt.Errorf("System.Inspect gave %d replicas for %d keys", len(replicas[node]), len(keys))
		}
		if err != nil {
			replicas[node] = nil
			errs = errors.Join(errs, fmt.Errorf("inspect node %d: %w", node, err))
		}
	}
	return replicas, errs
}

// agree says whether all replicas of each key hold the same.
func agree(replicas [][]Replica) bool {
	for key := range replicas[0] {
		if !agreeOn(replicas, key) {
			return false
		}
	}
	return true
}

// agreeOn says whether all replicas of a key that were read hold the same.
func agreeOn(replicas [][]Replica, key int) bool {
	var first *Replica
	for _, row := range replicas {
		if row == nil || row[key].Elsewhere {
			continue
		}
		if first == nil {
			first = &row[key]
		} else if !row[key].Agrees(first) {
			return false
		}
	}
	return true
}
