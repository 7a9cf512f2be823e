package matrix

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/experiment"
)

// This file measures what a setting costs: how long operations take and how many
// are served, with no fault, with a node down, and at either side of a partition.

// situation is a run in which prices are measured.
type situation struct {
	// near is the column of the clients at the first nodes, far that of those
	// at the last ones, which the fault cuts off or takes away; "" is no column.
	near, far string
	// lost is how many the last ones are.
	lost func(nodes int) int
	// fault lasts for the whole fault phase; nil: there is none.
	fault func(nodes, lost int) harness.Fault
}

var situations = []situation{
	{near: "no fault", lost: func(int) int { return 0 }},
	{
		near: "one node down", // its own clients are not asked
		lost: func(int) int { return 1 },
		fault: func(nodes, _ int) harness.Fault {
			return &nemesis.Kill{Targets: []int{nodes - 1}}
		},
	},
	{
		near: "majority side", far: "minority side",
		lost: func(nodes int) int { return max((nodes-1)/2, 1) },
		fault: func(nodes, _ int) harness.Fault {
			order := make([]int, nodes)
			for i := range order {
				order[i] = nodes - 1 - i
			}
			return nemesis.NewPartition("price", "majority", order)
		},
	},
}

// The load is moderate and over enough keys that what is measured is the setting,
// and not the clients' getting into each other's way.
const (
	priceRate     = 600
	priceKeys     = 50
	priceDuration = 8 * time.Second
)

// priceRun is one run in which prices are measured, and what came of it.
type priceRun struct {
	row       int
	situation *situation
	spec      experiment.Spec

	near, far results.Price
	err       error
}

// prices gives the runs that measure the prices of all rows.
func (c *Config) prices(rows []row) []priceRun {
	if !c.Prices {
		return nil
	}
	var runs []priceRun
	for i, r := range rows {
		for k := range situations {
			s, x := r.spec, &situations[k]
			s.Rate, s.Keys, s.Nemesis = priceRate, priceKeys, ""
			s.SetDuration(priceDuration)
			s.Claims = []checkers.Claim{checkers.FreshReads}
			if x.fault != nil {
				if s.Nodes < 2 {
					continue // nobody would be left
				}
				s.Schedule = []harness.Episode{{For: s.During, Fault: x.fault(s.Nodes, x.lost(s.Nodes))}}
			}
			runs = append(runs, priceRun{row: i, situation: x, spec: s})
		}
	}
	return runs
}

// run does it.
func (p *priceRun) run(ctx context.Context, self []string) {
	p.err = p.measure(ctx, self)
	if p.err != nil {
		p.err = fmt.Errorf("%s: %w", p.situation.near, p.err)
	}
}

func (p *priceRun) measure(ctx context.Context, self []string) error {
	out, err := experiment.Execute(ctx, p.spec, experiment.Options{Self: self})
	if err != nil {
		return err
	}
	h := out.Run.History
	from, to := int64(0), h.End()
	if p.situation.fault != nil {
		if len(h.Faults) != 1 || !h.Faults[0].Effect.OK {
			return errors.New("the fault was not proved to take effect")
		}
		// What is called just before the end may be served after it.
		from, to = h.Faults[0].Effect.At, h.Faults[0].Start+int64(p.spec.During-p.spec.OpTimeout)
	}
	first := p.spec.Nodes - p.situation.lost(p.spec.Nodes) // of the last nodes
	of := func(far, reads bool) checkers.Availability {
		return checkers.AvailabilityOf(h, func(o *history.Op) bool {
			return o.Call >= from && o.Call < to && o.F.ReadOnly() == reads && (int(o.Node) >= first) == far
		})
	}
	p.near = results.Price{Reads: of(false, true), Writes: of(false, false)}
	p.far = results.Price{Reads: of(true, true), Writes: of(true, false)}
	if p.near.Reads.Total() == 0 || p.near.Writes.Total() == 0 {
		return errors.New("no operation was called")
	}
	// Of the whole run: a stale read may show after the healing what was
	// missed before it.
	if stale := out.Result(checkers.FreshReads); stale.Checked > 0 {
		p.near.Stale, p.near.StaleOf = stale.Violations, stale.Checked
	}
	return nil
}

// priceTable puts the runs of each row together.
func priceTable(rows []row, runs []priceRun) (*results.Prices, error) {
	if len(runs) == 0 {
		return nil, nil
	}
	t := &results.Prices{Rows: make([]results.PriceRow, len(rows)),
		Title: fmt.Sprintf("What it costs: served operations, latency p50 and p99 (%v of simulated time each, %d operations a second on %d keys)", priceDuration, priceRate, priceKeys)}
	for _, s := range situations {
		t.Columns = append(t.Columns, s.near)
		if s.far != "" {
			t.Columns = append(t.Columns, s.far)
		}
	}
	for i := range rows {
		t.Rows[i].Name = rows[i].label
	}
	for i := range runs {
		p := &runs[i]
		if p.err != nil {
			return nil, fmt.Errorf("what %s costs: %w", rows[p.row].label, p.err)
		}
		r := &t.Rows[p.row]
		r.Cells = append(r.Cells, p.near)
		if p.situation.far != "" {
			r.Cells = append(r.Cells, p.far)
		}
	}
	return t, nil
}
