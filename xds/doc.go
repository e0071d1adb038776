// Package xds is the control plane, and what a sidecar uses to talk to it. It knows no sessions.
//
// A sidecar registers by holding an xDS stream open; there is no other protocol and no database. What it says about itself is in the node
// of its requests (Sidecar). From who is connected, and from an optional services file, the control plane makes the configuration of
// Envoy, and of any other xDS client that is no sidecar:
//
//	streams -> registry -> snapshot (pure, with services) -> validated -> server.Set -> fronts and sidecars
//
// What holds:
//
//   - The newest stream of a route wins, and the newest of an address.
//   - A stream that ends after "draining" was said takes its endpoint away at once. One that ends unannounced keeps it for lossGrace, since a
//     lost stream is not a lost sidecar: Envoy's own health checks find the dead. The last endpoints of an app stay until another comes.
//   - Nothing is published within the hold-off after the start, so that a restarted control plane never tells Envoy that nobody is there.
//   - What does not validate is not published: the last good stays. A services file with mistakes changes nothing.
//   - A sidecar that says something wrong, or that conflicts with those that are served, is told so and not taken; all others go on.
//   - A sidecar is drained when each front that knows its app has acknowledged the assignment that says so.
//   - Control planes share nothing. Versions are hashes of content, so that their snapshots are equal when what they see is.
//
// Sidecars read opaque resources, google.protobuf.Struct by name: peers/<app>, ring/<space>, drain/<route>.
package xds
