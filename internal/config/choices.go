package config

// Commit says what the final response head waits for.
type Commit string

// The values of commit.
const (
	CommitBeforeReply Commit = "before_reply"
	CommitAll         Commit = "all"
	CommitAsync       Commit = "async"
)

// Lock says which requests of one session exclude each other.
type Lock string

// The values of lock, msm's lockingMode.
const (
	LockNone  Lock = "none"
	LockAll   Lock = "all"
	LockAuto  Lock = "auto"
	LockPaths Lock = "paths"
)

// Unknown says how a request is served whose session the ring can neither give nor deny.
type Unknown string

// The values of ring.unknown.
const (
	Unknown503       Unknown = "503"
	UnknownAnonymous Unknown = "anonymous"
)

// Isolated says whether memory may hold a sticky session while no node takes it.
type Isolated string

// The values of ring.isolated.
const (
	IsolatedServe  Isolated = "serve"
	IsolatedRefuse Isolated = "refuse"
)

// SameSite is the cookie attribute of that name.
type SameSite string

// The values of session.same_site.
const (
	SameSiteLax    SameSite = "Lax"
	SameSiteStrict SameSite = "Strict"
	SameSiteNone   SameSite = "None"
)

// Compression is the algorithm that new blobs are written with; all of them are read.
type Compression string

// The values of compression.
const (
	CompressionAuto   Compression = "auto"
	CompressionNone   Compression = "none"
	CompressionSnappy Compression = "snappy"
	CompressionZstd   Compression = "zstd"
)
