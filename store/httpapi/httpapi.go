// Package httpapi is the client interface of a node as both ends write it:
// paths, headers, bodies and error codes. Only store/node and store/client
// import it, and it contains neither a server nor a client.
//
//	PUT    /v1/kv/{key}     body: the value           204
//	GET    /v1/kv/{key}                               200 value | 404 absent
//	DELETE /v1/kv/{key}                               204
//	POST   /v1/cas/{key}    body: a [CAS], or bytes   204 | 409 [Error] with what was seen
//	GET    /v1/local/{key}  what this node itself     200 value | 404 absent
//	POST   /v1/local        holds; nobody is asked    200 [LocalAnswer]
//	GET    /v1/members      who belongs to it         200 [Members]
//	POST   /v1/members      change that; a [Change]   204
//	GET    /healthz         is it ready? its clocks   200 | 503 [Health]
//	GET    /metrics         for Prometheus            200
//	GET    /v1/stream       the same requests in      101
//	                        frames, see [Frame]
//
// Compare-and-set is there when the cluster runs CASPaxos:
//
//	curl -d '{"absent": true, "value": "a"}' localhost:7801/v1/cas/lock
//	curl -d '{"expect": "a", "value": "b"}' localhost:7801/v1/cas/lock
//
// That is for people. A program sends the bytes themselves, see [ParamExpect]:
//
//	printf ab | curl --data-binary @- 'localhost:7801/v1/cas/lock?expect=1'
//
// A key is everything after the prefix, percent-encoded: any bytes are
// allowed, and a slash may stand for itself. Answers about one key carry its
// version in the [HeaderStamp] header; a key that was deleted has one too.
// Errors are [Error] bodies.
//
// Any node answers for any key under /v1/kv. A request may have quorums of its
// own, 1 to the number of replicas:
//
//	GET /v1/kv/{key}?r=1        answer what the first replica says
//	PUT /v1/kv/{key}?w=3        three durable copies before the answer
package httpapi

import (
	"net/url"
	"strings"
)

// Paths. A key follows KV and LocalKey.
const (
	PathKV       = "/v1/kv/"
	PathCAS      = "/v1/cas/"
	PathLocalKey = "/v1/local/"
	PathLocal    = "/v1/local"
	PathMembers  = "/v1/members"
	PathHealth   = "/healthz"
	PathMetrics  = "/metrics"
)

// Parameters of requests under PathKV: the answers that a read waits for (or a
// write, for stamps) and the durable copies that a write waits for (or a read
// that writes back). Without them the configured quorums apply.
const (
	ParamR = "r"
	ParamW = "w"
)

// ParamExpect makes the body of a compare-and-set plain bytes instead of a [CAS]:
// so many that the key must have, and after them the new value. With
// [ExpectAbsent] the key must be absent, and all of the body is the new value.
const (
	ParamExpect  = "expect"
	ExpectAbsent = "absent"
)

// Headers of answers.
const (
	HeaderStamp   = "X-Assay-Stamp"   // counter.node.boot.seq; not set for a key that was never written
	HeaderReached = "X-Assay-Reached" // how many replicas had answered in the deciding round
	// HeaderReplicas are the nodes that hold the key, such as 0,3,4; answers
	// under PathLocalKey have it.
	HeaderReplicas = "X-Assay-Replicas"
)

// Limits on what a client may send, in bytes. A longer key or value is refused
// with CodeKeyTooLong or CodeTooLarge.
const (
	MaxKey   = 4 << 10
	MaxValue = 1 << 20
)

// Error is the body of an answer that is an error.
type Error struct {
	Text string `json:"error"`
	Code Code   `json:"code"`
	// Definite: the request certainly has not changed anything and never
	// will. Otherwise it may have taken effect, or may take effect later.
	Definite bool `json:"definite"`
	// Seen goes with CodeMismatch.
	Seen *Seen `json:"seen,omitempty"`
}

// Seen is what a compare-and-set found that was not what it expected: absence,
// a value that is UTF-8, or one that is not (base64).
type Seen struct {
	Absent  bool    `json:"absent,omitempty"`
	Value   *string `json:"value,omitempty"`
	Value64 []byte  `json:"value64,omitempty"`
}

// CAS is the body of a compare-and-set. It names one expectation and one new
// value, as text or (the fields with 64) as base64.
type CAS struct {
	Absent   bool    `json:"absent,omitempty"` // the key must be absent
	Expect   *string `json:"expect,omitempty"`
	Expect64 []byte  `json:"expect64,omitempty"`
	Value    *string `json:"value,omitempty"`
	Value64  []byte  `json:"value64,omitempty"`
}

// Code classes errors.
type Code string

// The codes, with the HTTP status they come with.
const (
	CodeAbsent      Code = "absent"       // 404: the key is not there; a read that succeeded
	CodeNoRoute     Code = "no-route"     // 404: no such path
	CodeMethod      Code = "method"       // 405
	CodeInvalid     Code = "invalid"      // 400
	CodeMismatch    Code = "mismatch"     // 409: compare-and-set found something else, see Error.Seen
	CodeKeyTooLong  Code = "key-too-long" // 414
	CodeTooLarge    Code = "too-large"    // 413: the value, or what was asked for at once
	CodeBusy        Code = "busy"         // 429: too many requests in flight at this node, or too large ones
	CodeStorage     Code = "storage"      // 500: the node's disk failed, or holds damaged bytes
	CodeFull        Code = "disk-full"    // 507: the node's disk has no space; reads are served
	CodeUnavailable Code = "unavailable"  // 503: too few replicas answered in time
	CodeStopping    Code = "stopping"     // 503: the node is shutting down
)

