package xds

import (
	"crypto/tls"
	"time"
)

// FrontConfig is what a control plane tells `pillion front`, which gets the same resources as Envoy and must do the same.
type FrontConfig struct {
	Listeners []FrontListener // those that can be served: with their certificate, and not before there are routes
	Hosts     []FrontHost
	Apps      []FrontApp
}

// FrontListener is a port.
type FrontListener struct {
	Name          string
	Address       string           // IP:PORT
	Certificate   *tls.Certificate // nil for plain TCP
	Idle          time.Duration    // of a connection between requests; 0 is not said
	HeaderTimeout time.Duration    // for a request's head; 0 is not said
	AccessLog     bool
}

// FrontHost is a name, "*.NAME" or "*", and what is served there: the first route that matches.
type FrontHost struct {
	Name   string
	Routes []FrontRoute
}

// FrontRoute leads to an app.
type FrontRoute struct {
	Prefix   string   // whole segments of the path; "/" is every path
	Methods  []string // nil is every method
	App      string
	Cookie   string            // of the session
	Homes    map[string]string // address by the route in the id
	Timeout  time.Duration     // until the end of the response; 0 is none
	Retries  int
	Lost     bool // repeat also what may have been executed
	Compress bool
}

// FrontApp is an app and the sidecars before it.
type FrontApp struct {
	Name           string
	HealthPath     string
	HealthTimeout  time.Duration
	ConnectTimeout time.Duration
	TLS            *tls.Config // nil for plain TCP
	Backends       []FrontBackend
}

// FrontBackend is one sidecar.
type FrontBackend struct {
	Route    string // "" while no route tells it
	Address  string
	Draining bool
}
