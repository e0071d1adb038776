package server

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"google.golang.org/protobuf/proto"
)

// Resources are resources by type URL and name. They must not be changed after they were given to Set. A type with no resources is one
// that is served and empty, which is not the same as a type that is not served.
type Resources map[string]map[string]proto.Message

// snapshot is Resources with their versions, as go-control-plane's cache wants them.
type snapshot struct {
	given Resources
	types map[string]*collection
}

type collection struct {
	version   string
	resources map[string]types.Resource
	versions  map[string]string
}

var _ cache.ResourceSnapshot = (*snapshot)(nil)

func newSnapshot(resources Resources) (*snapshot, error) {
	s := &snapshot{given: resources, types: map[string]*collection{}}
	for typeURL, named := range resources {
		c := &collection{resources: map[string]types.Resource{}, versions: map[string]string{}}
		all := sha256.New()
		for _, name := range slices.Sorted(maps.Keys(named)) {
			bytes, err := cache.MarshalResource(named[name])
			if err != nil {
				return nil, fmt.Errorf("server: %s %q: %w", typeURL, name, err)
			}
			c.resources[name], c.versions[name] = named[name], cache.HashResource(bytes) // as delta responses have it
			fmt.Fprintf(all, "%q %s\n", name, c.versions[name])
		}
		c.version = hex.EncodeToString(all.Sum(nil)[:8])
		s.types[typeURL] = c
	}
	return s, nil
}

// version is that of one resource, "" when there is none. It works on nil.
func (s *snapshot) version(typeURL, name string) string {
	if s == nil || s.types[typeURL] == nil {
		return ""
	}
	return s.types[typeURL].versions[name]
}

// GetVersion returns the version of a type.
func (s *snapshot) GetVersion(typeURL string) string {
	if c := s.types[typeURL]; c != nil {
		return c.version
	}
	return ""
}

// GetResources returns the resources of a type.
func (s *snapshot) GetResources(typeURL string) map[string]types.Resource {
	if c := s.types[typeURL]; c != nil {
		return c.resources
	}
	return nil
}

// GetResourcesAndTTL returns them without a TTL: with one they would vanish from clients when the control plane does.
func (s *snapshot) GetResourcesAndTTL(typeURL string) map[string]types.ResourceWithTTL {
	all := map[string]types.ResourceWithTTL{}
	for name, r := range s.GetResources(typeURL) {
		all[name] = types.ResourceWithTTL{Resource: r}
	}
	return all
}

// ConstructVersionMap has nothing left to do.
func (s *snapshot) ConstructVersionMap() error { return nil }

// GetVersionMap returns the version of each resource of a type.
func (s *snapshot) GetVersionMap(typeURL string) map[string]string {
	if c := s.types[typeURL]; c != nil {
		return c.versions
	}
	return nil
}
