package sim

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// history is what happened, for the reader of a failed seed.
type history struct {
	began time.Time
	keep  bool
	mu    sync.Mutex
	lines []string
}

func (h *history) add(format string, args ...any) {
	if !h.keep {
		return
	}
	line := fmt.Sprintf("%12.6f  ", time.Since(h.began).Seconds()) + fmt.Sprintf(format, args...)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, line)
}

// sorted are the lines in the order of time. Which of two goroutines came first at one instant is chance, and means nothing.
func (h *history) sorted() []string {
	slices.Sort(h.lines)
	return h.lines
}

// slog is where a sidecar's log goes.
func (h *history) slog(route string) slog.Handler {
	if !h.keep {
		return slog.DiscardHandler
	}
	return recorder{h, route}
}

// recorder is a slog.Handler that writes into a history.
type recorder struct {
	h     *history
	route string
}

func (r recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r recorder) WithGroup(string) slog.Handler            { return r }

func (r recorder) Handle(_ context.Context, record slog.Record) error {
	var b strings.Builder
	record.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	r.h.add("%s says: %s%s", r.route, record.Message, b.String())
	return nil
}

// brief spells an id so that a reader can follow it: the begin of its random part, its label and its epoch's neighbourhood.
func brief(id string) string {
	if len(id) < 48 {
		return "no cookie"
	}
	return id[:6] + ".." + id[48:]
}

// String tells what the visitor knows of the request.
func (o *Observation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "v%d #%d %s at %s [%.6f-%.6f]", o.Visitor+1, o.N, o.Action, o.Route, o.Start.Seconds(), o.End.Seconds())
	switch {
	case !o.reached:
	case !o.seen.loaded:
		b.WriteString(", no session")
	default:
		fmt.Fprintf(&b, ", saw %v r=%d c=%d", sortedNames(o.seen.names), o.seen.register, o.seen.counter)
	}
	switch {
	case o.Cut:
		fmt.Fprintf(&b, ", cut off (status %d)", o.status)
	default:
		fmt.Fprintf(&b, ", %d %s", o.status, o.token)
	}
	if o.set != "" {
		b.WriteString(", set " + brief(o.set))
	}
	return b.String()
}
