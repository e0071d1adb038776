package xds

import (
	"encoding/json"
	"time"

	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/pillion-proxy/pillion/xds/server"
)

// What an operator may see, as values for JSON.

// RegistryView is who is connected, and who was refused.
type RegistryView struct {
	Sidecars []member  `json:"sidecars"`
	Refused  []refusal `json:"refused,omitempty"`
}

// Registry returns the sidecars that are known.
func (c *ControlPlane) Registry() any {
	members, _ := c.registry.view(time.Now())
	view := RegistryView{Sidecars: members}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.refused {
		view.Refused = append(view.Refused, r)
	}
	return view
}

// frontView is one stream of a front.
type frontView struct {
	Node   string              `json:"node"`
	Stream string              `json:"stream"`
	Mode   string              `json:"mode"` // delta or sotw
	Remote string              `json:"remote"`
	Since  time.Time           `json:"since"`
	Types  map[string]typeView `json:"types"`
}

type typeView struct {
	Sent  string `json:"sent"`
	Acked string `json:"acked"`
	NACKs int    `json:"nacks"`
	Error string `json:"error,omitempty"`
}

// Fronts returns the streams of fronts and what they accepted.
func (c *ControlPlane) Fronts() any {
	all := []frontView{}
	for _, s := range c.server.Streams() {
		if s.Group != frontGroup {
			continue
		}
		f := frontView{Node: s.Node, Stream: s.ID, Mode: "sotw", Remote: remoteHost(s.Stream), Since: s.Since, Types: map[string]typeView{}}
		if s.Delta {
			f.Mode = "delta"
		}
		for typeURL, t := range s.Types {
			f.Types[shortType(typeURL)] = typeView(t)
		}
		all = append(all, f)
	}
	return map[string]any{"versions": c.versions(), "fronts": all}
}

func (c *ControlPlane) versions() map[string]string {
	all := map[string]string{}
	for typeURL, version := range c.server.Versions(frontGroup) {
		all[shortType(typeURL)] = version
	}
	return all
}

// Snapshot returns what is published, by type and name, without private keys.
func (c *ControlPlane) Snapshot() any {
	all := map[string]map[string]json.RawMessage{}
	for _, group := range []string{frontGroup, sidecarGroup} {
		for typeURL, resources := range c.server.Resources(group) {
			all[shortType(typeURL)] = viewOf(resources)
		}
	}
	return all
}

func viewOf(resources map[string]proto.Message) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for name, r := range resources {
		if secret, ok := r.(*tls.Secret); ok {
			public := proto.Clone(secret).(*tls.Secret)
			public.GetTlsCertificate().PrivateKey = nil
			r = public
		}
		text, err := protojson.Marshal(r)
		if err != nil {
			text, _ = json.Marshal(err.Error())
		}
		all[name] = text
	}
	return all
}

var _ server.Observer = (*ControlPlane)(nil)
