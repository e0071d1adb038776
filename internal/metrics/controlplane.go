package metrics

import "github.com/prometheus/client_golang/prometheus"

// ControlPlane are the instruments of a control plane.
type ControlPlane struct {
	Streams     *prometheus.GaugeVec   // role: front, sidecar
	Rebuilds    *prometheus.CounterVec // result: ok, failed
	Coalesced   prometheus.Counter
	AckSeconds  prometheus.Histogram
	NACKs       *prometheus.CounterVec // type: the resource's short type name
	Refused     *prometheus.CounterVec // reason: metadata, identity, conflict, names
	Draining    prometheus.Gauge
	ServiceLoad *prometheus.CounterVec // result: ok, rejected
}

// NewControlPlane registers the instruments.
func NewControlPlane(reg prometheus.Registerer) *ControlPlane {
	b := builder{reg}
	return &ControlPlane{
		Streams:     b.gaugeVec("xds_streams", "Open streams of fronts and sidecars.", "role"),
		Rebuilds:    b.vec("xds_rebuilds_total", "Snapshots made of registry and services.", "result"),
		Coalesced:   b.counter("xds_rebuilds_coalesced_total", "Changes that a rebuild already waiting took along."),
		AckSeconds:  b.histogram("xds_ack_seconds", "Time from sending a configuration to a front until it accepted it."),
		NACKs:       b.vec("xds_nacks_total", "Configurations that a client rejected.", "type"),
		Refused:     b.vec("xds_refused_total", "Streams refused.", "reason"),
		Draining:    b.gauge("xds_draining", "Sidecars that report draining."),
		ServiceLoad: b.vec("xds_services_loads_total", "Readings of the services file.", "result"),
	}
}
