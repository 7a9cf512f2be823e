package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

// What a local question may cost, in bytes: its body, and the values of the
// answer.
const (
	maxQuestion = 16 << 20
	maxAnswer   = 32 << 20
)

// serveHTTP is the client interface, see package httpapi. It routes by hand:
// http.ServeMux cleans paths, and a key may look like one that needs cleaning.
func (n *Node) serveHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	switch {
	case strings.HasPrefix(path, httpapi.PathKV):
		n.metrics.measured(w, r, func(w http.ResponseWriter, r *http.Request) {
			n.serveKV(w, r, path[len(httpapi.PathKV):])
		})
	case strings.HasPrefix(path, httpapi.PathCAS):
		n.metrics.measured(w, r, func(w http.ResponseWriter, r *http.Request) {
			n.serveCAS(w, r, path[len(httpapi.PathCAS):])
		})
	case strings.HasPrefix(path, httpapi.PathLocalKey):
		n.serveLocalKey(w, r, path[len(httpapi.PathLocalKey):])
	case path == httpapi.PathLocal:
		n.serveLocal(w, r)
	case path == httpapi.PathMembers:
		n.serveMembers(w, r)
	case path == httpapi.PathHealth:
		n.serveHealth(w, r)
	case path == httpapi.PathStream:
		n.serveStream(w, r)
	case path == httpapi.PathMetrics:
		n.metricsHandler.ServeHTTP(w, r)
	default:
		refuse(w, httpapi.CodeNoRoute, fmt.Sprintf("no such path: try %s{key}, %s{key}, %s{key}, %s, %s or %s", httpapi.PathKV, httpapi.PathCAS, httpapi.PathLocalKey, httpapi.PathMembers, httpapi.PathHealth, httpapi.PathMetrics))
	}
}

// serveKV takes one operation through the cluster.
func (n *Node) serveKV(w http.ResponseWriter, r *http.Request, escaped string) {
	q := replica.Request{}
	switch r.Method {
	case http.MethodGet:
		q.Op = replica.Get
	case http.MethodPut:
		q.Op = replica.Put
	case http.MethodDelete:
		q.Op = replica.Delete
	default:
		w.Header().Set("Allow", "GET, PUT, DELETE")
		refuse(w, httpapi.CodeMethod, r.Method+" is not for keys: use GET, PUT or DELETE")
		return
	}
	if !n.enter(w) {
		return
	}
	defer n.budget.leave()
	var ok bool
	if q.Key, ok = parseKey(w, escaped); !ok {
		return
	}
	if q.R, q.W, ok = parseQuorums(w, r.URL.RawQuery); !ok {
		return
	}
	if q.Op == replica.Put {
		size := bodySize(r, httpapi.MaxValue)
		if !n.reserve(w, size) {
			return
		}
		defer n.budget.release(size)
		if q.Value, ok = readBody(w, r, httpapi.MaxValue); !ok {
			return
		}
	}
	n.ask(w, q)
}

// ask takes a request to the core, and answers with its reply.
func (n *Node) ask(w http.ResponseWriter, q replica.Request) {
	answer := make(chan replica.Reply, 1)
	select {
	case n.loop.calls <- call{q, answer}:
	case <-n.loop.done:
		refuse(w, httpapi.CodeStopping, errStopping.Error())
		return
	}
	// If the client leaves we still wait, at most the core's timeout: the
	// request goes on, and has to count as in flight.
	var reply replica.Reply
	select {
	case reply = <-answer:
	case <-n.loop.done:
		// It may have got as far as the peers.
		fail(w, httpapi.Error{Text: errStopping.Error(), Code: httpapi.CodeStopping, Definite: q.Op == replica.Get})
		return
	}

	h := w.Header()
	if reply.Stamp != (replica.Stamp{}) {
		h.Set(httpapi.HeaderStamp, reply.Stamp.String())
	}
	h.Set(httpapi.HeaderReached, strconv.Itoa(reply.Reached))
	switch {
	case reply.Err != nil && reply.Err.Code == replica.CodeMismatch:
		fail(w, mismatch(reply))
	case reply.Err != nil:
		fail(w, httpapi.Error{Text: reply.Err.Text, Code: codeOf(reply.Err.Code), Definite: reply.Err.Definite})
	case q.Op != replica.Get:
		w.WriteHeader(http.StatusNoContent)
	case !reply.Found:
		refuse(w, httpapi.CodeAbsent, "the key is absent")
	default:
		writeValue(w, reply.Value)
	}
}

// serveLocalKey shows what this node holds for one key.
func (n *Node) serveLocalKey(w http.ResponseWriter, r *http.Request, escaped string) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		refuse(w, httpapi.CodeMethod, r.Method+" is not for local keys: use GET")
		return
	}
	key, ok := parseKey(w, escaped)
	if !ok {
		return
	}
	rec, _, err := n.engine.Get(key)
	if err != nil {
		refuse(w, httpapi.CodeStorage, err.Error())
		return
	}
	w.Header().Set(httpapi.HeaderReplicas, nodeList(n.placement.Load().Replicas(key)))
	if rec.Stamp != (replica.Stamp{}) { // else it has promised something, at most
		w.Header().Set(httpapi.HeaderStamp, rec.Stamp.String())
	}
	if rec.Absent() {
		text := "this node does not hold the key"
		if !n.holds(key) {
			text = "this node is no replica of the key; these are: " + nodeList(n.placement.Load().Replicas(key))
		}
		refuse(w, httpapi.CodeAbsent, text)
		return
	}
	writeValue(w, rec.Value)
}

