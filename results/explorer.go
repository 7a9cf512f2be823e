package results

import (
	"bytes"
	"html/template"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-chaos/assay/harness/history"
)

// Explorer is the part of a run's page in which one moves through its operations.
// It needs somebody who draws the parts: see ExplorePage.
type Explorer struct {
	Window
	Part string // URL that answers with what Explore writes, without its query
	Keys []string
	End  int64

	run *Run
}

// mostKeys are offered by name.
const mostKeys = 500

// ExplorePage draws the page of a run as Page does, with a window on its
// operations that can be moved. part is a URL that answers to the query of
// ParseWindow with what Explore writes.
func ExplorePage(w io.Writer, run *Run, query url.Values, part string) error {
	if run.History == nil {
		return Page(w, run)
	}
	x := &Explorer{Window: ParseWindow(run.History, query), Part: part, End: max(1, run.History.End()), run: run}
	keys := slices.Clone(run.History.Keys)
	x.Keys = keys[:min(len(keys), mostKeys)]
	return page(w, run, x)
}

func (x *Explorer) draw(run *Run) (template.HTML, error) {
	var b bytes.Buffer
	err := Explore(&b, run, x.Window)
	return template.HTML(b.String()), err // made by a template
}

// ParseWindow reads a window from a query: from and to in seconds, key by name,
// node and client by number. What makes no sense is left out.
func ParseWindow(h *history.History, q url.Values) Window {
	v := WholeRun()
	seconds := func(name string) int64 {
		s, err := strconv.ParseFloat(q.Get(name), 64)
		if err != nil || !(s >= 0) || s > math.MaxInt64/1e9 {
			return 0
		}
		return int64(s * 1e9)
	}
	v.From, v.To = seconds("from"), seconds("to")
	if name := q.Get("key"); name != "" {
		if k := slices.Index(h.Keys, name); k >= 0 {
			v.Key = int32(k)
		}
	}
	if n, err := strconv.ParseInt(q.Get("node"), 10, 16); err == nil && n >= 0 {
		v.Node = int(n)
	}
	if c, err := strconv.ParseInt(q.Get("client"), 10, 32); err == nil && c >= 0 {
		v.Client = int32(c)
	}
	return v.Clip(h)
}

func (x *Explorer) FromText() string { return secondsText(x.From) }
func (x *Explorer) ToText() string   { return secondsText(x.To) }

func (x *Explorer) KeyText() string {
	if x.Key < 0 {
		return ""
	}
	return x.run.History.KeyName(x.Key)
}

func (x *Explorer) NodeText() string   { return numberText(int64(x.Node)) }
func (x *Explorer) ClientText() string { return numberText(int64(x.Client)) }

func numberText(n int64) string {
	if n < 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func secondsText(t int64) string { return strconv.FormatFloat(float64(t)/1e9, 'f', -1, 64) }

// Link is where a step leads: left, right, in, out, or all.
func (x *Explorer) Link(step string) string {
	v, w := x.Window, x.To-x.From
	switch step {
	case "left":
		v.From, v.To = v.From-w/2, v.To-w/2
	case "right":
		v.From, v.To = v.From+w/2, v.To+w/2
	case "in":
		v.From, v.To = v.From+w/4, v.To-w/4
	case "out":
		v.From, v.To = v.From-w/2, v.To+w/2
	default:
		v.From, v.To = 0, x.End
	}
	if v.From < 0 {
		v.From, v.To = 0, v.To-v.From
	}
	if v.To > x.End {
		v.From, v.To = max(0, v.From-(v.To-x.End)), x.End
	}
	q := url.Values{"from": {secondsText(v.From)}, "to": {secondsText(v.To)}}
	for name, text := range map[string]string{"key": x.KeyText(), "node": x.NodeText(), "client": x.ClientText()} {
		if text != "" {
			q.Set(name, text)
		}
	}
	return "?" + strings.ReplaceAll(q.Encode(), "+", "%20") + "#explore"
}
