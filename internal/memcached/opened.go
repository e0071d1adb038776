package memcached

import (
	"bytes"

	"github.com/pillion-proxy/pillion/internal/cache"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// opened are records by the blobs that they were read from or written as. Shared mode reads a session again with every request: a copy that has
// not changed is known by its bytes, all of them, and costs no key, no decompression and no parsing. Nothing is believed that the node did not
// say just now.
type opened struct{ blobs *cache.Cache[string, blob] }

// openedOverhead is what a blob takes in memory beside its bytes and its record's; entrySize is what each entry of that does.
const (
	openedOverhead = 512
	entrySize      = 64
)

func newOpened(limit int64) opened { return opened{cache.New[string, blob](limit)} }

// record returns what that blob of key holds, nil when it was not seen lately.
func (o opened) record(key string, sealed []byte) *sessioncodec.Record {
	if last, ok := o.blobs.Get(key); ok && bytes.Equal(last.bytes, sealed) {
		return last.record
	}
	return nil
}

// keep remembers a blob. A tombstone's record may hold what its blob has not.
func (o opened) keep(key string, b blob) {
	if b.record.State == sessioncodec.Destroyed {
		return
	}
	size := openedOverhead + len(key) + len(b.bytes)
	for i := range b.record.Entries {
		size += entrySize + len(b.record.Entries[i].Name) + len(b.record.Entries[i].Value)
	}
	o.blobs.Put(key, b, int64(size))
}
