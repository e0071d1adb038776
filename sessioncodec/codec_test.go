package sessioncodec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const testKey = "p1:shop:0123456789abcdefghijklmnopqrstuv"

// secret returns the test key of that id.
func secret(id uint32) *Key {
	return &Key{ID: id, Secret: bytes.Repeat([]byte{byte(id)}, 32)}
}

func newCodec(t testing.TB, o Options) *Codec {
	t.Helper()
	if o.Space == "" {
		o.Space = "shop"
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cart is a session of n attributes and about n*(12+size) bytes, that compresses about as a real one does.
func cart(n, size int) *Record {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	r := &Record{
		Created: 1_700_000_000_000, Accessed: 1_700_000_060_000, Idle: 1800, Lifetime: 86400, Life1: 1, Life2: 2,
		Owner: Owner{Epoch: 3, Route: "shop-1", Incarnation: 0xfeedfacecafe},
	}
	for i := range n {
		text := strings.Repeat(`{"sku":"x","qty":1},`, size/40) + fmt.Sprintf("%x", random.Perm(size))
		r.Entries = append(r.Entries, Entry{
			Name: fmt.Sprintf("attribute%03d", i), Value: fmt.Appendf(nil, "%q", text[:size-2]),
			Stamp: Stamp{uint64(r.Created) + uint64(i), r.Owner.Incarnation},
		})
	}
	return r
}

func TestSealOpenRoundTrip(t *testing.T) {
	var codecs []*Codec
	for _, policy := range []Compression{CompressAuto, CompressNone, CompressZstd} {
		codecs = append(codecs, newCodec(t, Options{Compression: policy}), newCodec(t, Options{Compression: policy, Seal: secret(1), Open: []Key{*secret(7)}}))
	}
	records := []*Record{{}, cart(0, 0), cart(3, 50), cart(20, 200), cart(8, 8000)}
	check := func(t interface{ Fatalf(string, ...any) }, c *Codec, r *Record) {
		blob, err := c.Seal(testKey, r)
		if err != nil {
			t.Fatalf("sealing: %v", err)
		}
		got, err := c.Open(testKey, bytes.Clone(blob))
		if err != nil {
			t.Fatalf("opening: %v", err)
		}
		if !got.Same(r) || got.Life1 != r.Life1 || got.Life2 != r.Life2 {
			t.Fatalf("got %+v, want %+v", got, r)
		}
	}
	for _, c := range codecs {
		for _, r := range records {
			check(t, c, r)
		}
	}
	rapid.Check(t, func(t *rapid.T) { check(t, codecs[rapid.IntRange(0, len(codecs)-1).Draw(t, "codec")], drawRecord(t)) })
}

// A record owns what Open returned: neither the blob nor a later call may change it.
func TestOpenedRecordIsItsOwn(t *testing.T) {
	for _, o := range []Options{{}, {Seal: secret(1)}, {Compression: CompressNone}, {Compression: CompressNone, Seal: secret(1)}} {
		c := newCodec(t, o)
		r := cart(20, 200)
		blob, _ := c.Seal(testKey, r)
		got, err := c.Open(testKey, blob)
		if err != nil {
			t.Fatal(err)
		}
		clear(blob)
		for range 3 {
			other, _ := c.Seal(testKey, cart(30, 100))
			if _, err := c.Open(testKey, other); err != nil {
				t.Fatal(err)
			}
		}
		if !got.Same(r) {
			t.Errorf("%+v: the record changed", o)
		}
	}
}

func TestDestroyedLeavesATombstone(t *testing.T) {
	for _, o := range []Options{{}, {Seal: secret(1)}} {
		c := newCodec(t, o)
		r := cart(3, 50)
		r.State = Destroyed
		blob, err := c.Seal(testKey, r)
		if err != nil {
			t.Fatal(err)
		}
		if len(blob) > headerLen+nonceLen+tagLen {
			t.Errorf("a tombstone of %d bytes", len(blob))
		}
		got, err := c.Open(testKey, blob)
		want := r.tombstone()
		if err != nil || !got.Same(&want) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestCompressionPolicy(t *testing.T) {
	noise := func(n int) *Record {
		value := make([]byte, n)
		rand.NewChaCha8([32]byte{}).Read(value)
		return &Record{Entries: []Entry{{Name: "a", Kind: Opaque, Value: value}}}
	}
	for _, c := range []struct {
		policy Compression
		r      *Record
		want   byte
	}{
		{CompressAuto, cart(1, 1000), plain},
		{CompressAuto, cart(4, 1000), snappyRaw},
		{CompressAuto, noise(4000), plain},
		{CompressNone, cart(4, 1000), plain},
		{CompressZstd, cart(1, 1000), plain},
		{CompressZstd, cart(4, 1000), zstdFrame},
		{CompressZstd, noise(4000), plain},
	} {
		blob, err := newCodec(t, Options{Compression: c.policy}).Seal(testKey, c.r)
		if err != nil || blob[3]&15 != c.want {
			t.Errorf("policy %d, %d bytes: algorithm %d, want %d (%v)", c.policy, len(blob), blob[3]&15, c.want, err)
		}
	}
}

// Every bit of the header is authenticated. What must be read before the seal can be checked has classes of its own.
func TestEveryHeaderBitIsAuthenticated(t *testing.T) {
	sealed := newCodec(t, Options{Seal: secret(1)})
	clear := newCodec(t, Options{})
	r := cart(3, 50)
	for _, c := range []*Codec{sealed, clear} {
		blob, err := c.Seal(testKey, r)
		if err != nil {
			t.Fatal(err)
		}
		for bit := range headerLen * 8 {
			want := []string{ClassAuth}
			if c == clear {
				want = []string{ClassChecksum}
			}
			switch i := bit / 8; {
			case i < 2:
				want = []string{ClassMagic}
			case i == 2:
				want = []string{ClassVersion}
			case i == 3:
				want = append(want, ClassAlgorithm, ClassTruncated, ClassKey) // a known other one is checked as what it says
			case i < 12 && i >= 8 && c == sealed:
				want = []string{ClassKey}
			}
			bad := bytes.Clone(blob)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, err := c.Open(testKey, bad); !slices.Contains(want, Class(err)) {
				t.Errorf("byte %d: %v, want class %v", bit/8, err, want)
			}
		}
	}
}

func TestEveryOtherByteIsAuthenticated(t *testing.T) {
	for _, c := range []struct {
		codec *Codec
		class string
	}{{newCodec(t, Options{Seal: secret(1)}), ClassAuth}, {newCodec(t, Options{}), ClassChecksum}} {
		blob, _ := c.codec.Seal(testKey, cart(3, 50))
		for i := headerLen; i < len(blob); i++ {
			bad := bytes.Clone(blob)
			bad[i] ^= 0x10
			if _, err := c.codec.Open(testKey, bad); Class(err) != c.class {
				t.Fatalf("byte %d of %d: %v", i, len(blob), err)
			}
		}
		for n := range blob {
			if _, err := c.codec.Open(testKey, blob[:n]); err == nil {
				t.Fatalf("opened the first %d of %d bytes", n, len(blob))
			}
		}
	}
}

// M6: a blob opens only in its space, under its storage key, with its key; and configured keys admit nothing unsealed.
func TestBlobsAreBound(t *testing.T) {
	plainBlob, _ := newCodec(t, Options{}).Seal(testKey, cart(1, 20))
	blob, _ := newCodec(t, Options{Seal: secret(1)}).Seal(testKey, cart(1, 20))
	for _, c := range []struct {
		name, key, class string
		o                Options
		blob             []byte
	}{
		{"rotated", testKey, "", Options{Seal: secret(7), Open: []Key{*secret(1)}}, blob},
		{"another storage key", testKey + "x", ClassAuth, Options{Seal: secret(1)}, blob},
		{"another space", testKey, ClassAuth, Options{Seal: secret(1), Space: "shop2"}, blob},
		{"another secret under the id", testKey, ClassAuth, Options{Seal: &Key{1, secret(7).Secret}}, blob},
		{"a key that is gone", testKey, ClassKey, Options{Seal: secret(7)}, blob},
		{"no keys", testKey, ClassKey, Options{}, blob},
		{"clear, another storage key", testKey + "x", ClassChecksum, Options{}, plainBlob},
		{"clear, another space", testKey, ClassChecksum, Options{Space: "shop2"}, plainBlob},
		{"downgrade", testKey, ClassAlgorithm, Options{Seal: secret(1)}, plainBlob},
	} {
		if _, err := newCodec(t, c.o).Open(c.key, c.blob); Class(err) != c.class {
			t.Errorf("%s: %v, want class %q", c.name, err, c.class)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	entries := func(e ...Entry) *Record { return &Record{Created: 10, Entries: e} }
	stamp := Stamp{Clock: 10}
	many := &Record{}
	for i := range MaxEntries + 1 {
		many.Entries = append(many.Entries, Entry{Name: fmt.Sprintf("%05d", i)})
	}
	for _, c := range []struct {
		name, class string
		r           *Record
	}{
		{"a write before the birth", ClassCanonical, entries(Entry{Name: "a", Stamp: Stamp{Clock: 9}})},
		{"disorder", ClassCanonical, entries(Entry{Name: "b", Stamp: stamp}, Entry{Name: "a", Stamp: stamp})},
		{"a name twice", ClassCanonical, entries(Entry{Name: "a", Stamp: stamp}, Entry{Name: "a", Stamp: stamp})},
		{"reserved first", ClassCanonical, entries(Entry{Name: "a", Kind: Reserved, Stamp: stamp}, Entry{Name: "b", Stamp: stamp})},
		{"no name", ClassCanonical, entries(Entry{Stamp: stamp})},
		{"a name that is not UTF-8", ClassCanonical, entries(Entry{Name: "\xff", Stamp: stamp})},
		{"a long name", ClassLimit, entries(Entry{Name: strings.Repeat("n", MaxName+1), Stamp: stamp})},
		{"a deleted value", ClassCanonical, entries(Entry{Name: "a", Kind: Deleted, Stamp: stamp, Value: []byte("1")})},
		{"an idle that is not the record's", ClassCanonical, entries(Entry{Name: "idle", Kind: Reserved, Stamp: stamp, Value: []byte("7")})},
		{"an idle that is no number", ClassCanonical, entries(Entry{Name: "idle", Kind: Reserved, Stamp: stamp, Value: []byte("+0")})},
		{"a critical extension", ClassCanonical, &Record{Extensions: []Extension{{ID: 64}}}},
		{"extensions in disorder", ClassCanonical, &Record{Extensions: []Extension{{ID: 2}, {ID: 1}}}},
		{"too many entries", ClassLimit, many},
		{"too many bytes", ClassLimit, entries(Entry{Name: "a", Kind: Opaque, Stamp: stamp, Value: make([]byte, MaxRaw)})},
		{"a negative time", ClassHeader, &Record{Accessed: -1}},
		{"a long route", ClassHeader, &Record{Owner: Owner{Route: strings.Repeat("r", 256)}}},
	} {
		if _, err := newCodec(t, Options{}).Seal(testKey, c.r); Class(err) != c.class {
			t.Errorf("%s: %v, want class %q", c.name, err, c.class)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []Options{
		{},
		{Space: strings.Repeat("s", 256)},
		{Space: "shop", Compression: CompressZstd + 1},
		{Space: "shop", MaxRaw: MaxRaw + 1},
		{Space: "shop", Open: []Key{*secret(1)}},
		{Space: "shop", Seal: &Key{ID: 0, Secret: make([]byte, 32)}},
		{Space: "shop", Seal: &Key{ID: 1, Secret: make([]byte, 31)}},
		{Space: "shop", Seal: secret(1), Open: []Key{*secret(1)}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: accepted", o)
		}
	}
}

// What the compressed body claims never makes the reader write more than the header's length.
func TestBombsAreCapped(t *testing.T) {
	c := newCodec(t, Options{Compression: CompressZstd})
	encoder, err := c.encoder()
	if err != nil {
		t.Fatal(err)
	}
	bomb := encoder.EncodeAll(make([]byte, 64<<20), nil)
	h := headerOf(&Record{}, new([]byte))
	h.compression, h.rawLen = zstdFrame, 100
	blob, _ := c.protect(&h, bomb, testKey, new(scratch))
	allocated := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if _, err := c.Open(testKey, blob); Class(err) == "" {
				b.Fatal("opened a bomb")
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 1<<20 {
		t.Errorf("%d bytes allocated", allocated)
	}
}

func FuzzOpen(f *testing.F) {
	sealed := newCodec(f, Options{Seal: secret(1), Compression: CompressNone})
	open := newCodec(f, Options{Compression: CompressNone})
	for _, c := range []*Codec{sealed, open, newCodec(f, Options{}), newCodec(f, Options{Compression: CompressZstd})} {
		for _, r := range []*Record{cart(2, 30), cart(6, 400), {State: Destroyed}} {
			blob, _ := c.Seal(testKey, r)
			f.Add(blob)
		}
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		_, _ = sealed.Open(testKey, blob)
		if len(blob) >= headerLen+crcLen { // a valid checksum, so that what is behind it is reached
			blob = bytes.Clone(blob)
			body := blob[headerLen : len(blob)-crcLen]
			sum := checksum(open.bound(blob[:headerLen], testKey, new(scratch)), body)
			binary.LittleEndian.PutUint32(blob[len(blob)-crcLen:], sum)
		}
		r, err := open.Open(testKey, blob)
		if err != nil {
			if Class(err) == "" {
				t.Fatalf("an error without a class: %v", err)
			}
			return
		}
		again, err := open.Seal(testKey, r)
		if err != nil {
			t.Fatalf("opened, but not sealed again: %v", err)
		}
		if blob[3] == 0 && !bytes.Equal(again, blob) {
			t.Fatalf("two spellings of one record:\n%x\n%x", blob, again)
		}
	})
}

func FuzzPayload(f *testing.F) {
	var s scratch
	for _, r := range []*Record{{}, cart(2, 30), {
		To: Link{At: 1}, Prev: Link{Issued: 2}, Owner: Owner{Route: "a1"}, Extensions: []Extension{{ID: 5, Value: []byte("x")}},
		Entries: []Entry{{Name: "a", Kind: Deleted}, {Name: "b", Kind: 9, Value: []byte("1")}, {Name: "idle", Kind: Reserved, Value: []byte("0")}},
	}} {
		f.Add(appendPayload(nil, r, &s), r.Created)
	}
	f.Fuzz(func(t *testing.T, payload []byte, created int64) {
		r := &Record{Created: max(created, 0)}
		if err := parsePayload(payload, r, &s); err != nil {
			return
		}
		if again := appendPayload(nil, r, &s); !bytes.Equal(again, payload) {
			t.Fatalf("two spellings of one record:\n%x\n%x", payload, again)
		}
		if !Join(r, clone(r)).Same(r) {
			t.Fatal("joined with itself it changes")
		}
	})
}
