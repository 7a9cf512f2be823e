package checkers

import (
	"fmt"
	"slices"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// t-visibility: how likely it is that a read that begins t after a write was
// acknowledged sees it, or something newer. (P. Bailis et al., VLDB 2012.)
//
// Each read is one sample: t counts from the return of the write that was
// acknowledged last before the read began. The read sees it unless the version
// it saw is certainly older in real time. Samples are collected in spans of t, of
// which each has a rate with its interval, and beside it what the model of the
// same paper predicts for the very same times; see [PBS].

// Visibility is one span of t.
type Visibility struct {
	From time.Duration `json:"from_ns"`
	To   time.Duration `json:"to_ns"` // exclusive; the last span's is the greatest t, inclusive
	Seen int           `json:"seen"`
	Of   int           `json:"of"`
	Low  float64       `json:"low"` // of the interval, 0 to 1
	High float64       `json:"high"`
	// Predicted is the model's probability; negative without a model.
	Predicted float64 `json:"predicted"`
}

// visibilitySpans are where the spans begin.
var visibilitySpans = []time.Duration{0, 200 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond,
	5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, time.Second}

// MeasureVisibility measures all reads of a history of registers; nil if it is of
// something else, or no read began after an acknowledged write. model may be nil.
func MeasureVisibility(h *history.History, opts Options, model *PBS) []Visibility {
	if unfitForRegisters(h) != "" {
		return nil
	}
	index := Input{History: h}.registers(opts)
	return visibilityOf(index, allLags(index), model)
}

// sample is one read: its t, and whether it saw the last acknowledged write.
type sample struct {
	t    int64
	seen bool
}

func visibilityOf(index *registerIndex, lags [][]lag, model *PBS) []Visibility {
	found := make([][]sample, len(index.keys))
	inParallel(len(found), shares, func(i int) { found[i] = samplesOf(&index.keys[i], lags[i]) })
	spans := make([]Visibility, len(visibilitySpans))
	times := make([][]int64, len(spans))
	longest := int64(0)
	for _, key := range found {
		for _, s := range key {
			b := firstAt(len(spans), func(a int) bool { return int64(visibilitySpans[a]) > s.t }) - 1
			spans[b].Of++
			if s.seen {
				spans[b].Seen++
			}
			times[b] = append(times[b], s.t)
			longest = max(longest, s.t)
		}
	}
	var out []Visibility
	for b := range spans {
		v := &spans[b]
		if v.Of == 0 {
			continue
		}
		v.From, v.To, v.Predicted = visibilitySpans[b], time.Duration(longest), -1
		if b+1 < len(spans) {
			v.To = visibilitySpans[b+1]
		}
		v.Low, v.High = Wilson(v.Seen, v.Of)
		if model != nil {
			v.Predicted = model.Visible(times[b])
		}
		out = append(out, *v)
	}
	return out
}

func samplesOf(r *register, lags []lag) []sample {
	type write struct{ call, end int64 }
	var acked []write
	for i, n := 0, r.len(); i < n; i++ {
		if o := r.at(i); r.wrote(i) && o.Outcome == history.OK {
			acked = append(acked, write{o.Call, o.Return})
		}
	}
	slices.SortStableFunc(acked, func(a, b write) int { return compare(a.end, b.end) })
	var samples []sample
	next := 0
	for i := range lags {
		l := &lags[i]
		for next < len(acked) && acked[next].end < l.call {
			next++
		}
		if next > 0 {
			w := acked[next-1]
			samples = append(samples, sample{t: l.call - w.end, seen: l.last >= w.call})
		}
	}
	return samples
}

// String gives "2 ms–5 ms: 96.1 % (94–97 %) of 840, predicted 95.2 %".
func (v Visibility) String() string {
	s := fmt.Sprintf("%s–%s: %s %% (%s–%s %%) of %s", v.From, v.To.Round(time.Microsecond), percentFloor(float64(v.Seen)/float64(v.Of)), percentFloor(v.Low), percentFloor(v.High), count(v.Of))
	if v.Predicted >= 0 {
		s += fmt.Sprintf(", predicted %s %%", percentFloor(v.Predicted))
	}
	return s
}

// percentFloor prints a part in percent, rounded down: 100 means all.
func percentFloor(p float64) string {
	p = float64(int(p*1e4)) / 100
	return fmt.Sprintf("%g", p)
}

// StalenessOptions say how stale a read may be.
type StalenessOptions struct {
	Options
	// Age is for how long at most the value that a read sees may have been out
	// of date when the read began; 500 ms when zero.
	Age time.Duration
	// Versions is how many acknowledged versions behind a read may be; 0: it
	// does not matter.
	Versions int
	// Model predicts t-visibility; nil for no prediction. One without delays
	// gets them from the latencies of the history, see [PBSFromLatencies].
	Model *PBS
}

// BoundedStalenessWith judges whether no read is staler than the bound: what some
// stores promise instead of fresh reads. The result has the distributions of k-
// and Δ-staleness and the curve of t-visibility, whatever the verdict.
func BoundedStalenessWith(opts StalenessOptions) Checker {
	if opts.Age == 0 {
		opts.Age = 500 * time.Millisecond
	}
	return func(in Input, _ Budget) Result {
		if why := unfitForRegisters(in.History); why != "" {
			return Result{Claim: BoundedStaleness, Key: -1, Reason: why}
		}
		index := in.registers(opts.Options)
		lags := allLags(index)
		tallies := make([]tally, len(lags))
		for k := range lags {
			tallies[k] = opts.judge(index.h, &index.keys[k], lags[k])
		}
		s := stalenessOf(lags)
		held := "none of a value out of date for more than " + span(int64(opts.Age))
		if opts.Versions > 0 {
			held += " or " + plural(opts.Versions, "version")
		}
		if s.Stale.Broken > 0 {
			held += fmt.Sprintf("; %s stale at all (%s)", plural(s.Stale.Broken, "read"), s.Stale.Interval())
		}
		res := together(index.h, BoundedStaleness, tallies, "read", held, "there are no ok reads")
		if s.Reads > 0 {
			res.Figures = append(res.Figures, s.Versions)
		}
		if s.Age.N > 0 {
			res.Figures = append(res.Figures, s.Age)
		}
		model := opts.Model
		if model != nil && len(model.Write) == 0 {
			model = PBSFromLatencies(index.h, model.N, model.R, model.W)
		}
		res.Visibility = visibilityOf(index, lags, model)
		return res
	}
}

func (opts *StalenessOptions) judge(h *history.History, r *register, lags []lag) tally {
	var t tally
	over := overwritersOf(r.view)
	for i := range lags {
		l := &lags[i]
		t.checked++
		if l.age <= int64(opts.Age) && (opts.Versions == 0 || l.versions <= int64(opts.Versions)) {
			continue
		}
		t.add(r.key, func() ([]int, string) {
			newer, _ := over.after(l.last)
			return sorted(append(r.proof(l.read, r.versions[r.ver[l.read]].write), newer)...), fmt.Sprintf("%s saw a value that was out of date for %s, %s behind: %s had replaced it",
				describe(h, r.index(int(l.read))), span(l.age), plural(int(l.versions), "version"), describe(h, newer))
		})
	}
	return t
}
