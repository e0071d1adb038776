package memcached

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// markKey is the canary: whoever finds it missing adds one, the first writer wins, and it never expires. So it names one lifetime
// of the node's memory: it goes with a restart, a flush_all and whatever else empties a node.
const markKey = "p1:!life"

// mark is the canary's value: 8 random bytes, then the Unix milliseconds of its birth, big-endian.
type mark [16]byte

func (m *mark) born() time.Time { return time.UnixMilli(int64(binary.BigEndian.Uint64(m[8:]))) }

// short is the life as a blob's header names it; 0 is unknown.
func (m *mark) short() uint32 {
	if m == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(m[:4])
}

// youngerThan tells whether the life may have begun after the second that a session was issued in, by the clocks of those who wrote the canary
// and the id, give or take what these may differ.
func (m *mark) youngerThan(issued uint32, differ time.Duration) bool {
	return m != nil && m.born().Add(differ).Unix() >= int64(issued)
}

// dialer makes connections of one life. Each is proven before it is handed out: connected, authenticated, and its canary read. A
// connection into another life fails the dial; the node has that life from then on (M10).
func (n *node) dialer(l *life) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := n.connect(ctx)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		m, err := n.greet(conn)
		if !stop() {
			err = ctx.Err()
		}
		if err == nil && !n.adopt(l, m) {
			err = errNewLife
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

// connect dials host:port, unix:/path or tls:host:port.
func (n *node) connect(ctx context.Context) (net.Conn, error) {
	if path, ok := strings.CutPrefix(n.address, "unix:"); ok {
		conn, err := n.s.dial(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		return directly(conn), nil
	}
	address, secure := strings.CutPrefix(n.address, "tls:")
	conn, err := n.s.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if !secure {
		return directly(conn), nil
	}
	config := n.s.tls.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	encrypted := tls.Client(conn, config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("memcached: TLS with %s (check ring.tls and the node's -Z): %w", n.name, err)
	}
	return encrypted, nil
}

// greet authenticates and reads the canary, by a client that has this connection alone: so no second reader of the protocol is
// needed, and no reply is left unread in its buffer.
func (n *node) greet(conn net.Conn) (mark, error) {
	c := memcache.NewFromSelector(&endpoint{n.address})
	c.Timeout = n.s.opTimeout
	c.DialContext = func(context.Context, string, string) (net.Conn, error) {
		if conn == nil {
			return nil, net.ErrClosed
		}
		once := conn
		conn = nil
		return once, nil
	}
	if n.s.auth != nil {
		user, password := n.s.auth()
		// memcached -Y takes "user password" as the value of a first set, whatever its key.
		err := c.Set(&memcache.Item{Key: "auth", Value: []byte(user + " " + password)})
		if err != nil {
			return mark{}, fmt.Errorf("memcached: node %s did not accept ring.auth_file: %w", n.name, err)
		}
	}
	return n.readMark(c)
}

// readMark reads the canary, and adds one where there is none.
func (n *node) readMark(c *memcache.Client) (m mark, err error) {
	for range 3 { // the third read is for a canary that vanished between add and read
		it, err := c.Get(markKey)
		if err == nil && (it.Key != markKey || len(it.Value) != len(m)) {
			return m, fmt.Errorf("memcached: %s on node %s is not Pillion's: give the ring a memcached of its own", markKey, n.name)
		}
		if err == nil {
			return mark(it.Value), nil
		}
		if !errors.Is(err, memcache.ErrCacheMiss) {
			return m, err
		}
		var fresh mark
		if err := n.s.draw(fresh[:8]); err != nil {
			return m, err
		}
		binary.BigEndian.PutUint64(fresh[8:], uint64(time.Now().UnixMilli()))
		err = c.Add(&memcache.Item{Key: markKey, Value: bytes.Clone(fresh[:])})
		if err != nil && !errors.Is(err, memcache.ErrNotStored) {
			return m, err
		}
	}
	return m, fmt.Errorf("memcached: node %s does not keep its canary %s", n.name, markKey)
}

// adopt makes m the node's life where it is a new one, and tells whether l is that life. The first contact names a life that was
// not known; every later change ends the one before, its connections and its tokens.
func (n *node) adopt(l *life, m mark) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.mark.Load() == nil {
		l.mark.Store(&m)
		return true
	}
	if *l.mark.Load() == m {
		return true
	}
	if n.now.Load() != l {
		return false // another connection found the new life before
	}
	n.now.Store(n.newLife(&m))
	l.drop()
	n.suspect()
	n.news.Store(true)
	n.rouse()
	n.s.metrics.NodeLives.WithLabelValues(n.name).Inc()
	n.s.log.Warn("memcached node has a new life: what it held is gone", "node", n.name, "born", m.born())
	return false
}
