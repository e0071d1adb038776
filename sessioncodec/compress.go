package sessioncodec

import (
	"errors"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Compression is what a writer does about size; a reader reads all of it. Compressing before sealing lets whoever sees the
// length of a blob learn about a value next to one that he controls: CompressNone is for a memcached shared with strangers.
type Compression uint8

// The policies.
const (
	CompressAuto Compression = iota // Snappy where it pays
	CompressNone
	CompressZstd // smaller, and four times as slow to write: for rings short of memory
)

const (
	minCompress = 1280     // a shorter payload is not tried: tokens and ids do not compress
	maxWindow   = 8 << 20  // of a zstd frame (RFC 8878, 3.1.1.1.2)
	maxMemory   = 16 << 20 // of a zstd decoder; what it writes is capped at raw_len
)

// The compressions of the format: the low half of the algorithms byte.
const (
	plain      = 0
	zstdFrame  = 1
	snappyRaw  = 3
	knownAlgos = 1<<plain | 1<<zstdFrame | 1<<snappyRaw
)

// compressor is one codec's compression: the zstd tables are made when they are first needed, and shared.
type compressor struct {
	policy  Compression
	encoder func() (*zstd.Encoder, error)
	decoder func() (*zstd.Decoder, error)
}

func newCompressor(policy Compression) compressor {
	return compressor{
		policy: policy,
		encoder: sync.OnceValues(func() (*zstd.Encoder, error) {
			return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
		}),
		decoder: sync.OnceValues(func() (*zstd.Decoder, error) {
			return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true),
				zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxMemory))
		}),
	}
}

// compress returns the body of a payload and its algorithm. It may use scratch, which it returns grown.
func (c *compressor) compress(scratch, payload []byte) (body, grown []byte, algorithm byte, err error) {
	if c.policy == CompressNone || len(payload) < minCompress {
		return payload, scratch, plain, nil
	}
	if c.policy == CompressZstd {
		encoder, err := c.encoder()
		if err != nil {
			return nil, scratch, 0, err
		}
		scratch, algorithm = encoder.EncodeAll(payload, scratch[:0]), zstdFrame
	} else {
		// EncodeSnappy, not Encode: S2's own opcodes are read by no other language.
		scratch = slices.Grow(scratch[:0], s2.MaxEncodedLen(len(payload)))
		scratch, algorithm = s2.EncodeSnappy(scratch[:cap(scratch)], payload), snappyRaw
	}
	if len(scratch) > len(payload)-len(payload)/8 {
		return payload, scratch, plain, nil
	}
	return scratch, scratch, algorithm, nil
}

// decompress returns the payload of exactly rawLen bytes: the body itself when it is plain, else memory of its own. It never writes
// more than that, whatever the body claims.
func (c *compressor) decompress(body []byte, algorithm byte, rawLen int) ([]byte, error) {
	payload := body
	switch algorithm {
	case snappyRaw:
		n, err := s2.DecodedLen(body)
		if err != nil {
			return nil, fail(ClassCompression, "damaged Snappy block")
		}
		if n != rawLen {
			return nil, fail(ClassLength, "the Snappy block has another length than the header says")
		}
		if payload, err = s2.Decode(make([]byte, n), body); err != nil {
			return nil, fail(ClassCompression, "damaged Snappy block")
		}
	case zstdFrame:
		decoder, err := c.decoder()
		if err != nil {
			return nil, err
		}
		payload, err = decoder.DecodeAll(body, make([]byte, 0, rawLen))
		if err != nil && !errors.Is(err, zstd.ErrDecoderSizeExceeded) {
			return nil, fail(ClassCompression, "damaged zstd frame")
		}
	}
	if len(payload) != rawLen {
		return nil, fail(ClassLength, "the payload has another length than the header says")
	}
	return payload, nil
}
