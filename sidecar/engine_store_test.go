package sidecar_test

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
	"github.com/pillion-proxy/pillion/sidecar"
)

// M1: every key on the wire is made of our alphabet, whatever a client sends.
func TestM1Keys(t *testing.T) {
	key := regexp.MustCompile(`^p1:[a-z0-9_]{1,32}:(l:)?[A-Za-z0-9_-]{32}$`)
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		for _, hostile := range []string{
			"x%0d%0aset pwn 0 0 1%0d%0a1", strings.Repeat("a", 251), v.id() + " pwn", v.id() + "%20pwn", "p1:!life", "flush_all", v.id()[:48] + "-../n1",
		} {
			p.visitor().get(patch(`{"a":"set pwn 0 0 1\r\n1\r\n"}`), "Cookie", "__Host-psid="+hostile)
		}
		for _, s := range []script{patch(`{"b":"\r\nflush_all\r\n"}`), op("renew"), op("touch"), op("destroy")} {
			v.get(s)
		}
		lines := 0
		for _, n := range f.nodes {
			for _, line := range n.commands() {
				lines++
				words := strings.Fields(line)
				if len(words) < 2 || !slices.Contains([]string{"get", "gets", "add", "cas"}, words[0]) || !key.MatchString(words[1]) {
					t.Errorf("on the wire: %q", line)
				}
			}
			for _, stored := range n.server.Keys() {
				if stored != "p1:!life" && !key.MatchString(stored) {
					t.Errorf("stored: %q", stored)
				}
			}
		}
		if lines < 10 {
			t.Errorf("only %d commands were seen", lines)
		}
	}, func(s *setup) { s.Lock = sidecar.LockAll })
}

// M2: a dump of the nodes gives neither an id nor data.
func TestM2Dump(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(says("Pillion-Patch", `{"attribute":"secret-value"}`, "Pillion-Subject", `"ada@example.org"`))
		ids := []string{v.id()}
		v.get(op("renew"))
		random := v.parsed().Random
		var dump []byte
		for _, n := range f.nodes {
			for _, key := range n.server.Keys() {
				value, _ := n.server.Peek(key)
				dump = append(append(dump, key...), value...)
			}
		}
		for _, secret := range [][]byte{
			[]byte("secret-value"), []byte("attribute"), []byte("ada@example.org"), []byte(v.id()[:26]), []byte(ids[0][:26]), random[:8],
		} {
			if bytes.Contains(dump, secret) {
				t.Errorf("the dump shows %q", secret)
			}
		}
		// Who has the dump has the keys, and cannot make a cookie of them.
		for _, key := range f.keys() {
			if got := p.visitor().take(strings.TrimPrefix(key, "p1:shop:")).session(); got != `{}` {
				t.Errorf("a storage key opens %s", got)
			}
		}
	})
}

// M3, D1: no padding to probe, and no objects of a language: the packages that touch a session import none of it.
func TestM3D1NoSuchImports(t *testing.T) {
	banned := []string{"encoding/gob", "encoding/xml", "encoding/asn1", "crypto/des", "crypto/rc4", "crypto/md5", "crypto/sha1", "plugin"}
	for _, folder := range []string{".", "../sessioncodec", "../internal/memcached", "../internal/ring"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", folder, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, imported := range parsed.Imports {
				if path, _ := strconv.Unquote(imported.Path.Value); slices.Contains(banned, path) {
					t.Errorf("%s imports %s", file, path)
				}
			}
			if bytes.Contains(text, []byte("NewCBC")) {
				t.Errorf("%s uses CBC", file)
			}
		}
	}
}

// stored is the one session's key and its blob on each node.
func (f *fleet) stored() (key string, blobs [][]byte) {
	f.t.Helper()
	keys := f.keys()
	if len(keys) != 1 {
		f.t.Fatalf("%d keys are stored", len(keys))
	}
	for _, n := range f.nodes {
		blob, _ := n.server.Peek(keys[0])
		blobs = append(blobs, bytes.Clone(blob))
	}
	return keys[0], blobs
}

// reader returns a sidecar that has to read the ring for the session of v.
func (p *process) reader() *process {
	if !p.setup.Sticky {
		return p
	}
	p.kill()
	return p.f.sidecar("b2", p.alike)
}

