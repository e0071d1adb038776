// Package acceptqueue ends a listener so that nobody is cut off. Closing it alone resets the clients whose connections the kernel has accepted
// and no Accept has taken yet: they have sent a request, and a POST among them could not be repeated.
package acceptqueue

import (
	"context"
	"net"
)

// Listen listens on a TCP address. It is net.Listen without multipath TCP, whose sockets lack an option that Close needs.
func Listen(address string) (net.Listener, error) {
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	return plain.Listen(context.Background(), "tcp", address)
}

// Close closes a listener and returns the connections that were waiting in its queue. Who asks for one meanwhile gets no answer, asks again a
// second later, and is refused then. For that the listener must be one of Listen, and the system Linux; otherwise Close does what it can.
func Close(l net.Listener) ([]net.Conn, error) {
	waiting := drain(l)
	return waiting, l.Close()
}
