package sidecar

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// The fields of the header contract, "pillion/1".
const (
	fieldSession = "Pillion-Session"
	fieldMeta    = "Pillion-Meta"
	fieldHandle  = "Pillion-Handle"
	fieldAuth    = "Pillion-Auth"

	fieldPatch   = "Pillion-Patch"
	fieldReplace = "Pillion-Replace"
	fieldOp      = "Pillion-Op"
	fieldSubject = "Pillion-Subject"
	fieldIdle    = "Pillion-Idle"
)

const prefix = "pillion-"

// ours tells whether a field name, as some server behind us may read it, begins with pillion-: any case, and every character
// that is neither letter nor digit counts as a dash (H1; CGI and WSGI turn dashes into underscores).
func ours(name string) bool {
	if len(name) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		c := name[i] | 0x20
		if prefix[i] == '-' {
			if name[i] < 0x80 && (c >= 'a' && c <= 'z' || name[i] >= '0' && name[i] <= '9') {
				return false
			}
		} else if c != prefix[i] {
			return false
		}
	}
	return true
}

// strip removes our fields from a head and returns how many there were.
func strip(fields *head.Fields) int {
	before := len(*fields)
	fields.Keep(func(name string) bool { return !ours(name) })
	return before - len(*fields)
}

// inject sets the fields that hand the session to the app: each exactly once (H4), after hop-by-hop removal (H2).
func (h *Handler) inject(v *visit, req *head.Head) {
	var object []byte
	if v.loaded != nil {
		object = make([]byte, 0, weight(v.loaded)+len("{}"))
	}
	object = sessioncodec.AppendObject(object, v.loaded)
	inline := len(object) <= h.opts.InlineMax
	meta := h.meta(v, len(object), inline)
	session := ""
	if inline {
		session = string(object)
		req.Fields.Add(fieldSession, session)
	}
	req.Fields.Add(fieldMeta, meta)
	if h.opts.Handles {
		v.handle = h.handles.open(object, etag(v.loaded))
		req.Fields.Add(fieldHandle, v.handle)
	}
	if len(h.opts.AppAuth) > 0 {
		req.Fields.Add(fieldAuth, h.prove(req.Method, session, meta, v.handle))
	}
}

// meta spells Pillion-Meta, a dictionary of RFC 9651.
func (h *Handler) meta(v *visit, size int, inline bool) string {
	b := make([]byte, 0, 160)
	if r := v.loaded; r == nil {
		b = append(b, "new"...)
	} else {
		expires := min(v.accessed+int64(r.Idle)*1000, r.Created+int64(r.Lifetime)*1000)
		b = append(b, `v="`...)
		b = append(b, etag(r)...)
		b = append(b, `", new=?0, ref="`...)
		b = append(b, v.ref()...)
		b = append(b, `", created=@`...)
		b = strconv.AppendInt(b, r.Created/1000, 10)
		b = append(b, ", exp=@"...)
		b = strconv.AppendInt(b, expires/1000, 10)
		b = append(b, ", idle="...)
		b = strconv.AppendUint(b, uint64(r.Idle), 10)
	}
	b = append(b, ", size="...)
	b = strconv.AppendInt(b, int64(size), 10)
	if inline {
		return string(append(b, ", inline"...))
	}
	return string(append(b, ", inline=?0"...))
}

// etag names the content of a record: equal for equal attributes, opaque to the app.
func etag(r *sessioncodec.Record) string {
	if r == nil {
		return ""
	}
	digest := r.Digest()
	return hex.EncodeToString(digest[:])
}

// collect takes our fields out of a response head (H5) and returns them; the app's attempts to set our cookie go as well.
func (h *Handler) collect(resp *head.Head) head.Fields {
	var mine head.Fields
	kept := resp.Fields[:0]
	for _, line := range resp.Fields {
		switch {
		case ours(line.Name):
			mine = append(mine, line)
		case strings.EqualFold(line.Name, "Set-Cookie") && h.opts.Cookie.mints(line.Value):
		default:
			kept = append(kept, line)
		}
	}
	resp.Fields = kept
	return mine
}
