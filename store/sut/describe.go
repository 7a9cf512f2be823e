package sut

import (
	"fmt"

	"github.com/assay-chaos/assay/store/replica"
)

// messageNames are the messages that a key's reads and writes are made of.
var messageNames = map[replica.MessageType]string{
	replica.MsgQuery: "query", replica.MsgRecord: "record", replica.MsgStore: "store", replica.MsgStored: "stored", replica.MsgRefuse: "refuse",
	replica.MsgPrepare: "prepare", replica.MsgPromise: "promise", replica.MsgAccept: "accept", replica.MsgAccepted: "accepted", replica.MsgConflict: "conflict",
	replica.MsgVoid: "void", replica.MsgVoided: "voided", replica.MsgForget: "forget",
}

// Describe tells what a message of the simulated store is about, for pictures: its
// key, "" for none, and a word or two, such as "store 7".
func Describe(msg any) (key, label string) {
	switch m := msg.(type) {
	case *replica.Message:
		if label = messageNames[m.Type]; label == "" {
			label = fmt.Sprintf("message %d", m.Type)
		}
		switch m.Type {
		case replica.MsgStore, replica.MsgRecord, replica.MsgPromise, replica.MsgAccept:
			if !m.TagOnly {
				label += " " + recordText(m.Record)
			}
		}
		return m.Key, label
	case replica.Request:
		switch m.Op {
		case replica.Get:
			return m.Key, "get"
		case replica.Put:
			return m.Key, "put " + string(m.Value)
		case replica.Delete:
			return m.Key, "delete"
		case replica.CAS:
			if m.ExpectAbsent {
				return m.Key, "cas ∅→" + string(m.Value)
			}
			return m.Key, "cas " + string(m.Expect) + "→" + string(m.Value)
		}
		return m.Key, "request"
	case replica.Reply:
		switch {
		case m.Err != nil:
			return "", "no"
		case m.Found:
			return "", string(m.Value)
		}
		return "", "done"
	}
	return "", fmt.Sprintf("%T", msg)
}

func recordText(r replica.Record) string {
	if r.Absent() {
		return "∅"
	}
	return string(r.Value)
}
