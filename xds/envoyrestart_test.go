package xds

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load asks without pause until stop, and returns how many requests failed.
func (v visitor) load(cookies string) (stop func() (failed, all int64)) {
	var failed, all atomic.Int64
	done := make(chan struct{})
	var work sync.WaitGroup
	for i := range 4 {
		work.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				status, _ := v.ask([]string{"GET", "POST"}[i%2], "/", cookies)
				all.Add(1)
				if status != 200 {
					failed.Add(1)
				}
			}
		})
	}
	return func() (int64, int64) {
		close(done)
		work.Wait()
		return failed.Load(), all.Load()
	}
}

// A control plane that restarts knows nobody: it says nothing within its hold-off, Envoy keeps what it has, and sidecars that come late
// within it are there when it speaks.
func TestEnvoyKeepsItsFleetOverARestart(t *testing.T) {
	bothModes(t, func(t *testing.T, delta bool) {
		envoyBinary(t)
		port := freePort(t)
		services := write(t, filepath.Join(t.TempDir(), "services.yaml"), fmt.Sprintf("apps: {shop: {}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", port))
		first := startPlane(t, "", Options{Services: services})
		var addresses []string
		var backends []*backend
		for _, route := range []string{"a1", "a2"} {
			b := startBackend(t, "shop", route, first.address)
			backends, addresses = append(backends, b), append(addresses, b.Sidecar.Address)
		}
		e := startEnvoy(t, Bootstrap{ControlPlanes: []string{first.address}, Delta: delta})
		healthy := func() bool { return e.health(addresses[0]) == "healthy" && e.health(addresses[1]) == "healthy" }
		eventually(t, "the fleet is in Envoy", healthy)
		versions := first.versions()

		stop := newVisitor(t, fmt.Sprintf("http://127.0.0.1:%d", port)).load(session("a1"))
		for _, b := range backends { // their streams come back later than Envoy's
			b.cancel()
		}
		first.stop()
		second := startPlane(t, first.address, Options{Services: services, HoldOff: 2 * time.Second})
		eventually(t, "envoy is back", func() bool { return second.server.Count(frontGroup) == 1 })
		for _, b := range backends {
			b.register(nil, second.address)
		}
		<-second.Ready()
		eventually(t, "the second publishes the same", func() bool {
			got := second.versions()
			return got["ClusterLoadAssignment"] == versions["ClusterLoadAssignment"] && got["RouteConfiguration"] == versions["RouteConfiguration"]
		})
		if failed, all := stop(); failed > 0 || all == 0 {
			t.Errorf("%d of %d requests failed", failed, all)
		} else {
			t.Logf("0 of %d requests failed", all)
		}
		if !healthy() {
			t.Error("the fleet is not in Envoy")
		}
		e.accepted()
	})
}

// Two control planes: sidecars register with both, and Envoy goes on with the other when its own dies.
func TestEnvoyChangesControlPlanes(t *testing.T) {
	envoyBinary(t)
	port := freePort(t)
	services := write(t, filepath.Join(t.TempDir(), "services.yaml"), fmt.Sprintf("apps: {shop: {}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", port))
	one, two := startPlane(t, "", Options{Services: services}), startPlane(t, "", Options{Services: services})
	a1 := startBackend(t, "shop", "a1", one.address, two.address)
	startBackend(t, "shop", "a2", one.address, two.address)
	e := startEnvoy(t, Bootstrap{ControlPlanes: []string{one.address, two.address}, Delta: true})
	v := newVisitor(t, fmt.Sprintf("http://127.0.0.1:%d", port))
	eventually(t, "endpoint", func() bool { return e.health(a1.Sidecar.Address) == "healthy" })
	its, other := one, two
	if two.server.Count(frontGroup) == 1 {
		its, other = two, one
	}
	stop := v.load(session("a1"))
	its.stop()
	eventually(t, "envoy follows the other", func() bool { return other.server.Count(frontGroup) == 1 })
	if err := a1.client.Drain(t.Context()); err != nil { // the dead one is not waited for
		t.Error(err)
	}
	if flags := e.health(a1.Sidecar.Address); flags != "/eds_status_draining" {
		t.Errorf("envoy says %q", flags)
	}
	if failed, all := stop(); failed > 0 {
		t.Errorf("%d of %d requests failed", failed, all)
	}
}
