package config_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// deadline is how long a thing may take that takes milliseconds on an idle machine.
const deadline = 10 * time.Second

// space is the app's name in both files.
const space = "shop"

// site is both machines at work under one configuration.
type site struct {
	t        *testing.T
	m20, m21 *machine
	codec    *sessioncodec.Codec
}

// start runs both machines under a file; the flags are what a test wants to be different from it.
func start(t *testing.T, file string, flags ...string) *site {
	t.Helper()
	if missing != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	// What is opened here belongs to the result for go test's cache; the build of pillion alone would not.
	for _, dir := range []string{".", "../../cmd", "../../internal", "../../sessioncodec", "../../sidecar"} {
		_ = filepath.WalkDir(dir, func(string, fs.DirEntry, error) error { return nil })
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	key := filepath.Join(t.TempDir(), "1.key")
	if err := os.WriteFile(key, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	codec, err := sessioncodec.New(sessioncodec.Options{Space: space, Seal: &sessioncodec.Key{ID: 1, Secret: secret}})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, codec: codec}
	s.m20, s.m21 = newMachines()
	both := []*machine{s.m20, s.m21}
	for _, m := range both {
		m.startApp(t)
		m.node.start(t)
	}
	for _, m := range both { // only now: a sidecar that meets no node thinks it is down
		m.startSidecar(t, file, key, flags)
	}
	return s
}

// other is the machine that m is not.
func (s *site) other(m *machine) *machine {
	if m == s.m20 {
		return s.m21
	}
	return s.m20
}

// key is where the nodes keep a visitor's session.
func (s *site) key(v *visitor) string { return ring.StorageKey(space, v.id().Random) }

// record is what a node has of the visitor's session, nil when it has none; an error is a node that is down.
func (s *site) record(n *node, v *visitor) (*sessioncodec.Record, error) {
	s.t.Helper()
	blob, err := n.get(s.key(v))
	if blob == nil {
		return nil, err
	}
	record, err := s.codec.Open(s.key(v), blob)
	if err != nil {
		s.t.Fatal(err)
	}
	return record, nil
}

// holds tells what a node has as the visitor's count: a number, "-" for no session, "down" for no node.
func (s *site) holds(n *node, v *visitor) string {
	s.t.Helper()
	record, err := s.record(n, v)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "down"
	case err != nil:
		s.t.Fatal(err)
	case record == nil:
		return "-"
	}
	count, _ := record.Find("count")
	return string(count.Value)
}

// same checks that both nodes hold the same writes and the same last access.
func (s *site) same(v *visitor) {
	s.t.Helper()
	eventually(s.t, "both copies are the same", func() bool {
		one, _ := s.record(s.m20.node, v)
		two, _ := s.record(s.m21.node, v)
		return one != nil && one.Same(two)
	})
}

// copies shows both nodes: "n1:- n2:3" is a count of 3 on the second and nothing on the first.
func (s *site) copies(v *visitor) string {
	s.t.Helper()
	return "n1:" + s.holds(s.m20.node, v) + " n2:" + s.holds(s.m21.node, v)
}

// wants waits until the nodes hold what they should.
func (s *site) wants(v *visitor, want string) {
	s.t.Helper()
	got := ""
	if !poll(func() bool { got = s.copies(v); return got == want }) {
		s.t.Fatalf("the nodes hold %s, want %s", got, want)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !poll(ok) {
		t.Fatalf("not in %v: %s", deadline, what)
	}
}

func poll(ok func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); time.Now().Before(end); <-tick.C {
		if ok() {
			return true
		}
	}
	return false
}
