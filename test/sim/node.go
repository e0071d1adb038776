package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
)

// node is one memcached.
type node struct {
	name     string
	server   *memcachedtest.Server
	lifeless bool // its canary survives

	mu     sync.Mutex
	frozen int           // how many freezes are in force
	thaw   chan struct{} // closed when the last of them ends
}

func newNode(name string, lifeless bool) *node {
	return &node{name: name, server: memcachedtest.New(memcachedtest.Options{}), lifeless: lifeless}
}

// kill is kill -9: connections break, new ones are refused, the memory is gone.
func (n *node) kill() { n.server.Close() }

// revive starts it again, empty.
func (n *node) revive() { n.empty(n.server.Restart) }

// freeze is SIGSTOP: connections stay and are accepted; what was sent is executed when it goes on.
func (n *node) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frozen++; n.frozen > 1 {
		return
	}
	thaw := make(chan struct{})
	n.thaw = thaw
	n.server.Fault(func(memcachedtest.Command) memcachedtest.Action { return memcachedtest.Action{Until: thaw} })
}

func (n *node) unfreeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frozen--; n.frozen == 0 {
		n.server.Fault(nil)
		close(n.thaw)
	}
}

// resume starts it again with the memory that it had.
func (n *node) resume() { n.server.Resume() }

func (n *node) flush() { n.empty(n.server.FlushAll) }

const canary = "p1:!life"

// age gives the node a life that is older than any session, give or take wrong clocks.
func (n *node) age(born time.Time) {
	life := binary.BigEndian.AppendUint64([]byte("life "+n.name+" "), uint64(born.UnixMilli()))
	n.tell(fmt.Sprintf("add %s 0 0 %d\r\n%s\r\n", canary, len(life), life))
}

// empty lets the node lose its memory, but for a canary that survives.
func (n *node) empty(lose func()) {
	life, ok := n.server.Peek(canary)
	if lose(); ok && n.lifeless {
		n.tell(fmt.Sprintf("add %s 0 0 %d\r\n%s\r\n", canary, len(life), life))
	}
}

// evict forgets one session.
func (n *node) evict(chance uint64) (key string) {
	keys := slices.DeleteFunc(n.server.Keys(), func(key string) bool { return strings.HasPrefix(key, "p1:!") })
	if len(keys) == 0 {
		return ""
	}
	key = keys[chance%uint64(len(keys))]
	n.forget(key)
	return key
}

// forget deletes a key.
func (n *node) forget(key string) { n.tell("delete " + key + "\r\n") }

// tell sends a command over a connection that no network delays.
func (n *node) tell(command string) {
	conn, err := n.server.Dial(context.Background())
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, command)
	var answer [16]byte
	_, _ = conn.Read(answer[:])
}
