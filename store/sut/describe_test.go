package sut

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/replica"
)

func TestDescribe(t *testing.T) {
	stamped := replica.Record{Stamp: replica.Stamp{Counter: 1}, Value: []byte("7")}
	for want, msg := range map[string]any{
		"k: query":    &replica.Message{Type: replica.MsgQuery, Key: "k"},
		"k: store 7":  &replica.Message{Type: replica.MsgStore, Key: "k", Record: stamped},
		"k: record ∅": &replica.Message{Type: replica.MsgRecord, Key: "k"},
		"k: record":   &replica.Message{Type: replica.MsgRecord, Key: "k", TagOnly: true, Record: stamped},
		"k: put 7":    replica.Request{Op: replica.Put, Key: "k", Value: []byte("7")},
		"k: cas 1→2":  replica.Request{Op: replica.CAS, Key: "k", Expect: []byte("1"), Value: []byte("2")},
		": 7":         replica.Reply{Found: true, Value: []byte("7")},
		": no":        replica.Reply{Err: &replica.Error{}},
		": string":    "a string",
	} {
		key, label := Describe(msg)
		require.Equal(t, want, key+": "+label)
	}
}