// M4: a blob with any bit changed, on both nodes, is no session: never data, never an error page, always counted.
func TestM4FlippedBlobs(t *testing.T) {
	inMode(t, false, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":"some data"}`))
		key, blobs := f.stored()
		for i := range blobs[0] {
			for _, n := range f.nodes {
				n.server.Poke(key, func(blob []byte) []byte { blob[i] ^= 1 << (i % 8); return blob })
			}
			if a := v.get(nil); a.StatusCode != 200 || a.app.session() != `{}` || a.setCookie() != "" {
				t.Errorf("byte %d: %d, the app was given %v", i, a.StatusCode, a.app)
			}
			for j, n := range f.nodes {
				n.server.Poke(key, func([]byte) []byte { return bytes.Clone(blobs[j]) })
			}
			wait(time.Second) // an absence is believed that long
		}
		v.must(`{"a":"some data"}`)
		if n := p.counted("blobs_rejected_total", "auth"); n == 0 {
			t.Error("nothing was counted")
		}
	})
}

// M4: one damaged copy costs nothing; one that belongs to another session is no copy.
func TestM4OneBadCopy(t *testing.T) {
	for _, swap := range []bool{false, true} {
		bothModes(t, func(t *testing.T, f *fleet, p *process) {
			v, other := p.visitor(), p.visitor()
			v.get(patch(`{"whose":"v"}`))
			key, _ := f.stored()
			other.get(patch(`{"whose":"other"}`))
			id := v.parsed()
			bad := f.node(id.Node)
			wait(time.Second)
			worthless := []byte("\xb5\x50 is how a blob begins")
			for _, k := range f.keys() {
				if swap && k != key {
					worthless, _ = bad.server.Peek(k)
				}
			}
			bad.server.Poke(key, func([]byte) []byte { return bytes.Clone(worthless) })
			v.at = p.reader()
			v.must(`{"whose":"v"}`)
			v.get(patch(`{"b":1}`))
			if v.at.counted("blobs_rejected_total") == 0 {
				t.Error("nothing was counted")
			}
			wait(2 * time.Minute)
			v.get(nil)
			wait(time.Second)
			for _, n := range f.nodes {
				if n != bad {
					n.kill()
				}
			}
			f.sidecar("c3", p.alike).visitor().take(v.id()).must(`{"b":1,"whose":"v"}`)
		})
	}
}

// M5: after a reply that makes no sense the connection is not used again, and nobody gets what was meant for another.
func TestM5Garbage(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		visitors := map[string]*visitor{}
		for i := range 8 {
			v := p.visitor()
			v.get(patch(fmt.Sprintf(`{"who":%d}`, i)))
			visitors[fmt.Sprintf(`{"who":%d}`, i)] = v
		}
		at := p.reader()
		var turn atomic.Int32
		f.nodes[0].server.Fault(func(c memcachedtest.Command) memcachedtest.Action {
			if strings.HasPrefix(c.Key, "p1:!") || turn.Add(1)%3 != 0 {
				return memcachedtest.Action{}
			}
			return memcachedtest.Action{Reply: "VALUE p1:shop:zzzz 0 3 1\r\nabc\r\nEND\r\nEND\r\nERROR\r\n"}
		})
		for range 5 {
			for want, v := range visitors {
				v.at = at
				if a := v.get(nil); a.StatusCode != 200 || a.app.session() != want {
					t.Errorf("%d %s: got %v, want %s", a.StatusCode, a.token(), a.app, want)
				}
				wait(100 * time.Millisecond)
			}
		}
	})
}

// M8: what a visitor can make the ring keep is bounded, and a node that refuses is an answer, not a loss.
func TestM8Limits(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		for i := range 3 {
			v.get(patch(fmt.Sprintf(`{"k%d":"%s"}`, i, strings.Repeat("x", 2000))))
		}
		a := v.get(patch(`{"more":"` + strings.Repeat("y", 3000) + `"}`))
		if a.StatusCode != 502 || a.token() != "session_too_large" || p.counted("commits_total", "too_large") != 1 {
			t.Errorf("%d %s", a.StatusCode, a.token())
		}
		if got := v.session(); strings.Contains(got, "more") || !strings.Contains(got, `"a":1`) {
			t.Errorf("the session is %.40s", got)
		}
		if a := p.visitor().get(patch(`{"more":"` + strings.Repeat("y", 9000) + `"}`)); a.StatusCode != 502 || a.setCookie() != "" {
			t.Errorf("a birth: %d %s", a.StatusCode, a.token())
		}
		f.each(func(n *node) {
			n.server.Fault(func(c memcachedtest.Command) memcachedtest.Action {
				if c.Name == "cas" || c.Name == "add" {
					return memcachedtest.Action{Reply: "SERVER_ERROR out of memory storing object\r\n"}
				}
				return memcachedtest.Action{}
			})
		})
		a = v.get(patch(`{"b":2}`))
		if want := map[bool]int{true: 200, false: 503}[p.setup.Sticky]; a.StatusCode != want {
			t.Errorf("nodes that are full: %d %s", a.StatusCode, a.token())
		}
		if p.counted("node_operations_total", "cas", "error") == 0 || p.counted("node_up", "n1") != 1 {
			t.Error("a full node is not counted, or counts as down")
		}
	}, func(s *setup) { s.MaxSize, s.InlineMax = 8000, 8000 })
}

