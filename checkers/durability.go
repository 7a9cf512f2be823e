package checkers

import (
	"fmt"
	"sort"

	"github.com/assay-chaos/assay/harness/history"
)

// DurabilityOptions say how lost writes are looked for.
type DurabilityOptions struct {
	Options
	// Overlap says that in this configuration every read asks a replica of
	// every acknowledged write (R + W > N, strict quorums). A read that
	// begins after a write was acknowledged and sees an older value then
	// shows, already while the run goes on, that the write is gone: the
	// replica that they share either forgot it or prefers the older value.
	// Without Overlap such a read may be merely stale, and only the end of
	// the run counts.
	Overlap bool
}

// NoLostWritesWith judges whether acknowledged writes survive.
//
// An acknowledged write (or compare-and-set, or delete) w of a key is lost if,
// at the end, every replica of the key holds a value that is older than w:
// one whose writes had all completed before w was called (or the initial
// value). Whatever is concurrent with w, later than it, or of unknown outcome
// may rightly have replaced it, so where one replica holds such a value w does
// not count as lost. A deleted value that is back at every replica is the same
// case: an acknowledged delete was lost.
//
// This is what Jepsen's set-full checker calls lost (known, and absent from
// every later observation; jepsen.checker/set-full), carried over to
// registers, where being replaced by something that is not older is no loss.
// It catches a later write that an earlier one with a clock ahead has beaten,
// as long as the earlier one still stands at the end; writes that vanished in
// between and were then overwritten leave no trace in the replicas, see
// [DurabilityOptions.Overlap].
//
// Where no replica could be read the reads of the recovery phase stand for
// them: w is lost if there are reads of it that began after w was
// acknowledged, and each of them saw an older value.
func NoLostWritesWith(opts DurabilityOptions) Checker {
	return func(in Input, _ Budget) Result {
		res := Result{Claim: NoLostWrites, Key: -1}
		h := in.History
		if why := unfitForRegisters(h); why != "" {
			res.Reason = why
			return res
		}
		keys := byKey(h.Ops)
		source := finalSource(in)
		d := durability{h: h, in: in, opts: opts}
		missing := unread(in.Replicas)
		for _, k := range keys {
			d.key(k, source)
		}
		res.Checked, res.Violations = d.acknowledged, d.lost
		if d.acknowledged > 0 {
			res.Rate = rateOf(d.lost, d.acknowledged, "acknowledged write")
		}
		switch {
		case d.acknowledged == 0:
			res.Reason = "no write was acknowledged"
		case d.lost == 0 && source == nowhere:
			res.Reason = "neither replicas nor reads of the recovery phase were there to look for the writes in"
		case d.lost == 0 && d.unseen > 0:
			res.Reason = fmt.Sprintf("of %s on %s nothing could be seen at the end", plural(d.unseen, "acknowledged write"), keyText(h, d.unseenKey))
		case d.lost == 0:
			res.Verdict = Held
			res.Reason = fmt.Sprintf("%s; %s", plural(d.acknowledged, "acknowledged write"), source)
		case missing > 0 && source == atReplicas && !d.certain:
			res.Reason = fmt.Sprintf("%s at the replicas that could be read, but %s could not be: %s", missingText(d.lost), plural(missing, "replica"), d.why)
			res.Key, res.Ops = d.firstKey, d.proof
		default:
			res.Verdict = Broken
			res.Key, res.Ops = d.firstKey, d.proof
			res.Reason = fmt.Sprintf("%s of %s lost (%s), first on %s: %s", count(d.lost), plural(d.acknowledged, "acknowledged write"), res.Rate.Interval(), keyText(h, d.firstKey), d.why)
		}
		return res
	}
}

func missingText(n int) string {
	if n == 1 {
		return "1 acknowledged write is missing"
	}
	return count(n) + " acknowledged writes are missing"
}

// source is where the end of the run was looked at.
type source string

const (
	atReplicas source = "none is missing at the replicas"
	inReads    source = "none is missing from the reads of the recovery phase"
	nowhere    source = ""
)

func finalSource(in Input) source {
	for _, row := range in.Replicas {
		if row != nil {
			return atReplicas
		}
	}
	for _, p := range in.History.Phases {
		if p.Name == history.PhaseRecovery && p.End > p.Start {
			return inReads
		}
	}
	return nowhere
}

// unread counts the replicas that could not be read.
func unread[T any](rows [][]T) int {
	n := 0
	for _, row := range rows {
		if row == nil {
			n++
		}
	}
	return n
}

type durability struct {
	h    *history.History
	in   Input
	opts DurabilityOptions

	acknowledged, lost int
	unseen             int // acknowledged, but nothing tells of them
	unseenKey          int32
	certain            bool // some loss was seen by reads of overlapping quorums
	firstKey           int32
	proof              []int
	why                string
}

