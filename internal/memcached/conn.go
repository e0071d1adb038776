package memcached

import (
	"io"
	"net"
	"syscall"

	"github.com/pillion-proxy/pillion/internal/socket"
)

// direct is a connection whose calls the scheduler does not hear of. It is used by one goroutine at a time, as each of gomemcache's is.
type direct struct {
	net.Conn
	raw        syscall.RawConn
	p          []byte // what is to be read into or written yet
	n          int    // what was
	err        error
	take, give func(fd uintptr) (done bool) // made once
}

// directly makes conn direct where it is a socket.
func directly(conn net.Conn) net.Conn {
	raw := socket.Of(conn)
	if raw == nil {
		return conn
	}
	d := &direct{Conn: conn, raw: raw}
	d.take, d.give = d.read, d.write
	return d
}

func (d *direct) Read(p []byte) (int, error)  { return d.call(d.raw.Read, d.take, p) }
func (d *direct) Write(p []byte) (int, error) { return d.call(d.raw.Write, d.give, p) }

// call calls the socket until it is done, waiting in between until it is ready or the deadline over.
func (d *direct) call(wait func(func(fd uintptr) bool) error, call func(fd uintptr) bool, p []byte) (int, error) {
	d.p, d.n, d.err = p, 0, nil
	err := wait(call)
	d.p = nil
	if d.err != nil {
		err = d.err
	}
	return d.n, err
}

func (d *direct) read(fd uintptr) (done bool) {
	n, again, err := socket.Read(fd, d.p)
	if n == 0 && !again && err == nil && len(d.p) > 0 {
		err = io.EOF
	}
	d.n, d.err = n, err
	return !again
}

func (d *direct) write(fd uintptr) (done bool) {
	for len(d.p) > 0 {
		n, err := socket.Write(fd, d.p)
		if d.n, d.p, d.err = d.n+n, d.p[n:], err; err != nil {
			return true
		}
		if n == 0 {
			return false
		}
	}
	return true
}
