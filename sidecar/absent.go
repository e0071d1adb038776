package sidecar

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
)

const (
	// absentFor is how long an absence is believed without asking the ring. Only an answer of the ring makes one, never its silence; and a node
	// that comes back with a session that all others had lost shows it after this time at the latest.
	absentFor   = time.Second
	absentSlots = 1 << 13
)

// absences remember sessions that turned out to be gone: never born here, expired, destroyed. So a client that keeps sending a dead id costs
// the ring one look a second. An identity is drawn at birth and never again, so none can hide a session that begins. A slot holds one
// absence, by the identity's own random bytes; of two that meet the later stays.
type absences [absentSlots]atomic.Pointer[absence]

type absence struct {
	random [16]byte
	until  time.Time
}

func (a *absences) slot(random [16]byte) *atomic.Pointer[absence] {
	return &a[binary.LittleEndian.Uint16(random[:])%absentSlots]
}

func (a *absences) has(id ring.ID) bool {
	is := a.slot(id.Random).Load()
	return is != nil && is.random == id.Random && time.Now().Before(is.until)
}

func (a *absences) add(id ring.ID) {
	a.slot(id.Random).Store(&absence{id.Random, time.Now().Add(absentFor)})
}
