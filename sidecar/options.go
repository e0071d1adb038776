package sidecar

import (
	"io"
	"log/slog"
	"net/netip"
	"regexp"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/internal/ring"
)

// Commit says what the final response head waits for.
type Commit uint8

// The commit policies; docs/failure-modes.md says what each can lose.
const (
	BeforeReply Commit = iota
	All
	Async
)

// LockMode says which requests of one session exclude each other.
type LockMode uint8

// The lock modes, msm's lockingMode.
const (
	LockNone LockMode = iota
	LockAll
	LockAuto
	LockPaths
)

// Options configure a Handler. Every field is needed unless its comment says otherwise.
type Options struct {
	Store       Store
	Keys        *ring.Keys
	Space       string
	Route       string // this sidecar's name, last part of the ids it owns
	Incarnation uint64 // random for each process start
	Upstream    head.To
	Sticky      bool

	Cookie     Cookie
	Idle       time.Duration
	Lifetime   time.Duration
	RenewGrace time.Duration
	PerSubject int           // sessions that one subject may have, 0: any number; the oldest end first
	Revocation time.Duration // how old the knowledge may be that a subject's sessions still hold
	MaxSize    int           // bytes of one session
	InlineMax  int           // bytes of a Pillion-Session value
	MaxPatch   int           // bytes of a Pillion-Patch or Pillion-Replace value
	Ignore     []*regexp.Regexp

	Commit        Commit
	CommitTimeout time.Duration
	Copies        int  // of a sticky session: 1 or 2; shared mode always keeps two
	Refuse        bool // ring.isolated: refuse: 503 while no node takes a sticky commit
	Anonymous     bool // ring.unknown: anonymous: serve without session instead of 503
	UnknownFor    time.Duration

	Lock      LockMode
	LockPaths []*regexp.Regexp
	LockWait  time.Duration

	Creations      int // sessions that one client may begin in a minute; 0: any number
	TrustedProxies []netip.Prefix

	Strict      bool
	MemoryLimit int64
	HeaderCache int64    // bytes of what is kept spelled for the app
	AppAuth     [][]byte // keys of Pillion-Auth, the first signs; none: no Pillion-Auth
	Handles     bool     // the loopback API is on: requests carry Pillion-Handle

	// Sidecars of a sticky fleet ask each other; without them a session is taken over unasked.
	Call    Caller
	Fences  Fences
	Keyed   Keyed
	Secrets [][]byte // the fleet's keys, the sealing one first; none: no calls
	Sealer  Sealer

	AppRefused func() // told when the app does not accept a connection; nil: nobody wants to know

	Random  io.Reader
	Metrics *metrics.Metrics
	Log     *slog.Logger
}

// TouchInterval is how stale the stored last access may be: a session is refreshed at most this often (L9).
func TouchInterval(idle time.Duration) time.Duration { return min(time.Minute, idle/10) }
