package sim

import (
	"bytes"
	"context"
	"hash/fnv"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
)

// link is the network between one sidecar and one node. What is sent arrives after a time that depends on the seed, the moment and
// the way, and on nothing else: what was sent at one moment arrives at one, so a history does not depend on which of two goroutines runs
// first. What was sent before its sender gave up or died still arrives, as in a real network.
type link struct {
	w     *world
	name  string // "s1-n2"
	node  *node
	wrong wrong // the sidecar's clock

	mu    sync.Mutex
	cut   bool
	slow  time.Duration // added to every delay
	lose  int           // how many answers to writes get lost
	close bool          // a lost answer closes the connection; otherwise there is silence
	wires map[*wire]struct{}
}

func (w *world) newLink(name string, n *node, clock wrong) *link {
	return &link{w: w, name: name, node: n, wrong: clock, wires: map[*wire]struct{}{}}
}

var errRefused = &net.OpError{Op: "dial", Net: "sim", Err: syscall.ECONNREFUSED}

func (l *link) dial(ctx context.Context) (net.Conn, error) {
	select {
	case <-time.After(l.delay(l.name + " dial")):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	far, err := l.node.server.Dial(ctx)
	if err != nil {
		return nil, err
	}
	near, mine := net.Pipe()
	l.mu.Lock()
	cut := l.cut
	x := &wire{l: l, near: mine, far: far}
	if !cut {
		l.wires[x] = struct{}{}
	}
	l.mu.Unlock()
	if cut {
		far.Close()
		return nil, errRefused
	}
	go x.requests()
	go x.answers()
	return patient{near, x}, nil
}

// patient is the sidecar's end of a wire. Its deadlines are late by a moment, as real ones are: two timers set for one instant would leave
// to chance which is first.
type patient struct {
	net.Conn
	x *wire
}

func (p patient) SetDeadline(t time.Time) error {
	if !t.IsZero() {
		t = t.Add(p.x.l.w.travel(p.x.l.name + " deadline"))
	}
	return p.Conn.SetDeadline(t)
}

// sever ends the sidecar's side for good.
func (l *link) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for x := range l.wires {
		x.near.Close()
	}
}

func (l *link) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// delay is how long a message travels that is sent now.
func (l *link) delay(message string) time.Duration {
	d := l.w.travel(message)
	l.mu.Lock()
	defer l.mu.Unlock()
	return d + l.slow
}

// travel is how long something takes to arrive that is sent now: mostly below a millisecond, now and then up to fifteen more.
func (w *world) travel(what string) time.Duration {
	h := fnv.New64a()
	_, _ = io.WriteString(h, what)
	_, _ = io.WriteString(h, strconv.FormatInt(int64(w.now()), 10))
	n := scramble(h.Sum64() ^ w.scenario.Seed)
	d := 80*time.Microsecond + time.Duration(n%uint64(time.Millisecond))
	if n>>40%64 == 0 {
		d += time.Duration(n >> 32 % uint64(15*time.Millisecond))
	}
	return d
}

// scramble is the finalizer of MurmurHash3.
func scramble(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// wire is one connection. Its messages travel apart and arrive in their order.
type wire struct {
	l         *link
	near, far net.Conn

	mu    sync.Mutex
	asked []string // the commands without an answer
}

// requests carries commands until the sidecar closes its end.
func (x *wire) requests() {
	defer x.far.Close()
	x.carry(x.near, x.far, " > ", func(line string) bool {
		x.mu.Lock()
		x.asked = append(x.asked, line)
		x.mu.Unlock()
		x.l.w.trace("%s > %s", x.l.name, line)
		return true
	})
}

// answers carries them back, and loses some; what comes after a lost one is lost with it.
func (x *wire) answers() {
	defer func() {
		x.near.Close()
		x.far.Close()
		x.l.set(func() { delete(x.l.wires, x) })
	}()
	silent := false
	x.carry(x.far, x.near, " < ", func(line string) bool {
		x.mu.Lock()
		command := x.asked[0]
		x.asked = x.asked[1:]
		x.mu.Unlock()
		lost, closes := x.loses(command)
		silent = silent || lost
		x.l.w.trace("%s < %s%s", x.l.name, line, map[bool]string{true: " (lost)"}[silent])
		if lost && closes {
			x.far.Close()
		}
		return !silent
	})
}

// parcel is a message on its way.
type parcel struct {
	message []byte
	arrives time.Time
}

// carry takes each message from one end to the other that goes, until an end is closed.
func (x *wire) carry(from, to net.Conn, way string, goes func(line string) bool) {
	parcels := make(chan parcel, 4096)
	go func() {
		defer close(parcels)
		var read []byte
		for buf := make([]byte, 64<<10); ; {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			read = append(read, buf[:n]...)
			for n = memcachedtest.Message(read); n > 0; n = memcachedtest.Message(read) {
				message := bytes.Clone(read[:n])
				read = read[n:]
				x.l.wrong.birth(message)
				line, _, _ := bytes.Cut(message, []byte("\r\n"))
				if goes(string(line)) {
					parcels <- parcel{message, time.Now().Add(x.l.delay(x.l.name + way))}
				}
			}
		}
	}()
	for p := range parcels {
		<-time.After(time.Until(p.arrives))
		if _, err := to.Write(p.message); err != nil {
			from.Close()
		}
	}
}

// loses tells whether the answer to a command gets lost: only of a write of a session, where it matters.
func (x *wire) loses(command string) (lost, closes bool) {
	if !strings.HasPrefix(command, "cas p1:shop:") && !strings.HasPrefix(command, "add p1:shop:") {
		return false, false
	}
	x.l.mu.Lock()
	defer x.l.mu.Unlock()
	if x.l.lose == 0 {
		return false, false
	}
	x.l.lose--
	return true, x.l.close
}
