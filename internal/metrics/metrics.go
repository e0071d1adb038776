// Package metrics is the one list of what Pillion counts; docs/operations.md explains each name. No label ever holds an id, a
// key or a session value.
package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the instruments of one process. Packages get them through their Options.
type Metrics struct {
	Requests       *prometheus.CounterVec // kind: session, anonymous, ignored
	OwnAnswers     *prometheus.CounterVec // error: the Proxy-Status token
	IDsRejected    *prometheus.CounterVec // reason: malformed, mac, expired, too_many
	ContractErrors *prometheus.CounterVec // reason
	Spoofs         prometheus.Counter
	Sessions       *prometheus.CounterVec // event: created, destroyed, renewed, expired, lost, takeover, relocated, fenced, released, forwarded, fence, revoked, throttled, stale
	Commits        *prometheus.CounterVec // result: ok, isolated, failed, gone, lock_lost, too_large
	CommitSeconds  prometheus.Histogram
	LockSeconds    prometheus.Histogram
	Unknown        prometheus.Counter
	Touches        prometheus.Counter
	Dropped        prometheus.Counter
	ReadOnly       prometheus.Counter // requests that learned locking let pass without a lock
	InMemory       prometheus.Gauge
	MemoryBytes    prometheus.Gauge
	Evicted        prometheus.Counter
	HeaderCache    prometheus.Gauge
	StampsAhead    prometheus.Counter
	OpenClosed     prometheus.Counter // tunnels and event streams whose session ended

	NodeOperations *prometheus.CounterVec   // node, op, result: ok, miss, conflict, timeout, refused, error
	NodeSeconds    *prometheus.HistogramVec // node
	NodeUp         *prometheus.GaugeVec     // node
	NodeLives      *prometheus.CounterVec   // node: how often its memory was found new
	BlobsRejected  *prometheus.CounterVec   // class: the sessioncodec error class
	Repairs        prometheus.Counter       // copies written because they were missing or behind
	ConfigReloads  *prometheus.CounterVec   // result: ok, rejected
}

// New registers the instruments.
func New(reg prometheus.Registerer) *Metrics {
	b := builder{reg}
	return &Metrics{
		Requests:       b.vec("requests_total", "Requests, by what their session was.", "kind"),
		OwnAnswers:     b.vec("own_answers_total", "Answers made by Pillion instead of the app.", "error"),
		IDsRejected:    b.vec("ids_rejected_total", "Session ids refused without asking the ring.", "reason"),
		ContractErrors: b.vec("contract_errors_total", "App answers that break the header contract.", "reason"),
		Spoofs:         b.counter("spoofs_total", "Pillion-* fields sent by clients and removed."),
		Sessions:       b.vec("session_events_total", "What happened to sessions.", "event"),
		Commits:        b.vec("commits_total", "Commits of session changes.", "result"),
		CommitSeconds:  b.histogram("commit_seconds", "Time the response head waited for its commit."),
		LockSeconds:    b.histogram("lock_seconds", "Time requests waited for a session lock."),
		Unknown:        b.counter("unknown_total", "Requests whose session the ring could neither give nor deny."),
		Touches:        b.counter("touches_total", "Background refreshes of stored copies."),
		Dropped:        b.counter("background_dropped_total", "Writes owed to the ring that were given up, for too many are."),
		ReadOnly:       b.counter("lock_read_only_total", "Requests that learned locking passed without a lock."),
		InMemory:       b.gauge("sessions_in_memory", "Sessions in the memory table."),
		MemoryBytes:    b.gauge("memory_bytes", "Bytes of session data in the memory table."),
		Evicted:        b.counter("sessions_evicted_total", "Backed-up sessions dropped from memory at the limit."),
		HeaderCache:    b.gauge("header_cache_bytes", "Bytes of header values kept ready of sessions in use."),
		StampsAhead:    b.counter("stamps_ahead_total", "Stamps more than five minutes ahead of this clock."),
		OpenClosed:     b.counter("open_closed_total", "Open WebSockets and event streams closed because their session ended."),
		NodeOperations: b.vec("node_operations_total", "memcached operations.", "node", "op", "result"),
		NodeSeconds:    b.histogramVec("node_operation_seconds", "Time of memcached operations.", "node"),
		NodeUp:         b.gaugeVec("node_up", "1 while the node answers.", "node"),
		NodeLives:      b.vec("node_lives_total", "New memory lives seen on a node.", "node"),
		BlobsRejected:  b.vec("blobs_rejected_total", "Stored blobs that did not open.", "class"),
		Repairs:        b.counter("repairs_total", "Copies refilled because they were missing or behind."),
		ConfigReloads:  b.vec("config_reloads_total", "Configuration reloads.", "result"),
	}
}

// NewProcess registers what every process has: Go's and the system's view of it, its version, and whether it is ready.
func NewProcess(reg prometheus.Registerer, version string, ready func() bool) {
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	b := builder{reg}
	b.gaugeVec("build_info", "1, with the version as a label.", "version", "goversion").WithLabelValues(version, runtime.Version()).Set(1)
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "pillion", Name: "ready", Help: "1 while /ready answers 200."}, func() float64 {
		if ready() {
			return 1
		}
		return 0
	}))
}

type builder struct{ reg prometheus.Registerer }

func (b builder) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "pillion", Name: name, Help: help})
	b.reg.MustRegister(c)
	return c
}

func (b builder) vec(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "pillion", Name: name, Help: help}, labels)
	b.reg.MustRegister(c)
	return c
}

func (b builder) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "pillion", Name: name, Help: help})
	b.reg.MustRegister(g)
	return g
}

func (b builder) gaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "pillion", Name: name, Help: help}, labels)
	b.reg.MustRegister(g)
	return g
}

// buckets reach from a local memcached's answer to the longest lock wait.
var buckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}

func (b builder) histogram(name, help string) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "pillion", Name: name, Help: help, Buckets: buckets})
	b.reg.MustRegister(h)
	return h
}

func (b builder) histogramVec(name, help string, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "pillion", Name: name, Help: help, Buckets: buckets}, labels)
	b.reg.MustRegister(h)
	return h
}
