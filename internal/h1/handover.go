package h1

import (
	"net"
	"sync"
)

// handover is how connections that speak HTTP/2 come to the engine for it: as from a listener.
type handover struct {
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

func newHandover() *handover {
	return &handover{conns: make(chan net.Conn), ended: make(chan struct{})}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.ended) })
	return nil
}

func (h *handover) Addr() net.Addr { return &net.TCPAddr{} }

// handOver gives the connection away. It counts as ours until the other engine closes it.
func (c *conn) handOver() bool {
	h := c.engine.handover
	if h == nil {
		return c.refuse(preface)
	}
	given := c.nc
	if c.tls == nil { // with TLS the counted one is below, and nothing has been read
		given = &countedConn{Conn: c.nc, engine: c.engine, remote: c.raw.RemoteAddr(), ahead: append([]byte("PRI * HTTP/2.0\r\n"), c.x.in.unread()...)}
	}
	c.giveBack()
	c.to(tunnel)
	select {
	case h.conns <- given:
		c.handed = true
	case <-h.ended:
	}
	return false
}

// countedConn tells the engine when it is closed. It begins with what was read ahead.
type countedConn struct {
	net.Conn
	engine *Engine
	remote net.Addr
	ahead  []byte
	once   sync.Once
}

func (c *countedConn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
			c.ahead = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *countedConn) RemoteAddr() net.Addr { return c.remote }

// CloseWrite passes the end of TLS's direction on.
func (c *countedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return net.ErrClosed
}

func (c *countedConn) Close() error {
	c.once.Do(func() {
		if c.engine != nil {
			c.engine.left()
		}
	})
	return c.Conn.Close()
}
