package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/cache"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// Handler is the session engine: it alone knows the order of the steps that a request goes through.
type Handler struct {
	opts       Options
	keeper     keeper
	clock      *Clock
	locks      *locks
	handles    *handles
	background *background
	touch      time.Duration
	ignore     atomic.Pointer[[]*regexp.Regexp]
	keys       atomic.Pointer[ring.Keys]
	peers      atomic.Pointer[map[string]string] // route -> address
	leaving    atomic.Pointer[map[string]bool]   // peers that drain, from a control plane
	away       atomic.Bool                       // this sidecar leaves
	turn       atomic.Uint32                     // of detours
	sealer     atomic.Pointer[Sealer]
	hops       *hops
	subjects   *subjects
	absent     absences
	groups     groups
	pulses     *pulses
	awaited    awaited
	fences     fences
	debts      debts
	heart      heartbeat
	open       openExchanges
	spellings  *cache.Cache[seat, *spelling]
	anonymous  *spelling // of no session
	visits     sync.Pool
	crowd      crowd
	births     births
	trust      atomic.Int64  // Unix nanoseconds until which memory is trusted
	doubt      atomic.Int64  // Unix nanoseconds when it came to be trusted again, after it was not
	renewed    chan struct{} // a node has a new life
	// Looked up once: a look-up by label for each request would show.
	requests struct{ session, anonymous, ignored prometheus.Counter }
	kept     prometheus.Counter // commits that ended well
}

// keeper is what differs between the two modes.
type keeper interface {
	// find fills v with the session that the client showed; v.loaded stays nil when it is absent.
	find(ctx context.Context, v *visit) error
	// commit keeps the changes of a group, and gives each its outcome.
	commit(ctx context.Context, g *group)
	// birth keeps a new session under v.id.
	birth(ctx context.Context, v *visit, e *edit) error
	// hold returns the newest record, and keeps others of this process from changing it until release.
	hold(ctx context.Context, v *visit) (*sessioncodec.Record, func(ended bool), error)
	// forget drops what memory has of a session that ended.
	forget(random [16]byte)
}

// visit is one request on its way through the engine.
type visit struct {
	space     string
	included  bool                 // not an ignored path, not a preflight
	shown     ring.ID              // the cookie as it came, zero when none verified
	id        ring.ID              // of the session, as it is now
	loaded    *sessioncodec.Record // what the app is given; nil: no session
	accessed  int64                // Unix milliseconds of this access
	seen      store.Seen
	frozen    bool // the client shows an id from before a renewal, within the grace time
	successor bool // found by following a renewal
	born      bool
	exact     bool // the lock mode covers this request, or its change comes late: see apply
	unlock    func()
	handle    string
	hopped    bool     // another sidecar of the fleet forwarded it here
	detoured  bool     // and that one's app is down
	forwarded string   // the sidecar that it was passed on to
	await     await    // its answer
	inquiry   inquiry  // whether it lives
	tried     []string // those that it was passed on to because the app of this one is down
	final     bool     // the final head has been handled
	open      *openExchange
	spelling  *spelling  // of the session; until it is found, perhaps an older one
	proven    *ring.Keys // have verified shown
	home      *session   // in the memory of sticky mode
	client    netip.Addr // who asks, where that matters
	now       time.Time  // see at
}

