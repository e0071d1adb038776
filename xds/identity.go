package xds

import (
	"crypto/tls"
	"slices"
)

// frontName is the name in the certificate of a front.
const frontName = "pillion-front"

// identity is what a client's certificate says. Anyone who can open a stream could otherwise become a backend, take a route, or read the
// private keys of the fronts' listeners. On a plain port everybody is believed.
type identity struct {
	plain bool
	names []string // DNS names and URIs
}

func identityOf(state *tls.ConnectionState) identity {
	if state == nil {
		return identity{plain: true}
	}
	var who identity
	if len(state.VerifiedChains) == 0 {
		return who
	}
	certificate := state.VerifiedChains[0][0]
	who.names = append(who.names, certificate.DNSNames...)
	for _, uri := range certificate.URIs {
		who.names = append(who.names, uri.String())
	}
	return who
}

func (i identity) has(name string) bool { return i.plain || slices.Contains(i.names, name) }

// isSidecar: the certificate is for ROUTE.APP, for all of the app (*.APP), or has a name that the services file lists for it, such as a
// SPIFFE id.
func (i identity) isSidecar(s *Services, sidecar Sidecar) bool {
	return i.has(sidecar.Route+"."+sidecar.App) || i.has("*."+sidecar.App) || slices.ContainsFunc(s.Apps[sidecar.App].Identities, i.has)
}

// isFront: the certificate is for pillion-front, or has a name that the services file lists for fronts.
func (i identity) isFront(s *Services) bool {
	return i.has(frontName) || slices.ContainsFunc(s.Fronts, i.has)
}
