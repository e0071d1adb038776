package metrics

import "github.com/prometheus/client_golang/prometheus"

// Front are the instruments of a front.
type Front struct {
	OwnAnswers *prometheus.CounterVec // error: the Proxy-Status token
	Requests   *prometheus.CounterVec // app, backend: its route
	Repeats    *prometheus.CounterVec // reason: refused, declined, lost
	BackendUp  *prometheus.GaugeVec   // app, backend
}

// NewFront registers the instruments of a front.
func NewFront(reg prometheus.Registerer) *Front {
	b := builder{reg}
	return &Front{
		OwnAnswers: b.vec("own_answers_total", "Answers made by Pillion instead of the app.", "error"),
		Requests:   b.vec("front_requests_total", "Requests sent to a sidecar.", "app", "backend"),
		Repeats:    b.vec("front_repeats_total", "Requests that went on to another sidecar, by what the one before did.", "reason"),
		BackendUp:  b.gaugeVec("front_backend_up", "1 while the sidecar wants visitors.", "app", "backend"),
	}
}
