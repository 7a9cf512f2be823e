package node

import (
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/assay-chaos/assay/store/httpapi"
)

// metrics is what a node tells Prometheus. It has a registry of its own, so
// that several nodes can live in one process.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	syncs    prometheus.Histogram
}

// seconds are the buckets of all latencies: from a read in memory to the
// longest time limit that anybody would set.
var seconds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "assay_request_duration_seconds",
			Help:    `Time from the request to the answer, by operation and outcome: "ok", "refused-<code>" (nothing was changed) or "unknown-<code>" (a write that may have happened).`,
			Buckets: seconds,
		}, []string{"op", "outcome"}),
		syncs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "assay_fsync_duration_seconds",
			Help:    "Time of one group commit: everything written since the last becomes durable.",
			Buckets: seconds,
		}),
	}
	m.registry.MustRegister(m.requests, m.syncs, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch registers what is read off the node when somebody asks.
func (m *metrics) watch(n *Node) {
	gauge := func(name, help string, labels prometheus.Labels, f func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, f))
	}
	counter := func(name, help string, labels prometheus.Labels, f func() float64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, f))
	}
	gauge("assay_requests_in_flight", "Requests of clients being worked on.", nil,
		func() float64 { return float64(n.budget.requests.Load()) })
	gauge("assay_requests_in_flight_bytes", "Bytes that the requests in flight have reserved.", nil,
		func() float64 { return float64(n.budget.bytes.Load()) })
	gauge("assay_loop_queue", "Inputs that wait for the protocol core.", prometheus.Labels{"of": "clients"},
		func() float64 { return float64(len(n.loop.calls)) })
	gauge("assay_loop_queue", "Inputs that wait for the protocol core.", prometheus.Labels{"of": "peers"},
		func() float64 { return float64(len(n.loop.peers)) })
	gauge("assay_storage_bytes", "Disk space that the node's data takes.", nil,
		func() float64 { return float64(n.engine.Size()) })
	gauge("assay_storage_failed", "1 while the disk fails: the node stores nothing until it works again.", nil, func() float64 {
		if _, err := n.engine.Progress(); err != nil {
			return 1
		}
		return 0
	})
	counter("assay_storage_failures_total", "How often the disk failed.", nil,
		func() float64 { return float64(n.loop.health.failures.Load()) })
	counter("assay_records_damaged_total", "Records found damaged on the disk.", nil,
		func() float64 { return float64(n.loop.health.damaged.Load()) })
	counter("assay_records_repaired_total", "Damaged records that the peers had, and that are here again.", nil,
		func() float64 { return float64(n.loop.health.repaired.Load()) })
	gauge("assay_storage_damaged_files", "Files in which a damaged block was found since the start: replace the node.", nil,
		func() float64 { return float64(n.engine.DamagedFiles()) })
	gauge("assay_boot", "How often the node was started on its data.", nil,
		func() float64 { return float64(n.boot) })
	m.registry.MustRegister(collector{n})
	gauge("assay_build_info", "The program; always 1.", buildLabels(), func() float64 { return 1 })
}

func buildLabels() prometheus.Labels {
	labels := prometheus.Labels{"version": "unknown", "revision": "", "go": ""}
	if info, ok := debug.ReadBuildInfo(); ok {
		labels["version"], labels["go"] = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				labels["revision"] = s.Value
			}
		}
	}
	return labels
}

// handler answers in Prometheus' format.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// measured measures the operations of a handler. The operation is known by its
// method, and its outcome by what fail is given.
func (m *metrics) measured(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter, *http.Request)) {
	o := outcome{ResponseWriter: w}
	start := time.Now()
	serve(&o, r)
	took := time.Since(start)
	op := "other"
	switch r.Method {
	case http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodPost:
		op = r.Method
	}
	m.requests.WithLabelValues(op, o.label()).Observe(took.Seconds())
}

// outcome remembers which error an answer was.
type outcome struct {
	http.ResponseWriter
	err httpapi.Error
}

func (o *outcome) label() string {
	switch {
	case o.err.Code == "" || o.err.Code == httpapi.CodeAbsent:
		return "ok"
	case o.err.Definite:
		return "refused-" + string(o.err.Code)
	}
	return "unknown-" + string(o.err.Code)
}

// Unwrap is for http.ResponseController.
func (o *outcome) Unwrap() http.ResponseWriter { return o.ResponseWriter }
