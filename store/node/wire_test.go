package node

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

func sampleBatch() []replica.Message {
	stamp := replica.Stamp{Counter: -7, Node: 2, Boot: 1 << 40, Seq: 9}
	return []replica.Message{
		{Type: replica.MsgQuery, ID: 1, Boot: 2, Round: 1, Key: "k", TagOnly: true},
		{Type: replica.MsgRecord, ID: 1, Boot: 2, Key: "\x00\xff", Found: true, Record: replica.Record{Stamp: stamp, Value: []byte{0, 255}}},
		{Type: replica.MsgStore, ID: 3, Boot: 2, Key: "k", Record: replica.Record{Stamp: stamp, Deleted: true}},
		{Type: replica.MsgRefuse, ID: 1 << 63, Boot: 2},
		{Type: replica.MsgTree, ID: 4, Boot: 2, Tree: &replica.Tree{Depth: 2, From: 0xab << 56}},
		{Type: replica.MsgSums, ID: 4, Boot: 2, Tree: &replica.Tree{Sums: make([]uint64, 16)}},
		{Type: replica.MsgKeys, ID: 5, Boot: 2, Tree: &replica.Tree{To: 1<<64 - 1, Keys: []replica.Version{{Key: "\x00\xff", Stamp: stamp}}}},
	}
}

func encode(t testing.TB, batch []replica.Message) []byte {
	data, err := codec{}.Marshal(&batch)
	require.NoError(t, err)
	return data.Materialize()
}

func TestBatchRoundTrip(t *testing.T) {
	want := sampleBatch()
	var got []replica.Message
	require.NoError(t, decodeBatch(encode(t, want), &got))
	require.Equal(t, want, got)
}

// Whatever the core sends arrives.
func TestEveryTypeArrives(t *testing.T) {
	n := 0
	for kind := replica.MsgQuery; kind.Known(); kind++ {
		var got []replica.Message
		require.NoError(t, decodeBatch(encode(t, []replica.Message{{Type: kind}}), &got), "type %d", kind)
		n++
	}
	require.GreaterOrEqual(t, n, int(replica.MsgForget))
}

func TestLargestBatchFits(t *testing.T) {
	m := replica.Message{
		Type:   replica.MsgStore,
		Key:    strings.Repeat("\xff", httpapi.MaxKey),
		Record: replica.Record{Stamp: replica.Stamp{Boot: 1}, Value: make([]byte, httpapi.MaxValue)},
	}
	o := newOutbox()
	for range 10 {
		o.stage(m)
	}
	o.flush()
	batch, _ := o.take(nil)
	require.NotEmpty(t, batch)
	require.LessOrEqual(t, len(encode(t, batch)), maxBatch)
	var small []replica.Message
	for range batchMessages {
		small = append(small, sampleBatch()[1])
	}
	require.LessOrEqual(t, len(encode(t, small)), maxBatch)
}

func TestMessagesTheCoreShallNotSee(t *testing.T) {
	large := replica.Record{Stamp: replica.Stamp{Boot: 1}, Value: make([]byte, httpapi.MaxValue+1)}
	for words, m := range map[string]replica.Message{
		"unknown type 0":       {},
		"unknown type 19":      {Type: replica.MsgForget + 1},
		"lists a key of 4097 ": {Type: replica.MsgKeys, Tree: &replica.Tree{Keys: []replica.Version{{Key: strings.Repeat("k", httpapi.MaxKey+1)}}}},
		"key of 4097 bytes":    {Type: replica.MsgQuery, Key: strings.Repeat("k", httpapi.MaxKey+1)},
		"value of 1048577 byt": {Type: replica.MsgStore, Record: large},
	} {
		var got []replica.Message
		require.ErrorContains(t, decodeBatch(encode(t, []replica.Message{m}), &got), words, words)
	}
}

// Bytes from the network give a batch that can be encoded again, or an error;
// never a panic.
func FuzzDecodeBatch(f *testing.F) {
	f.Add(encode(f, sampleBatch()))
	f.Add(encode(f, nil))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) // an array of 2^64-1 messages
	f.Fuzz(func(t *testing.T, data []byte) {
		var batch, again []replica.Message
		if decodeBatch(data, &batch) != nil {
			return
		}
		require.NoError(t, decodeBatch(encode(t, batch), &again))
		require.Equal(t, len(batch), len(again))
	})
}

func BenchmarkBatchRoundTrip(b *testing.B) {
	var batch []replica.Message
	for range 64 {
		batch = append(batch, sampleBatch()[1])
	}
	b.ReportAllocs()
	for b.Loop() {
		var got []replica.Message
		if err := decodeBatch(encode(b, batch), &got); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/message")
}
