package node

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/assay-chaos/assay/store/replica"
)

// collector tells what depends on who belongs to the cluster, and what only the
// core knows, as it is when somebody asks.
type collector struct{ n *Node }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	descSent       = desc("assay_peer_messages_sent_total", "Messages given to the network for a peer.", "peer")
	descDropped    = desc("assay_peer_messages_dropped_total", "Messages dropped because a peer did not take them; the core sends again what still matters.", "peer")
	descReceived   = desc("assay_peer_messages_received_total", "Messages that came from a peer.", "peer")
	descQueue      = desc("assay_peer_queue_messages", "Messages that wait for a peer.", "peer")
	descQueueBytes = desc("assay_peer_queue_bytes", "About how much memory the messages take that wait for a peer.", "peer")

	descMember   = desc("assay_member", "1 while this node belongs to the cluster.")
	descEpoch    = desc("assay_members_epoch", "Epoch of the members in force: two for each change so far, and some for collecting tombstones; 0 where members never change.")
	descChanging = desc("assay_members_changing", "1 while a change of the members is under way.")
	descAlive    = desc("assay_member_alive", "1 for a member that was heard from of late, 0 for one that is suspected; only where nodes gossip.", "member")

	descCounting   = desc("assay_repair_counting", "1 while anti-entropy still counts what this node has; it compares nothing before that.")
	descFinished   = desc("assay_repair_comparisons_total", "Comparisons with a peer, by how they ended.", "end")
	descPushed     = desc("assay_repair_records_total", "Records that anti-entropy has sent to a peer or asked a peer for.", "way")
	descStrays     = desc("assay_handoff_strays", "Records here that belong to other nodes, and are known to wait for them.")
	descHandedOff  = desc("assay_handoff_records_total", "Records that were given to the nodes they belong to, and taken out here.")
	descTombstones = desc("assay_tombstones_waiting", "Tombstones here that are known to wait for their collection.")
	descCollected  = desc("assay_tombstones_collected_total", "Tombstones that were taken out here.")
	descRounds     = desc("assay_tombstones_rounds_total", "Rounds of the collection of tombstones that this node has ended.")
	descScrubbed   = desc("assay_scrub_records_total", "Records that were read to find damaged ones.")
	descScrubs     = desc("assay_scrub_passes_total", "How often all records were read to find damaged ones.")
	descScrubFound = desc("assay_scrub_damaged_total", "Damaged records that were found so, each time.")
	descUnreadable = desc("assay_repair_unreadable_total", "Damaged records that anti-entropy has met, each time; it does not spread them.")
)

// Describe implements [prometheus.Collector].
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descSent, descDropped, descReceived, descQueue, descQueueBytes,
		descMember, descEpoch, descChanging, descAlive,
		descCounting, descFinished, descPushed, descUnreadable,
		descStrays, descHandedOff, descTombstones, descCollected, descRounds,
		descScrubbed, descScrubs, descScrubFound,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for _, p := range c.n.members.all() {
		peer := strconv.Itoa(int(p.id))
		counter(descSent, p.sent.Load(), peer)
		counter(descDropped, p.dropped.Load(), peer)
		counter(descReceived, c.n.received[p.id].Load(), peer)
		messages, bytes := p.out.waiting()
		gauge(descQueue, float64(messages), peer)
		gauge(descQueueBytes, float64(bytes), peer)
	}
	var view replica.View
	var members []replica.MemberStatus
	var repair replica.RepairStats
	var handoff replica.HandoffStats
	var collect replica.CollectStats
	var scrub replica.ScrubStats
	var member bool
	if !c.n.loop.look(func(core *replica.Replica) {
		view, members, repair, member = core.View(), core.Members(), core.RepairStats(), core.Member()
		handoff, collect, scrub = core.HandoffStats(), core.CollectStats(), core.ScrubStats()
	}) {
		return // the node is shutting down
	}
	gauge(descMember, oneIf(member))
	gauge(descEpoch, float64(view.Epoch))
	gauge(descChanging, oneIf(view.Before != nil))
	for _, m := range members {
		gauge(descAlive, oneIf(m.Alive), strconv.Itoa(int(m.ID)))
	}
	gauge(descCounting, oneIf(repair.Counting))
	counter(descFinished, repair.Finished, "finished")
	counter(descFinished, repair.Abandoned, "abandoned")
	counter(descPushed, repair.Pushed, "pushed")
	counter(descPushed, repair.Pulled, "pulled")
	counter(descUnreadable, repair.Unreadable)
	gauge(descStrays, float64(handoff.Strays))
	counter(descHandedOff, handoff.HandedOff)
	gauge(descTombstones, float64(collect.Known))
	counter(descCollected, collect.Collected)
	counter(descRounds, collect.Rounds)
	counter(descScrubbed, scrub.Read)
	counter(descScrubs, scrub.Passes)
	counter(descScrubFound, scrub.Found)
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
