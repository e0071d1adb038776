// Package config is the one place where settings come from.
//
// Flags, PILLION_* variables and one YAML file say the same things, in that order of strength: ring.nodes is --ring-nodes and
// PILLION_RING_NODES. A table (keys.go) holds for each key its default, help, unit and example; flags, variables, messages and
// docs/configuration.md are made from it.
//
//   - Load reports all mistakes at once, each with its key, where the value came from, and what to write. Unknown keys are mistakes.
//   - Load is a function of its arguments and of the files they name. It opens no connection and asks the machine nothing: what
//     depends on the machine (host, route, own addresses, memory) stays unset and is decided where the process starts.
//   - A list given by a stronger source replaces that of a weaker one; lists are never merged.
//   - An empty variable counts as not set.
//   - Secrets are read here and printed nowhere: settings hold the paths of files, and Secret hides its bytes.
//   - Watcher (reload.go) loads again when the file or a file it names changes, and keeps the old settings when the new are wrong.
//
// It is the only importer of viper, which turns the YAML into keys and decides which source wins.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"time"
)

// Config is what one sidecar, control plane or front was told. Each field is described by its row in keys.go.
type Config struct {
	App             string
	Space           string
	Listen          string
	Upstream        Upstream
	UpstreamCheck   AppCheck
	UpstreamTimeout time.Duration
	Admin           string
	AdminHosts      []string
	AdminTokenFile  File
	HealthPath      string
	Route           string // "": RouteFor the host and the port that was got
	Host            string // "": the name of the machine
	Sticky          bool
	Ring            Ring
	Session         Session
	Commit          Commit
	CommitTimeout   time.Duration
	Copies          int
	Lock            Lock
	LockPaths       []*regexp.Regexp
	LockWait        time.Duration
	Strict          bool
	Compression     Compression
	MemoryLimit     Memory
	HeaderCache     int
	Keys            []Key // the one that seals first
	Peers           []Peer
	ControlPlane    []string
	ControlPlaneTLS ClientTLS
	Advertise       string // "": the local address of the connection to the control plane, and the port that was got
	AppAuth         AppAuth
	API             API
	DrainLinger     time.Duration
	TLS             TLS
	TrustedProxies  []netip.Prefix
	ProxyProtocol   bool
	Log             Log
	Limits          Limits
	Creations       int

	// A control plane has these, listeners and trust, and none of the others.
	Services string        // file, "" for none
	HoldOff  time.Duration // from the start until the first publication
	Insecure bool          // plain xDS on an address that other machines reach

	// A front has these, and of the others what it shares with a sidecar.
	ID       string // at its control planes, "" for the name of the machine
	Backends []Peer // with a static list
	Compress bool

	table    *table
	settings map[string]setting // each key as it was written, for print, the hash and reloads
	files    snapshot           // what the files held
}

// Ring is where sessions are kept.
type Ring struct {
	Nodes      []Node
	LocalNodes Locals
	OpTimeout  time.Duration
	Unknown    Unknown
	UnknownFor time.Duration
	Isolated   Isolated
	AuthFile   File
	TLS        ClientTLS
}

// Session is what a session may be, and its cookie.
type Session struct {
	Cookie         string
	InsecureCookie bool
	SameSite       SameSite
	Partitioned    bool
	MaxAge         time.Duration
	Idle           time.Duration
	Lifetime       time.Duration
	RenewGrace     time.Duration
	PerSubject     int
	Revocation     time.Duration
	MaxSize        int
	InlineMax      int
	MaxPatch       int
	Ignore         []*regexp.Regexp
}

// AppAuth proves to the app that its headers come from Pillion.
type AppAuth struct{ Keys []File }

// API is the loopback API for apps.
type API struct{ Listen string }

// Log says what is logged.
type Log struct {
	Level  slog.Level
	Access bool
}

// Limits bound what clients may take.
type Limits struct {
	HeaderBytes   int
	HeaderCount   int
	Connections   int // 0: no limit
	Idle          time.Duration
	HeaderTimeout time.Duration
}

// setting is the value of one key as it was written, and who wrote it.
type setting struct {
	values []string
	source string // "default", "flag --app", "env PILLION_APP" or "pillion.yaml:3"
}

// Source tells where the value of a key came from.
func (c *Config) Source(key string) string { return c.settings[key].source }

// Hash names the settings: two sidecars with the same hash were told the same. Contents of files are not in it, so that it can
// be shown to anybody.
func (c *Config) Hash() string {
	h := sha256.New()
	for _, k := range c.table.keys {
		fmt.Fprintf(h, "%s=%q\n", k.name, c.settings[k.name].values)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}
