package replica

import (
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
)

func TestMessagesOnTheWire(t *testing.T) {
	rec := Record{Stamp: Stamp{Counter: 7, Node: 2, Boot: 3, Seq: 9}, Value: []byte("value")}
	agreed := rec
	agreed.Ballots = &Ballots{Promise: Stamp{Counter: 9, Node: 2, Boot: 3, Seq: 11}, Accepted: rec.Stamp}
	d := Dot{Node: 2, Boot: 3, Seq: 9}
	siblings := Siblings{Context: just(d), Values: []Sibling{{Dot: d, Value: []byte("value")}}}
	for name, c := range map[string]struct {
		m    Message
		size int // bytes; a change breaks clusters of mixed versions
	}{
		"query":   {Message{Type: MsgQuery, ID: 1000, Boot: 3, Round: 1, Key: "key", TagOnly: true}, 18},
		"record":  {Message{Type: MsgRecord, ID: 1000, Boot: 3, Round: 1, Key: "key", Found: true, Record: rec}, 33},
		"stored":  {Message{Type: MsgStored, ID: 1000, Boot: 3, Round: 2, Key: "key"}, 16},
		"prepare": {Message{Type: MsgPrepare, ID: 1000, Boot: 3, Key: "key", Record: Record{Ballots: &Ballots{Promise: rec.Stamp}}}, 35},
		"mint":    {Message{Type: MsgMint, ID: 1000, Boot: 3, Round: 7, Key: "key", Record: Record{Value: []byte("value"), Siblings: &Siblings{Context: just(d)}}}, 44},
		"minted":  {Message{Type: MsgMinted, ID: 1000, Boot: 3, Round: 7, Key: "key", Record: Record{Stamp: d.stamp(), Siblings: &siblings}}, 48},
		"accept":  {Message{Type: MsgAccept, ID: 1000, Boot: 3, Key: "key", Record: agreed}, 42},
	} {
		data, err := cbor.Marshal(c.m)
		require.NoError(t, err, name)
		var back Message
		require.NoError(t, cbor.Unmarshal(data, &back), name)
		require.Equal(t, c.m, back, name)
		require.Len(t, data, c.size, name)
	}
}

func TestStampOrder(t *testing.T) {
	ascending := []Stamp{
		{},
		{Counter: 1, Node: 1, Boot: 2, Seq: 9},
		{Counter: 2},
		{Counter: 2, Node: 1, Boot: 1, Seq: 5},
		{Counter: 2, Node: 1, Boot: 2, Seq: 1},
		{Counter: 2, Node: 1, Boot: 2, Seq: 2},
		{Counter: 2, Node: 2},
	}
	for i, a := range ascending {
		for j, b := range ascending {
			require.Equal(t, i < j, a.Less(b), "%v < %v", a, b)
		}
	}
}

func TestOneNode(t *testing.T) {
	c, err := newCluster(abd(1))
	require.NoError(t, err)
	c.request(c.nodes[0], Put, "k", "v")
	require.Empty(t, c.told(), "nothing is acknowledged before it is durable")
	c.settle()
	c.request(c.nodes[0], Get, "k", "")
	require.Equal(t, `n0 disk k 1.0.1.1 "v"
n0 put k "v": ok 1.0.1.1, by 1
n0 get k: 1.0.1.1 "v", by 1
`, c.told())
	require.Empty(t, c.network)
}

// A clock before 1970 gives negative stamps. They are versions like any other.
func TestClockBeforeEpoch(t *testing.T) {
	cfg := abd(3)
	cfg.Stamps = WallClock
	c, err := newCluster(cfg)
	require.NoError(t, err)
	c.nodes[0].skew = -time.Hour
	c.request(c.nodes[0], Put, "k", "v")
	c.settle()
	c.request(c.nodes[1], Get, "k", "")
	c.settle()
	require.Contains(t, c.told(), `n1 get k: -59m59s.0.1.1 "v", by 2`)
}

// A replica that cannot read its own disk says no, and its clients learn why.
func TestUnreadableDisk(t *testing.T) {
	c, err := newCluster(abd(3))
	require.NoError(t, err)
	c.nodes[0].broken = errTest
	c.nodes[1].broken = errTest
	c.request(c.nodes[0], Put, "k", "v")
	var got Reply
	c.onReply = func(_ NodeID, _ Request, p Reply) { got = p }
	c.settle()
	require.NotNil(t, got.Err)
	require.Equal(t, CodeStorage, got.Err.Code)
	require.True(t, got.Err.Definite)
	require.Equal(t, "2 of 3 replicas refused, their disks fail; 2 have to answer", got.Err.Text)
}
