package coding

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxRunning bounds the encoders, each of which holds up to a megabyte for as long as its body streams. More bodies go as they are.
const maxRunning = 512

const (
	readSize = 32 << 10
	// gzipLevel costs half of the default level and packs nearly as tight.
	gzipLevel = 3
	// zstdWindow is small beside the 8 MiB that every client must bear (RFC 9659): it is memory of each encoder, and pages are short.
	zstdWindow = 256 << 10
)

var errClosed = errors.New("coding: read after close")

// Encoders makes bodies in a coding and keeps what it needs for that. The zero value is ready.
type Encoders struct {
	running    atomic.Int64
	gzip, zstd sync.Pool
}

// Busy tells that so many bodies are being encoded that another one had better go as it is.
func (e *Encoders) Busy() bool { return e.running.Load() >= maxRunning }

// Reader is body in that coding. Each Read of body comes out at once: nothing is held back until there is more, so that a stream stays one.
func (e *Encoders) Reader(c Coding, body io.Reader) io.ReadCloser {
	e.running.Add(1)
	pool := &e.gzip
	if c == Zstd {
		pool = &e.zstd
	}
	r, ok := pool.Get().(*reader)
	if !ok {
		r = &reader{encoder: newEncoder(c)}
	}
	r.encoder.Reset(&r.out)
	r.body, r.err = body, nil
	return &loan{r, pool, e}
}

// encoder is what gzip and zstd have in common.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

func newEncoder(c Coding) encoder {
	if c == Zstd {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // of constants
		}
		return w
	}
	w, err := gzip.NewWriterLevel(nil, gzipLevel)
	if err != nil {
		panic(err) // of constants
	}
	return w
}

// reader goes back to its pool; it never has two bodies.
type reader struct {
	encoder encoder
	body    io.Reader
	in      [readSize]byte
	out     bytes.Buffer
	err     error // what ended the body; io.EOF when it was whole
}

func (r *reader) Read(p []byte) (int, error) {
	for r.out.Len() == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.fill()
	}
	return r.out.Read(p)
}

// fill encodes one Read of the body. One that broke off gets no end: a client must not take it for whole.
func (r *reader) fill() {
	n, err := r.body.Read(r.in[:])
	if n > 0 {
		if _, failed := r.encoder.Write(r.in[:n]); failed != nil {
			err = failed
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		if failed := r.encoder.Close(); failed != nil {
			err = failed
		}
	case n > 0 && err == nil:
		err = r.encoder.Flush()
	}
	r.err = err
}

// loan is a reader out of its pool.
type loan struct {
	*reader
	pool *sync.Pool
	from *Encoders
}

func (l *loan) Read(p []byte) (int, error) {
	if l.reader == nil {
		return 0, errClosed
	}
	return l.reader.Read(p)
}

// Close gives the encoder back. The body is not its to close.
func (l *loan) Close() error {
	if l.reader == nil {
		return nil
	}
	l.body, l.err = nil, errClosed
	l.out.Reset()
	l.encoder.Reset(io.Discard)
	l.pool.Put(l.reader)
	l.reader = nil
	l.from.running.Add(-1)
	return nil
}
