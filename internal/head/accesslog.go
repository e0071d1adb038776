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

// maxRequestID bounds what a client can have repeated in the log.
const maxRequestID = 128

// LogAccess writes one line without query, field or body: they may hold secrets. The identifiers of a trace are there to find the line by, and
// the names are those of Envoy's log (xds). A Handler's state that is a slog.LogValuer adds a group of attributes, such as the session's ref.
func LogAccess(log *slog.Logger, x *Exchange, o Outcome) {
	path, _, _ := strings.Cut(x.Request.Target, "?")
	attrs := []slog.Attr{
		slog.String("method", x.Request.Method), slog.String("host", x.Request.Authority), slog.String("path", path),
		slog.Int("status", o.Status), slog.Int64("bytes_out", o.Bytes), slog.Float64("duration_ms", float64(o.Took.Microseconds())/1000),
		slog.String("client", x.RemoteIP),
	}
	if id := x.Request.Fields.Get("X-Request-Id"); id != "" && len(id) <= maxRequestID {
		attrs = append(attrs, slog.String("request_id", id))
	}
	if id := traceID(x.Request.Fields.Get("Traceparent")); id != "" {
		attrs = append(attrs, slog.String("trace_id", id))
	}
	if state, ok := x.Session.(slog.LogValuer); ok {
		attrs = append(attrs, state.LogValue().Group()...)
	}
	if o.Err != nil {
		attrs = append(attrs, slog.String("error", o.Err.Error()))
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "access", attrs...)
}

// traceID is the second part of a traceparent (W3C Trace Context), "" when that is none.
func traceID(parent string) string {
	parts := strings.Split(parent, "-")
	if len(parts) < 4 || len(parts[0]) != 2 || len(parts[1]) != 32 || strings.Trim(parts[1], "0123456789abcdef") != "" {
		return ""
	}
	return parts[1]
}
