package harness

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// settle reads the replicas until they agree or Test.Settle is over, and keeps
// what they held at last. Nobody talks to the system meanwhile, so what
// converges here converges by itself.
func (r *run) settle(ctx context.Context, stopped int64) error {
	r.report(PhaseSettle)
	return r.world.Await(ctx, func(ctx context.Context) error {
		end := stopped + int64(r.test.Settle)
		pause := time.Millisecond
		for {
			replicas, err := r.inspectAll(ctx)
			switch {
			case errors.Is(err, errors.ErrUnsupported):
				r.warn("the replicas were not read: %v", err)
				return nil
			case ctx.Err() != nil:
				return ctx.Err()
			}
			r.result.Replicas = replicas
			if err == nil && agree(replicas) {
				r.result.Settled = time.Duration(r.now() - stopped)
				return nil
			}
			left := time.Duration(end - r.now())
			if left <= 0 {
				if err != nil {
					r.warn("the replicas could not be read: %v", err)
				}
				return nil
			}
			if err := r.world.Sleep(ctx, min(pause, left)); err != nil {
				return err
			}
			// Never coarser than a twentieth of what is measured.
			pause = min(pause*3/2, max(r.test.Settle/20, time.Millisecond))
			r.progressNow()
		}
	})
}

// inspectAll reads all replicas. The row of a node that cannot be read is nil.
func (r *run) inspectAll(ctx context.Context) ([][]Replica, error) {
	keys := r.test.Workload.Keys
	replicas := make([][]Replica, r.world.Nodes())
	var errs error
	for node := range replicas {
		err := r.step(ctx, func(ctx context.Context) (err error) {
			replicas[node], err = r.test.System.Inspect(ctx, r.world, node, keys)
			return err
		})
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
		var first *Replica
		for _, row := range replicas {
			switch x := &row[key]; {
			case x.Elsewhere:
			case first == nil:
				first = x
			case !x.Agrees(first):
				return false
			}
		}
	}
	return true
}
