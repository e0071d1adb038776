package ring

// Node is one configured memcached.
type Node struct {
	Name    string
	Address string // host:port, unix:/path or tls:host:port
	Host    string // the machine it runs on, as far as known
	Local   bool   // runs on this sidecar's own machine: used only when no foreign node is up
}
