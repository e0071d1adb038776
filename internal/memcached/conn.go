package memcached

import (
	"io"
	"net"
	"syscall"

	"github.com/pillion-proxy/pillion/internal/socket"
)

// direct is a connection whose calls the scheduler does not hear of. It is read by one goroutine at a time, and written by one.
type direct struct {
	net.Conn
	raw     syscall.RawConn
	in, out transfer
}

// transfer is a read or a write under way.
type transfer struct {
	p    []byte // what is to be read into or written yet
	n    int    // what was
	err  error
	call func(fd uintptr) (done bool) // made once
}

// directly makes conn direct where it is a socket.
func directly(conn net.Conn) net.Conn {
	raw := socket.Of(conn)
	if raw == nil {
		return conn
	}
	d := &direct{Conn: conn, raw: raw}
	d.in.call, d.out.call = d.in.read, d.out.write
	return d
}

func (d *direct) Read(p []byte) (int, error)  { return d.in.through(d.raw.Read, p) }
func (d *direct) Write(p []byte) (int, error) { return d.out.through(d.raw.Write, p) }

// through calls the socket until it is done, waiting in between until it is ready or the deadline over.
func (t *transfer) through(wait func(func(fd uintptr) bool) error, p []byte) (int, error) {
	t.p, t.n, t.err = p, 0, nil
	err := wait(t.call)
	t.p = nil
	if t.err != nil {
		err = t.err
	}
	return t.n, err
}

func (t *transfer) read(fd uintptr) (done bool) {
	n, again, err := socket.Read(fd, t.p)
	if n == 0 && !again && err == nil && len(t.p) > 0 {
		err = io.EOF
	}
	t.n, t.err = n, err
	return !again
}

func (t *transfer) write(fd uintptr) (done bool) {
	for len(t.p) > 0 {
		n, err := socket.Write(fd, t.p)
		if t.n, t.p, t.err = t.n+n, t.p[n:], err; err != nil {
			return true
		}
		if n == 0 {
			return false
		}
	}
	return true
}
