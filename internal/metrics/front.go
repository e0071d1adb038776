package metrics

import "github.com/prometheus/client_golang/prometheus"

// Front are the instruments of a front.
type Front struct {
	OwnAnswers *prometheus.CounterVec // error: the Proxy-Status token
	Requests   *prometheus.CounterVec // app, backend: its route
	Repeats    *prometheus.CounterVec // reason: refused, declined, lost
	BackendUp  *prometheus.GaugeVec   // app, backend
	Encoded    *prometheus.CounterVec // coding: gzip, zstd, or busy where none was to be had
}

// Follower are the instruments of a front that follows a control plane.
type Follower struct {
	Following  prometheus.Gauge
	Rejections *prometheus.CounterVec // type: the resource's short type name
}

// NewFront registers the instruments of a front.
func NewFront(reg prometheus.Registerer) *Front {
	b := builder{reg}
	return &Front{
		OwnAnswers: b.vec("own_answers_total", "Answers made by Pillion instead of the app.", "error"),
		Requests:   b.vec("front_requests_total", "Requests sent to a sidecar.", "app", "backend"),
		Repeats:    b.vec("front_repeats_total", "Requests that went on to another sidecar, by what the one before did.", "reason"),
		BackendUp:  b.gaugeVec("front_backend_up", "1 while the sidecar wants visitors.", "app", "backend"),
		Encoded:    b.vec("front_encoded_total", "Answers sent in a content coding, or plain because too many were.", "coding"),
	}
}

// NewFollower registers the instruments of a front that follows a control plane.
func NewFollower(reg prometheus.Registerer) *Follower {
	b := builder{reg}
	return &Follower{
		Following:  b.gauge("front_following", "1 while a control plane is followed."),
		Rejections: b.vec("front_rejections_total", "Configurations that the front refused; the last good one stays.", "type"),
	}
}
