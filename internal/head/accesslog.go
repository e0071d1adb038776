package head

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// Outcome is what became of an exchange.
type Outcome struct {
	Status int   // of the final head, 0 when none left
	Bytes  int64 // of its body
	Took   time.Duration
	Err    error // why the client did not get the whole response
}

// LogAccess writes one line without query, field or body: they may hold secrets. A Handler's state that is a slog.LogValuer adds what
// it likes, such as the session's ref; the members of a group stand beside the others.
func LogAccess(log *slog.Logger, x *Exchange, o Outcome) {
	path, _, _ := strings.Cut(x.Request.Target, "?")
	attrs := []slog.Attr{
		slog.String("method", x.Request.Method), slog.String("host", x.Request.Authority), slog.String("path", path),
		slog.Int("status", o.Status), slog.Int64("bytes", o.Bytes), slog.Duration("took", o.Took),
		slog.String("remote", x.RemoteIP),
	}
	if session, ok := x.Session.(slog.LogValuer); ok {
		name, value := "session", session.LogValue()
		if value.Kind() == slog.KindGroup {
			name = ""
		}
		attrs = append(attrs, slog.Attr{Key: name, Value: value})
	}
	if o.Err != nil {
		attrs = append(attrs, slog.String("error", o.Err.Error()))
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "access", attrs...)
}
