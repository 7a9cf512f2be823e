package agent

import (
	"encoding/json"
	"time"
)

// Environment variables that configure the roles.
const (
	EnvTable = "ASSAY_TABLE" // host: name of its nftables table
	EnvRun   = "ASSAY_RUN"   // reaper: value of LabelRun to remove
)

// Labels on everything that a run makes.
const (
	LabelRun  = "assay.run"
	LabelRole = "assay.role"
	LabelNode = "assay.node"
)

// Request is one line from the harness to an agent.
type Request struct {
	ID   uint64          `json:"id"`
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args,omitempty"`
}

// Response is one line from an agent. The first one, of ID 0, is the agent's
// greeting: it says that the agent is ready, or why it cannot be.
type Response struct {
	ID     uint64          `json:"id"`
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// The operations, with their arguments and results.
const (
	OpTime  = "time"  // holder: nil → TimeResult
	OpSend  = "send"  // holder: SendArgs → nil
	OpAwait = "await" // holder: AwaitArgs → AwaitResult
	OpCut   = "cut"   // host: CutArgs → nil
	OpWork  = "work"  // host: WorkArgs → WorkResult
	OpSet   = "set"   // clock: SetArgs → SetResult
	OpBeat  = "beat"  // reaper: nil → nil
)

// HolderHello greets from a holder.
type HolderHello struct {
	ProbePort int `json:"probe_port"` // UDP
}

// HostHello greets from the host's agent.
type HostHello struct {
	// Owner says that the kernel removes the table of cut links when the
	// agent dies in any way.
	Owner bool `json:"owner"`
	// CutError says why links cannot be cut, if so.
	CutError string `json:"cut_error,omitempty"`
}

// ReaperHello greets from the reaper, which is the first to see the kernel.
type ReaperHello struct {
	// TCPRTOMax says that a network namespace can bound the time between
	// TCP's retransmissions (net.ipv4.tcp_rto_max_ms).
	TCPRTOMax bool `json:"tcp_rto_max"`
}

// TimeResult is the kernel's wall clock, which no clock fault changes.
type TimeResult struct {
	UnixNano int64 `json:"unix_nano"`
}

// SendArgs asks a holder to send the same probe packet several times.
type SendArgs struct {
	To    string `json:"to"` // host:port
	Nonce string `json:"nonce"`
	Tries int    `json:"tries"`
	GapMS int    `json:"gap_ms"`
}

// AwaitArgs asks a holder whether a probe packet arrives, or has arrived.
type AwaitArgs struct {
	Nonce string `json:"nonce"`
	MS    int    `json:"ms"`
}

// AwaitResult is the answer.
type AwaitResult struct {
	Arrived bool `json:"arrived"`
}

// CutArgs replaces the set of cut links, all at once.
type CutArgs struct {
	Links []CutLink `json:"links"`
}

// CutLink drops IPv4 packets in one direction. The kernel ends it after MS
// milliseconds.
type CutLink struct {
	From string `json:"from"`
	To   string `json:"to"`
	MS   int64  `json:"ms"`
}

// WorkArgs names a container by one of its processes, as the engine's machine
// numbers them.
type WorkArgs struct {
	PID int `json:"pid"`
}

// WorkResult is the processor time of all its threads.
type WorkResult struct {
	NS uint64 `json:"ns"`
}

// SetArgs sets the wall clock of every process in the agent's namespace, until
// MS milliseconds have passed. MS zero gives the true time back.
type SetArgs struct {
	OffsetNS int64   `json:"offset_ns"`
	Drift    float64 `json:"drift"` // +0.01 gains 1 %
	MS       int64   `json:"ms"`
}

// SetResult says which processes were changed.
type SetResult struct {
	PIDs []int `json:"pids"`
}

// Lease bounds of the reaper: the harness sends a beat every [BeatInterval],
// and after [RunLease] without one it is taken for dead.
const (
	BeatInterval = time.Second
	RunLease     = 10 * time.Second
)
