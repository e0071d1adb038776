package memcachedtest

import "strconv"

// update is a storage command with its data.
type update struct {
	verb    string
	key     string
	flags   uint32
	exptime int32
	cas     uint64
	data    []byte
}

// value is what get hands out.
type value struct {
	data  []byte
	flags uint32
	cas   uint64
}

// get reads an item; with exptime it touches it too, which leaves the CAS id as it was.
func (m *memory) get(key []byte, exptime *int32) (value, bool) {
	now := m.second()
	s := in(m, key)
	defer s.mu.Unlock()
	all, hits, misses := &m.stats.gets, &m.stats.getHits, &m.stats.getMisses
	if exptime != nil { // gat counts as a touch alone
		all, hits, misses = &m.stats.touches, &m.stats.touchHits, &m.stats.touchMisses
	}
	all.Add(1)
	it := m.find(s, string(key), now)
	if it == nil {
		misses.Add(1)
		return value{}, false
	}
	hits.Add(1)
	it.fetched = true
	s.bump(it, now)
	if exptime != nil {
		it.expires = expiry(*exptime, now)
	}
	return value{it.data, it.flags, it.cas}, true
}

// room says why an item has none, "" when it has.
func (m *memory) room(key string, flags uint32, length int) string {
	switch size := sizeOf(key, flags, length); {
	case size > m.maxItem:
		return "SERVER_ERROR object too large for cache"
	case size > m.limit:
		return "SERVER_ERROR out of memory storing object"
	}
	return ""
}

// store does a storage command and returns its answer.
func (m *memory) store(u update) string {
	now := m.second()
	s := in(m, u.key)
	defer s.mu.Unlock()
	old := m.find(s, u.key, now)
	it := &item{key: u.key, data: u.data, flags: u.flags, expires: expiry(u.exptime, now)}
	switch u.verb {
	case "add":
		if old != nil {
			s.bump(old, now)
			return "NOT_STORED"
		}
	case "replace":
		if old == nil {
			return "NOT_STORED"
		}
	case "append", "prepend":
		if old == nil || m.room(u.key, old.flags, len(old.data)+len(u.data)) != "" {
			return "NOT_STORED"
		}
		it.flags, it.expires = old.flags, old.expires
		it.data = concat(old.data, u.data)
		if u.verb == "prepend" {
			it.data = concat(u.data, old.data)
		}
	case "cas":
		if answer := m.compare(old, u.cas); answer != "" {
			return answer
		}
	}
	m.link(s, it, now)
	m.stats.items.Add(1)
	return "STORED"
}

// compare answers a cas that must not be done.
func (m *memory) compare(old *item, cas uint64) string {
	switch {
	case old == nil:
		m.stats.casMisses.Add(1)
		return "NOT_FOUND"
	case old.cas != cas:
		m.stats.casBadval.Add(1)
		return "EXISTS"
	}
	m.stats.casHits.Add(1)
	return ""
}

func concat(a, b []byte) []byte {
	return append(append(make([]byte, 0, len(a)+len(b)), a...), b...)
}

// count adds to a decimal number, or takes away down to 0. A number that got shorter is filled with spaces, as memcached does it
// while nobody else uses the item.
func (m *memory) count(key []byte, up bool, delta uint64) string {
	now := m.second()
	hits, misses := &m.stats.decrHits, &m.stats.decrMisses
	if up {
		hits, misses = &m.stats.incrHits, &m.stats.incrMisses
	}
	s := in(m, key)
	defer s.mu.Unlock()
	it := m.find(s, string(key), now)
	if it == nil {
		misses.Add(1)
		return "NOT_FOUND"
	}
	n, ok := unsigned(it.data)
	switch {
	case !ok:
		return "CLIENT_ERROR cannot increment or decrement non-numeric value"
	case up:
		n += delta
	case delta > n:
		n = 0
	default:
		n -= delta
	}
	hits.Add(1)
	answer := strconv.FormatUint(n, 10)
	data := []byte(answer)
	for len(data) < len(it.data) {
		data = append(data, ' ')
	}
	m.link(s, &item{key: it.key, data: data, flags: it.flags, expires: it.expires}, now)
	return answer
}

func (m *memory) touch(key []byte, exptime int32) string {
	now := m.second()
	s := in(m, key)
	defer s.mu.Unlock()
	m.stats.touches.Add(1)
	it := m.find(s, string(key), now)
	if it == nil {
		m.stats.touchMisses.Add(1)
		return "NOT_FOUND"
	}
	m.stats.touchHits.Add(1)
	it.expires = expiry(exptime, now)
	s.bump(it, now)
	return "TOUCHED"
}

func (m *memory) delete(key []byte) string {
	s := in(m, key)
	defer s.mu.Unlock()
	it := m.find(s, string(key), m.second())
	if it == nil {
		m.stats.deleteMisses.Add(1)
		return "NOT_FOUND"
	}
	m.stats.deleteHits.Add(1)
	s.unlink(it)
	return "DELETED"
}

// forget removes what key holds.
func (m *memory) forget(key string) {
	s := in(m, key)
	defer s.mu.Unlock()
	if it := s.items[key]; it != nil {
		s.unlink(it)
	}
}

// flush empties the memory, now or after a delay. memcached counts up to the second before the given one, and with a delay of one
// second that is this one: what is stored in the rest of it vanishes too.
func (m *memory) flush(delay int32) {
	now := m.second()
	at := now - 1
	if delay > 0 {
		at = expiry(delay, now) - 1
	}
	m.stats.flushes.Add(1)
	m.flushed.Store(at)
	if at > now {
		return
	}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		clear(s.items)
		s.bytes = 0
		s.root.prev, s.root.next = &s.root, &s.root
		s.mu.Unlock()
	}
}
