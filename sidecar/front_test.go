package sidecar_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/sidecar"
)

// balancer is a front whose sidecars are as healthy as a test says.
type balancer struct {
	*sidecar.Front
	t     testing.TB
	draws func(n int) int

	mu     sync.Mutex
	health map[string]error // by address; nil is ready
	probes int
}

var (
	errDraining = errors.New("draining")
	errLate     = errors.New("late")
)

// newBalancer has sidecars with those routes, at route:80.
func newBalancer(t testing.TB, routes ...string) *balancer {
	b := &balancer{t: t, draws: func(int) int { return 1 }, health: map[string]error{}}
	b.Front = sidecar.NewFront(sidecar.FrontOptions{
		Probe: b.probe, IntN: func(n int) int { return b.draws(n) },
		Metrics: metrics.NewFront(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	b.SetSite(siteOf(fleetOf(routes...)))
	return b
}

// siteOf is one app on every host.
func siteOf(fleet []sidecar.Backend) sidecar.Site {
	r := sidecar.Route{Prefix: "/", App: "shop", Cookie: "__Host-psid", Homes: map[string]string{}, Retries: sidecar.AnyRetries, Lost: true, Compress: true}
	for _, b := range fleet {
		r.Homes[b.Route] = b.Address
	}
	return sidecar.Site{Hosts: []sidecar.Host{{Name: "*", Routes: []sidecar.Route{r}}}, Apps: []sidecar.App{{Name: "shop", HealthPath: "/ready", Backends: fleet}}}
}

func fleetOf(routes ...string) (all []sidecar.Backend) {
	for _, route := range routes {
		all = append(all, sidecar.Backend{Route: route, Address: route + ":80"})
	}
	return all
}

func (b *balancer) probe(_ context.Context, address, path string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probes++
	if path != "/ready" {
		b.t.Errorf("probes %s", path)
	}
	err := b.health[address]
	if errors.Is(err, errDraining) {
		return false, nil
	}
	return err == nil, err
}

// asked is the number of probes so far.
func (b *balancer) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.probes
}

// set makes a sidecar answer probes so from now on, and lets the next probe see it.
func (b *balancer) set(route string, err error) {
	b.mu.Lock()
	b.health[route+":80"] = err
	b.mu.Unlock()
	wait(time.Second)
	synctest.Wait()
}

func (b *balancer) run() {
	ctx, cancel := context.WithCancel(context.Background())
	b.t.Cleanup(cancel)
	go b.Run(ctx)
	synctest.Wait()
}

// request is a visitor's with those Cookie fields.
func request(method string, cookies ...string) *head.Exchange {
	x := &head.Exchange{Context: context.Background(), Request: head.Head{Method: method, Target: "/"}}
	for _, c := range cookies {
		x.Request.Fields.Add("Cookie", c)
	}
	return x
}

// where is the route to which the front sends x, or the status of its answer.
func where(to head.To, reply *head.Reply) string {
	if reply != nil {
		return fmt.Sprint(reply.Status)
	}
	return strings.TrimSuffix(to.Address, ":80")
}

func (b *balancer) must(x *head.Exchange, want string) *head.Exchange {
	b.t.Helper()
	if got := where(b.Request(x)); got != want {
		b.t.Errorf("the request goes to %s, want %s", got, want)
	}
	return x
}

const anyToken = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnop"

// homed is the cookie of a visitor of that sidecar.
func homed(route string) string { return "__Host-psid=" + anyToken + "-n1." + route }

func TestFrontReadsTheRoute(t *testing.T) {
	many := strings.Repeat("__Host-psid=x; ", 4)
	for _, c := range []struct {
		name    string
		cookies []string
		want    string
	}{
		{"none", nil, "a1"},
		{"home", []string{homed("a2")}, "a2"},
		{"among others", []string{"a=1; " + homed("a2") + "; b=2"}, "a2"},
		{"second line", []string{"a=1", homed("a2")}, "a2"},
		{"without spaces", []string{"a=1;" + homed("a2")}, "a2"},
		{"first that names one", []string{"__Host-psid=x; " + homed("a2") + "; " + homed("a1")}, "a2"},
		{"no node", []string{"__Host-psid=" + anyToken + ".a2"}, "a2"},
		{"no route", []string{"__Host-psid=" + anyToken + "-n1"}, "a1"},
		{"unknown route", []string{homed("a9")}, "a1"},
		{"another name", []string{"__host-psid=" + anyToken + ".a2; psid=" + anyToken + ".a2"}, "a1"},
		{"no id", []string{"__Host-psid=a2"}, "a1"},
		{"too many", []string{many + homed("a2")}, "a1"},
	} {
		t.Run(c.name, func(t *testing.T) { newBalancer(t, "a1", "a2").must(request("GET", c.cookies...), c.want) })
	}
}

func TestFrontChoosesTheLeastLoaded(t *testing.T) {
	b := newBalancer(t, "a1", "a2", "a3")
	for range 2 { // visitors of a1 come home whatever its load
		b.must(request("GET", homed("a1")), "a1")
	}
	second := b.must(request("GET"), "a2")
	third := b.must(request("GET"), "a3")
	b.End(third, nil)
	b.must(request("GET"), "a3")
	b.End(second, errors.New("the client left"))
	b.must(request("GET"), "a2")
}

func TestFrontDrawsLots(t *testing.T) {
	b := newBalancer(t, "a1", "a2", "a3", "a4")
	b.must(request("GET", homed("a2")), "a2")
	for want, draws := range map[string][]int{"a1": {1, 1}, "a3": {0, 1}, "a4": {1, 0}} {
		var asked []int
		b.draws = func(n int) int { asked = append(asked, n); return draws[len(asked)-1] }
		b.End(b.must(request("GET"), want), nil)
		if !slices.Equal(asked, []int{2, 3}) {
			t.Errorf("drew lots of %v", asked)
		}
	}
}

// Who does not want visitors gets none, not even its own, unless no other is left.
func TestFrontDrainingSidecar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, "a1", "a2")
		b.run()
		b.set("a1", errDraining)
		b.must(request("GET", homed("a1")), "a2")
		b.must(request("GET"), "a2")
		b.set("a2", errDraining)
		b.must(request("GET", homed("a1")), "a1")
		b.must(request("GET", homed("a2")), "a2")
		if b.Ready() {
			t.Error("a front whose sidecars all drain is ready")
		}
		b.set("a2", sidecar.ErrRefused)
		b.must(request("GET", homed("a2")), "a1")
		b.set("a1", nil)
		if b.must(request("GET", homed("a2")), "a1"); !b.Ready() {
			t.Error("not ready")
		}
	})
}

func TestFrontProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, "a1", "a2")
		b.run()
		healthOf := func() string { return b.Backends()[0].Health }
		for _, step := range []struct {
			answer error
			want   string
		}{
			{nil, "serving"},
			{errLate, "serving"}, {errLate, "gone"}, // a busy one may be late once
			{nil, "serving"},
			{errLate, "serving"}, {nil, "serving"}, {errLate, "serving"}, {nil, "serving"},
			{sidecar.ErrRefused, "gone"},
			{errDraining, "leaving"},
			{fmt.Errorf("dial: %w", sidecar.ErrRefused), "gone"},
		} {
			if b.set("a1", step.answer); healthOf() != step.want {
				t.Fatalf("after %v it is %s, want %s", step.answer, healthOf(), step.want)
			}
		}
		before := b.asked()
		wait(10 * time.Second)
		synctest.Wait()
		if n := b.asked() - before; n != 20 {
			t.Errorf("%d probes of 2 sidecars in 10 s", n)
		}
	})
}

// A refused request goes on to each of the others, and the next ones do not try in vain.
func TestFrontRefusedSidecar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, "a1", "a2", "a3")
		x := b.must(request("POST", homed("a2")), "a2")
		if got := where(b.Unreached(x)); got != "a1" {
			t.Errorf("goes on to %s", got)
		}
		b.must(request("GET", homed("a2")), "a3")
		if got := where(b.Unreached(x)); got != "a3" {
			t.Errorf("goes on to %s", got)
		}
		if got := where(b.Unreached(x)); got != "503" {
			t.Errorf("goes on to %s", got)
		}
		b.must(request("GET", homed("a2")), "a2") // all are gone: the knowledge may be old
		b.End(x, nil)
		if all := b.Backends(); all[0].Requests != 0 {
			t.Errorf("requests are counted twice: %v", all)
		}
		b.run() // the first probe brings all back
		b.must(request("GET", homed("a2")), "a2")
	})
}

