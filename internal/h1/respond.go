package h1

import (
	"errors"
	"io"
	"net/http"

	"github.com/pillion-proxy/pillion/internal/head"
)

// flushSize is how much of a response is gathered before it is written.
const flushSize = 16 << 10

// respond takes the final head, which x.said holds, and the body to the client.
func (x *exchange) respond() error {
	p, e := &x.said, x.c.engine
	if p.Status == http.StatusSwitchingProtocols {
		return x.switchProtocols()
	}
	if x.c.hasLeft() {
		return x.leave()
	}
	announced := ""
	x.c.to(handling)
	x.answered()
	if p.ends {
		if p.chunked {
			announced = trailersOf(p.Fields)
		}
		p.Fields.EndHop()
	}
	h := &x.shown
	*h = head.Head{Status: p.Status, Fields: p.Fields}
	err := e.options.Handler.Response(&x.Exchange, h)
	switch {
	case errors.Is(err, head.ErrNotExecuted) && e.rerouter != nil && x.isWhole():
		return err
	case err != nil && !errors.Is(err, head.ErrNotExecuted):
		return x.failure(err)
	}
	var recode head.Recoder
	if e.encoder != nil {
		recode = e.encoder.Encode(&x.Exchange, h)
	}
	p.Fields = h.Fields
	return x.deliver(h, recode, announced)
}

// frameAnswer tells how the body comes from the app, and whether the app's connection is good for another request after it.
func (x *exchange) frameAnswer() (reusable bool) {
	p := &x.said
	reusable = p.minor > 0 && !p.close || p.minor == 0 && p.keep
	switch {
	case !hasBody(x.asked.Method, p.Status):
		x.answer.reset(noBody, 0)
		return reusable && (p.Status != http.StatusNoContent || p.length <= 0 && !p.chunked)
	case p.chunked:
		x.answer.reset(byChunks, 0)
	case p.length >= 0:
		x.answer.reset(byLength, p.length)
	default:
		x.answer.reset(byClose, 0)
		return false
	}
	return reusable
}

// deliver writes the final head and the body, in one piece where all of it is there.
func (x *exchange) deliver(h *head.Head, recode head.Recoder, announced string) error {
	reusable := x.frameAnswer()
	kind := x.answer.kind
	switch {
	case !hasBody(x.asked.Method, h.Status):
		reusable = reusable && kind == noBody
		kind = noBody
	case kind == byLength && recode == nil:
	case x.asked.minor > 0:
		kind = byChunks
	default:
		kind = byClose
	}
	if err := x.writeFinal(h, kind, announced); err != nil {
		return x.failure(err)
	}
	var err error
	switch {
	case kind == noBody:
	case recode != nil:
		err = x.recoded(recode, kind)
	default:
		err = x.plain(kind)
	}
	if err != nil {
		x.c.reset = kind == byClose // nothing else tells this client that the body is not whole
		return err
	}
	if kind == byChunks {
		if x.out, err = appendLastChunk(x.out, x.trailer(h.Status)); err != nil {
			return errors.Join(head.ErrTruncated, err)
		}
	}
	x.releaseUpstream(reusable && x.answer.ended)
	return x.flush()
}

// writeFinal writes the final head into x.out. From here on there is no other answer.
func (x *exchange) writeFinal(h *head.Head, kind bodyKind, announced string) (err error) {
	x.last = x.last || kind == byClose || x.isUnread() || x.c.engine.draining.Load()
	w := write(x.out[:0])
	w.status(h.Status, x.asked.minor)
	w.fields(h.Fields)
	if !h.Fields.Has("Date") { // RFC 9110, section 6.6.1
		w.field("Date", x.c.engine.date())
	}
	switch kind {
	case byLength:
		w.length(x.said.length)
	case byChunks:
		w.field("Transfer-Encoding", "chunked")
		if announced != "" {
			w.field("Trailer", announced)
		}
	case noBody: // the length of what a GET would have got
		if x.said.length >= 0 && h.Status != http.StatusNoContent && h.Fields.Has("Content-Length") {
			w.length(x.said.length)
		}
	}
	x.endOfHead(&w)
	if x.out, err = w.end(); err == nil {
		x.status = h.Status
	}
	return err
}

