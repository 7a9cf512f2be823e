package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

func TestOutboxKeepsOrderAndBatches(t *testing.T) {
	o := newOutbox()
	const n = 3*batchMessages + 1
	for i := range uint64(n) {
		o.stage(replica.Message{ID: i})
	}
	batch, _ := o.take(nil)
	require.Empty(t, batch, "what is staged is not yet there")
	o.flush()
	select {
	case <-o.ready:
	default:
		t.Fatal("flush did not wake the sender")
	}
	var got []uint64
	for {
		var dropped int
		batch, dropped = o.take(batch)
		require.Zero(t, dropped)
		if len(batch) == 0 {
			break
		}
		require.LessOrEqual(t, len(batch), batchMessages)
		for i := range batch {
			got = append(got, batch[i].ID)
		}
	}
	require.Len(t, got, n)
	require.IsIncreasing(t, got)
	require.Zero(t, o.bytes)
}

// A peer that takes nothing costs bounded memory, and finds the newest
// messages when it comes back.
func TestOutboxDropsTheOldest(t *testing.T) {
	for _, test := range []struct {
		name  string
		value int
	}{{"many", 0}, {"large", httpapi.MaxValue}} {
		t.Run(test.name, func(t *testing.T) {
			o := newOutbox()
			value := make([]byte, test.value)
			const n = 10 * outboxMessages
			for i := range uint64(n) {
				o.stage(replica.Message{ID: i, Record: replica.Record{Value: value}})
				o.flush()
				require.LessOrEqual(t, len(o.pending), outboxMessages)
				require.LessOrEqual(t, o.bytes, outboxBytes)
			}
			kept, want := 0, uint64(n-len(o.pending))
			dropped := 0
			for {
				batch, d := o.take(nil)
				dropped += d
				if len(batch) == 0 {
					break
				}
				bytes := 0
				for i := range batch {
					require.Equal(t, want, batch[i].ID)
					want++
					bytes += size(&batch[i])
				}
				require.LessOrEqual(t, bytes, maxBatch)
				kept += len(batch)
			}
			require.Positive(t, kept)
			require.Equal(t, n, kept+dropped)
		})
	}
}
