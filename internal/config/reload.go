package config

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// lookEvery is how often files are compared with what was read. Events of the file system are not used: they miss mounted
// secrets that are swapped by a rename elsewhere, and network file systems.
const lookEvery = 2 * time.Second

// Change is what a reload brings. Both lists are empty when the sources say the same as before.
type Change struct {
	Old, New *Config
	Applied  []string // keys that New has anew
	Restart  []string // keys that changed and keep their old value until a restart
}

// Watcher follows the sources of a Config while it is used.
type Watcher struct {
	args, environ []string
	changed       func(Change)
	rejected      func(error)
	current       atomic.Pointer[Config]

	mu    sync.Mutex // held while reloading
	files snapshot
}

// NewWatcher follows the same sources that Load read; when it returns, they may already have changed, which Run notices. changed
// and rejected are called one at a time, by Run or Reload.
func NewWatcher(c *Config, args, environ []string, changed func(Change), rejected func(error)) *Watcher {
	w := &Watcher{args: args, environ: environ, changed: changed, rejected: rejected, files: c.files}
	w.current.Store(c)
	return w
}

// Current returns the settings in force.
func (w *Watcher) Current() *Config { return w.current.Load() }

// Run looks for changes until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look()
		}
	}
}

func (w *Watcher) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files.stale() {
		w.reload()
	}
}

// Reload reads everything again, changed or not.
func (w *Watcher) Reload() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reload()
}

// reload remembers what it read even when it is wrong, so that one bad file is reported once.
func (w *Watcher) reload() {
	next, files, err := load(w.Current().table, w.args, w.environ)
	w.files = files
	if err != nil {
		w.rejected(err)
		return
	}
	change := Change{Old: w.Current(), New: next}
	for _, name := range changedKeys(change.Old, next) {
		k := next.table.named(name)
		if k.reload && !(switchesTLS(change) && strings.HasPrefix(name, "tls.")) {
			change.Applied = append(change.Applied, name)
		} else {
			change.Restart = append(change.Restart, name)
		}
	}
	for _, name := range change.Restart {
		next.table.named(name).keep(next, change.Old)
	}
	w.current.Store(next)
	w.changed(change)
}

// switchesTLS: certificates are replaced in a running sidecar, but a port does not change from TCP to TLS or back.
func switchesTLS(c Change) bool { return (c.Old.TLS.Cert.Path == "") != (c.New.TLS.Cert.Path == "") }

// changedKeys compares what was written, and what the files held.
func changedKeys(a, b *Config) (names []string) {
	for _, k := range a.table.keys {
		if !slices.Equal(a.settings[k.name].values, b.settings[k.name].values) ||
			!slices.EqualFunc(contents(k, a), contents(k, b), bytes.Equal) {
			names = append(names, k.name)
		}
	}
	return names
}

// keep gives c the value that from has.
func (k key) keep(c, from *Config) {
	k.adopt(c, from)
	delete(c.settings, k.name)
	if s, ok := from.settings[k.name]; ok {
		c.settings[k.name] = s
	}
}

func contents(k key, c *Config) (all [][]byte) {
	switch at := k.get(c).(type) {
	case *File:
		all = append(all, at.Content)
	case *[]File:
		for _, f := range *at {
			all = append(all, f.Content)
		}
	case *[]Key:
		for _, f := range *at {
			all = append(all, f.Content)
		}
	}
	return all
}

// stale tells whether a file holds something else than was read.
func (s snapshot) stale() bool {
	for path, known := range s {
		var sum [sha256.Size]byte
		if content, err := os.ReadFile(path); err == nil {
			sum = sha256.Sum256(content)
		}
		if sum != known {
			return true
		}
	}
	return false
}
