package checkers

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/assay-chaos/assay/harness/history"
)

// PBS predicts t-visibility of partial quorums from one-way delays, by drawing.
//
// Source: P. Bailis et al., "Probabilistically bounded staleness for practical
// partial quorums", VLDB 2012, the WARS model. A coordinator sends a write to all
// N replicas (W), each answers (A), and the write is acknowledged with the W-th
// answer. t later a coordinator sends a read to all (R), each answers (S), and it
// returns the newest of the first R answers. The write is seen if one of these R
// got the read after the write.
//
// As there: one write, one read, no failures, no repair, delays independent of
// each other. The coordinators are replicas, each time any of them, which the
// model allows for: to itself a coordinator sends without delay.
type PBS struct {
	N, R, W int
	// Write, Ack, Read and Response are measured delays to draw from, in ns. Each
	// must hold one at least.
	Write, Ack, Read, Response []int64
	// Disk is how long a replica takes to make a write durable, before it
	// answers; that of the coordinator too. Empty: no time. Reads that come to
	// it meanwhile do see the write.
	Disk []int64
	// Client is the way between a client and its coordinator: t counts from when
	// the client has the acknowledgement to when it sends the read, and the
	// write goes on meanwhile. Empty: no time.
	Client []int64
	Trials int    // a prediction; 20,000 when zero
	Seed   uint64 // the same one gives the same prediction
	// Source says where the delays come from, for readers of the prediction.
	Source string
}

// Validate says what is missing.
func (p *PBS) Validate() error {
	switch {
	case p.N < 1 || p.R < 1 || p.R > p.N || p.W < 1 || p.W > p.N:
		return fmt.Errorf("quorums of %d and %d of %d replicas: each is 1 to N", p.R, p.W, p.N)
	case len(p.Write) == 0 || len(p.Ack) == 0 || len(p.Read) == 0 || len(p.Response) == 0:
		return fmt.Errorf("a delay of each of the four kinds is needed to predict from")
	}
	return nil
}

// Visible is the probability that a read sees a write, if it begins one of the
// given times after the write was acknowledged, each as likely.
func (p *PBS) Visible(times []int64) float64 {
	if p.Validate() != nil || len(times) == 0 {
		return -1
	}
	trials := p.Trials
	if trials == 0 {
		trials = 20_000
	}
	r := rand.New(rand.NewPCG(p.Seed, 0x57415253))
	draw := func(from []int64) int64 { return from[r.IntN(len(from))] }
	arrives, answers := make([]int64, p.N), make([]int64, p.N)
	reads := make([]struct{ gets, back int64 }, p.N)
	seen := 0
	for range trials {
		writer, reader := r.IntN(p.N), r.IntN(p.N)
		for i := range p.N {
			arrives[i], answers[i] = draw(p.Write), draw(p.Ack)
			if i == writer {
				arrives[i], answers[i] = 0, 0
			}
			answers[i] += arrives[i]
			if len(p.Disk) > 0 {
				answers[i] += draw(p.Disk)
			}
			reads[i].gets = draw(p.Read)
			reads[i].back = reads[i].gets + draw(p.Response)
			if i == reader {
				reads[i].gets, reads[i].back = 0, 0
			}
		}
		slices.Sort(answers)
		begins := answers[p.W-1] + draw(times)
		if len(p.Client) > 0 {
			begins += draw(p.Client) + draw(p.Client)
		}
		// The first R answers; of those at one instant the ones of lower
		// replicas.
		fresh := false
		for range p.R {
			first := -1
			for i := range reads {
				if reads[i].back >= 0 && (first < 0 || reads[i].back < reads[first].back) {
					first = i
				}
			}
			fresh = fresh || begins+reads[first].gets >= arrives[first]
			reads[first].back = -1
		}
		if fresh {
			seen++
		}
	}
	return float64(seen) / float64(trials)
}

// PBSFromLatencies estimates the delays from what clients saw, where nothing
// better is known: a one-way delay between nodes is taken to be half of the
// latency of an operation, of a write for W and A and of a read for R and S. That
// counts the way to the client in and takes the quorum-th answer for any answer,
// so single delays come out too long with large quorums and too short with small
// ones: it is a rough guess. Nil without ok reads and writes.
func PBSFromLatencies(h *history.History, n, r, w int) *PBS {
	p := &PBS{N: n, R: r, W: w, Source: "half the latency of operations"}
	for i := range h.Ops {
		o := &h.Ops[i]
		if o.Outcome != history.OK {
			continue
		}
		half := (o.Return - o.Call) / 2
		if o.F.ReadOnly() {
			p.Read = append(p.Read, half)
		} else {
			p.Write = append(p.Write, half)
		}
	}
	p.Ack, p.Response = p.Write, p.Read
	if p.Validate() != nil {
		return nil
	}
	return p
}
