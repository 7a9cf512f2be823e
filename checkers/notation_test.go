package checkers

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// Histories of one key are written in the tests as words like
//
//	w1@2-5     a write of 1, called at 2, ok at 5
//	w1@2-5!    the same, failed
//	w1@2?      the same, outcome unknown
//	r1@2-5     a read that saw 1; rnil: absent
//	c1>2@2-5   a compare-and-set from 1 to 2; failed and having seen 3: c1>2=3@2-5!
//	d@2-5      a delete
//	a@2-5 l@2-5  acquire and release
//
// Each word is a process of its own. A "/k" at its end is the key, 0 if there
// is none, "#n" after that the node, and ":p" after that the process.
var word = regexp.MustCompile(`^([wrcdal])(nil|-?\d+)?(?:>(-?\d+))?(?:=(-?\d+))?@(\d+)(?:-(\d+))?([!?]?)(?:/(\d+))?(?:#(\d+))?(?::(\d+))?$`)

func parse(t testing.TB, text string) *history.History {
	t.Helper()
	h := &history.History{Errors: []string{""}}
	number := func(s string) int64 {
		if s == "" {
			return 0
		}
		n, err := strconv.ParseInt(s, 10, 64)
		require.NoError(t, err)
		return n
	}
	value := func(s string) history.Value {
		if s == "" || s == "nil" {
			return history.Nil
		}
		return history.Value(number(s))
	}
	for i, w := range strings.Fields(text) {
		m := word.FindStringSubmatch(w)
		require.NotNil(t, m, "not in the notation: %q", w)
		o := history.Op{
			F:       map[string]history.F{"w": history.Write, "r": history.Read, "c": history.CAS, "d": history.Delete, "a": history.Acquire, "l": history.Release}[m[1]],
			Call:    number(m[5]),
			Return:  number(m[6]),
			Outcome: map[string]history.Outcome{"": history.OK, "!": history.Fail, "?": history.Info}[m[7]],
			Process: int32(i),
			Key:     int32(number(m[8])),
			Node:    int16(number(m[9])),
			Arg:     value(m[2]),
			Arg2:    value(m[3]),
			Out:     value(m[4]),
		}
		if o.F == history.Read {
			o.Arg, o.Out = history.Nil, value(m[2])
		}
		if m[10] != "" {
			o.Process = int32(number(m[10]))
		}
		if m[6] == "" {
			o.Return = history.Never
		}
		for len(h.Keys) <= int(o.Key) {
			h.Keys = append(h.Keys, fmt.Sprintf("k%d", len(h.Keys)))
		}
		h.Ops = append(h.Ops, o)
	}
	return h
}

// notation is the reverse of parse, for messages of failing tests.
func notation(ops []history.Op) string {
	var words []string
	for _, o := range ops {
		w := ""
		switch o.F {
		case history.Read:
			w = "r" + o.Out.String()
		case history.Write:
			w = "w" + o.Arg.String()
		case history.CAS:
			w = "c" + o.Arg.String() + ">" + o.Arg2.String()
			if o.Out != history.Nil {
				w += "=" + o.Out.String()
			}
		case history.Delete:
			w = "d"
		default:
			w = o.F.String()
		}
		w += fmt.Sprintf("@%d", o.Call)
		if o.Return != history.Never {
			w += fmt.Sprintf("-%d", o.Return)
		}
		w += map[history.Outcome]string{history.OK: "", history.Fail: "!", history.Info: "?"}[o.Outcome]
		w += fmt.Sprintf("/%d:%d", o.Key, o.Process)
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func whole(h *history.History) view { return view{ops: h.Ops} }

func valuePtr(v history.Value) *history.Value { return &v }
