package workloads

import (
	"context"
	"slices"
	"strconv"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// CollectionOptions are the dials of [Set], [Append] and [Counter]. The zero
// value is a fair start.
type CollectionOptions struct {
	// RegisterOptions are as for [Register]: what are writes there are
	// additions here. There are no deletes.
	RegisterOptions
	// Blind: an addition reads the key, and writes it back with a plain put.
	// Two at a time can lose one. Otherwise it is made by compare-and-set.
	Blind bool
}

// Set adds elements to sets, and reads all elements of a set. Every element is
// unique in the run. A set is kept as the value of one key.
func Set(o CollectionOptions) Layered { return collection("set", "s", o) }

// Append adds elements to the ends of lists, and reads whole lists. Every element
// is unique in the run, so that a read tells which additions it saw and in which
// order. A list is kept as the value of one key.
//
// It does what [Set] does; what is judged of it differs.
func Append(o CollectionOptions) Layered { return collection("append", "l", o) }

func collection(name, prefix string, o CollectionOptions) Layered {
	l := Layered{
		Workload: reshaped(name, prefix, &o.RegisterOptions, func(op gen.Op, _ *gen.Rand) gen.Op {
			if op.F == history.Write {
				op.F = history.Add
			} else {
				op.F = history.ReadAll
			}
			return op
		}),
		layer: func() layer { return lists{blind: o.Blind, name: name} },
	}
	return l
}

// lists is the layer of Set and Append.
type lists struct {
	asStored
	blind bool
	name  string
}

func (l lists) open(kv KV, _ place) harness.Lister {
	return plain{
		invoke: func(ctx context.Context, key string, op *history.Op) error {
			if op.F != history.Add {
				return cannot(l.name, op.F)
			}
			return change(ctx, kv, key, l.blind, func(old string) (string, error) {
				list, err := decodeList(old)
				return encodeList(append(list, op.Arg)), err
			})
		},
		all: func(ctx context.Context, key string) (history.List, error) {
			text, err := get(ctx, kv, key)
			if err != nil || text == "" {
				return nil, err
			}
			return decodeList(text)
		},
	}
}

// Counter adds 1 to counters, and reads them. A counter is kept as the value of
// one key, which is absent before the first addition.
func Counter(o CollectionOptions) Layered {
	return Layered{
		Workload: reshaped("counter", "n", &o.RegisterOptions, func(op gen.Op, _ *gen.Rand) gen.Op {
			if op.F == history.Write {
				op.F, op.Arg = history.Add, 1
			}
			return op
		}),
		layer: func() layer { return counters{blind: o.Blind} },
	}
}

// counters is the layer of Counter.
type counters struct {
	asStored
	blind bool
}

func (l counters) open(kv KV, _ place) harness.Lister {
	number := func(text string) (history.Value, error) {
		if text == "" {
			return 0, nil
		}
		n, _, err := Decode(text)
		return n, err
	}
	return plain{
		invoke: func(ctx context.Context, key string, op *history.Op) (err error) {
			switch op.F {
			case history.Read:
				var text string
				if text, err = get(ctx, kv, key); err == nil {
					op.Out, err = number(text)
				}
				return err
			case history.Add:
				return change(ctx, kv, key, l.blind, func(old string) (string, error) {
					n, err := number(old)
					return (n + op.Arg).String(), err
				})
			}
			return cannot("counter", op.F)
		},
		all: func(context.Context, string) (history.List, error) { return nil, cannot("counter", history.ReadAll) },
	}
}

// reshaped is a workload that does what [Register] does, with each read and write
// made into another operation by f, which must be pure.
func reshaped(name, prefix string, o *RegisterOptions, f func(op gen.Op, r *gen.Rand) gen.Op) harness.Workload {
	o.DeleteFraction = 0
	o.setDefaults()
	return harness.Workload{
		Name:      name,
		Keys:      keyNames(prefix, o.Keys),
		Generator: gen.Rate(o.Rate, &reshape{register{o: o}, f}),
	}
}

func keyNames(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = prefix + strconv.Itoa(i)
	}
	return slices.Clip(names)
}

type reshape struct {
	register
	f func(op gen.Op, r *gen.Rand) gen.Op
}

// Next implements [gen.Generator].
func (g *reshape) Next(c gen.Context) (gen.Op, gen.State, gen.Generator) {
	op, st, next := g.register.Next(c)
	if st != gen.Ready {
		return op, st, g
	}
	r := c.Rand(1)
	return g.f(op, &r), gen.Ready, &reshape{*next.(*register), g.f}
}

// Update implements [gen.Generator].
func (g *reshape) Update(gen.Context, gen.Completion) gen.Generator { return g }
