package nemesis

import (
	"slices"
	"time"
)

// plan is a schedule while it is made: which episodes have their place, and so
// who is a member when, and who is busy.
type plan struct {
	nodes  int           // the cluster begins with
	length time.Duration // of the fault phase
	margin time.Duration // between two episodes that would disturb each other
	out    []planned
}

// changes gives changes of the members their place, one after the other in time:
// what each can do depends on those before.
func (l *plan) changes(all []planned) {
	firsts, rest := split(all, func(p planned) bool { return p.first })
	var fit []planned
	add := func(p planned) bool {
		if slices.ContainsFunc(fit, func(q planned) bool { return l.near(&p, &q) }) {
			return false
		}
		fit = append(fit, p)
		return true
	}
	for _, p := range firsts {
		l.inGap(p, add)
	}
	for _, p := range rest {
		add(p)
	}
	slices.SortStableFunc(fit, func(a, b planned) int { return int(a.at - b.at) })
	for _, p := range fit {
		l.place(p)
	}
}

// inGap places an episode where it is, or else in the first gap there is.
func (l *plan) inGap(p planned, place func(planned) bool) {
	ok := place(p)
	for step := 0; step < 100 && !ok; step++ {
		p.at = l.length * time.Duration(step) / 100
		p.length = min(l.length/8, l.length-p.at)
		ok = place(p)
	}
}

// place draws an episode's fault. It says no if there are too few nodes for it.
func (l *plan) place(p planned) bool {
	d := draw{rng: p.rng, id: p.name, variant: p.variant, members: l.members(&p), size: l.size(&p), spare: l.spare()}
	d.free = slices.DeleteFunc(slices.Clone(d.members), func(n int) bool { return l.busy(&p, n) })
	if p.fault = p.kind.draw(d); p.fault == nil {
		return false
	}
	l.out = append(l.out, p)
	return true
}

// near says that two episodes overlap, or nearly do.
func (l *plan) near(p, q *planned) bool {
	return q.at < p.at+p.length+l.margin && p.at < q.at+q.length+l.margin
}

// members gives the nodes that belong to the cluster at any time of an episode,
// ascending.
func (l *plan) members(p *planned) []int {
	there := make([]int, l.nodes)
	for i := range there {
		there[i] = i
	}
	for i := range l.out { // in the order of time, as far as they are changes
		q := &l.out[i]
		if q.at+q.length+l.margin <= p.at {
			there = slices.DeleteFunc(there, func(n int) bool { return slices.Contains(q.change().Remove, n) })
		}
		if q.at < p.at+p.length {
			there = append(there, q.change().Add...)
		}
	}
	return there
}

// size is how large the cluster is when an episode begins; a change that is under
// way does not count.
func (l *plan) size(p *planned) int {
	n := l.nodes
	for i := range l.out {
		if q := &l.out[i]; q.at+q.length+l.margin <= p.at {
			n += len(q.change().Add) - len(q.change().Remove)
		}
	}
	return n
}

// spare gives the next node that has not joined.
func (l *plan) spare() int {
	n := l.nodes
	for i := range l.out {
		for _, added := range l.out[i].change().Add {
			n = max(n, added+1)
		}
	}
	return n
}

// busy says that an episode must not use a node, because of another one.
func (l *plan) busy(p *planned, node int) bool {
	strikes := p.kind.exclusive || p.kind.disk
	for i := range l.out {
		q := &l.out[i]
		c := q.change()
		if strikes && slices.Contains(c.Remove, node) && q.at < p.at+p.length+l.margin {
			return true // it is about to go, or has gone
		}
		if !l.near(p, q) {
			continue
		}
		switch {
		case p.kind.exclusive && q.kind.exclusive, p.kind.disk && q.kind.disk, strikes && c.Add != nil:
			if slices.Contains(q.fault.Nodes(), node) {
				return true
			}
		case q.kind.Name == p.kind.Name: // two partitions
			return true
		}
	}
	return false
}
