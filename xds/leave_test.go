package xds

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc/codes"
)

// A control plane that leaves sends fronts away, some at a time, and takes no new ones; sidecars stay, so that it knows the fleet when it
// comes back.
func TestLeaveSendsFrontsAway(t *testing.T) {
	p := startPlane(t, "", Options{})
	startBackend(t, "shop", "a1", p.address)
	eventually(t, "published", func() bool { return p.versions()["Cluster"] != "" })
	var fronts []raw
	for i := range 30 {
		r := dialRaw(t, p.address, nil)
		r.ask(front(fmt.Sprintf("front-%d", i)), resource.ClusterType)
		r.answer(r.next(), "")
		fronts = append(fronts, r)
	}
	if n := p.Fronting(); n != 30 {
		t.Fatalf("%d fronts", n)
	}
	p.Leave()
	eventually(t, "the first wave is gone", func() bool { return p.Fronting() < 30 })
	if n := p.Fronting(); n < 30-3*3 {
		t.Errorf("%d fronts are left after the first wave of 3", n) // two more waves may have passed on a slow machine
	}
	for i, r := range fronts {
		if code, message := r.refused(); code != codes.Unavailable || message != "this control plane is leaving: use another one" {
			t.Errorf("front %d: %v %q", i, code, message)
		}
	}
	eventually(t, "no front is left", func() bool { return p.Fronting() == 0 })
	late := dialRaw(t, p.address, nil)
	late.ask(front("late"), resource.ClusterType)
	if code, _ := late.refused(); code != codes.Unavailable {
		t.Errorf("a front that comes then: %v", code)
	}
	if got := p.members(); len(got) != 1 || p.server.Count(sidecarGroup) != 1 {
		t.Errorf("sidecars left: %v", got)
	}
	p.Stay()
	again := dialRaw(t, p.address, nil)
	again.ask(front("again"), resource.ClusterType)
	again.answer(again.next(), "")
}

// Envoy goes to the other control plane when its own leaves, and nobody notices.
func TestEnvoyFollowsALeavingControlPlane(t *testing.T) {
	bothModes(t, func(t *testing.T, delta bool) {
		envoyBinary(t)
		port := freePort(t)
		services := write(t, filepath.Join(t.TempDir(), "services.yaml"), fmt.Sprintf("apps: {shop: {}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", port))
		one, two := startPlane(t, "", Options{Services: services}), startPlane(t, "", Options{Services: services})
		a1 := startBackend(t, "shop", "a1", one.address, two.address)
		startBackend(t, "shop", "a2", one.address, two.address)
		e := startEnvoy(t, Bootstrap{ControlPlanes: []string{one.address, two.address}, Delta: delta})
		v := newVisitor(t, fmt.Sprintf("http://127.0.0.1:%d", port))
		v.until("/", session("a1"), "a1")
		its, other := one, two
		if two.server.Count(frontGroup) == 1 {
			its, other = two, one
		}
		stop := v.load(session("a1"))
		its.Leave()
		eventually(t, "envoy follows the other", func() bool { return other.Fronting() == 1 && its.Fronting() == 0 })
		if err := a1.client.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if flags := e.health(a1.Sidecar.Address); flags != "/eds_status_draining" {
			t.Errorf("envoy says %q", flags)
		}
		if failed, all := stop(); failed > 0 || all == 0 {
			t.Errorf("%d of %d requests failed", failed, all)
		}
		e.accepted()
	})
}
