package sidecar_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/sidecar"
)

// mall is a site of several apps: each has one sidecar, which has the app's name.
func mall() sidecar.Site {
	route := func(app, prefix string, methods ...string) sidecar.Route {
		return sidecar.Route{Prefix: prefix, Methods: methods, App: app, Cookie: "__Host-psid", Homes: map[string]string{"r": app + ":80"}, Retries: 3}
	}
	site := sidecar.Site{NormalPaths: true, Hosts: []sidecar.Host{
		{Name: "shop.example", Routes: []sidecar.Route{route("api", "/api/v2"), route("post", "/api", "POST"), route("old", "/api"), route("shop", "/")}},
		{Name: "admin.shop.example", Routes: []sidecar.Route{route("admin", "/admin")}},
		{Name: "*.shop.example", Routes: []sidecar.Route{route("tenant", "/")}},
		{Name: "*.eu.shop.example", Routes: []sidecar.Route{route("eu", "/")}},
		{Name: "*", Routes: []sidecar.Route{route("blog", "/blog"), route("rest", "/")}},
	}}
	for _, app := range []string{"api", "post", "old", "shop", "admin", "tenant", "eu", "blog", "rest"} {
		site.Apps = append(site.Apps, sidecar.App{Name: app, HealthPath: "/ready", Backends: []sidecar.Backend{{Route: app, Address: app + ":80"}}})
	}
	return site
}

func TestFrontFindsTheApp(t *testing.T) {
	b := newBalancer(t)
	b.SetSite(mall())
	for _, c := range []struct{ method, authority, target, want string }{
		{"GET", "shop.example", "/", "shop"},
		{"GET", "SHOP.example:8443", "/x", "shop"},
		{"GET", "shop.example", "/api", "old"},
		{"GET", "shop.example", "/api/", "old"},
		{"GET", "shop.example", "/api?x=/api/v2", "old"},
		{"POST", "shop.example", "/api?x=/api/v2", "post"},
		{"POST", "shop.example", "/api/v2?x", "api"},
		{"GET", "shop.example", "/api/v2/x", "api"},
		{"GET", "shop.example", "/api/v22", "old"},
		{"GET", "shop.example", "/apis", "shop"},
		{"GET", "shop.example", "/API", "shop"},
		{"GET", "shop.example", "/x/../api", "old"},
		{"GET", "shop.example", "/x/%2E./api", "old"},
		{"GET", "shop.example", "/%61pi", "old"},
		{"GET", "shop.example", "/api/../x", "shop"},
		{"GET", "shop.example", "/api%2Fv2", "shop"},
		{"OPTIONS", "shop.example", "*", "shop"},
		{"GET", "admin.shop.example", "/admin/x", "admin"},
		{"GET", "admin.shop.example", "/", "404"}, // not the host "*"
		{"GET", "a.shop.example", "/", "tenant"},
		{"GET", "a.b.shop.example:80", "/", "tenant"},
		{"GET", "a.eu.shop.example", "/", "eu"},
		{"GET", "eu.shop.example", "/", "tenant"},
		{"GET", ".shop.example", "/", "rest"},
		{"GET", "", "/", "rest"},
		{"GET", "[::1]:80", "/blog", "blog"},
		{"GET", "[::1]", "/blog", "blog"},
		{"GET", "shop.example.", "/", "rest"},
		{"GET", "shop.example", "/%00", "400"},
	} {
		x := &head.Exchange{Request: head.Head{Method: c.method, Authority: c.authority, Target: c.target}}
		if got := where(b.Request(x)); got != c.want {
			t.Errorf("%s %s%s leads to %s, want %s", c.method, c.authority, c.target, got, c.want)
		}
		b.End(x, nil)
	}
	_, reply := b.Request(&head.Exchange{Request: head.Head{Method: "GET", Authority: "admin.shop.example", Target: "/"}})
	if reply.Token != head.NoRoute || !reply.Fields.Has("Proxy-Status") {
		t.Errorf("%+v", reply)
	}
}

func TestFrontRetriesAsItsRouteSays(t *testing.T) {
	for retries := range 3 {
		site := siteOf(fleetOf("a1", "a2", "a3", "a4"))
		site.Hosts[0].Routes[0].Retries, site.Hosts[0].Routes[0].Lost = retries, false
		b := newBalancer(t)
		b.SetSite(site)
		x := b.must(request("GET"), "a1")
		got := ""
		for got != "503" {
			got = where(b.Unreached(x))
			retries--
		}
		if retries != -1 {
			t.Errorf("%d retries are left", retries+1)
		}
		fresh := newBalancer(t)
		fresh.SetSite(site)
		if got := where(fresh.Lost(fresh.must(request("GET"), "a1"), true)); got != "502" {
			t.Errorf("a lost one goes to %s", got)
		}
	}
}

// A sidecar that is known to drain gets no visitor, not even its own, unless nobody else is well; the newest word counts at once, also for a
// request that is on its way.
func TestFrontSidecarThatIsKnownToDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, "a1", "a2")
		b.run()
		held := b.must(request("GET", homed("a1")), "a1")
		fleet := fleetOf("a1", "a2")
		fleet[0].Draining = true
		b.SetSite(siteOf(fleet))
		b.must(request("GET", homed("a1")), "a2")
		wait(2 * time.Second) // probes that say it is ready change nothing
		synctest.Wait()
		b.must(request("GET", homed("a1")), "a2")
		if all := b.Backends(); all[0].Health != "leaving" || all[0].Requests != 1 || all[1].Health != "serving" {
			t.Errorf("%+v", all)
		}
		b.set("a2", sidecar.ErrRefused)
		b.must(request("GET", homed("a2")), "a1") // better than nobody
		b.set("a2", nil)
		fleet[1].Draining = true
		b.SetSite(siteOf(fleet))
		b.must(request("GET", homed("a1")), "a1")
		if b.Ready() {
			t.Error("ready without anybody")
		}
		fleet = fleetOf("a1", "a2", "a3")
		fleet[0].Draining, fleet[1].Draining = true, true
		b.SetSite(siteOf(fleet))
		if got := where(b.Unreached(held)); got != "a3" {
			t.Errorf("a request that is on its way goes to %s", got)
		}
		b.set("a1", sidecar.ErrRefused)
		if all := b.Backends(); all[0].Health != "gone" {
			t.Errorf("%+v", all)
		}
	})
}

// Each app is probed at its own path, and a sidecar is known by its address: its name may come later.
func TestFrontAppsAreApart(t *testing.T) {
	b := newBalancer(t)
	site := mall()
	site.Apps[0].Backends[0].Route = ""
	b.SetSite(site)
	x := &head.Exchange{Request: head.Head{Method: "GET", Authority: "shop.example", Target: "/api/v2"}}
	if got := where(b.Request(x)); got != "api" {
		t.Error(got)
	}
	b.SetSite(mall())
	if all := b.Backends(); len(all) != 9 || all[1].App != "api" || all[1].Route != "api" || all[1].Requests != 1 || all[8].Requests != 0 {
		t.Errorf("%+v", all)
	}
	b.End(x, nil)
	site = mall()
	site.Apps = site.Apps[1:]
	b.SetSite(site)
	if got := where(b.Request(x)); got != "503" {
		t.Errorf("an app that nobody serves: %s", got)
	}
}
