package memtest

import (
	"bufio"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
)

func set(t *testing.T, r *Real, key, value string) {
	t.Helper()
	r.ask(fmt.Sprintf("set %s 0 0 %d\r\n%s", key, len(value), value), func(answer *bufio.Reader) error {
		line, err := answer.ReadString('\n')
		if err == nil && line != "STORED\r\n" {
			err = fmt.Errorf("answer %q", line)
		}
		return err
	})
}

func TestReal(t *testing.T) {
	for name, args := range map[string][]string{"tcp": nil, "unix": {"-s", filepath.Join(t.TempDir(), "m.sock")}} {
		t.Run(name, func(t *testing.T) {
			r := StartReal(t, args...)
			set(t, r, "a%b", "1")
			set(t, r, "c", "2")
			if keys := r.Keys(); !slices.Equal(keys, []string{"a%b", "c"}) {
				t.Errorf("keys %q", keys)
			}
			if value, ok := r.Get("c"); !ok || string(value) != "2" {
				t.Errorf("c is %q, %v", value, ok)
			}
			if r.Stats()["cmd_set"] != "2" || r.Stats()["pid"] != fmt.Sprint(r.Pid) {
				t.Errorf("stats %v", r.Stats())
			}
			r.Flush()
			if _, ok := r.Get("c"); ok {
				t.Error("c survived a flush")
			}
			address, pid := r.Addr, r.Pid
			set(t, r, "c", "3")
			r.Restart()
			if _, ok := r.Get("c"); ok || r.Addr != address || r.Pid == pid {
				t.Error("a restart keeps the address and nothing else")
			}
		})
	}
}

func TestFrozenRealDoesLater(t *testing.T) {
	r := StartReal(t)
	conn, err := r.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r.Freeze()
	fmt.Fprint(conn, "set a 0 0 1\r\n1\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 9)); err == nil {
		t.Errorf("a frozen memcached answered %d bytes", n)
	}
	r.Thaw()
	r.until("the write is done", func() bool { _, ok := r.Get("a"); return ok })
}

func TestStart(t *testing.T) {
	s, address := Start(t, memcachedtest.Options{})
	embedded := &Real{Addr: address, tb: t} // the same questions, asked of the embedded one
	set(t, embedded, "a%b", "1")
	if value, ok := embedded.Get("a%b"); !ok || string(value) != "1" {
		t.Errorf("a%%b is %q, %v", value, ok)
	}
	if keys := embedded.Keys(); !slices.Equal(keys, s.Keys()) || len(keys) != 1 {
		t.Errorf("keys %q, %q", keys, s.Keys())
	}
	if embedded.Stats()["cmd_set"] != "1" {
		t.Errorf("stats %v", embedded.Stats())
	}
}
