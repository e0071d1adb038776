package h1

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/pillion-proxy/pillion/internal/head"
)

// tunnelSize is the buffer of one direction: most tunnels carry small messages, and wait.
const tunnelSize = 4 << 10

// tunnelled is a connection that has switched to another protocol (RFC 9110, section 7.8), which passes through.
type tunnelled struct {
	x       *exchange
	up      *upstream
	leaving atomic.Bool
	frames  bool   // the protocol is WebSocket
	down    frames // from the app
	upward  frames // from the client
}

// switchProtocols answers 101 and lets both sides speak. The app may choose only what the client has offered.
func (x *exchange) switchProtocols() error {
	p := &x.said
	protocol := p.Fields.Upgrade()
	if !offers(x.upgrade, protocol) || x.isUnread() {
		return errUpgrade
	}
	x.unbound()
	x.c.to(handling)
	x.answered()
	p.Fields.EndHop()
	h := head.Head{Status: p.Status, Fields: p.Fields}
	if err := x.c.engine.options.Handler.Response(&x.Exchange, &h); err != nil {
		return x.failure(err)
	}
	w := write(x.out[:0])
	w.status(http.StatusSwitchingProtocols, 1)
	w.fields(h.Fields)
	w.field("Connection", "Upgrade")
	w.field("Upgrade", protocol)
	var err error
	if x.out, err = w.end(); err != nil {
		return x.failure(err)
	}
	x.status, x.last = http.StatusSwitchingProtocols, true
	if err := x.flush(); err != nil {
		return err
	}
	t := &tunnelled{x: x, up: x.up, frames: strings.EqualFold(protocol, "websocket")}
	return t.run()
}

func offers(offered, protocol string) bool {
	for each := range head.Items(offered) {
		if protocol != "" && strings.EqualFold(each, protocol) {
			return true
		}
	}
	return false
}

// run lasts until both directions have ended.
func (t *tunnelled) run() error {
	x := t.x
	c := x.c
	c.unwatch(tunnel)
	c.tunnel.Store(t)
	defer c.tunnel.Store(nil)
	upward := make(chan error, 1)
	go func() {
		err := t.pass(t.up.nc, c.nc, x.in.unread(), &t.upward, nil)
		if err != nil {
			t.up.interrupt()
		}
		upward <- err
	}()
	err := t.pass(c.nc, t.up.nc, x.from.unread(), &t.down, &x.bytes)
	switch {
	case t.leaving.Load():
		t.sayGoodbye(upward)
		return nil
	case err != nil:
		_ = c.nc.SetDeadline(pastDeadline)
	}
	err = errors.Join(err, <-upward)
	x.in.r, x.from.r = x.in.w, x.from.w
	if cause := x.isAborted(); cause != nil {
		return cause
	}
	return err
}

// pass copies one direction until it ends. The other may go on (half-close).
func (t *tunnelled) pass(to, from net.Conn, ahead []byte, f *frames, count *int64) error {
	if err := t.write(to, ahead, f, count); err != nil {
		return err
	}
	buf := make([]byte, tunnelSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if err := t.write(to, buf[:n], f, count); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			if w, ok := to.(interface{ CloseWrite() error }); ok {
				return w.CloseWrite()
			}
			return err
		}
		if err != nil {
			return err
		}
		if n == len(buf) && n < bulkSize {
			buf = make([]byte, bulkSize)
		}
	}
}

func (t *tunnelled) write(to net.Conn, p []byte, f *frames, count *int64) error {
	if len(p) == 0 {
		return nil
	}
	n, err := to.Write(p)
	if t.frames {
		f.passed(p[:n])
	}
	if count != nil {
		*count += int64(n)
	}
	return err
}

// goAway ends the tunnel because the engine leaves. It is called from outside.
func (t *tunnelled) goAway() {
	t.leaving.Store(true)
	_ = t.up.nc.SetReadDeadline(pastDeadline)
}

// sayGoodbye ends a WebSocket with 1001 on both sides (RFC 6455, section 7.4.1), on each only between two frames: in the middle of one it
// would be taken for data.
func (t *tunnelled) sayGoodbye(upward <-chan error) {
	c := t.x.c
	if t.frames && t.down.between() {
		_, _ = c.nc.Write(goingAway)
		c.linger = true
	}
	_ = c.nc.SetReadDeadline(pastDeadline)
	if err := <-upward; t.frames && errors.Is(err, os.ErrDeadlineExceeded) && t.upward.between() {
		_ = t.up.nc.SetDeadline(zeroTime)
		_, _ = t.up.nc.Write(goingAwayMasked)
	}
	_ = c.nc.SetReadDeadline(zeroTime)
}
