package sidecar

import (
	"encoding/base64"
	"io"
	"sync"
	"time"
)

// handleGrace is how long a handle outlives its request, for apps that read the session while they finish up.
const handleGrace = 10 * time.Second

// handlesKept bounds the handles in their grace time: under a load of more than 10 000 requests a second the oldest end early.
const handlesKept = 100_000

// handles are the capabilities of the loopback API: each opens the session of one request as the app was given it, and dies with
// that request (A1).
type handles struct {
	random io.Reader
	mu     sync.Mutex
	live   map[string]*spelling
	ended  []ended // in the order of their end
}

type ended struct {
	handle string
	at     time.Time
}

func newHandles(random io.Reader) *handles {
	return &handles{random: random, live: map[string]*spelling{}}
}

// open makes a new handle for what the app is given.
func (s *handles) open(sp *spelling) string {
	var raw [24]byte
	mustRead(s.random, raw[:])
	handle := base64.RawURLEncoding.EncodeToString(raw[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(time.Now())
	s.live[handle] = sp
	return handle
}

// close starts the grace time of a handle.
func (s *handles) close(handle string) {
	if handle == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, ended{handle, time.Now()})
	s.sweep(time.Now())
}

func (s *handles) read(handle string) (*spelling, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(time.Now())
	sp, ok := s.live[handle]
	return sp, ok
}

// mustRead fills b. A source of randomness that fails must not yield a handle that can be guessed.
func mustRead(random io.Reader, b []byte) {
	if _, err := io.ReadFull(random, b); err != nil {
		panic("sidecar: no randomness: " + err.Error())
	}
}

func (s *handles) sweep(now time.Time) {
	n := 0
	for n < len(s.ended) && (now.Sub(s.ended[n].at) > handleGrace || len(s.ended)-n > handlesKept) {
		delete(s.live, s.ended[n].handle)
		n++
	}
	s.ended = s.ended[n:]
}

// ByHandle returns the session of a request that is under way, as its app was given it: the loopback API's only question.
func (h *Handler) ByHandle(handle string) (object []byte, etag string, ok bool) {
	sp, ok := h.handles.read(handle)
	if !ok {
		return nil, "", false
	}
	w := sp.words.Load() // the app was told
	return []byte(w.object), w.etag, true
}