// M9: an expiry beyond 30 days is sent as a date.
func TestM9LongExpiry(t *testing.T) {
	const idle = 40 * 24 * time.Hour
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		f.operations()
		p.visitor().get(patch(`{"a":1}`))
		wait(time.Second)
		for _, n := range f.nodes {
			for _, line := range n.commands() {
				words := strings.Fields(line)
				expiry, _ := strconv.ParseInt(words[3], 10, 64)
				if at := time.Unix(expiry, 0); words[0] != "add" || at.Before(time.Now().Add(idle)) || at.After(time.Now().Add(idle+time.Hour)) {
					t.Errorf("%s: expires %v", line, at)
				}
			}
		}
	}, func(s *setup) { s.Idle, s.Lifetime = idle, 2*idle })
}

// M10: a CAS token from before a node's restart overwrites nothing after it, though the numbers come again.
func TestM10TokenOfAnEarlierLife(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		for i := range 4 {
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			late := p.visitor().take(v.id())
			do, arrived, goOn := held(patch(`{"late":1}`))
			ended := make(chan *answer)
			go func() { ended <- late.get(do) }()
			<-arrived
			f.nodes[i%2].restart()
			v.get(patch(`{"b":2}`))
			v.get(patch(`{"c":3}`))
			close(goOn)
			if a := <-ended; a.StatusCode != 200 {
				t.Errorf("%d %s", a.StatusCode, a.token())
			}
			wait(2 * time.Minute)
			v.must(`{"a":1,"b":2,"c":3,"late":1}`)
			wait(time.Second)
			f.nodes[(i+1)%2].restart() // the one that was restarted first has all of it
			wait(2 * time.Second)
			v.must(`{"a":1,"b":2,"c":3,"late":1}`)
			wait(2 * time.Minute)
			v.get(nil)
			wait(time.Second)
		}
	})
}

// D3: keys rotate without a logout, and dropping a key ends just what it made.
func TestD3KeyRotation(t *testing.T) {
	fresh := bytes.Repeat([]byte{9}, 32)
	with := func(secrets ...[]byte) func(*setup) {
		return func(s *setup) { s.secrets = secrets }
	}
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		p.kill()
		v.at = f.sidecar("b2", p.alike, with(fresh, secret))
		v.must(`{"a":1}`)
		v.get(patch(`{"b":2}`))
		_, blobs := f.stored()
		newest, err := codec(fresh)
		if err != nil {
			t.Fatal(err)
		}
		key, _ := f.stored()
		for i, blob := range blobs {
			if _, err := newest.Open(key, blob); err != nil {
				t.Errorf("node %d was not sealed anew: %v", i, err)
			}
		}
		young := v.at.visitor()
		young.get(patch(`{"c":3}`))
		old := v.at.visitor().take(p.forge(t, secret))
		v.at.kill()
		young.at = f.sidecar("c3", p.alike, with(fresh))
		young.must(`{"c":3}`)
		old.at = young.at
		old.must(`{}`)
		if n := young.at.counted("ids_rejected_total", "mac"); n == 0 {
			t.Error("an id of the dropped key was not refused")
		}
	})
}

// A3: an expired session, a destroyed one and one that never was look alike.
func TestA3NoDifference(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		expired, destroyed := p.visitor(), p.visitor()
		expired.get(patch(`{"a":1}`))
		wait(40 * time.Minute)
		destroyed.get(patch(`{"a":1}`))
		gone := p.visitor().take(destroyed.id())
		destroyed.get(op("destroy"))
		never := p.visitor().take(p.forge(t, secret))
		var looks []string
		for _, v := range []*visitor{expired, gone, never} {
			a := v.get(nil)
			looks = append(looks, fmt.Sprint(a.StatusCode, a.Header, a.body, a.app.Header.Get("Pillion-Meta")))
		}
		if looks[0] != looks[1] || looks[1] != looks[2] {
			t.Errorf("they differ:\n%s", strings.Join(looks, "\n"))
		}
	})
}
