package h1

import (
	"bytes"
	"strconv"

	"github.com/pillion-proxy/pillion/internal/head"
)

// The chunked coding (RFC 9112, section 7.1), strictly: no space around a size, CR and LF after each line and each chunk (P1).

// chunkPart is what comes next.
type chunkPart uint8

const (
	chunkSizeLine chunkPart = iota
	chunkData
	chunkEnd
	chunkTrailer
)

const (
	maxChunkLine = 1 << 10  // size and extensions
	maxOverhead  = 16 << 10 // of extensions, beyond as much as the data before them
	trailerLines = 100
	trailerBytes = 16 << 10
)

// chunkLine takes what stands between the data of two chunks, or after the last. short tells that it is not all there.
func (b *body) chunkLine() (short bool, err error) {
	switch b.part {
	case chunkEnd:
		if b.buf.len() < len("\r\n") {
			return true, nil
		}
		if string(b.skip(len("\r\n"))) != "\r\n" {
			return false, errMalformedBody
		}
		b.part = chunkSizeLine
		return false, nil
	case chunkTrailer:
		done, refused := b.parser.parse(b.buf)
		if refused != nil {
			return false, errMalformedBody
		}
		b.ended = done
		return !done, nil
	}
	return b.sizeLine()
}

// sizeLine reads a chunk's size. Extensions are dropped, as RFC 9112, section 7.1.1 allows, and are no way to send bytes for free.
func (b *body) sizeLine() (short bool, err error) {
	unread := b.buf.unread()
	end := bytes.IndexByte(unread, '\n')
	if end < 0 && len(unread) <= maxChunkLine {
		return true, nil
	}
	if end < 1 || end > maxChunkLine || unread[end-1] != '\r' {
		return false, errMalformedBody
	}
	size, extension, extended := bytes.Cut(b.skip(end + 1)[:end-1], []byte{';'})
	if !all(size, isHex) || !visible(extension) || len(size) > 16 {
		return false, errMalformedBody
	}
	n, err := strconv.ParseInt(string(size), 16, 64)
	if err != nil {
		return false, errMalformedBody
	}
	if b.overhead = max(0, b.overhead-n); extended {
		if b.overhead += int64(len(extension)); b.overhead > maxOverhead {
			return false, errMalformedBody
		}
	}
	if b.left, b.part = n, chunkData; n == 0 {
		b.part = chunkTrailer
	}
	return false, nil
}

// appendChunk appends data as one chunk.
func appendChunk(out, data []byte) []byte {
	out = strconv.AppendInt(out, int64(len(data)), 16)
	out = append(out, "\r\n"...)
	out = append(out, data...)
	return append(out, "\r\n"...)
}

// appendLastChunk ends a chunked body.
func appendLastChunk(out []byte, trailer head.Fields) ([]byte, error) {
	w := write(append(out, "0\r\n"...))
	w.fields(trailer)
	return w.end()
}
