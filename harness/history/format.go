package history

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// # The file format
//
// A file is a header and chunks, all of it append-only:
//
//	header: magic "\x89assay\r\n" (8 bytes), version (uint32)
//	chunk:  length of the payload (uint32, never 0)
//	        number of invocations in the payload (uint32)
//	        CRC-32C of the 8 bytes above and the payload (uint32)
//	        payload: events, one after another
//
// Fixed-size numbers are little-endian. The magic starts with a byte that no
// text has and holds a line end, so that a copy in text mode is noticed. A
// payload of length 0 is illegal, because a tail of zeros (as file systems
// leave it after a crash) would otherwise be a row of good chunks.
//
// An event is a tag byte and its fields. In the table u is an unsigned varint,
// i a zigzag varint, s a string (u bytes of it, then the bytes), t a time: the
// difference from the time before it in the file (i, wrapping around, so that
// every int64 can be written), the first one from 0.
//
//	 1 key       s name                              indices count from 0
//	 2 text      s                                   from 0
//	 3 txn       u n, n × (u F, u key, i value)      from 0
//	 4 error     s                                   from 1; error 0 is ""
//	 5 invoke    u head, t call, i process, u key, i node, [i arg], [i arg2]
//	             head: F<<2 | has arg2<<1 | has arg; an argument left out is 0
//	 6 complete  u head, u back, t return, [i out], [u error]
//	             head: has error<<3 | has out<<2 | outcome
//	             back: how many invocations after its own the event stands
//	 7 fault     i id, t start, s kind, s detail, u n, n × (i node)
//	 8 effect    u fault, proof                      fault: index in file order
//	 9 recovery  u fault, proof, t end
//	             proof: u ok, t at, s evidence
//	10 phase     s name, t start                     ends the phase before it
//	11 end       t                                   ends the last phase
//	12 list      u n, n × (i value)                  from 0
//
// What an event refers to stands before it. The end event is the last one of a
// recording that was closed; a file without it is cut off.
//
// Every change that an old reader would misread needs a new version.
const (
	magic           = "\x89assay\r\n"
	version         = 1
	headerSize      = len(magic) + 4
	chunkHeaderSize = 12
	maxPayload      = 1 << 30
	// minInvoke is the size of the smallest invoke event. It bounds what a
	// chunk's count may make a reader allocate.
	minInvoke = 6
)

const (
	evKey = iota + 1
	evText
	evTxn
	evError
	evInvoke
	evComplete
	evFault
	evEffect
	evRecovery
	evPhase
	evEnd
	evList
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendHeader appends the file's header.
func appendHeader(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(append(b, magic...), version)
}

// chunk is a sealed run of events.
type chunk struct {
	payload []byte
	ops     uint32 // invocations in it
	offset  int64  // of the chunk's header in the file; only for messages
}

// header gives the 12 bytes in front of the payload.
func (c *chunk) header() [chunkHeaderSize]byte {
	var h [chunkHeaderSize]byte
	binary.LittleEndian.PutUint32(h[0:], uint32(len(c.payload)))
	binary.LittleEndian.PutUint32(h[4:], c.ops)
	binary.LittleEndian.PutUint32(h[8:], chunkSum(h[:8], c.payload))
	return h
}

func chunkSum(head, payload []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, head), castagnoli, payload)
}

// CutError says where and why a history ends before its run did.
type CutError struct {
	Offset int64 // bytes of the file that could be used
	Reason string
}

func (e *CutError) Error() string {
	return fmt.Sprintf("history is cut at byte %d: %s; what stands before it was read", e.Offset, e.Reason)
}
