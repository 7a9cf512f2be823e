package results

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
)

// sampleOptions shape a made-up run.
type sampleOptions struct {
	clients int
	pause   time.Duration // mean, between two operations of a client
	stale   bool          // plant a stale read
	lost    bool          // plant a lost write, seen long after it
}

const (
	ms  = int64(time.Millisecond)
	sec = int64(time.Second)
)

// sampleRun makes up a run of 30 s on five nodes with a partition, two kills
// and a clock fault that did not bite, the same one for the same options.
func sampleRun(o sampleOptions) *Run {
	const nodes, keys = 5, 8
	h := &history.History{
		Errors: []string{"", "timeout: 1 of 3 replicas answered", "connect: connection refused"},
		Phases: []history.Phase{
			{Name: history.PhaseBefore, Start: 0, End: 5 * sec},
			{Name: history.PhaseFaults, Start: 5 * sec, End: 25 * sec},
			{Name: history.PhaseRecovery, Start: 25 * sec, End: 30 * sec},
		},
		Faults: []history.Fault{
			sampleFault(1, "partition", "majority/minority: 0 1 2 | 3 4", []int{0, 1, 2, 3, 4}, 6*sec, 12*sec, "20 probes over 6 cut pairs: none arrived; 4 open pairs: all arrived"),
			sampleFault(2, "kill", "node 1", []int{1}, 9*sec, 11*sec, "pid 812 is gone"),
			sampleFault(3, "pause", "node 0", []int{0}, 13*sec, 14*sec+500*ms, "no CPU time used in 200 ms"),
			sampleFault(4, "clock", "node 2 +2s", []int{2}, 14*sec, 19*sec, "offset seen: 2.0001 s"),
			sampleFault(5, "partition", "one node: 4 | 0 1 2 3", []int{0, 1, 2, 3, 4}, 20*sec, 23*sec, "8 probes over 4 cut pairs: none arrived"),
			sampleFault(6, "clock", "node 0 drift +10%", []int{0}, 21*sec, 24*sec, ""),
		},
	}
	h.Faults[5].Effect = history.Proof{At: 22 * sec, Evidence: "asked for +10 %, but the offset stayed at 0 s"}
	for k := range keys {
		h.Keys = append(h.Keys, fmt.Sprintf("k%d", k))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	next := history.Value(1)
	for c := range o.clients {
		process, node := int32(c), int16(c%nodes)
		t := int64(rng.ExpFloat64() * float64(o.pause))
		for t < 30*sec {
			op := history.Op{Process: process, Node: node, Key: int32(rng.IntN(keys)), Call: t, F: history.Read, Arg: history.Nil, Arg2: history.Nil, Out: history.Nil, Outcome: history.OK}
			if rng.IntN(2) == 0 {
				op.F, op.Arg = history.Write, next
				next++
			}
			delay := int64(2e6 * math.Exp(0.5*rng.NormFloat64()))
			switch cutOff, down := (t > 6*sec && t < 12*sec && node >= 3) || (t > 20*sec && t < 23*sec && node == 4), t > 9*sec && t < 11*sec && node == 1; {
			case down:
				op.Outcome, op.Err, delay = history.Fail, 2, ms/2
			case cutOff:
				op.Err, delay = 1, 1000*ms
				op.Outcome = history.Fail
				if op.F == history.Write {
					op.Outcome = history.Info
					process += int32(o.clients)
				}
			case t > 13*sec && t < 14*sec+500*ms && node == 0:
				delay = 14*sec + 500*ms - t + delay
			}
			op.Return = t + delay
			h.Ops = append(h.Ops, op)
			t = op.Return + int64(rng.ExpFloat64()*float64(o.pause))
			if op.Outcome == history.Fail {
				t += 50 * ms
			}
		}
	}
	slices.SortStableFunc(h.Ops, func(a, b history.Op) int { return int(max(-1, min(1, a.Call-b.Call))) })
	last := fillReads(h, keys)
	run := &Run{Path: "runs/majority-lww-42", Test: sampleTest(o), History: h, Verdicts: &Verdicts{}, Replicas: &Replicas{Settled: 340 * time.Millisecond}}
	for range nodes {
		row := make([]harness.Replica, keys)
		for k := range row {
			row[k] = harness.Replica{Present: true, Value: last[k], Stamp: fmt.Sprintf("%d.2.1.7", 1700000000+k)}
		}
		run.Replicas.States = append(run.Replicas.States, row)
	}
	sampleVerdicts(run, o)
	return run
}

func sampleFault(id int, kind, detail string, nodes []int, start, end int64, evidence string) history.Fault {
	return history.Fault{ID: id, Kind: kind, Detail: detail, Nodes: nodes, Start: start, End: end,
		Effect:   history.Proof{OK: evidence != "", At: start + 60*ms, Evidence: evidence},
		Recovery: history.Proof{OK: true, At: end, Evidence: "probes arrive again"}}
}

// fillReads lets each read see the last write that returned before it began.
func fillReads(h *history.History, keys int) []history.Value {
	type done struct {
		at int64
		v  history.Value
	}
	writes := make([][]done, keys)
	for i := range h.Ops {
		if o := &h.Ops[i]; o.F == history.Write && o.Outcome == history.OK {
			writes[o.Key] = append(writes[o.Key], done{o.Return, o.Arg})
		}
	}
	last := make([]history.Value, keys)
	for k := range writes {
		slices.SortFunc(writes[k], func(a, b done) int { return int(max(-1, min(1, a.at-b.at))) })
		last[k] = writes[k][len(writes[k])-1].v
	}
	for i := range h.Ops {
		if o := &h.Ops[i]; o.F == history.Read && o.Outcome == history.OK {
			k, _ := slices.BinarySearchFunc(writes[o.Key], o.Call, func(d done, t int64) int { return int(max(-1, min(1, d.at-t))) })
			if k > 0 {
				o.Out = writes[o.Key][k-1].v
			}
		}
	}
	return last
}

func sampleTest(o sampleOptions) Test {
	return Test{Name: "register-majority-lww-partition-kill-pause-clock", World: "sim", System: "assay-store", Profile: "majority-lww", Workload: "register", Nemesis: "partition,kill,pause,clock",
		Nodes: 5, N: 5, R: 3, W: 3, Clients: o.clients, Keys: 8, Rate: 500, Seed: 42, OpTimeout: time.Second,
		Before: 5 * time.Second, During: 20 * time.Second, Recovery: 5 * time.Second, Settle: 10 * time.Second,
		Started: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Assay: Build{Version: "v0.1.0", Revision: "0123456789abcdef", Go: "go1.26.0"},
		Replay: []string{"assay", "run", "--world", "sim", "--profile", "majority-lww", "--nemesis", "partition,kill,pause,clock", "--duration", "30s", "--seed", "42"}}
}

// sampleVerdicts plants what is asked for, and judges.
func sampleVerdicts(run *Run, o sampleOptions) {
	h, v := run.History, run.Verdicts
	held := func(c checkers.Claim, reason string) {
		v.Results = append(v.Results, checkers.Result{Claim: c, Verdict: checkers.Held, Reason: reason, Checked: len(h.Ops), Key: -1})
	}
	if o.stale {
		ops := plantStaleRead(h, 16*sec)
		r := checkers.Result{Claim: checkers.Linearizable, Verdict: checkers.Broken, Checked: len(h.Ops), Violations: 3, Key: h.Ops[ops[0]].Key, Ops: ops,
			Reason: "Two values had to be in force at one time: after a newer write was acknowledged and read, an older value was read again."}
		v.Results = append(v.Results, r)
		r.Claim, r.Reason, r.Violations = checkers.FreshReads, "A read returned a value older than a write that had been acknowledged before the read began.", 1
		v.Results = append(v.Results, r)
	} else {
		held(checkers.Linearizable, fmt.Sprintf("%s operations on 8 keys, each in some order that explains it.", count(len(h.Ops))))
	}
	if o.lost {
		w := slices.IndexFunc(h.Ops, func(p history.Op) bool {
			return p.Call > 15*sec && p.F == history.Write && p.Outcome == history.OK && p.Key == 5
		})
		last := len(h.Ops) - 1
		for h.Ops[last].Key != 5 || h.Ops[last].F != history.Read {
			last--
		}
		old := w - 1
		for h.Ops[old].Key != 5 || h.Ops[old].F != history.Write || h.Ops[old].Outcome != history.OK || h.Ops[old].Return >= h.Ops[w].Call {
			old--
		}
		h.Ops[last].Out = h.Ops[old].Arg
		for node := range run.Replicas.States {
			if node != 3 {
				run.Replicas.States[node][5].Value = h.Ops[old].Arg
			}
		}
		v.Results = append(v.Results, checkers.Result{Claim: checkers.NoLostWrites, Verdict: checkers.Broken, Checked: len(h.Ops) / 2, Violations: 1, Key: 5, Ops: []int{old, w, last},
			Reason: fmt.Sprintf("The acknowledged write of %v is missing at the end.", h.Ops[w].Arg)})
	} else {
		held(checkers.NoLostWrites, "Every acknowledged write was read or overwritten.")
	}
	held(checkers.Converges, "All 5 replicas agreed 340 ms after the clients had stopped.")
	v.Results = append(v.Results, checkers.Result{Claim: checkers.Tested, Verdict: checkers.Unknown, Key: -1, Checked: len(h.Ops),
		Reason: "Fault #6, clock on node 0, did not bite: asked for +10 %, but the offset stayed at 0 s. A run under a fault that was not there says nothing about that fault."})
	v.Verdict = checkers.Overall(v.Results)
	for _, p := range h.Phases {
		for _, f := range []history.F{history.Read, history.Write} {
			s := PhaseStats{Phase: p.Name, Group: f.String()}
			var latencies []int64
			for i := range h.Ops {
				op := &h.Ops[i]
				if op.F != f || op.Call < p.Start || op.Call >= p.End {
					continue
				}
				switch op.Outcome {
				case history.OK:
					s.OK++
					latencies = append(latencies, op.Return-op.Call)
				case history.Fail:
					s.Fail++
				default:
					s.Info++
				}
			}
			slices.Sort(latencies)
			s.P50, s.P95 = time.Duration(quantile(latencies, .5)), time.Duration(quantile(latencies, .95))
			s.P99, s.Max = time.Duration(quantile(latencies, .99)), time.Duration(quantile(latencies, 1))
			v.Phases = append(v.Phases, s)
		}
	}
}

// plantStaleRead turns a read soon after a write into one of the value before.
func plantStaleRead(h *history.History, after int64) []int {
	for w := range h.Ops {
		op := &h.Ops[w]
		if op.Call < after || op.F != history.Write || op.Outcome != history.OK {
			continue
		}
		fresh := -1
		for i := w + 1; i < len(h.Ops) && h.Ops[i].Call < op.Return+400*ms; i++ {
			r := &h.Ops[i]
			if r.Key != op.Key || r.F != history.Read || r.Outcome != history.OK || r.Call <= op.Return {
				continue
			}
			if fresh < 0 {
				if r.Out != op.Arg {
					break
				}
				fresh = i
				continue
			}
			if r.Call <= h.Ops[fresh].Return {
				continue
			}
			for old := w - 1; old >= 0; old-- {
				if p := &h.Ops[old]; p.Key == op.Key && p.F == history.Write && p.Outcome == history.OK && p.Return < op.Call {
					r.Out = p.Arg
					return []int{old, w, fresh, i}
				}
			}
		}
	}
	panic("the sample has no place for a stale read")
}
