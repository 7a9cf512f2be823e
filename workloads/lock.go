package workloads

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// LockOptions are the dials of [Lock]. The zero value is a fair start.
type LockOptions struct {
	// RegisterOptions are as for [Register]: a key is a list with a lock, and
	// what are writes there are additions under the lock. There are no deletes.
	RegisterOptions
	// Lease is how long a lock is held at most. Half of it should be longer than
	// the store works on a write. 0 means one second.
	Lease time.Duration
	// Work is how long a client works on what it has read, before it writes it.
	// It is begun only if three quarters of the lease are left: one for the
	// work, two for the write. 0 means a fiftieth of the lease.
	Work time.Duration
	// Fenced: the list remembers the highest fencing token that it was written
	// with, and refuses lower ones.
	Fenced bool
}

// Lock adds elements to lists, each under the list's lock, and reads the lists
// without it. To add, a client takes the lock, reads the list, makes sure that it
// has the lock for long enough, works for a while, writes the list with one element
// more, and gives the lock back. If the lock excludes others, nothing is lost. Every
// element is unique in the run, so the lists are judged as those of [Append] are.
//
// The lock of a list is a key of its own, list.lock: [token, holder, end of the
// lease in nanoseconds of Unix time]. It is taken by compare-and-set when it is
// free or its lease is over, by the wall clock of the node that the client talks
// to (see [Clock]; a store whose clients have none is taken to have clocks that
// are right). Each taking has a token one higher than the last.
//
// A lease is a promise about time, so it breaks with time: a write that was held
// up in a paused node, one that failed half way and takes effect later, or a clock
// that is ahead, and two clients write. That is what tokens are
// for (Kleppmann, "How to do distributed locking", 2016). With Fenced the list
// itself compares the tokens, by compare-and-set, so that a late write is refused.
func Lock(o LockOptions) Layered {
	if o.Lease <= 0 {
		o.Lease = time.Second
	}
	if o.Work <= 0 {
		o.Work = o.Lease / 50
	}
	name, prefix := "lock", "m"
	if o.Fenced {
		name = "lock-fenced"
	}
	l := collection(name, prefix, CollectionOptions{RegisterOptions: o.RegisterOptions})
	l.layer = func() layer { return &locks{lease: o.Lease, work: o.Work, fenced: o.Fenced, name: name} }
	return l
}

// locks is the layer of Lock.
type locks struct {
	lease, work time.Duration
	fenced      bool
	name        string
}

// inspect takes the tokens out of what the replicas hold.
func (l *locks) inspect(_ int, keys []string, read func([]string) ([]harness.Replica, error)) ([]harness.Replica, error) {
	held, err := read(keys)
	if l.fenced {
		for i, r := range held {
			if r.Present && len(r.Values) > 0 {
				held[i].Values = r.Values[1:]
			}
		}
	}
	return held, err
}

func (l *locks) open(kv KV, at place) harness.Lister {
	c := &lockClient{locks: l, kv: kv, at: at}
	return plain{invoke: c.invoke, all: c.all}
}

type lockClient struct {
	*locks
	kv KV
	at place
}

// grant is a lock that was taken.
type grant struct {
	key, text string
	token     history.Value
	end       time.Time
}

func (c *lockClient) invoke(ctx context.Context, key string, op *history.Op) error {
	if op.F != history.Add {
		return cannot(c.name, op.F)
	}
	// Whatever goes wrong before the list is written, the list is as it was.
	g, err := c.take(ctx, key+".lock", op.Process)
	if err != nil {
		return harness.Definite(err)
	}
	err = c.add(ctx, g, key, op.Arg)
	// If it cannot be given back the lease will end.
	_, _ = c.kv.CAS(ctx, g.key, g.text, encodeList(history.List{g.token, nobody, 0}))
	return err
}

// nobody holds a lock that is free. Processes count from 0.
const nobody history.Value = -1

// waiting is how long a client waits before it looks again whether a lock is free.
const waiting = 5 * time.Millisecond

// take waits until the lock is free, and takes it.
func (c *lockClient) take(ctx context.Context, key string, process int32) (grant, error) {
	for {
		text, err := get(ctx, c.kv, key)
		if err != nil {
			return grant{}, err
		}
		now, err := c.now(ctx)
		if err != nil {
			return grant{}, err
		}
		state := history.List{0, nobody, 0}
		if text != "" {
			if state, err = decodeList(text); err != nil {
				return grant{}, err
			}
			if len(state) != 3 {
				return grant{}, fmt.Errorf("the store holds %q, which is no lock", text)
			}
		}
		if state[1] == nobody || now.UnixNano() >= int64(state[2]) {
			g := grant{key: key, token: state[0] + 1, end: now.Add(c.lease)}
			g.text = encodeList(history.List{g.token, history.Value(process), history.Value(g.end.UnixNano())})
			done, err := c.kv.CAS(ctx, key, text, g.text)
			if done || err != nil {
				return g, err
			}
		}
		if err := c.at.world.Sleep(ctx, waiting); err != nil {
			return grant{}, fmt.Errorf("the lock was not free: %w", err)
		}
	}
}

// add writes the list with one element more.
func (c *lockClient) add(ctx context.Context, g grant, key string, element history.Value) error {
	for {
		text, err := get(ctx, c.kv, key)
		if err != nil {
			return err
		}
		token, list, err := c.list(text)
		if err != nil {
			return harness.Definite(err)
		}
		now, err := c.now(ctx)
		if err != nil {
			return harness.Definite(err)
		}
		if g.end.Sub(now) < c.lease/4*3 {
			return harness.Definite(errors.New("too little of the lease was left"))
		}
		if err := c.at.world.Sleep(ctx, c.work); err != nil {
			return harness.Definite(err)
		}
		list = append(list, element)
		if !c.fenced {
			return c.kv.Put(ctx, key, encodeList(list))
		}
		if token > g.token {
			return harness.Definite(fmt.Errorf("the list was written under token %v, so token %v is refused", token, g.token))
		}
		done, err := c.kv.CAS(ctx, key, text, encodeList(append(history.List{g.token}, list...)))
		if done || err != nil {
			return err
		}
	}
}

// list takes apart what is stored of a list.
func (c *lockClient) list(text string) (token history.Value, list history.List, err error) {
	if list, err = decodeList(text); err != nil || !c.fenced || len(list) == 0 {
		return 0, list, err
	}
	return list[0], list[1:], nil
}

func (c *lockClient) all(ctx context.Context, key string) (history.List, error) {
	text, err := get(ctx, c.kv, key)
	if err != nil || text == "" {
		return nil, err
	}
	_, list, err := c.list(text)
	return list, err
}

// now is the time by the clock of the node.
func (c *lockClient) now(ctx context.Context) (time.Time, error) {
	if clock, ok := c.kv.(Clock); ok {
		return clock.Now(ctx)
	}
	return time.Unix(0, c.at.world.Now()), nil
}
