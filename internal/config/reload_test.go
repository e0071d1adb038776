package config

import (
	"context"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// watched is a Watcher with what it told.
type watched struct {
	*Watcher
	mu       sync.Mutex // TestRun reads while Run may tell
	changes  []Change
	rejected []error
}

func watch(t *testing.T, args ...string) *watched {
	t.Helper()
	c, err := Load(args, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{}
	w.Watcher = NewWatcher(c, args, nil, func(c Change) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changes = append(w.changes, c)
	}, func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.rejected = append(w.rejected, err)
	})
	return w
}

func (w *watched) told() ([]Change, []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changes, w.rejected
}

func rewrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

const reloadYAML = "app: shop\nupstream: http://127.0.0.1:3000\nring: {nodes: [n1=10.0.0.1:1, n2=10.0.0.2:1]}\n"

func TestReload(t *testing.T) {
	path := write(t, "p.yaml", reloadYAML+"session: {idle: 10m}\n")
	w := watch(t, "--config="+path)

	rewrite(t, path, reloadYAML+"session: {idle: 20m, ignore: [^/x]}\nlog: {level: debug}\nroute: r\n")
	w.Reload()
	if len(w.changes) != 1 {
		t.Fatalf("%d changes, rejected %v", len(w.changes), w.rejected)
	}
	c := w.changes[0]
	if want := []string{"session.ignore", "log.level"}; !reflect.DeepEqual(c.Applied, want) {
		t.Errorf("applied %v, want %v", c.Applied, want)
	}
	if want := []string{"route", "session.idle"}; !reflect.DeepEqual(c.Restart, want) {
		t.Errorf("restart %v, want %v", c.Restart, want)
	}
	if c.New != w.Current() || c.New.Session.Idle != 10*time.Minute || c.New.Route != "" || len(c.New.Session.Ignore) != 1 || c.Old.Session.Ignore != nil {
		t.Errorf("new settings are %+v", c.New)
	}
	if c.New.Hash() == c.Old.Hash() || c.New.Source("session.idle") != path+":4" {
		t.Errorf("hash %s, source %s", c.New.Hash(), c.New.Source("session.idle"))
	}

	w.Reload()
	if got := w.changes[1]; got.Applied != nil || !reflect.DeepEqual(got.Restart, []string{"route", "session.idle"}) {
		t.Errorf("a restart still needed is not said again: %+v", got)
	}
}

func TestReloadKeepsTheOldOnMistakes(t *testing.T) {
	path := write(t, "p.yaml", reloadYAML)
	w := watch(t, "--config="+path)
	before := w.Current()
	rewrite(t, path, reloadYAML+"nope: 1\n")
	w.Reload()
	if len(w.rejected) != 1 || !strings.Contains(w.rejected[0].Error(), "nope") || len(w.changes) != 0 || w.Current() != before {
		t.Errorf("rejected %v, changes %v", w.rejected, w.changes)
	}
}

func TestReloadReadsKeysAgain(t *testing.T) {
	key := write(t, "key", canary)
	path := write(t, "p.yaml", reloadYAML+"keys: [{id: 1, file: "+key+", use: seal}]\n")
	w := watch(t, "--config="+path)
	rewrite(t, key, strings.ToUpper(canary))
	w.Reload()
	if len(w.changes) != 1 || !reflect.DeepEqual(w.changes[0].Applied, []string{"keys"}) {
		t.Fatalf("changes %+v, rejected %v", w.changes, w.rejected)
	}
	if string(w.Current().Keys[0].Content) != strings.ToUpper(canary) || string(w.changes[0].Old.Keys[0].Content) != canary {
		t.Error("the key was not read again")
	}
}

func TestReloadOfCertificates(t *testing.T) {
	cert, key := certificate(t)
	path := write(t, "p.yaml", reloadYAML)
	w := watch(t, "--config="+path)
	withTLS := reloadYAML + "tls: {cert: " + cert + ", key: " + key + "}\n"
	rewrite(t, path, withTLS)
	w.Reload()
	if got := w.changes[0]; !reflect.DeepEqual(got.Restart, []string{"tls.cert", "tls.key"}) || got.New.TLS.Cert.Path != "" {
		t.Errorf("a plain port became TLS: %+v", got)
	}
	w = watch(t, "--config="+path)
	cert2, key2 := certificate(t)
	rewrite(t, path, strings.NewReplacer(cert, cert2, key, key2).Replace(withTLS))
	w.Reload()
	if got := w.changes[0]; !reflect.DeepEqual(got.Applied, []string{"tls.cert", "tls.key"}) || got.New.TLS.Cert.Path != cert2 {
		t.Errorf("the new certificate was not taken: %+v", got)
	}
}

// TestRun: files are looked at every two seconds, and one bad file is reported once.
func TestRun(t *testing.T) {
	path := write(t, "p.yaml", reloadYAML)
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, "--config="+path)
		ctx, cancel := context.WithCancel(t.Context())
		go w.Run(ctx)
		look := func() ([]Change, []error) {
			time.Sleep(lookEvery)
			synctest.Wait()
			return w.told()
		}
		if changes, rejected := look(); len(changes)+len(rejected) != 0 {
			t.Fatal("a change was seen where none was")
		}
		rewrite(t, path, "app: [\n")
		look()
		if _, rejected := look(); len(rejected) != 1 {
			t.Fatalf("a bad file was reported %d times", len(rejected))
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		look()
		if _, rejected := look(); len(rejected) != 2 {
			t.Fatalf("a file that is gone was reported %d times", len(rejected)-1)
		}
		rewrite(t, path, reloadYAML+"log: {level: error}\n")
		if changes, _ := look(); len(changes) != 1 || !reflect.DeepEqual(changes[0].Applied, []string{"log.level"}) {
			t.Fatalf("changes %+v", changes)
		}
		cancel()
		synctest.Wait()
	})
}