// New returns the engine. Run must run beside it.
func New(opts Options) *Handler {
	h := &Handler{
		opts: opts, locks: newLocks(&opts), handles: newHandles(opts.Random), background: newBackground(opts.Metrics.Dropped.Inc),
		touch: TouchInterval(opts.Idle), renewed: make(chan struct{}, 1),
		clock: NewClock(opts.Incarnation, func() {
			opts.Metrics.StampsAhead.Inc()
			opts.Log.Error("a stored stamp is more than five minutes ahead of this clock: check the clocks of the fleet")
		}),
	}
	h.spellings = cache.New[seat, *spelling](opts.HeaderCache)
	h.anonymous = &spelling{}
	h.visits.New = func() any { return new(visit) }
	h.kept = opts.Metrics.Commits.WithLabelValues(outcome(nil))
	h.requests.session = opts.Metrics.Requests.WithLabelValues("session")
	h.requests.anonymous = opts.Metrics.Requests.WithLabelValues("anonymous")
	h.requests.ignored = opts.Metrics.Requests.WithLabelValues("ignored")
	h.SetIgnore(opts.Ignore)
	h.SetCreations(opts.Creations)
	h.hops = newHops(opts.Route, opts.Random)
	h.subjects = newSubjects(h)
	h.pulses = newPulses()
	h.groups.lines = map[[16]byte][]*change{}
	h.SetPeers(nil)
	h.SetLeaving(nil)
	h.SetKeys(opts.Keys, opts.Sealer, opts.Secrets)
	if opts.Sticky {
		h.keeper = &sticky{h: h, table: newTable(opts.MemoryLimit, opts.Metrics)}
	} else {
		h.keeper = &shared{h: h}
	}
	return h
}

// SetIgnore replaces session.ignore.
func (h *Handler) SetIgnore(paths []*regexp.Regexp) { h.ignore.Store(&paths) }

// SetKeys replaces the keys of ids, of records and of calls between sidecars.
func (h *Handler) SetKeys(keys *ring.Keys, sealer Sealer, secrets [][]byte) {
	h.keys.Store(keys)
	h.sealer.Store(&sealer)
	h.hops.setKeys(secrets)
}

func (h *Handler) newVisit() *visit {
	v := h.visits.Get().(*visit)
	v.space = h.opts.Space
	return v
}

// Request strips what a client may not send, finds its session and hands it to the app.
func (h *Handler) Request(x *head.Exchange) (head.To, *head.Reply) {
	v, hopped := x.Session.(*visit) // Vouched made it
	if !hopped {
		v = h.newVisit()
		x.Session = v
	}
	if n := strip(&x.Request.Fields); n > 0 {
		h.opts.Metrics.Spoofs.Add(float64(n))
	}
	values := h.opts.Cookie.take(&x.Request.Fields)
	if v.included = !h.ignores(&x.Request); !v.included {
		h.requests.ignored.Inc()
		return h.opts.Upstream, nil
	}
	if h.readID(v, &values) {
		if k, sticky := h.keeper.(*sticky); sticky {
			if route, ok := k.home(x.Context, v); ok {
				return h.forward(x, v, route), nil
			}
		}
	}
	return h.serve(x, v)
}

// serve finds the session here and hands it to the app.
func (h *Handler) serve(x *head.Exchange, v *visit) (head.To, *head.Reply) {
	if v.shown != (ring.ID{}) {
		if err := h.locate(x.Context, v, &x.Request); err != nil {
			v.release()
			return head.To{}, h.refuse(v, err)
		}
	}
	if v.loaded != nil {
		h.requests.session.Inc()
	} else {
		h.requests.anonymous.Inc()
	}
	h.inject(v, &x.Request)
	return h.opts.Upstream, nil
}

// locate locks, then loads: what was loaded before the lock could be old.
func (h *Handler) locate(ctx context.Context, v *visit, req *head.Head) error {
	if h.absent.has(v.id) {
		return nil
	}
	if err := h.lock(ctx, v, req); err != nil {
		return err
	}
	err := h.keeper.find(ctx, v)
	if errors.Is(err, store.ErrUnknown) {
		h.opts.Metrics.Unknown.Inc()
		if h.unknownIsAnonymous(err) {
			v.id, v.loaded = ring.ID{}, nil
			return nil
		}
	}
	switch {
	case err != nil:
		return err
	case v.loaded == nil:
		h.absent.add(v.id)
	case h.subjects.revoked(ctx, v.spelling.subject, v.spelling.bound):
		h.evict(v)
	}
	return nil
}

// evict ends a session whose subject was logged out everywhere; the request goes on without it.
func (h *Handler) evict(v *visit) {
	h.count("revoked")
	h.keeper.forget(v.id.Random)
	id := v.id
	h.background.add(id.Random, func(ctx context.Context) { _, _ = h.bury(ctx, id) })
	v.id, v.loaded, v.frozen = ring.ID{}, nil, false
}