// serveLocal shows what this node holds for many keys.
func (n *Node) serveLocal(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		refuse(w, httpapi.CodeMethod, r.Method+` is not for many local keys: POST {"keys": ["a", "b"]}`)
		return
	}
	if !n.enter(w) {
		return
	}
	defer n.budget.leave()
	size := bodySize(r, maxQuestion) + maxAnswer
	if !n.reserve(w, size) {
		return
	}
	defer n.budget.release(size)
	body, ok := readBody(w, r, maxQuestion)
	if !ok {
		return
	}
	var q httpapi.LocalQuestion
	if err := json.Unmarshal(body, &q); err != nil {
		refuse(w, httpapi.CodeInvalid, `the body is not {"keys": ["a", "b"]}: `+err.Error())
		return
	}
	a := httpapi.LocalAnswer{Records: make([]httpapi.LocalRecord, len(q.Keys))}
	bytes := 0
	for i, escaped := range q.Keys {
		key, ok := parseKey(w, escaped)
		if !ok {
			return
		}
		rec, found, err := n.engine.Get(key)
		if err != nil {
			refuse(w, httpapi.CodeStorage, err.Error())
			return
		}
		found = found && rec.Stamp != (replica.Stamp{}) // else it has promised something, at most
		if bytes += len(rec.Value); bytes > maxAnswer {
			refuse(w, httpapi.CodeTooLarge, fmt.Sprintf("the values of the first %d keys have more than the %d bytes that an answer may have: ask for fewer keys at a time", i+1, maxAnswer))
			return
		}
		a.Records[i] = httpapi.LocalRecord{Key: escaped, Found: found, Deleted: rec.Deleted, Value: rec.Value, Elsewhere: !n.holds(key)}
		if found {
			a.Records[i].Stamp = rec.Stamp.String()
		}
	}
	writeJSON(w, http.StatusOK, a)
}

// serveHealth tells who this node is and what its clocks show.
func (n *Node) serveHealth(w http.ResponseWriter, r *http.Request) {
	h := httpapi.Health{
		Node:          uint32(n.cfg.ID),
		Cluster:       n.cfg.Cluster,
		Boot:          n.boot,
		Ready:         true,
		Nodes:         n.placement.Load().Nodes(),
		N:             n.cfg.N,
		R:             n.cfg.R,
		W:             n.cfg.W,
		Protocol:      (*protocolFlag)(&n.cfg.Protocol).String(),
		Stamps:        (*stampsFlag)(&n.cfg.Stamps).String(),
		WriteBack:     n.cfg.WriteBack,
		ReadRepair:    n.cfg.ReadRepair.String(),
		AntiEntropyNS: int64(n.cfg.AntiEntropy),
		Fsync:         n.cfg.Fsync,
	}
	disk := n.loop.health
	h.Damaged, h.Repaired, h.DiskFailures = disk.damaged.Load(), disk.repaired.Load(), disk.failures.Load()
	if h.DamagedFiles = n.engine.DamagedFiles(); h.DamagedFiles > 0 {
		h.Warning = "a file of the store is damaged: its records are repaired when they are used, and cannot be moved to other nodes; replace this node with assay members replace"
	}
	_, err := n.engine.Progress()
	if n.stopping.Load() {
		err = errStopping
	}
	status := http.StatusOK
	if err != nil {
		h.Ready, h.Error, status = false, err.Error(), http.StatusServiceUnavailable
	}
	now := time.Now()
	h.Wall, h.WallNS, h.MonoNS = now.Format(time.RFC3339Nano), now.UnixNano(), int64(now.Sub(n.loop.start))
	writeJSON(w, status, h)
}

// holds says whether this node is a replica of a key.
func (n *Node) holds(key string) bool {
	return n.placement.Load().Holds(replica.NodeID(n.cfg.ID), key)
}

// nodeList gives nodes as 0,3,4.
func nodeList(nodes []replica.NodeID) string {
	words := make([]string, len(nodes))
	for i, n := range nodes {
		words[i] = strconv.Itoa(int(n))
	}
	return strings.Join(words, ",")
}

