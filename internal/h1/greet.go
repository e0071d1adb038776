package h1

import (
	"context"
	"crypto/tls"
	"net"
)

// greet reads what comes before the first request: the header of the PROXY protocol and TLS. The sweeper bounds the time for both.
func (c *conn) greet() error {
	if c.engine.options.ProxyProtocol {
		from, err := readProxyHeader(c.nc)
		if err != nil {
			return err
		}
		c.setRemote(from)
	}
	config := c.engine.options.TLS
	if config == nil {
		return nil
	}
	below := &countedConn{Conn: c.raw, remote: c.remoteAddr()}
	secure := tls.Server(below, config)
	c.nc = secure
	if err := secure.HandshakeContext(context.Background()); err != nil {
		return err
	}
	state := secure.ConnectionState()
	c.tls = &state
	if state.NegotiatedProtocol == "h2" {
		below.engine = c.engine // whoever closes it makes room
	}
	return nil
}

// remoteAddr is the client's address, as the PROXY protocol gave it or as it is.
func (c *conn) remoteAddr() net.Addr {
	if c.remote.IsValid() {
		return net.TCPAddrFromAddrPort(c.remote)
	}
	return c.raw.RemoteAddr()
}
