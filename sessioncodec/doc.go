// Package sessioncodec is what the bytes in memcached mean: it spells a session as a blob, and merges two copies of one session.
//
// A [Record] is one session: named attributes, each with the [Stamp] of the write that set it, and facts about its life. Values are
// kept as the app wrote them, JSON text or opaque bytes; no tree is built, so numbers keep every digit. [Join] merges two copies:
// the greater stamp wins attribute by attribute, so late, doubled and reordered writes do no harm.
//
// A [Codec] seals a record into a blob: a clear header of 72 bytes, then the body under XAES-256-GCM, or with a CRC-32 while no key
// is configured. Either way a blob is bound to its space and to its storage key, and so is every bit of its header. It does not
// stop a rollback: whoever can write memcached can put back an older blob of the same session.
//
// A record has one spelling: what opens, seals again to the same payload. What has a second spelling is rejected, with a class
// that fits a metric label ([Class]).
//
// The format is docs/blob-format.md; testdata/vectors holds blobs for readers in other languages, and testdata/readers three such
// readers. Blobs of format version 1 will be readable by every later version of this package.
package sessioncodec
