package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// api.listen takes a Unix socket: also over one that a killed process left, but never over one in use, or over a file that is none.
func TestListenUnix(t *testing.T) {
	file := filepath.Join(t.TempDir(), "api.sock")
	first, err := listen("api.listen", "unix:"+file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("%v, %v: an app of another user could not connect", info.Mode(), err)
	}
	if l, err := listen("api.listen", "unix:"+file); err == nil {
		l.Close()
		t.Error("a socket in use was taken")
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	again, err := listen("api.listen", "unix:"+file)
	if err != nil {
		t.Fatalf("over a socket that was left: %v", err)
	}
	again.Close()
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := listen("api.listen", "unix:"+file); err == nil {
		l.Close()
		t.Error("a file was taken for a socket")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}