// parseQuorums reads a request's own quorums, or answers that it cannot. How
// large they can be is the core's to say. A parameter that nobody knows may be
// one of these misspelt, and is refused: its quorum would not be what was asked
// for.
func parseQuorums(w http.ResponseWriter, query string) (r, wr int, ok bool) {
	if query == "" {
		return 0, 0, true
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		refuse(w, httpapi.CodeInvalid, "the query cannot be read: "+err.Error())
		return 0, 0, false
	}
	for _, p := range []struct {
		name string
		to   *int
	}{{httpapi.ParamR, &r}, {httpapi.ParamW, &wr}} {
		values, there := params[p.name]
		if !there {
			continue
		}
		if len(values) == 1 {
			*p.to, err = strconv.Atoi(values[0])
		}
		if len(values) != 1 || err != nil || *p.to < 1 {
			refuse(w, httpapi.CodeInvalid, fmt.Sprintf("%s=%s is no quorum: give one number from 1 to the replicas of a key", p.name, strings.Join(values, ",")))
			return 0, 0, false
		}
		delete(params, p.name)
	}
	if len(params) > 0 {
		refuse(w, httpapi.CodeInvalid, fmt.Sprintf("unknown parameters in %q: there are %s and %s; a question mark in a key is written %%3F", query, httpapi.ParamR, httpapi.ParamW))
		return 0, 0, false
	}
	return r, wr, true
}

// enter takes a place for a request, or answers that there is none.
func (n *Node) enter(w http.ResponseWriter) bool {
	if n.budget.enter() {
		return true
	}
	refuse(w, httpapi.CodeBusy, fmt.Sprintf("node %d works on %d requests already: try again later, or another node", n.cfg.ID, n.cfg.MaxInFlight))
	return false
}

// reserve takes memory for a request, or answers that there is not enough.
func (n *Node) reserve(w http.ResponseWriter, bytes int64) bool {
	if n.budget.reserve(bytes) {
		return true
	}
	refuse(w, httpapi.CodeBusy, fmt.Sprintf("the requests in flight at node %d leave no room for %d bytes more: try again later, or another node", n.cfg.ID, bytes))
	return false
}

// parseKey decodes a key, or answers that it cannot.
func parseKey(w http.ResponseWriter, escaped string) (key string, ok bool) {
	key, err := httpapi.UnescapeKey(escaped)
	switch {
	case err != nil:
		refuse(w, httpapi.CodeInvalid, "the key is not percent-encoded: "+err.Error())
	case key == "":
		refuse(w, httpapi.CodeInvalid, "the key is empty")
	case len(key) > httpapi.MaxKey:
		refuse(w, httpapi.CodeKeyTooLong, fmt.Sprintf("the key has %d bytes, and %d are allowed", len(key), httpapi.MaxKey))
	default:
		return key, true
	}
	return "", false
}

// smallBody is a length, in bytes, that takes memory as soon as it is announced.
// A client that announces more has to send it.
const smallBody = 64 << 10

// readBody reads at most limit bytes, or answers that there are more.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, ok bool) {
	if r.ContentLength > limit {
		refuse(w, httpapi.CodeTooLarge, fmt.Sprintf("the body has %d bytes, and %d are allowed", r.ContentLength, limit))
		return nil, false
	}
	limited := http.MaxBytesReader(w, r.Body, limit)
	var err error
	if n := r.ContentLength; 0 <= n && n <= min(limit, smallBody) { // the usual case, without growing
		body = make([]byte, n)
		_, err = io.ReadFull(limited, body)
	} else {
		body, err = io.ReadAll(limited)
	}
	if err == nil {
		return body, true
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		refuse(w, httpapi.CodeTooLarge, fmt.Sprintf("the body has more than the %d bytes that are allowed", limit))
	} else {
		refuse(w, httpapi.CodeInvalid, "the body broke off: "+err.Error())
	}
	return nil, false
}

func writeValue(w http.ResponseWriter, value []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(value)))
	_, _ = w.Write(value) // an error means that the client has left
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // only bodies of this package come here, and they encode
		status, body = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // an error means that the client has left
}

// refuse answers a request that certainly changed nothing.
func refuse(w http.ResponseWriter, code httpapi.Code, text string) {
	fail(w, httpapi.Error{Text: text, Code: code, Definite: true})
}

func fail(w http.ResponseWriter, e httpapi.Error) {
	if o, ok := w.(*outcome); ok {
		o.err = e
	}
	if e.Code == httpapi.CodeBusy {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, statusOf(e.Code), e)
}

func statusOf(c httpapi.Code) int {
	switch c {
	case httpapi.CodeAbsent, httpapi.CodeNoRoute:
		return http.StatusNotFound
	case httpapi.CodeMethod:
		return http.StatusMethodNotAllowed
	case httpapi.CodeInvalid:
		return http.StatusBadRequest
	case httpapi.CodeMismatch:
		return http.StatusConflict
	case httpapi.CodeKeyTooLong:
		return http.StatusRequestURITooLong
	case httpapi.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case httpapi.CodeBusy:
		return http.StatusTooManyRequests
	case httpapi.CodeUnavailable, httpapi.CodeStopping:
		return http.StatusServiceUnavailable
	case httpapi.CodeFull:
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}

func codeOf(c replica.Code) httpapi.Code {
	switch c {
	case replica.CodeUnavailable:
		return httpapi.CodeUnavailable
	case replica.CodeInvalid:
		return httpapi.CodeInvalid
	case replica.CodeFull:
		return httpapi.CodeFull
	}
	return httpapi.CodeStorage
}
