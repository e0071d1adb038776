package h1

import (
	"errors"
	"io"
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
)

// bodyKind is how a body is delimited (RFC 9112, section 6.3).
type bodyKind uint8

const (
	noBody bodyKind = iota
	byLength
	byChunks
	byClose
)

// body is read out of a buffer, and its connection when that is empty. What it gives are parts of the buffer.
type body struct {
	kind bodyKind
	left int64 // of the length, or of the chunk
	buf  *buffer
	from func() error // reads more into buf

	part     chunkPart
	overhead int64      // bytes of chunk extensions beyond what the data allows
	parser   headParser // of the trailer
	ended    bool
	failed   error // it is malformed from here on
}

var errMalformedBody = errors.New("h1: a chunked body is malformed")

func (b *body) reset(kind bodyKind, length int64) {
	b.kind = kind
	b.part, b.overhead, b.failed = chunkSizeLine, 0, nil
	b.ended = kind == noBody || kind == byLength && length == 0
	if kind != byChunks {
		b.left = length
		return
	}
	b.left = 0
	b.parser.maxLines, b.parser.maxBytes = trailerLines, trailerBytes
	b.parser.reset(nil)
	b.parser.trailer, b.parser.started = true, true
}

// next returns the next part, which is good until the next call, and io.EOF at the end. It reads only when nothing of the body is there.
func (b *body) next() ([]byte, error) {
	for {
		switch {
		case b.waits():
			if err := b.more(); err != nil {
				return nil, err
			}
			continue
		case b.failed != nil:
			return nil, b.failed
		case b.ended:
			return nil, io.EOF
		}
		n := b.buf.len()
		if b.kind != byClose {
			n = int(min(int64(n), b.left))
			b.left -= int64(n)
		}
		if b.left == 0 && b.kind == byLength {
			b.ended = true
		} else if b.left == 0 && b.kind == byChunks {
			b.part = chunkEnd
		}
		return b.skip(n), nil
	}
}

// waits tells whether next would have to read. Of a chunked body it takes all that is no data on the way.
func (b *body) waits() bool {
	for !b.ended && b.failed == nil {
		if b.kind != byChunks || b.part == chunkData {
			return b.buf.len() == 0
		}
		var short bool
		if short, b.failed = b.chunkLine(); short {
			return true
		}
	}
	return false
}

// skip takes n bytes, which stay good until the next read.
func (b *body) skip(n int) []byte {
	part := b.buf.unread()[:n]
	b.buf.r += n
	return part
}

// more reads once. The end of the connection is the end of a body that nothing else delimits.
func (b *body) more() error {
	err := b.from()
	if !errors.Is(err, io.EOF) {
		return err
	}
	if b.kind == byClose {
		b.ended = true
		return nil
	}
	return io.ErrUnexpectedEOF
}

// trailer returns the trailer fields once the body has ended. Their strings live on when the buffer does not.
func (b *body) trailer() head.Fields {
	if b.kind != byChunks || len(b.parser.Fields) == 0 {
		return nil
	}
	fields := b.parser.Fields
	b.parser.Fields = nil
	for i, f := range fields {
		fields[i] = head.Field{Name: strings.Clone(f.Name), Value: strings.Clone(f.Value)}
	}
	return fields
}

// bodyReader is a body as a Recoder reads it.
type bodyReader struct {
	*body
	rest []byte
}

func (r *bodyReader) Read(p []byte) (n int, err error) {
	if len(r.rest) == 0 {
		if r.rest, err = r.next(); err != nil {
			return 0, err
		}
	}
	n = copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
