//go:build unix

package socket

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); other.Close() })
	return c.(*net.TCPConn), other.(*net.TCPConn)
}

// await calls f on the socket, again each time that something has come, until it returns true.
func await(t *testing.T, raw syscall.RawConn, f func(fd uintptr) bool) {
	t.Helper()
	if err := raw.Read(f); err != nil {
		t.Fatal(err)
	}
}

func TestSocket(t *testing.T) {
	near, far := pair(t)
	raw, buf := Of(near), make([]byte, 8)
	await(t, raw, func(fd uintptr) bool {
		if _, again, err := Read(fd, buf); !again || err != nil || !IsQuiet(fd) || HasEnded(fd) {
			t.Errorf("nothing has come: again %v, %v, quiet %v, ended %v", again, err, IsQuiet(fd), HasEnded(fd))
		}
		return true
	})
	if err := Of(far).Write(func(fd uintptr) bool {
		if n, err := Write(fd, []byte("abc")); n != 3 || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	await(t, raw, func(fd uintptr) bool { return !IsQuiet(fd) })
	await(t, raw, func(fd uintptr) bool {
		if n, again, err := Read(fd, buf); string(buf[:n]) != "abc" || again || err != nil {
			t.Errorf("read %q, again %v, %v", buf[:n], again, err)
		}
		return true
	})
	if err := far.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	await(t, raw, HasEnded)
	await(t, raw, func(fd uintptr) bool {
		if n, again, err := Read(fd, buf); n != 0 || again || err != nil || IsQuiet(fd) {
			t.Errorf("at the end: %d, again %v, %v, quiet %v", n, again, err, IsQuiet(fd))
		}
		return true
	})
}

// Who writes to a socket whose other side is gone gets an error, and no signal.
func TestWriteToNobody(t *testing.T) {
	near, far := pair(t)
	if err := errors.Join(far.SetLinger(0), far.Close()); err != nil {
		t.Fatal(err)
	}
	raw := Of(near)
	await(t, raw, func(fd uintptr) bool { return !IsQuiet(fd) })
	var first, second error
	if err := raw.Write(func(fd uintptr) bool {
		_, first = Write(fd, []byte("x"))
		_, second = Write(fd, []byte("x"))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(first, syscall.ECONNRESET) && !errors.Is(first, syscall.EPIPE) || !errors.Is(second, syscall.EPIPE) {
		t.Errorf("wrote to nobody: %v, then %v", first, second)
	}
}
