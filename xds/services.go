package xds

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Services is the services file: which apps fronts serve where, the rings, and the fronts' listeners. Without a file, the one app that
// registers is served on every host.
type Services struct {
	Apps      map[string]App
	Rings     map[string][]RingNode // by space
	Listeners []Listener
	Fronts    []string // names of certificates by which fronts are known

	files map[string][sha256.Size]byte // what was read; the zero sum stands for a file that could not be
	given bool                         // there is a file
}

// App is how one app is served.
type App struct {
	Hosts       []string
	Prefix      string
	UpstreamTLS *UpstreamTLS `yaml:"upstream_tls"`
	Timeout     duration
	Retries     *int
	Space       string // the only space that its sidecars may have, "" for any
	Compress    *bool
	Identities  []string // names of certificates by which its sidecars are known, besides ROUTE.APP and *.APP
}

// UpstreamTLS says how fronts verify the certificate of sidecars that speak TLS.
type UpstreamTLS struct {
	CA   string // PEM file
	Name string // the name that the certificate must have

	ca []byte
}

// RingNode is one memcached node of a ring.
type RingNode struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	State   string `json:"state"` // active, draining or removed
}

// Listener is a port of every front.
type Listener struct {
	Address string // "" is every address
	Port    uint32
	TLS     *ListenerTLS
}

// ListenerTLS is a listener's certificate.
type ListenerTLS struct {
	Cert, Key string // PEM files

	cert, key []byte
}

type duration time.Duration

// UnmarshalYAML reads 1.5s, 2m and the like.
func (d *duration) UnmarshalYAML(node *yaml.Node) error {
	parsed, err := time.ParseDuration(node.Value)
	if err != nil || parsed < 0 {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %q is no duration: a number with ms, s, m or h", node.Line, node.Value)}}
	}
	*d = duration(parsed)
	return nil
}

// The defaults of what a services file leaves out.
const (
	defaultRetries = 3
	defaultPort    = 10000
)

// LoadServices reads a services file and the files that it names, and returns every mistake in them. path "" is no file.
func LoadServices(path string) (*Services, error) {
	s := &Services{files: map[string][sha256.Size]byte{}, given: path != ""}
	if path == "" {
		s.fillIn()
		return s, nil
	}
	text, err := s.read(path)
	if err != nil {
		return s, fmt.Errorf("services: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(s); err != nil && !errors.Is(err, io.EOF) {
		return s, fmt.Errorf("services: %s: %w", path, err)
	}
	s.fillIn()
	if mistakes := append(s.readFiles(), s.check()...); len(mistakes) > 0 {
		return s, fmt.Errorf("services: %s has %d mistakes:\n  %s", path, len(mistakes), strings.Join(mistakes, "\n  "))
	}
	return s, nil
}

func (s *Services) fillIn() {
	for name, app := range s.Apps {
		if app.Prefix == "" {
			app.Prefix = "/"
		}
		if len(app.Hosts) == 0 {
			app.Hosts = []string{"*"}
		}
		s.Apps[name] = app
	}
	for space, nodes := range s.Rings {
		for i := range nodes {
			if nodes[i].State == "" {
				nodes[i].State = "active"
			}
		}
		s.Rings[space] = nodes
	}
	if len(s.Listeners) == 0 {
		s.Listeners = []Listener{{Port: defaultPort}}
	}
	for i := range s.Listeners {
		if s.Listeners[i].Address == "" {
			s.Listeners[i].Address = "0.0.0.0"
		}
	}
}

func (s *Services) read(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	s.files[path] = [sha256.Size]byte{}
	if err == nil {
		s.files[path] = sha256.Sum256(text)
	}
	return text, err
}

// readFiles reads the certificates.
func (s *Services) readFiles() (mistakes []string) {
	read := func(key, path string, into *[]byte) {
		if path == "" {
			mistakes = append(mistakes, key+" is missing: name a PEM file")
			return
		}
		text, err := s.read(path)
		if err != nil {
			mistakes = append(mistakes, fmt.Sprintf("%s: %v", key, err))
		}
		*into = text
	}
	for _, name := range slices.Sorted(maps.Keys(s.Apps)) {
		if t := s.Apps[name].UpstreamTLS; t != nil {
			read("apps."+name+".upstream_tls.ca", t.CA, &t.ca)
		}
	}
	for i, l := range s.Listeners {
		if l.TLS != nil {
			read(fmt.Sprintf("listeners[%d].tls.cert", i), l.TLS.Cert, &l.TLS.cert)
			read(fmt.Sprintf("listeners[%d].tls.key", i), l.TLS.Key, &l.TLS.key)
		}
	}
	return mistakes
}

// stale tells whether a file holds something else than was read.
func (s *Services) stale() bool {
	for path, known := range s.files {
		var sum [sha256.Size]byte
		if text, err := os.ReadFile(path); err == nil {
			sum = sha256.Sum256(text)
		}
		if sum != known {
			return true
		}
	}
	return false
}
