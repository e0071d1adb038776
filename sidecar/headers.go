package sidecar

import (
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
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
	sp := h.anonymous
	if v.loaded != nil {
		sp = v.spelling
	}
	w := h.say(sp, v.accessed)
	session := ""
	if h.inline(w) {
		session = w.object
		req.Fields.Add(fieldSession, session)
	}
	req.Fields.Add(fieldMeta, w.meta)
	if h.opts.Handles {
		v.handle = h.handles.open(sp)
		req.Fields.Add(fieldHandle, v.handle)
	}
	if len(h.opts.AppAuth) > 0 {
		req.Fields.Add(fieldAuth, h.prove(req.Method, session, w.meta, v.handle))
	}
}

// collect takes our fields out of a response head (H5) and appends them to mine; the app's attempts to set our cookie go as well.
func (h *Handler) collect(mine head.Fields, resp *head.Head) head.Fields {
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
