package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/xds"
)

// crowdSize is how many streams a simulated fleet has.
type crowdSize struct{ apps, sidecars, fronts, changes int }

// measureSimulated opens the streams of a large fleet at one control plane, in this process, and measures what a change costs its fronts.
func measureSimulated(l *lab, t *table) error {
	size := crowdSize{apps: 10, sidecars: 1000, fronts: 100, changes: 50}
	if l.short {
		size = crowdSize{apps: 5, sidecars: 50, fronts: 10, changes: 5}
	}
	f, err := newSimulated(l, size)
	if err != nil {
		return err
	}
	defer f.end()
	if err := f.changeOneByOne(t); err != nil {
		return err
	}
	return f.changeAtOnce(t)
}

// simulated is a control plane with its streams.
type simulated struct {
	*lab
	size     crowdSize
	plane    *xds.ControlPlane
	target   string
	sidecars []*standIn
	fronts   []*simulatedFront
	served   sync.WaitGroup
}

func newSimulated(l *lab, size crowdSize) (*simulated, error) {
	var text strings.Builder
	text.WriteString("apps:\n")
	for i := range size.apps {
		fmt.Fprintf(&text, "  app%d: {hosts: [app%d.example]}\n", i, i)
	}
	services := filepath.Join(l.dir, "services.yaml")
	if err := os.WriteFile(services, []byte(text.String()), 0o600); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &simulated{lab: l, size: size, target: listener.Addr().String()}
	f.plane, err = xds.New(listener, xds.Options{
		Services: services, Metrics: metrics.NewControlPlane(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	f.served.Go(func() { _ = f.plane.Serve() })
	progress("simulated: opening %d streams of sidecars and %d of fronts", size.sidecars, size.fronts)
	for i := range size.sidecars {
		app := fmt.Sprintf("app%d", i%size.apps)
		b := &standIn{what: xds.Sidecar{App: app, Space: app, Route: fmt.Sprintf("r%d", i), Address: fmt.Sprintf("10.%d.%d.%d:8080", i>>16, i>>8&255, i&255), Cookie: "psid"}}
		if err := b.register(f.target); err != nil {
			f.end()
			return nil, err
		}
		f.sidecars = append(f.sidecars, b)
	}
	for i := range size.fronts {
		front, err := openFront(l.ctx, f.target, fmt.Sprintf("front-%d", i))
		if err != nil {
			f.end()
			return nil, err
		}
		f.fronts = append(f.fronts, front)
	}
	return f, f.settled()
}

// settled waits until every front has everything: nothing has come for a while, and all sidecars are in it.
func (f *simulated) settled() error {
	return until(f.ctx, "the fleet is settled", func() error {
		for _, front := range f.fronts {
			endpoints, last := front.knows()
			if endpoints != f.size.sidecars {
				return fmt.Errorf("a front knows %d of %d sidecars", endpoints, f.size.sidecars)
			}
			if time.Since(last) < 200*time.Millisecond {
				return errors.New("something came just now")
			}
		}
		return nil
	})
}

// changeOneByOne lets one sidecar after the other drain and come back, and looks when each front has it, and what it was sent.
func (f *simulated) changeOneByOne(t *table) error {
	var took []time.Duration
	bytes, types := 0, map[string]bool{}
	for i := range f.size.changes {
		b := f.sidecars[i*7%len(f.sidecars)]
		for _, front := range f.fronts {
			front.forget()
		}
		start := time.Now()
		b.client.SetDraining(true)
		for _, front := range f.fronts {
			at, err := front.waitFor(f.ctx, b.what.Address)
			if err != nil {
				return err
			}
			took = append(took, at.Sub(start))
		}
		n, names := f.received(b.what.App)
		bytes += n
		for _, name := range names {
			types[name] = true
		}
		b.client.SetDraining(false)
		if err := f.settled(); err != nil {
			return err
		}
	}
	var all []string
	for name := range types {
		all = append(all, name)
	}
	slices.Sort(all)
	t.add(fmt.Sprintf("%d sidecars, %d fronts: a change until a front has it", f.size.sidecars, f.size.fronts),
		fmt.Sprintf("p50 %s, p99 %s", ms(quantile(took, 0.5)), ms(quantile(took, 0.99))), "p99 50 ms", fmt.Sprintf("%d changes, max %s", f.size.changes, ms(quantile(took, 1))))
	joined, err := f.join()
	if err != nil {
		return err
	}
	t.add("what a front is sent for a new one", fmt.Sprintf("%d bytes", joined.bytes), "that app's EDS, the routes", strings.Join(joined.names, ", "))
	t.add("what a front is sent for a drain", fmt.Sprintf("%d bytes", bytes/f.size.changes/len(f.fronts)), "that app's EDS", strings.Join(all, ", "))
	return nil
}

// sent is what a front was sent, on average, and the types and names of all that was; the app that changed is APP.
type sent struct {
	bytes int
	names []string
}

func (f *simulated) received(app string) (bytes int, names []string) {
	for _, front := range f.fronts {
		got, n := front.got()
		bytes += n
		for _, name := range got {
			typed, named, _ := strings.Cut(name, " ")
			if of, _, _ := strings.Cut(named, "/"); of == app { // assignments are named after their clusters' settings too
				named = "APP"
			}
			names = append(names, typed+" "+named)
		}
	}
	slices.Sort(names)
	return bytes, slices.Compact(names)
}

// join adds one sidecar.
func (f *simulated) join() (sent, error) {
	for _, front := range f.fronts {
		front.forget()
	}
	b := &standIn{what: f.sidecars[0].what}
	b.what.Route, b.what.Address = "new", "10.99.0.1:8080"
	if err := b.register(f.target); err != nil {
		return sent{}, err
	}
	f.sidecars, f.size.sidecars = append(f.sidecars, b), f.size.sidecars+1
	err := f.settled()
	bytes, names := f.received(b.what.App)
	return sent{bytes / len(f.fronts), names}, err
}

// changeAtOnce lets 100 sidecars change within 50 ms.
func (f *simulated) changeAtOnce(t *table) error {
	const within = 50 * time.Millisecond
	changes := min(100, len(f.sidecars))
	for _, front := range f.fronts {
		front.forget()
	}
	start := time.Now()
	for i := range changes {
		f.sidecars[i].client.SetDraining(true)
		time.Sleep(time.Until(start.Add(within * time.Duration(i+1) / time.Duration(changes))))
	}
	took := time.Since(start)
	for _, front := range f.fronts {
		for i := range changes {
			if _, err := front.waitFor(f.ctx, f.sidecars[i].what.Address); err != nil {
				return err
			}
		}
	}
	last := time.Since(start)
	most := 0
	for _, front := range f.fronts {
		most = max(most, front.pushes())
	}
	t.add(fmt.Sprintf("%d changes at once: pushes to a front", changes), fmt.Sprint(most), "5", fmt.Sprintf("made in %s, everywhere after %s", ms(took), ms(last)))
	return nil
}

func (f *simulated) end() {
	for _, front := range f.fronts {
		front.close()
	}
	var ends sync.WaitGroup
	for _, b := range f.sidecars {
		ends.Go(b.end)
	}
	ends.Wait()
	f.plane.Stop()
	f.served.Wait()
}