// unknownIsAnonymous decides what UNKNOWN becomes: 503 while the node may come back with the session, then no session, with the cookie left
// alone until the app writes. While no node answers shared mode knows nothing, and says so.
func (h *Handler) unknownIsAnonymous(err error) bool {
	var unknown *store.UnknownError
	if h.opts.Anonymous || !errors.As(err, &unknown) {
		return h.opts.Anonymous
	}
	if unknown.All && !h.opts.Sticky {
		return false
	}
	return time.Duration(unknown.DownFor)*time.Millisecond > h.opts.UnknownFor
}

// Response takes the app's instructions out of the head and commits them before the head leaves.
func (h *Handler) Response(x *head.Exchange, resp *head.Head) error {
	v := x.Session.(*visit)
	if v.forwarded != "" {
		return h.passed(v, resp)
	}
	var few [len(instructionFields)]head.Field // none comes twice
	fields := h.collect(few[:0], resp)
	if resp.Status < 200 && resp.Status != 101 {
		h.misplaced(fields, "interim")
		return nil
	}
	v.final = true
	defer v.release()
	if !v.included {
		h.misplaced(fields, "ignored_path")
		return nil
	}
	in, err := h.instruct(fields, v.loaded)
	if err != nil {
		h.opts.Metrics.ContractErrors.WithLabelValues("instruction").Inc()
		h.opts.Log.Warn("the app broke the header contract", "error", err, "path", pathOf(x.Request.Target))
		if h.opts.Strict {
			return head.Fail(502, head.ContractError, err.Error())
		}
		in = nothing
	}
	if v.loaded == nil && !in.none() {
		v.client = x.Client(h.opts.TrustedProxies)
	}
	h.locks.learn(&x.Request, !in.none())
	if err := h.apply(x.Context, v, in); err != nil && !errors.Is(err, errGone) {
		return h.refuse(v, err)
	}
	h.answer(v, in, resp)
	if v.loaded != nil && !in.destroy && goesOn(resp) {
		v.open = h.open.enter(x, v.id)
	}
	return nil
}

// Trailer removes our fields from the trailers (H5): instructions there would come after the commit.
func (h *Handler) Trailer(x *head.Exchange, trailer *head.Head) {
	if v, ok := x.Session.(*visit); ok && v.forwarded == "" {
		h.misplaced(h.collect(nil, trailer), "trailer")
	}
}

// End closes what the exchange still holds.
func (h *Handler) End(x *head.Exchange, _ error) {
	if v, ok := x.Session.(*visit); ok {
		if v.open != nil {
			h.open.leave(v.open)
		}
		h.awaited.leave(&v.await)
		v.release()
		h.handles.close(v.handle)
		x.Session, *v = nil, visit{}
		h.visits.Put(v)
	}
}

// misplaced counts instructions where none count.
func (h *Handler) misplaced(fields head.Fields, where string) {
	if len(fields) > 0 {
		h.opts.Metrics.ContractErrors.WithLabelValues(where).Add(float64(len(fields)))
	}
}

// ignores tells whether a request goes past the sessions: session.ignore matches its path, or it is an OPTIONS.
func (h *Handler) ignores(req *head.Head) bool {
	if req.Method == "OPTIONS" {
		return true
	}
	path := pathOf(req.Target)
	return slices.ContainsFunc(*h.ignore.Load(), func(re *regexp.Regexp) bool { return re.MatchString(path) })
}

func pathOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}

// at is the time of v. One look at the clock serves a request that waits for nothing; who made it wait clears the time.
func (v *visit) at() time.Time {
	if v.now.IsZero() {
		v.now = time.Now()
	}
	return v.now
}

// LogValue is what the access log says of the session: its public name.
func (v *visit) LogValue() slog.Value { return slog.GroupValue(slog.String("ref", v.ref())) }

func (v *visit) ref() string {
	if v.id.Random == [16]byte{} {
		return ""
	}
	return ring.Ref(v.space, v.id.Random)
}

func (v *visit) release() {
	if v.unlock != nil {
		v.unlock()
		v.unlock = nil
	}
}
