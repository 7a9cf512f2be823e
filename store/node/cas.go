package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

// maxCAS bounds the body of a compare-and-set, in bytes: JSON may take six for
// one of either value.
const maxCAS = 2*6*httpapi.MaxValue + 1<<10

// serveCAS takes one compare-and-set through the cluster.
func (n *Node) serveCAS(w http.ResponseWriter, r *http.Request, escaped string) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		refuse(w, httpapi.CodeMethod, r.Method+` is not for compare-and-set: POST {"expect": "old", "value": "new"}`)
		return
	}
	if !n.enter(w) {
		return
	}
	defer n.budget.leave()
	key, ok := parseKey(w, escaped)
	if !ok {
		return
	}
	size := bodySize(r, maxCAS)
	if !n.reserve(w, size) {
		return
	}
	defer n.budget.release(size)
	body, ok := readBody(w, r, maxCAS)
	if !ok {
		return
	}
	q, err := parseCAS(r.URL.RawQuery, body)
	switch {
	case err != nil:
		refuse(w, httpapi.CodeInvalid, err.Error())
	case len(q.Expect) > httpapi.MaxValue || len(q.Value) > httpapi.MaxValue:
		refuse(w, httpapi.CodeTooLarge, fmt.Sprintf("a value has more than the %d bytes that are allowed", httpapi.MaxValue))
	default:
		q.Key = key
		n.ask(w, q)
	}
}

// parseCAS reads what a compare-and-set asks for. A query means that the body is
// bytes, see [httpapi.ParamExpect].
func parseCAS(query string, body []byte) (replica.Request, error) {
	if query == "" {
		return parseTypedCAS(body)
	}
	expect, ok := strings.CutPrefix(query, httpapi.ParamExpect+"=")
	if ok && expect == httpapi.ExpectAbsent {
		return replica.Request{Op: replica.CAS, ExpectAbsent: true, Value: body}, nil
	}
	n, err := strconv.Atoi(expect)
	if !ok || err != nil || n < 0 || n > len(body) {
		return replica.Request{}, fmt.Errorf("%q does not tell what the key must have: give %s=n, for the first n of the body's %d bytes, or %s=%s", query, httpapi.ParamExpect, len(body), httpapi.ParamExpect, httpapi.ExpectAbsent)
	}
	return replica.Request{Op: replica.CAS, Expect: body[:n:n], Value: body[n:]}, nil
}

// parseTypedCAS reads a body of JSON. A field that is misspelt would change what
// is asked for, so it is an error.
func parseTypedCAS(body []byte) (replica.Request, error) {
	var c httpapi.CAS
	if err := decodeStrictly(body, &c); err != nil {
		return replica.Request{}, fmt.Errorf(`the body is not {"expect": "old", "value": "new"}: %w`, err)
	}
	expects := 0
	for _, given := range []bool{c.Absent, c.Expect != nil, c.Expect64 != nil} {
		if given {
			expects++
		}
	}
	switch {
	case expects != 1:
		return replica.Request{}, fmt.Errorf(`the body names %d expectations: give one of "expect": "old", "expect64" (base64) and "absent": true`, expects)
	case (c.Value == nil) == (c.Value64 == nil):
		return replica.Request{}, fmt.Errorf(`the body must name the new value once: give "value" or "value64" (base64)`)
	}
	q := replica.Request{Op: replica.CAS, ExpectAbsent: c.Absent, Expect: c.Expect64, Value: c.Value64}
	if c.Expect != nil {
		q.Expect = []byte(*c.Expect)
	}
	if c.Value != nil {
		q.Value = []byte(*c.Value)
	}
	return q, nil
}

// decodeStrictly reads a body of JSON in which no field may be unknown.
func decodeStrictly(body []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

// mismatch is the answer to a compare-and-set that found something else.
func mismatch(p replica.Reply) httpapi.Error {
	e := httpapi.Error{Text: p.Err.Text, Code: httpapi.CodeMismatch, Definite: true, Seen: &httpapi.Seen{Absent: !p.Found}}
	switch {
	case !p.Found:
	case utf8.Valid(p.Value):
		text := string(p.Value)
		e.Seen.Value = &text
	default:
		e.Seen.Value64 = p.Value
	}
	return e
}
