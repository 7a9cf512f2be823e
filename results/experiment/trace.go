package experiment

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/trial"
	"github.com/assay-chaos/assay/store/sut"
)

// This file makes the space-time diagram of a simulated run that broke a claim:
// the run is made again, which gives the same history, and this time the messages
// about the key are written down around the operations that contradict each other.

const (
	tracePad  = 5 * time.Millisecond
	traceMost = 4000 // events; a picture of more shows nothing
)

// traced runs the spec again for its diagram, and draws the page anew. It does
// nothing where nothing was broken on a key.
func (s *Spec) traced(ctx context.Context, out *trial.Outcome, dir *results.Dir) error {
	at := slices.IndexFunc(out.Results, func(r checkers.Result) bool {
		return r.Verdict == checkers.Broken && r.Key >= 0 && len(r.Ops) > 0
	})
	if at < 0 {
		return nil
	}
	h, r := out.Run.History, out.Results[at]
	key := h.KeyName(r.Key)
	from, to := int64(math.MaxInt64), int64(0)
	told := r.Minimal
	if len(told) == 0 {
		told = r.Ops
	}
	for _, i := range told {
		o := &h.Ops[i]
		from, to = min(from, o.Call), max(to, o.Call)
		if o.Return != history.Never {
			to = max(to, o.Return)
		}
	}
	c := collector{key: key, from: out.Run.Start + from - int64(tracePad), to: out.Run.Start + to + int64(tracePad), calls: map[uint64]bool{}, start: out.Run.Start}
	p, err := s.profile()
	if err != nil {
		return err
	}
	system := sut.New(p)
	test, err := s.test(system)
	if err != nil {
		return err
	}
	var claims []checkers.Claim // nothing is judged again but what may stop it
	if s.StopOnViolation {
		claims = []checkers.Claim{checkers.Linearizable}
	}
	again, err := trial.Run(ctx, test, trial.Options{
		Claims: claims, Judge: s.judging(), StopOnViolation: s.StopOnViolation,
		Start: func(ctx context.Context) (harness.World, error) {
			config := s.simulated(system, nemesis.Spares(s.Nodes, test.Faults))
			config.Trace = c.take
			return sim.New(config)
		},
	})
	if err != nil {
		return fmt.Errorf("running it again for the diagram of its messages: %w", err)
	}
	if again.Hash != out.Hash {
		return fmt.Errorf("the run gave another history the second time (%.12s, then %.12s): the simulation is not deterministic, please report this", out.Hash, again.Hash)
	}
	return out.AddTrace(dir, results.Trace{Key: r.Key, Events: c.events, Cut: c.cut})
}

// collector keeps the events of a key in a stretch of time.
type collector struct {
	key             string
	from, to, start int64
	calls           map[uint64]bool // about the key
	events          []results.TraceEvent
	cut             bool
}

func (c *collector) take(e sim.Event) {
	if e.At < c.from || e.At > c.to {
		return
	}
	t := results.TraceEvent{At: e.At - c.start, Kind: e.Kind.String(), Node: e.Node, Peer: e.Peer, ID: e.ID, Note: e.Note}
	switch e.Kind {
	case sim.EventSend, sim.EventDeliver, sim.EventDrop, sim.EventRequest, sim.EventReply, sim.EventAnswer:
		var key string
		if e.Msg != nil {
			key, t.Label = sut.Describe(e.Msg)
		}
		switch e.Kind {
		case sim.EventRequest:
			if key != c.key {
				return
			}
			c.calls[e.ID] = true
		case sim.EventReply, sim.EventAnswer:
			if !c.calls[e.ID] {
				return
			}
		default:
			if key != c.key {
				return
			}
		}
	case sim.EventSynced, sim.EventBoot, sim.EventCrash, sim.EventPause, sim.EventResume, sim.EventClock:
	default:
		return
	}
	if len(c.events) == traceMost {
		c.cut = true
		return
	}
	c.events = append(c.events, t)
}
