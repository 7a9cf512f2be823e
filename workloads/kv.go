package workloads

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// KV is what a store's client has to offer so that the [Layered] workloads can
// use it. The client that System.Open gives implements it beside
// [harness.Client], whose rules hold for its errors: an error that is marked
// [harness.Definite] says that nothing was changed and never will be, any other
// that it may have been.
//
// No workload writes an empty value: "" stands for a key that is absent.
type KV interface {
	// Get gives the value of the key, "" if it has none.
	Get(ctx context.Context, key string) (string, error)
	// Put gives the key a value, whatever it had.
	Put(ctx context.Context, key, value string) error
	// CAS gives the key a value if it has the value old ("": if it is absent),
	// and says whether it did. Of a refusal it is certain that nothing was
	// changed. A store that cannot do it gives an error.
	CAS(ctx context.Context, key, old, value string) (done bool, err error)
}

// Clock is a [KV] that can tell the time. Workloads with leases take them by it.
type Clock interface {
	// Now is the wall clock of the node that the client talks to.
	Now(ctx context.Context) (time.Time, error)
}

// Layered is a workload each of whose operations is made of gets, puts and
// compare-and-sets, so that it can be run over any store whose clients are a
// [KV].
//
// Values in the store are texts: a whole number, or a JSON array of whole numbers
// such as [3,1,2]. System.Inspect should give the first as Replica.Value and the
// second as Replica.Values, see [Decode].
type Layered struct {
	harness.Workload
	layer func() layer
}

// Over gives the system that the workload's operations are performed on: the
// store, with the workload's own client in front of each of its clients. One
// such system is for one run. A workload that needs no client of its own, such as
// Layered{Workload: Register(o)}, is performed on the store itself.
func (l Layered) Over(store harness.System) harness.System {
	if l.layer == nil {
		return store
	}
	return &over{System: store, name: l.Name, layer: l.layer()}
}

// layer is what stands in front of a store.
type layer interface {
	// open puts a client in front of the store's.
	open(kv KV, at place) harness.Lister
	// inspect gives what a replica holds for the workload's keys; read is the
	// store's own Inspect.
	inspect(node int, keys []string, read func(keys []string) ([]harness.Replica, error)) ([]harness.Replica, error)
}

// place is where a client is.
type place struct {
	node  int
	world harness.World
}

type over struct {
	harness.System
	name  string
	layer layer
}

func (o *over) Open(ctx context.Context, w harness.World, node int) (harness.Client, error) {
	c, err := o.System.Open(ctx, w, node)
	if err != nil {
		return nil, err
	}
	kv, ok := c.(KV)
	if !ok {
		return nil, fmt.Errorf("the workload %s is made of gets, puts and compare-and-sets, and the client of %s (a %T) is no workloads.KV", o.name, o.Name(), c)
	}
	return &closing{o.layer.open(kv, place{node, w}), c}, nil
}

func (o *over) Inspect(ctx context.Context, w harness.World, node int, keys []string) ([]harness.Replica, error) {
	return o.layer.inspect(node, keys, func(keys []string) ([]harness.Replica, error) {
		return o.System.Inspect(ctx, w, node, keys)
	})
}

// closing closes the store's client with the workload's.
type closing struct {
	harness.Lister
	store harness.Client
}

func (c *closing) Close() error { return c.store.Close() }

// plain is the client of a layer that has nothing to close.
type plain struct {
	invoke func(ctx context.Context, key string, op *history.Op) error
	all    func(ctx context.Context, key string) (history.List, error)
}

func (p plain) Invoke(ctx context.Context, key string, op *history.Op) error {
	return p.invoke(ctx, key, op)
}

func (p plain) InvokeAll(ctx context.Context, key string, _ *history.Op) (history.List, error) {
	return p.all(ctx, key)
}

func (p plain) Close() error { return nil }

// asStored is the inspection of a layer whose keys are those of the store.
type asStored struct{}

func (asStored) inspect(_ int, keys []string, read func([]string) ([]harness.Replica, error)) ([]harness.Replica, error) {
	return read(keys)
}

// partKey is the store's key of one part of what the workload has under a key.
func partKey(key string, part int) string { return key + "/" + strconv.Itoa(part) }

// inParts inspects a workload whose keys are made of parts, each a key of the
// store's: list gives what a replica shows of a key, nil for nothing. A replica
// that lacks some of the parts by design shows nothing that can be compared.
func inParts(keys []string, parts int, read func([]string) ([]harness.Replica, error), list func([]harness.Replica) history.List) ([]harness.Replica, error) {
	all := make([]string, 0, len(keys)*parts)
	for _, key := range keys {
		for i := range parts {
			all = append(all, partKey(key, i))
		}
	}
	held, err := read(all)
	if err != nil {
		return nil, err
	}
	out := make([]harness.Replica, len(keys))
	for i := range out {
		mine := held[i*parts : (i+1)*parts]
		shown := list(mine)
		out[i] = harness.Replica{Present: shown != nil, Values: shown,
			Elsewhere: slices.ContainsFunc(mine, func(r harness.Replica) bool { return r.Elsewhere })}
	}
	return out, nil
}

// cannot is the answer to a function that is not the workload's.
func cannot(workload string, f history.F) error {
	return harness.Definite(fmt.Errorf("the workload %s has no %v", workload, f))
}

// get is a Get whose error is definite, since a read changes nothing.
func get(ctx context.Context, kv KV, key string) (string, error) {
	text, err := kv.Get(ctx, key)
	return text, harness.Definite(err)
}

// change replaces the value of a key by what f makes of it: with compare-and-set,
// again and again until nobody comes between, or blind, which overwrites what
// others have written in between. An error of f is definite.
func change(ctx context.Context, kv KV, key string, blind bool, f func(old string) (string, error)) error {
	for {
		old, err := get(ctx, kv, key)
		if err != nil {
			return err
		}
		value, err := f(old)
		if err != nil {
			return harness.Definite(err)
		}
		if blind {
			return kv.Put(ctx, key, value)
		}
		if done, err := kv.CAS(ctx, key, old, value); done || err != nil {
			return err
		}
	}
}

// Decode gives what the text of a key holds: a number, or several of them (then
// list is not nil).
func Decode(text string) (value history.Value, list history.List, err error) {
	if strings.HasPrefix(text, "[") {
		list, err = decodeList(text)
		return history.Nil, list, err
	}
	value, err = decodeNumber(text)
	return value, nil, err
}

// decodeList gives the numbers of an array; of an absent key there are none.
func decodeList(text string) (history.List, error) {
	list := history.List{}
	if text == "" || text == "[]" {
		return list, nil
	}
	inner, opened := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !opened || !closed {
		return nil, fmt.Errorf("the store holds %q, which no client wrote", text)
	}
	for word := range strings.SplitSeq(inner, ",") {
		v, err := decodeNumber(word)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func decodeNumber(text string) (history.Value, error) {
	v, err := strconv.ParseInt(text, 10, 64)
	if err == nil && history.Value(v) == history.Nil {
		err = strconv.ErrRange
	}
	if err != nil {
		return history.Nil, fmt.Errorf("the store holds %q, which no client wrote: %w", text, err)
	}
	return history.Value(v), nil
}

func encodeList(list history.List) string {
	b := []byte{'['}
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v.String()...)
	}
	return string(append(b, ']'))
}
