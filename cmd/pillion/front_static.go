package main

import (
	"crypto/tls"

	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/sidecar"
)

// visitorsPort is the name of the port of a front with a static list.
const visitorsPort = "visitors"

// serveStatic serves what a static list says, where listen says.
func (p *frontProcess) serveStatic(c *config.Config) error {
	p.front.SetSite(listedSite(c))
	var pair *tls.Certificate
	settings, err := c.TLS.Server()
	if err != nil {
		return err
	}
	if settings != nil {
		pair = &settings.Certificates[0]
	}
	return p.ports.set([]portSpec{{name: visitorsPort, address: c.Listen, secure: pair != nil}}, map[string]*tls.Certificate{visitorsPort: pair})
}

// listedSite is one app, on every host.
func listedSite(c *config.Config) sidecar.Site {
	r := sidecar.Route{Prefix: "/", Homes: map[string]string{}, Retries: sidecar.AnyRetries, Lost: true, Compress: c.Compress}
	if c.Sticky {
		r.Cookie = c.Session.Cookie
	}
	var fleet []sidecar.Backend
	for _, b := range c.Backends {
		fleet = append(fleet, sidecar.Backend{Route: b.Route, Address: b.Address})
		r.Homes[b.Route] = b.Address
	}
	return sidecar.Site{
		Hosts: []sidecar.Host{{Name: "*", Routes: []sidecar.Route{r}}},
		Apps:  []sidecar.App{{HealthPath: c.HealthPath, Backends: fleet}},
	}
}
