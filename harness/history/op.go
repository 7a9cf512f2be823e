package history

import (
	"math"
	"strconv"
)

// Value is what an operation writes or reads. Register-like workloads use the
// number itself. Workloads over text, transactions or lists use it as an index
// into History.Texts, History.Txns or History.Lists.
type Value int64

// Nil is the absent value: a key that was never written, or an output that
// nobody knows.
const Nil Value = math.MinInt64

// String gives the number, or "nil".
func (v Value) String() string {
	if v == Nil {
		return "nil"
	}
	return strconv.FormatInt(int64(v), 10)
}

// Never is the time of an event that has not happened: the effective end of an
// operation whose outcome is unknown.
const Never int64 = math.MaxInt64

// F is the function an operation calls.
type F uint8

// The functions, with the meaning of Op.Arg, Op.Arg2 and Op.Out.
const (
	Read     F = iota + 1 // Out: the value seen, Nil when absent
	Write                 // Arg: the new value
	CAS                   // Arg: expected, Arg2: new; Out of a failed CAS: the value seen, Nil when not reported
	Delete                // the key becomes absent
	Append                // Arg: the text appended (index into History.Texts)
	Transact              // Arg: the transaction asked for, Out: the one with its reads filled in (indices into History.Txns)
	Acquire               // of a mutex
	Release               // of a mutex
	Add                   // Arg: the element that joins a set or the end of a list, or what a counter grows by
	ReadAll               // Out: the list of values seen (index into History.Lists), Nil when absent: a set, a list, siblings, balances
	Transfer              // Arg: from and to, see Accounts; Arg2: the amount. A ReadAll sees the balances of all accounts
)

var fNames = [...]string{Read: "read", Write: "write", CAS: "cas", Delete: "delete", Append: "append", Transact: "txn", Acquire: "acquire", Release: "release",
	Add: "add", ReadAll: "read-all", Transfer: "transfer"}

// String gives the lower-case name of the function, as it stands in files.
func (f F) String() string {
	if int(f) < len(fNames) && fNames[f] != "" {
		return fNames[f]
	}
	return "f" + strconv.Itoa(int(f))
}

// ReadOnly says that the function cannot change the system's state.
func (f F) ReadOnly() bool { return f == Read || f == ReadAll }

// maxAccount is the highest number of an account.
const maxAccount = 1<<16 - 1

// Accounts is the Arg of a transfer: the numbers of two accounts of the key, from
// 0 to 65,535.
func Accounts(from, to int) Value { return Value(from)<<16 | Value(to) }

// Accounts gives the accounts of a transfer.
func (o *Op) Accounts() (from, to int) { return int(o.Arg >> 16), int(o.Arg & maxAccount) }

// Outcome is how an operation ended.
type Outcome uint8

const (
	// Info: may or may not have happened, now or at any time later. It is
	// the zero value: an operation is unknown until it is known.
	Info Outcome = iota
	// OK: happened, once, between Call and Return.
	OK
	// Fail: certainly did not happen. (A failed CAS did not change the
	// state; if Out is not Nil it also saw that value.)
	Fail
)

// String gives "info", "ok" or "fail".
func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case Fail:
		return "fail"
	}
	return "info"
}

// Op is one operation: an invocation and its completion. It is 56 bytes, and
// histories hold millions of them.
type Op struct {
	Call   int64 // nanoseconds since the start of the run, on the harness' one monotonic clock
	Return int64 // when the client was told, or gave up (Info); Never if the history ends before that
	Arg    Value // see F
	Arg2   Value
	Out    Value
	// Process is a logical thread: it has one operation in flight at most,
	// and is retired after an Info.
	Process int32
	Key     int32 // index into History.Keys
	Node    int16 // the node the client talked to; -1 when unknown
	Err     uint16
	F       F
	Outcome Outcome
}

// End is the last instant at which the operation can have taken effect: Return
// for an operation that completed, Never for one whose outcome is unknown. A
// precedes B iff A.End() < B.Call, strictly: intervals are closed.
func (o *Op) End() int64 {
	if o.Outcome == Info {
		return Never
	}
	return o.Return
}