// newest is, of several values that were observed, the one whose write ended
// last: no write called after that end can have been observed, or replaced by
// what was.
type newest struct {
	seen  bool
	last  int64
	value history.Value
	by    int // the read that saw it, -1 for a replica
}

func (n *newest) add(from map[history.Value]origin, v history.Value, by int) {
	last := int64(beginning) // a value from nowhere is no excuse
	if w, known := from[v]; known {
		last = w.last
	}
	if !n.seen || last > n.last {
		*n = newest{seen: true, last: last, value: v, by: by}
	}
}

func (d *durability) key(k keyView, src source) {
	from := origins(k.view, d.opts.initial())
	var replicas newest
	for _, row := range d.in.Replicas {
		if int(k.key) < len(row) && k.key >= 0 && !row[k.key].Elsewhere {
			v := history.Nil
			if row[k.key].Present {
				v = row[k.key].Value
			}
			replicas.add(from, v, -1)
		}
	}
	after := func(int64) newest { return replicas }
	if src != atReplicas {
		after = d.recoveryReads(k.view, from)
	}
	overlapping := func(int64) newest { return newest{} }
	if d.opts.Overlap {
		overlapping = d.oldestReads(k.view, from)
	}
	for i, n := 0, k.len(); i < n; i++ {
		o := k.at(i)
		if _, wrote := writes(o); !wrote || o.Outcome != history.OK {
			continue
		}
		d.acknowledged++
		seen := after(o.Return)
		switch o2 := overlapping(o.Return); {
		case o2.seen && o2.last < o.Call:
			d.certain = true
			d.record(k, i, o2, "although its quorum shares a replica with the write's")
		case !seen.seen:
			if d.unseen == 0 {
				d.unseenKey = k.key
			}
			d.unseen++
		case seen.last < o.Call && seen.by < 0:
			d.record(k, i, seen, "at every replica that was read, which is older")
		case seen.last < o.Call:
			d.record(k, i, seen, "and so did every other read of the recovery phase after it, or something older still")
		}
	}
}

func (d *durability) record(k keyView, i int, seen newest, where string) {
	d.lost++
	if d.lost > 1 {
		return
	}
	at := k.index(i)
	d.firstKey, d.proof = k.key, []int{at}
	if seen.by < 0 {
		d.why = fmt.Sprintf("%s was acknowledged, and at the end %s is found %s", describe(d.h, at), seen.value, where)
		return
	}
	d.proof = sorted(at, seen.by)
	d.why = fmt.Sprintf("%s was acknowledged, but %s saw something older, %s", describe(d.h, at), describe(d.h, seen.by), where)
}

// recoveryReads gives what the reads of the recovery phase that were called
// after t saw.
func (d *durability) recoveryReads(v view, from map[history.Value]origin) func(t int64) newest {
	start := int64(history.Never)
	for _, p := range d.h.Phases {
		if p.Name == history.PhaseRecovery {
			start = min(start, p.Start)
		}
	}
	return suffix(d.reads(v, start), func(n *newest, read int, value history.Value) { n.add(from, value, read) }, d.opts.Options, d.h)
}

// oldestReads gives, of the reads that were called after t, the one that saw
// the oldest value.
func (d *durability) oldestReads(v view, from map[history.Value]origin) func(t int64) newest {
	return suffix(d.reads(v, beginning), func(n *newest, read int, value history.Value) {
		w, known := from[value]
		if known && (!n.seen || w.last < n.last) {
			*n = newest{seen: true, last: w.last, value: value, by: read}
		}
	}, d.opts.Options, d.h)
}

// reads gives the places in the history of a key's reads called at or after a
// time, by call.
func (d *durability) reads(v view, start int64) []int {
	var reads []int
	for i, n := 0, v.len(); i < n; i++ {
		o := v.at(i)
		if _, saw := d.opts.observes(o); saw && o.Call >= start {
			reads = append(reads, v.index(i))
		}
	}
	sort.SliceStable(reads, func(a, b int) bool { return d.h.Ops[reads[a]].Call < d.h.Ops[reads[b]].Call })
	return reads
}

// suffix folds reads from the last to each, and answers for those called after
// a time.
func suffix(reads []int, fold func(n *newest, read int, value history.Value), opts Options, h *history.History) func(t int64) newest {
	folded := make([]newest, len(reads)+1)
	for i := len(reads) - 1; i >= 0; i-- {
		folded[i] = folded[i+1]
		value, _ := opts.observes(&h.Ops[reads[i]])
		fold(&folded[i], reads[i], value)
	}
	return func(t int64) newest {
		return folded[sort.Search(len(reads), func(i int) bool { return h.Ops[reads[i]].Call > t })]
	}
}