// LocalQuestion is the body of a POST to PathLocal.
type LocalQuestion struct {
	Keys []string `json:"keys"` // percent-encoded, as in paths
}

// LocalAnswer is the answer; Records are parallel to the question's Keys.
type LocalAnswer struct {
	Records []LocalRecord `json:"records"`
}

// LocalRecord is what one node holds for a key.
type LocalRecord struct {
	Key     string `json:"key"`             // as in the question
	Found   bool   `json:"found"`           // the node has a record; it may be a tombstone
	Deleted bool   `json:"deleted"`         // the record is a tombstone
	Value   []byte `json:"value,omitempty"` // base64
	Stamp   string `json:"stamp,omitempty"`
	// Elsewhere: this node is no replica of the key, and not meant to have it.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

// Members is the answer to PathMembers: what the node knows of who belongs to the
// cluster.
type Members struct {
	Node uint32 `json:"node"` // that answers
	// Member: that node belongs to the cluster itself. One that does not may
	// be behind with what it knows.
	Member bool `json:"member"`
	// Epoch counts the changes, two for each: it begins and it is through.
	// Where members never change it is 0.
	Epoch    uint64   `json:"epoch"`
	Changing bool     `json:"changing"` // a change is under way
	Members  []Member `json:"members"`  // ascending by ID
}

// Member is one node of a cluster.
type Member struct {
	ID    uint32      `json:"id"`
	Addr  string      `json:"addr"` // for other nodes
	State MemberState `json:"state"`
	// Alive says that the others have heard from it of late; nil where nobody
	// gossips. Moved says, while a change is under way, that its records are
	// where they are going to be.
	Alive *bool `json:"alive,omitempty"`
	Moved *bool `json:"moved,omitempty"`
}

// MemberState is what a change is to make of a node.
type MemberState string

// The states.
const (
	MemberStays  MemberState = "member"
	MemberJoins  MemberState = "joining"
	MemberLeaves MemberState = "leaving"
)

// Change is the body of a POST to PathMembers. The answer comes when the change is
// certain; Members.Changing tells when it is through.
type Change struct {
	Add    []NewMember `json:"add,omitempty"`
	Remove []uint32    `json:"remove,omitempty"`
	// Lost: the disks of the removed nodes are gone. Nobody waits for them,
	// and what only they had is given up.
	Lost bool `json:"lost,omitempty"`
}

// NewMember is a node to be added. It runs already, with an empty disk, and waits.
type NewMember struct {
	ID   uint32 `json:"id"`
	Addr string `json:"addr"` // host:port at which the other nodes reach it
}

// Health is the answer to PathHealth. Its status is 503 when Ready is false.
type Health struct {
	Node    uint32 `json:"node"`
	Cluster string `json:"cluster"`
	// Boot counts the node's starts; it grows at each.
	Boot  uint64 `json:"boot"`
	Ready bool   `json:"ready"`
	// Error is why it is not ready.
	Error string `json:"error,omitempty"`
	// Damaged counts the records that were found damaged since the start, and
	// Repaired those that came back from the peers. DiskFailures counts how
	// often the disk refused to take writes; the last one lasts while Error
	// tells of it.
	Damaged      uint64 `json:"damaged_records"`
	Repaired     uint64 `json:"repaired_records"`
	DiskFailures uint64 `json:"disk_failures"`
	// DamagedFiles counts the files in which damage was found since the start.
	// Warning says what to do about what does not keep the node from serving.
	DamagedFiles int    `json:"damaged_files"`
	Warning      string `json:"warning,omitempty"`
	// Wall is the node's wall clock (RFC 3339) and WallNS the same in Unix
	// nanoseconds, both read while answering. MonoNS is its monotonic clock:
	// nanoseconds since the process started to serve.
	Wall   string `json:"wall"`
	WallNS int64  `json:"wall_ns"`
	MonoNS int64  `json:"mono_ns"`
	// The settings in force.
	Nodes      int    `json:"nodes"`
	N          int    `json:"n"`
	R          int    `json:"r"`
	W          int    `json:"w"`
	Protocol   string `json:"protocol"` // quorum or caspaxos
	Stamps     string `json:"stamps"`
	WriteBack  bool   `json:"write_back"`
	ReadRepair string `json:"read_repair"` // off or async
	// AntiEntropyNS is the time from one comparison with a peer to the next,
	// in nanoseconds; 0: never.
	AntiEntropyNS int64 `json:"anti_entropy_ns"`
	Fsync         bool  `json:"fsync"`
}

// EscapeKey encodes a key for a path. Unlike [url.PathEscape] it also encodes
// a key of dots, which a path cleaner would take for a directory.
func EscapeKey(key string) string {
	if strings.Trim(key, ".") == "" {
		return strings.Repeat("%2E", len(key))
	}
	return url.PathEscape(key)
}

// UnescapeKey is the reverse.
func UnescapeKey(s string) (string, error) { return url.PathUnescape(s) }
