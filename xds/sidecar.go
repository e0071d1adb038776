package xds

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// The node cluster by which a stream says what it is. Every other one is taken for a front's.
const (
	sidecarCluster = "pillion-sidecar"
	frontCluster   = "pillion-front"
)

// Sidecar is what a sidecar says about itself.
type Sidecar struct {
	App        string `json:"app"`
	Space      string `json:"space"`
	Route      string `json:"route"`
	Address    string `json:"address"` // ip:port where fronts and peers reach it
	Cookie     string `json:"cookie"`
	Host       string `json:"host,omitempty"`
	HealthPath string `json:"health_path,omitempty"`
	Version    string `json:"version,omitempty"`
	Draining   bool   `json:"draining"`
}

// field ties a text of Sidecar to its name in the metadata and to what it may hold.
type field struct {
	name    string
	at      func(*Sidecar) *string
	pattern *regexp.Regexp
	must    string // how it is described
	empty   bool   // may be missing
}

var sidecarFields = []field{
	{"app", func(s *Sidecar) *string { return &s.App }, regexp.MustCompile(`^[a-z0-9_]{1,32}$`), "1 to 32 of a-z, 0-9 and _", false},
	{"space", func(s *Sidecar) *string { return &s.Space }, regexp.MustCompile(`^[a-z0-9_]{1,32}$`), "1 to 32 of a-z, 0-9 and _", false},
	{"route", func(s *Sidecar) *string { return &s.Route }, regexp.MustCompile(`^[a-z0-9-]{1,32}$`), "1 to 32 of a-z, 0-9 and -", false},
	{"address", func(s *Sidecar) *string { return &s.Address }, regexp.MustCompile(`^\S{3,64}$`), "IP:PORT", false},
	{"cookie", func(s *Sidecar) *string { return &s.Cookie }, regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"), "a cookie name", false},
	{"host", func(s *Sidecar) *string { return &s.Host }, regexp.MustCompile(`^[A-Za-z0-9._-]{1,253}$`), "a host name", true},
	{"health_path", func(s *Sidecar) *string { return &s.HealthPath }, regexp.MustCompile(`^/[!-~]{0,255}$`), "a path", true},
	{"version", func(s *Sidecar) *string { return &s.Version }, regexp.MustCompile(`^[!-~]{1,128}$`), "at most 128 visible characters", true},
}

// node is the sidecar as an xDS node.
func (s Sidecar) node() *core.Node {
	fields := map[string]*structpb.Value{"draining": structpb.NewBoolValue(s.Draining)}
	for _, f := range sidecarFields {
		if text := *f.at(&s); text != "" {
			fields[f.name] = structpb.NewStringValue(text)
		}
	}
	return &core.Node{
		Id: s.Route + "." + s.App, Cluster: sidecarCluster, UserAgentName: "pillion",
		Metadata: &structpb.Struct{Fields: fields},
	}
}

// sidecarOf reads what a node says, and returns every mistake in it. Fields that are not known are of a newer sidecar, and no mistake.
func sidecarOf(node *core.Node) (Sidecar, error) {
	var s Sidecar
	var wrong []error
	given := node.GetMetadata().GetFields()
	for _, f := range sidecarFields {
		value, ok := given[f.name]
		text := value.GetStringValue()
		switch {
		case !ok && f.empty:
		case !ok:
			wrong = append(wrong, fmt.Errorf("metadata %s is missing", f.name))
		case !f.pattern.MatchString(text):
			wrong = append(wrong, fmt.Errorf("metadata %s is not %s", f.name, f.must))
		default:
			*f.at(&s) = text
		}
	}
	s.Draining = given["draining"].GetBoolValue()
	if s.Address != "" {
		if err := checkEndpoint(s.Address); err != nil {
			wrong = append(wrong, err)
		}
	}
	return s, errors.Join(wrong...)
}

// checkEndpoint wants an address that others can connect to. Names are not taken: Envoy's EDS does not resolve them.
func checkEndpoint(address string) error {
	at, err := netip.ParseAddrPort(address)
	switch {
	case err != nil, at.Addr().Zone() != "":
		return fmt.Errorf("metadata address %q is not IP:PORT", address)
	case at.Port() == 0:
		return fmt.Errorf("metadata address %q has port 0", address)
	case at.Addr().IsUnspecified(), at.Addr().IsMulticast():
		return fmt.Errorf("metadata address %q is nowhere: set advertise", address)
	}
	return nil
}

func isLoopback(address string) bool {
	at, err := netip.ParseAddrPort(address)
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// oneLine joins what errors.Join put on lines, for a status message.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// mostCommon returns the value that most of all have; of equals, the first by order. Every control plane chooses alike.
func mostCommon(all []string) string {
	best, count := "", 0
	slices.Sort(all)
	for i := 0; i < len(all); {
		end := i
		for end < len(all) && all[end] == all[i] {
			end++
		}
		if end-i > count {
			best, count = all[i], end-i
		}
		i = end
	}
	return best
}
