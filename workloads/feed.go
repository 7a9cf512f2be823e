package workloads

import (
	"context"
	"slices"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
)

// FeedOptions are the dials of [Feed]. The zero value is a fair start.
type FeedOptions struct {
	// RegisterOptions are as for [Register]: a key is a timeline, and what are
	// writes there are posts here. There are no deletes.
	RegisterOptions
	// Posts is how many posts a timeline takes; when it is full it is only
	// read. 0 means 10.
	Posts int
}

// Feed has authors post to timelines, and followers read them. Each post is a key
// of its own in the store, timeline/0, timeline/1, …, which its author writes once: nobody
// overwrites another's post, whatever the store does with two writes at a time. A
// follower reads all posts of the timeline, through the one node that he talks to.
//
// A post is an Add of its number, and a timeline a ReadAll. The posts of a
// timeline are numbered from 1 in the order in which they were begun.
func Feed(o FeedOptions) Layered {
	if o.Posts <= 0 {
		o.Posts = 10
	}
	o.DeleteFraction = 0
	o.setDefaults()
	return Layered{
		Workload: harness.Workload{
			Name:      "feed",
			Keys:      keyNames("t", o.Keys),
			Generator: gen.Rate(o.Rate, &feed{register: register{o: &o.RegisterOptions}, most: history.Value(o.Posts)}),
		},
		layer: func() layer { return timelines{most: o.Posts} },
	}
}

// feed is the generator: what register does, with numbers that count the posts
// of each timeline.
type feed struct {
	register
	most  history.Value
	posts []history.Value // by timeline; never changed
}

// Next implements [gen.Generator].
func (g *feed) Next(c gen.Context) (gen.Op, gen.State, gen.Generator) {
	op, st, plain := g.register.Next(c)
	if st != gen.Ready {
		return op, st, g
	}
	next := &feed{*plain.(*register), g.most, g.posts}
	if op.F == history.Write && g.posted(op.Key) < g.most {
		next.posts = slices.Clone(g.posts)
		for len(next.posts) <= int(op.Key) {
			next.posts = append(next.posts, 0)
		}
		next.posts[op.Key]++
		op.F, op.Arg = history.Add, next.posts[op.Key]
	} else {
		op.F, op.Arg = history.ReadAll, 0
	}
	return op, gen.Ready, next
}

func (g *feed) posted(timeline int32) history.Value {
	if int(timeline) < len(g.posts) {
		return g.posts[timeline]
	}
	return 0
}

// Update implements [gen.Generator].
func (g *feed) Update(gen.Context, gen.Completion) gen.Generator { return g }

// timelines is the layer of Feed.
type timelines struct{ most int }

func (l timelines) open(kv KV, _ place) harness.Lister {
	return plain{
		invoke: func(ctx context.Context, key string, op *history.Op) error {
			if op.F != history.Add {
				return cannot("feed", op.F)
			}
			return kv.Put(ctx, partKey(key, int(op.Arg)-1), op.Arg.String())
		},
		all: func(ctx context.Context, key string) (history.List, error) {
			seen := history.List{}
			for n := range l.most {
				text, err := get(ctx, kv, partKey(key, n))
				if err != nil {
					return nil, err
				}
				if text != "" {
					seen = append(seen, history.Value(n+1))
				}
			}
			return seen, nil
		},
	}
}

// inspect shows the timelines as a follower who reads at this replica alone would
// see them.
func (l timelines) inspect(_ int, keys []string, read func([]string) ([]harness.Replica, error)) ([]harness.Replica, error) {
	return inParts(keys, l.most, read, func(posts []harness.Replica) (seen history.List) {
		for n, r := range posts {
			if r.Present {
				seen = append(seen, history.Value(n+1))
			}
		}
		return seen
	})
}
