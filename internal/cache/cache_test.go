package cache

import (
	"sync"
	"testing"
)

func TestCacheKeepsWhatIsInUse(t *testing.T) {
	const size, room = 100, 64 * 50
	c := New[int, string](room * size)
	for i := range 20 * room {
		c.Put(i, "value", size)
		c.Get(i % 50) // read all the time: these stay
		if c.Bytes() > room*size {
			t.Fatalf("%d bytes are kept, %d allowed", c.Bytes(), room*size)
		}
	}
	kept := 0
	for hot := range 50 {
		if v, ok := c.Get(hot); ok && v == "value" {
			kept++
		}
	}
	if kept < 45 {
		t.Errorf("%d of 50 values in use are kept", kept)
	}
	if c.Bytes() < room*size*3/4 {
		t.Errorf("%d bytes are kept: the room of %d is not used", c.Bytes(), room*size)
	}
}

func TestCacheReplacesAndRefuses(t *testing.T) {
	c := New[string, int](6400)
	c.Put("a", 1, 60)
	c.Put("a", 2, 40)
	if v, ok := c.Get("a"); v != 2 || !ok || c.Bytes() != 40 {
		t.Errorf("%d %v in %d bytes", v, ok, c.Bytes())
	}
	c.Put("a", 3, 101) // more than a shard
	if _, ok := c.Get("a"); ok || c.Bytes() != 0 {
		t.Errorf("an old value, or one too large, is kept in %d bytes", c.Bytes())
	}
	none := New[string, int](0)
	none.Put("a", 1, 1)
	if _, ok := none.Get("a"); ok {
		t.Error("kept without room")
	}
}

func TestCacheInParallel(t *testing.T) {
	c := New[int, int](64 * 1000)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 20000 {
				c.Put(i%3000, i, 50)
				if v, ok := c.Get(i % 3000); ok && v%3000 != i%3000 {
					t.Errorf("the value of another key: %d for %d", v, i%3000)
				}
			}
		})
	}
	all.Wait()
	if c.Bytes() > 64*1000 {
		t.Errorf("%d bytes", c.Bytes())
	}
}

func BenchmarkGet(b *testing.B) {
	c := New[[16]byte, int](1 << 30)
	for i := range 100000 {
		c.Put([16]byte{byte(i), byte(i >> 8), byte(i >> 16)}, i, 1000)
	}
	b.RunParallel(func(p *testing.PB) {
		for i := 0; p.Next(); i++ {
			c.Get([16]byte{byte(i), byte(i >> 8)})
		}
	})
}
