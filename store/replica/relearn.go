package replica

import "slices"

// This file repairs the records of CASPaxos that damage.go finds lost. Such a
// record held a promise too, and no peer knows what was promised. But it need not
// be known, only outbid:
//
//	damaged record found
//	   │ void      "count nothing that I promised or accepted for this key"
//	   ├──────────▶ every other node, until all have confirmed
//	   │ a ballot, as a get takes one that finds no agreement: the value that
//	   │ was accepted last, by a majority without this node
//	   ├──────────▶ every other replica: prepare, accept
//	   ▼
//	write what that majority has now, with that ballot as the promise, and
//	speak for the key again once it is durable
//
// The node refuses meanwhile, and so its own acceptor has no part in the ballot.
//
// Why this is enough. Say that a majority has decided with the help of this
// acceptor's lost record: proposer p has counted its promise of ballot d, or that
// it has accepted d, or a get has counted what it had accepted. Let b be the
// ballot of the repair.
//
//  1. p counted it before it confirmed the void: afterwards the acceptor is among
//     those that have refused p's rounds. So before b was prepared all others of
//     p's majority had promised d, or accepted it, too. (A round that p had begun
//     and not decided goes on without this acceptor. An accept that p has sent is
//     one that was decided on.)
//  2. They are at least N/2, rounded down, of the N-1 other replicas, and b has more than N/2 of the same N-1. So one of the others is in
//     both.
//  3. If that one had promised d, b is above d, or it would not have promised b.
//     The acceptor promises b from now on, and takes nothing between. So it still
//     keeps its promise of d, though it does not know it.
//  4. If that one had accepted d, the promise of b has told so. The value of b is
//     that of d or what later ballots have made of it, and the acceptor has that.
//
// An accept of d that is still on its way to the others changes nothing: those
// that have promised b refuse it, and they are a majority. So does this acceptor,
// once it is back.
//
// Step 3 is what the void is for. Without it p could count the old promise of d
// after the repair, together with a new one of a replica that has accepted b,
// where b is below d. Another proposer, between b and d, would have its majority
// with this acceptor, which has forgotten d, and p would know nothing of it.
//
// Others may lose their record of the key at the same time, or have lost it since
// they answered p. The one of step 2 takes part in b, so its own repair, by ballot
// c, is through by then. It had voided its answers to p, so that p had decided
// before c was prepared; hence c is above d and has its value, and so has b, which
// it promised later. If too many have lost it no ballot finds its majority, and all
// of them go on refusing.
//
// A proposer that has crashed has sent what it has decided on, which is the case
// above. Its next incarnation counts nothing and confirms that.
//
// In a joint view a majority is one of both sets of replicas. This acceptor is in
// one of them or in both. Step 2 is true of any set that it is in, and where it is
// in none both majorities share a replica anyhow. When the view changes the repair
// begins again with the void, as proposers begin with new rounds. A node that is
// left behind in an earlier view may still count old answers, and confirms
// nothing. But all that it counts was answered in that view, by the one of step 2
// as well, and b was promised in a later one.
//
// It needs a majority of the replicas without this one. With N = 1 or 2 there is
// none: the replica refuses the key for good.

// relearn begins a ballot for the value of a key of which everybody has voided
// what this acceptor has said.
func (r *Replica) relearn(p *mend) {
	p.retryAt = 0 // when the ballot has come to nothing
	key := p.message.Key
	x := &proposal{request: Request{Op: Get, Key: key}, job: jobRelearn, voters: r.placement.voters(key), deadline: r.now.Mono + r.cfg.Timeout}
	x.at = x.deadline
	r.proposer.alarms.add(x)
	r.enqueue(x)
}

// relearned takes the end of that ballot.
func (r *Replica) relearned(x *proposal) {
	for i, p := range r.mends {
		if p.message.Key != x.request.Key {
			continue
		}
		if x.told.Err != nil {
			p.retryAt = r.now.Mono + r.cfg.Timeout // a promise costs the others a disk write
			return
		}
		p.best = x.message.Record // what a majority has accepted, with what it has promised
		if x.step == stepPrepare {
			// It was chosen before, and did not have to be accepted again.
			held := x.best.ballots()
			held.Promise = x.ballot
			p.best = x.best
			p.best.Ballots = &held
		}
		r.mends = slices.Delete(r.mends, i, i+1)
		r.mended(p)
		return
	}
}

// voidProposals takes an acceptor out of the rounds under way for a key. It counts
// as one that has refused.
func (r *Replica) voidProposals(acceptor NodeID, key string) {
	r.proposer.held.take(key)
	for _, x := range slices.Clone(r.proposer.alarms) { // going on with one may end others
		if x.place < 0 || x.step == stepWaiting || x.request.Key != key || !x.voters.all().has(acceptor) || x.rivals.has(acceptor) {
			continue
		}
		x.answered.remove(acceptor)
		x.holders.remove(acceptor)
		x.refused.add(acceptor)
		if acceptor != r.cfg.ID { // else one of them is just at work
			r.tally(x)
		}
	}
}
