package sim

import (
	"bytes"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// Changes of the configuration reach the sidecars one after the other, at most that far apart: so two of them have different ring files or keys
// for a while.
const spread = 400 * time.Millisecond

// settings are what may change of a sidecar while it runs; they outlive its process.
type settings struct {
	absent int // the node that it does not know, -1: it knows all
	keys   int // how far it has gone in the rotation: see secrets
}

// configure changes the settings of every sidecar.
func (w *world) configure(f Fault, change func(*settings)) {
	for i := range w.settings {
		w.background.Go(func() {
			<-time.After(time.Duration(f.Chance >> (8 * i) % uint64(spread)))
			w.set(func() { change(&w.settings[i]) })
			if p := w.at(i); p != nil && p.alive() {
				p.reload()
			}
		})
	}
	<-time.After(spread)
}

// without takes a node out of the ring, and in again, restarted: a node that comes back into a ring must come empty (docs/operations.md). An
// operator does that to one node after the other.
func (w *world) without(f Fault) {
	w.operator <- struct{}{}
	defer func() { <-w.operator }()
	w.configure(f, func(s *settings) { s.absent = f.Node })
	<-time.After(f.For)
	w.nodes[f.Node].kill()
	w.nodes[f.Node].revive()
	w.configure(f, func(s *settings) { s.absent = -1 })
}

// rotate brings in a new key: first to open with everywhere, then to seal with.
func (w *world) rotate(f Fault) {
	w.configure(f, func(s *settings) { s.keys++ })
	<-time.After(f.For)
	w.configure(f, func(s *settings) { s.keys++ })
}

// reload gives a running sidecar its settings, as a reload of its file does.
func (p *process) reload() {
	var s settings
	p.w.set(func() { s = p.w.settings[p.index] })
	p.w.trace("%s reloads %+v", p.route, s)
	must(p.store.SetNodes(p.nodes(s)))
	codec, keys, secrets := p.keys(s)
	p.store.SetCodec(codec)
	p.handler.SetKeys(keys, skewedSealer{codec, p.wrong}, secrets)
}

func (p *process) nodes(s settings) (nodes []ring.Node) {
	for i, n := range p.w.nodes {
		if i != s.absent {
			nodes = append(nodes, ring.Node{Name: n.name, Address: n.name + ".test:11211"})
		}
	}
	return nodes
}

// secrets are the keys of a step of the rotation, the one that seals first. At an odd step the next one opens already; old ones open on.
func secrets(step int) (list [][]byte) {
	seals := step / 2
	list = [][]byte{secret(seals)}
	for i := range (step+1)/2 + 1 {
		if i != seals {
			list = append(list, secret(i))
		}
	}
	return list
}

func secret(number int) []byte { return bytes.Repeat([]byte{byte(7 + number)}, 32) }

func (p *process) keys(s settings) (*sessioncodec.Codec, *ring.Keys, [][]byte) {
	list := secrets(s.keys)
	o := sessioncodec.Options{Space: space, Random: p.random}
	for i, secret := range list {
		if key := (sessioncodec.Key{ID: uint32(secret[0]), Secret: secret}); i == 0 {
			o.Seal = &key
		} else {
			o.Open = append(o.Open, key)
		}
	}
	codec, err := sessioncodec.New(o)
	must(err)
	keys, err := ring.NewKeys(space, list...)
	must(err)
	return codec, keys, list
}