// Only a safe request is sent a second time, and that once.
func TestFrontLostSidecar(t *testing.T) {
	b := newBalancer(t, "a1", "a2")
	if got := where(b.Lost(b.must(request("GET"), "a1"), false)); got != "502" {
		t.Errorf("a request whose body is gone goes to %s", got)
	}
	for method, want := range map[string]string{"GET": "a1", "HEAD": "a1", "OPTIONS": "a1", "POST": "502", "PUT": "502", "DELETE": "502", "get": "502"} {
		b := newBalancer(t, "a1", "a2", "a3")
		x := b.must(request(method, homed("a2")), "a2")
		if got := where(b.Lost(x, true)); got != want {
			t.Errorf("a lost %s goes to %s, want %s", method, got, want)
		}
		if got := where(b.Lost(x, true)); got != "502" {
			t.Errorf("a %s lost twice goes to %s", method, got)
		}
		b.End(x, nil)
		next := map[bool]string{true: "a3", false: "a1"}[want == "a1"] // who lost one gets none until it has answered a probe
		b.must(request("GET", homed("a2")), next)
	}
}

// A sidecar that lives without its app says that nothing was executed; no client sees that field.
func TestFrontDeclinedRequest(t *testing.T) {
	b := newBalancer(t, "a1", "a2")
	x := b.must(request("POST", homed("a2")), "a2")
	h := &head.Head{Status: 503, Fields: head.Fields{{Name: "Retry-After", Value: "1"}, {Name: "pillion-not-executed", Value: "1"}}}
	if err := b.Response(x, h); !errors.Is(err, head.ErrNotExecuted) || len(h.Fields) != 1 {
		t.Errorf("%v, %v", err, h.Fields)
	}
	if got := where(b.Unreached(x)); got != "a1" {
		t.Errorf("goes on to %s", got)
	}
	if all := b.Backends(); all[1].Health != "leaving" {
		t.Errorf("%v", all)
	}
	plain := &head.Head{Status: 503, Fields: head.Fields{{Name: "Retry-After", Value: "1"}}}
	if err := b.Response(x, plain); err != nil || len(plain.Fields) != 1 {
		t.Errorf("an app's own 503: %v, %v", err, plain.Fields)
	}
}

func TestFrontSetSite(t *testing.T) {
	b := newBalancer(t, "a1", "a2")
	one, two := b.must(request("GET", homed("a1")), "a1"), b.must(request("GET", homed("a2")), "a2")
	b.SetSite(siteOf(append(fleetOf("a2", "a3"), sidecar.Backend{Route: "a1", Address: "moved:80"})))
	b.must(request("GET", homed("a1")), "moved")
	b.must(request("GET"), "a3")
	b.End(one, nil)
	b.End(two, nil)
	got := ""
	for _, s := range b.Backends() {
		got += fmt.Sprintf("%s %s %d, ", s.Route, s.Address, s.Requests)
	}
	if want := "a1 moved:80 1, a2 a2:80 0, a3 a3:80 1, "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	b.SetSite(siteOf(nil))
	b.must(request("GET", homed("a1")), "503")
}
