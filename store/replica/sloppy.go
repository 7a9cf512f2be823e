package replica

// This file is the sloppy quorum (DeCandia et al., "Dynamo: Amazon's Highly
// Available Key-value Store", SOSP 2007, section 4.6): where replicas of a key,
// its homes, cannot be reached, the next nodes of its preference list take their
// place, so that a request succeeds while enough nodes of any kind answer.
//
//	preference list   1   2   3 │ 0   4        N = 3: the homes are 1, 2, 3
//	asked             ✓   ✗   ✓   ✓            2 is silent: 0 stands in for it
//
// The fallback answers as a replica does. What it is given to store is a stray
// from then on: it is kept like any record, and handed to the homes when they
// are back, see handoff.go.
//
// Every node that was asked counts, homes and fallbacks alike, so two quorums
// of one key need not share a node: a write at one side of a partition and a
// read at the other, each with fallbacks of its own side, do not meet. This is
// the price, and R+W > N does not change it.

// addFallbacks makes the next nodes of the key's preference list voters of a
// request, until N voters may be expected to answer or all nodes are asked, and
// gives those that are new.
func (r *Replica) addFallbacks(x *request) (added nodeSet) {
	live := x.answered
	for left := x.voters.all() &^ x.refused; left != 0; {
		if n := left.pop(); !r.suspected(n) {
			live.add(n)
		}
	}
	for (live&x.voters.now).len() < x.rules.N || (live&x.voters.before).len() < x.rules.N {
		n, ok := r.placement.fallback(x.message.Key, x.voters.all())
		if !ok {
			break
		}
		x.voters.add(n)
		added.add(n)
		if !r.suspected(n) {
			live.add(n)
		}
	}
	return added
}

// askFallbacks sends the round's message to fallbacks, if the request needs
// some. It says whether the request is still under way: this node may be a
// fallback itself, and end the round.
func (r *Replica) askFallbacks(x *request) bool {
	if !x.sloppy() || x.replied && x.round == roundQuery {
		return true
	}
	m := x.message // x may be forgotten in the end
	added := r.addFallbacks(x)
	for left := added; left != 0; {
		if to := left.pop(); to != r.cfg.ID {
			r.send(to, &m)
		}
	}
	if added.has(r.cfg.ID) {
		r.dispatch(r.cfg.ID, &m)
	}
	return r.requests[m.ID] == x
}

// sloppy says whether fallbacks may be asked. Records that are moved to new
// replicas have to come to those, and dots are made by replicas.
func (x *request) sloppy() bool { return x.rules.Sloppy && x.job == noJob && x.round != roundMint }

// suspected says that a node is not expected to answer.
func (r *Replica) suspected(n NodeID) bool { return r.silent.has(n) || !r.alive(n) }

// suspect takes note of the nodes that have not answered a request for as long
// as Retry: later requests ask fallbacks for them at once. A node is no longer
// suspected when anything comes from it. (Dynamo does the same, section 4.8.3:
// for this purpose each node's own impression is enough.)
func (r *Replica) suspect(x *request) {
	silent := x.voters.all() &^ (x.answered | x.refused)
	if x.round == roundMint {
		silent &= x.mint.asked
	}
	silent.remove(r.cfg.ID)
	r.silent |= silent
}
