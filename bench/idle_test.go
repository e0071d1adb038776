package main

import (
	"net"
	"runtime"
	"testing"
)

func TestIdleConnectionsStayUsable(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8")
	}
	a, err := newLoopbackApp()
	if err != nil {
		t.Fatal(err)
	}
	defer a.listener.Close()
	const n = 40
	open, err := openIdle("http://"+a.address()+readPath, []string{"psid=1"}, n)
	if err != nil || len(open) != n || a.counted().requests != n {
		t.Fatalf("%d open, %d requests, %v", len(open), a.counted().requests, err)
	}
	sources := map[string]bool{}
	for _, c := range open {
		defer c.Close()
		host, _, _ := net.SplitHostPort(c.LocalAddr().String())
		sources[host] = true
	}
	if len(sources) != 8 {
		t.Errorf("from %d addresses, want 8", len(sources))
	}
	if err := answersAll(open, "http://"+a.address()+readPath, []string{"psid=1"}); err != nil || a.counted().requests != 2*n {
		t.Errorf("%d requests, %v", a.counted().requests, err)
	}
}

func TestMemoryOfAProcessTree(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no /proc")
	}
	l := &lab{ctx: t.Context(), dir: t.TempDir()}
	defer l.close()
	p, err := l.start("sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	if mib, err := p.memory(); err != nil || mib <= 0 || mib > 100 {
		t.Errorf("%v MiB, %v", mib, err)
	}
}
