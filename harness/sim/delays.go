package sim

import "math"

// Delays gives what the configuration says of n delays in nanoseconds: one-way
// ones of messages between two nodes, each link in turn, and between a client and
// a node, and those of syncs. They are evenly spaced quantiles and not drawn, so
// that asking changes no run. With one node there are no links.
func (w *World) Delays(n int) (link, client, sync []int64) {
	var pairs []*sampler
	for from := range w.cfg.Nodes {
		for to := range w.cfg.Nodes {
			if from != to {
				pairs = append(pairs, w.links[w.linkIndex(from, to)].delay)
			}
		}
	}
	for i := range n {
		u := uint64((float64(i) + 0.5) / float64(n) * math.MaxUint64)
		if len(pairs) > 0 {
			link = append(link, pairs[i%len(pairs)].draw(u))
		}
		client = append(client, w.clientDelay.draw(u))
		sync = append(sync, w.syncDelay.draw(u))
	}
	return link, client, sync
}