// endOfHead says what becomes of the connection.
func (x *exchange) endOfHead(w *headWriter) {
	switch {
	case x.last:
		w.field("Connection", "close")
	case x.asked.minor == 0:
		w.field("Connection", "keep-alive")
	}
}

// isUnread tells whether some of the request's body was not read. Nothing may follow on such a connection: the rest of the body, or what is
// malformed in it, must not be taken for a request (P1).
func (x *exchange) isUnread() bool {
	if x.upload != nil {
		return !x.upload.read.Load()
	}
	return !x.body.ended
}

// plain passes the body on as it comes: nothing waits for more.
func (x *exchange) plain(kind bodyKind) error {
	for {
		if x.answer.waits() {
			if err := x.flush(); err != nil {
				return err
			}
		}
		part, err := x.answer.next()
		if err == nil {
			err = x.give(part, kind)
		} else if !errors.Is(err, io.EOF) {
			return x.broken(err)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// recoded passes on what a Recoder makes of the body.
func (x *exchange) recoded(recode head.Recoder, kind bodyKind) (err error) {
	r := recode(&bodyReader{body: &x.answer})
	defer r.Close()
	buf := bulks.Get().(*[bulkSize]byte)
	defer bulks.Put(buf)
	for {
		if x.answer.waits() {
			if err := x.flush(); err != nil {
				return err
			}
		}
		n, err := r.Read(buf[:])
		if n > 0 {
			if err := x.give(buf[:n], kind); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return x.broken(err)
		}
	}
}

// broken sends what there is of a response that broke off, and no more.
func (x *exchange) broken(err error) error {
	if flushed := x.flush(); flushed != nil {
		return flushed
	}
	return errors.Join(head.ErrTruncated, err)
}

// give writes a part of the body, or gathers it.
func (x *exchange) give(part []byte, kind bodyKind) error {
	x.bytes += int64(len(part))
	if len(part) == 0 {
		return nil
	}
	if kind == byChunks {
		x.out = appendChunk(x.out, part)
	} else if len(x.out)+len(part) <= flushSize {
		x.out = append(x.out, part...)
	} else if err := x.flush(); err != nil {
		return err
	} else {
		return x.writeOut(part) // from where it is
	}
	if len(x.out) >= flushSize {
		return x.flush()
	}
	return nil
}

// flush writes what was gathered.
func (x *exchange) flush() error {
	if len(x.out) == 0 {
		return nil
	}
	err := x.writeOut(x.out)
	x.out = x.out[:0]
	return err
}

func (x *exchange) writeOut(b []byte) error {
	x.c.to(giving)
	if err := x.c.write(b); err != nil {
		x.c.look()
		if cause := x.isAborted(); cause != nil {
			return cause
		}
		return errors.Join(head.ErrClientGone, err)
	}
	return nil
}

// trailer is what the Handler leaves of the trailer fields.
func (x *exchange) trailer(status int) head.Fields {
	h := head.Head{Status: status, Fields: x.answer.trailer()}
	if len(h.Fields) == 0 {
		return nil
	}
	x.c.engine.options.Handler.Trailer(&x.Exchange, &h)
	h.Fields.EndTrailer()
	return h.Fields
}

// reply answers in the app's place.
func (x *exchange) reply(r *head.Reply) {
	e := x.c.engine
	if r.Token != "" {
		e.options.OwnAnswer(r.Token)
	}
	x.last = x.last || x.isUnread() || e.draining.Load()
	w := write(x.out[:0])
	w.status(r.Status, x.asked.minor)
	w.fields(r.Fields)
	w.field("Date", e.date())
	if r.Body != "" {
		w.length(int64(len(r.Body)))
	}
	x.endOfHead(&w)
	var err error
	if x.out, err = w.end(); err != nil {
		e.options.Log.Error("answer refused", "error", err)
		x.end(err)
		return
	}
	x.status = r.Status
	if x.asked.Method != http.MethodHead {
		x.out = append(x.out, r.Body...)
		x.bytes = int64(len(r.Body))
	}
	if err := x.flush(); err != nil {
		x.end(err)
	}
}
