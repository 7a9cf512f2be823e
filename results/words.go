package results

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/assay-chaos/assay/harness/history"
)

// count writes a number for people: 1,234,567.
func count(n int) string {
	s := strconv.Itoa(n)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// counted is a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// span writes a length of time with three digits that mean something.
func span(d time.Duration) string {
	unit, name := time.Second, "s"
	switch a := d.Abs(); {
	case a == 0:
		return "0 s"
	case a < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case a < time.Millisecond:
		unit, name = time.Microsecond, "µs"
	case a < time.Second:
		unit, name = time.Millisecond, "ms"
	case a >= 10*time.Minute:
		unit, name = time.Minute, "min"
	}
	x := float64(d) / float64(unit)
	digits := 0
	if x < 9.995 && x > -9.995 {
		digits = 2
	} else if x < 99.95 && x > -99.95 {
		digits = 1
	}
	s := strconv.FormatFloat(x, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s + " " + name
}

// stamp writes a point in time as seconds since the start of the run, with so
// many decimals.
func stamp(t int64, decimals int) string {
	if t == history.Never {
		return "the end"
	}
	return strconv.FormatFloat(float64(t)/1e9, 'f', decimals, 64)
}

// decimalsFor is how many decimals it takes, from milliseconds on, to tell the
// times apart.
func decimalsFor(times []int64) int {
	for _, d := range []struct {
		decimals int
		unit     int64
	}{{3, 1e6}, {6, 1e3}} {
		told := true
		seen := make(map[int64]int64, len(times))
		for _, t := range times {
			rounded := (t + d.unit/2) / d.unit
			if other, ok := seen[rounded]; ok && other != t {
				told = false
			}
			seen[rounded] = t
		}
		if told {
			return d.decimals
		}
	}
	return 9
}

// list joins words as a sentence does.
func list(words []string) string {
	switch n := len(words); n {
	case 0:
		return ""
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
}

// valueText writes a value of the history: the number, or in a history of
// texts the text between quotes.
func valueText(h *history.History, v history.Value) string {
	if v == history.Nil {
		return "nothing"
	}
	if len(h.Texts) == 0 {
		return v.String()
	}
	if v < 0 || int64(v) >= int64(len(h.Texts)) {
		return "text " + v.String()
	}
	return strconv.Quote(clip(h.Texts[v], 40))
}

// listText writes values that were seen together: [1 2 3]. Of a long list it
// writes the first ones.
func listText(h *history.History, l history.List) string {
	const most = 8
	var words []string
	for i, v := range l {
		if i == most {
			words = append(words, fmt.Sprintf("… (%d in all)", len(l)))
			break
		}
		words = append(words, valueText(h, v))
	}
	return "[" + strings.Join(words, " ") + "]"
}

// seenText writes what a read of all saw.
func seenText(h *history.History, v history.Value) string {
	if v < 0 || int64(v) >= int64(len(h.Lists)) {
		return "nothing"
	}
	return listText(h, h.Lists[v])
}

// rawText is a text of the history as it is, "" for none.
func rawText(h *history.History, v history.Value) string {
	if v < 0 || int64(v) >= int64(len(h.Texts)) {
		return ""
	}
	return h.Texts[v]
}

// clip keeps the beginning of a long text.
func clip(s string, runes int) string {
	n := 0
	for i := range s {
		if n == runes {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// txnText writes a transaction: [r x 1, w y 2].
func txnText(h *history.History, v history.Value) string {
	if v < 0 || int64(v) >= int64(len(h.Txns)) {
		return "a transaction"
	}
	const most = 6
	var mops []string
	for i, m := range h.Txns[v] {
		if i == most {
			mops = append(mops, "…")
			break
		}
		verb := "w"
		if m.F == history.Read {
			verb = "r"
		}
		mops = append(mops, verb+" "+clip(h.KeyName(m.Key), 20)+" "+valueText(h, m.Value))
	}
	return "[" + strings.Join(mops, ", ") + "]"
}

// observed is the value that an operation saw, if it saw one.
func observed(o *history.Op) (history.Value, bool) {
	switch {
	case o.F == history.Read && o.Outcome == history.OK:
		return o.Out, true
	case o.F == history.CAS && o.Outcome == history.Fail && o.Out != history.Nil:
		return o.Out, true
	}
	return history.Nil, false
}

// written is the value that an operation sets, if it took effect.
func written(o *history.Op) (history.Value, bool) {
	switch o.F {
	case history.Write:
		return o.Arg, true
	case history.CAS:
		return o.Arg2, true
	case history.Delete:
		return history.Nil, true
	}
	return history.Nil, false
}

// brief is an operation in a few letters, for inside a bar: "r 7", "w 9",
// "cas 1→2"; a failed one with ×, one of unknown outcome with ?.
func brief(h *history.History, o *history.Op) string {
	var s string
	switch o.F {
	case history.Read:
		s = "r"
		if v, ok := observed(o); ok {
			s += " " + briefValue(h, v)
		}
	case history.ReadAll:
		s = "r"
		if o.Outcome == history.OK {
			s += " " + clip(seenText(h, o.Out), 12)
		}
	case history.Add:
		s = "+ " + briefValue(h, o.Arg)
	case history.Write:
		s = "w " + briefValue(h, o.Arg)
	case history.CAS:
		s = "c " + briefValue(h, o.Arg) + "→" + briefValue(h, o.Arg2)
	case history.Delete:
		s = "del"
	case history.Append:
		s = "a " + briefValue(h, o.Arg)
	case history.Transact:
		s = "txn"
	case history.Transfer:
		s = "t " + transferText(o, "%d→%d %d")
	default:
		s = o.F.String()
	}
	switch o.Outcome {
	case history.Fail:
		return "× " + s
	case history.Info:
		return s + " ?"
	}
	return s
}

func transferText(o *history.Op, format string) string {
	from, to := o.Accounts()
	return fmt.Sprintf(format, from, to, o.Arg2)
}

func briefValue(h *history.History, v history.Value) string {
	if v == history.Nil {
		return "∅"
	}
	return clip(valueText(h, v), 12)
}

// deed is what an operation did, as a sentence has it: "read 7", "tried to
// write 9, outcome unknown".
func deed(h *history.History, o *history.Op) string {
	past, infinitive := "", ""
	switch o.F {
	case history.Read:
		past, infinitive = "read "+valueText(h, o.Out), "read"
	case history.ReadAll:
		past, infinitive = "read "+seenText(h, o.Out), "read"
	case history.Add:
		past, infinitive = "added "+valueText(h, o.Arg), "add "+valueText(h, o.Arg)
	case history.Write:
		past, infinitive = "wrote "+valueText(h, o.Arg), "write "+valueText(h, o.Arg)
	case history.CAS:
		what := fmt.Sprintf("from %s to %s", valueText(h, o.Arg), valueText(h, o.Arg2))
		past, infinitive = "changed "+what, "change "+what
		if v, ok := observed(o); ok {
			return "tried to " + infinitive + " and saw " + valueText(h, v)
		}
	case history.Delete:
		past, infinitive = "deleted", "delete"
	case history.Append:
		past, infinitive = "appended "+valueText(h, o.Arg), "append "+valueText(h, o.Arg)
	case history.Transact:
		past, infinitive = "did "+txnText(h, o.Out), "do "+txnText(h, o.Arg)
	case history.Transfer:
		what := transferText(o, "from account %d to account %d: %d")
		past, infinitive = "transferred "+what, "transfer "+what
	case history.Acquire:
		past, infinitive = "acquired", "acquire"
	case history.Release:
		past, infinitive = "released", "release"
	default:
		past, infinitive = "did "+o.F.String(), "do "+o.F.String()
	}
	switch o.Outcome {
	case history.OK:
		return past
	case history.Fail:
		return "failed to " + infinitive
	}
	return "tried to " + infinitive + ", outcome unknown"
}
