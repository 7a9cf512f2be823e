package sut

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/replica"
)

func TestDescribe(t *testing.T) {
	two := &replica.Siblings{Values: []replica.Sibling{{Value: []byte("7")}, {Value: []byte("8")}}, Context: replica.Context{{}}}
	stamped := replica.Record{Stamp: replica.Stamp{Counter: 1}, Value: []byte("7")}
	for want, msg := range map[string]any{
		"k: query":      &replica.Message{Type: replica.MsgQuery, Key: "k"},
		"k: store 7":    &replica.Message{Type: replica.MsgStore, Key: "k", Record: stamped},
		"k: record ∅":   &replica.Message{Type: replica.MsgRecord, Key: "k"},
		"k: record":     &replica.Message{Type: replica.MsgRecord, Key: "k", TagOnly: true, Record: stamped},
		"k: put 7":      replica.Request{Op: replica.Put, Key: "k", Value: []byte("7")},
		"k: cas 1→2":    replica.Request{Op: replica.CAS, Key: "k", Expect: []byte("1"), Value: []byte("2")},
		": 7":           replica.Reply{Found: true, Value: []byte("7")},
		"k: mint 7":     &replica.Message{Type: replica.MsgMint, Key: "k", Record: replica.Record{Value: []byte("7"), Siblings: &replica.Siblings{}}},
		"k: minted 7|8": &replica.Message{Type: replica.MsgMinted, Key: "k", Record: two.Record()},
		"k: store ∅":    &replica.Message{Type: replica.MsgStore, Key: "k", Record: (&replica.Siblings{Context: two.Context}).Record()},
		": 7|8":         replica.Reply{Found: true, Siblings: two},
		": no":          replica.Reply{Err: &replica.Error{}},
		": string":      "a string",
	} {
		key, label := Describe(msg)
		require.Equal(t, want, key+": "+label)
	}
}
