package memcached

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
)

func TestAuth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth")
	if err := os.WriteFile(file, []byte("pillion:s3cret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	a := startReal(t, "-Y", file)
	s := testStore(t, Options{Auth: func() (string, string) { return "pillion", "s3cret" }}, a)
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	if found := mustLoad(t, s, id, store.Near); value(found.Record, "a") != `1` {
		t.Errorf("found %+v", found)
	}
	wrong := testStore(t, Options{Auth: func() (string, string) { return "pillion", "guess" }}, a)
	if _, err := wrong.Load(context.Background(), id, store.Near); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("err = %v", err)
	}
	if text := wrong.Nodes()[0].Error; !strings.Contains(text, "ring.auth_file") || strings.Contains(text, "guess") {
		t.Errorf("the operator reads %q", text)
	}
}

func TestTLSAndUnixSocket(t *testing.T) {
	cert, key, pool := certificate(t)
	a := startReal(t, "-Z", "-o", "ssl_chain_cert="+cert+",ssl_key="+key)
	socket := filepath.Join(t.TempDir(), "m.sock")
	b := startSocket(t, socket)
	s := newStore(t, Options{
		TLS: &tls.Config{RootCAs: pool},
		Nodes: []ring.Node{
			{Name: "n1", Address: "tls:" + a.Addr}, {Name: "n2", Address: "unix:" + socket},
		},
	})
	id := newID(t, "n1")
	if saved := mustSave(t, s, id, birth(record(entry("a", `1`)))); saved.Acks != 2 {
		t.Errorf("saved %+v, %+v", saved, s.Nodes())
	}
	b.Kill()
	os.Remove(socket)
	mustSave(t, s, id, update(record(entry("b", `1`))))
	if got := stateOf(s, "n2"); got != Down {
		t.Errorf("without its socket n2 is %s", got)
	}
	stranger := newStore(t, Options{Nodes: []ring.Node{{Name: "n1", Address: "tls:" + a.Addr}}})
	if _, err := stranger.Load(context.Background(), id, store.Near); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("a certificate of nobody we know: %v", err)
	}
	if text := stranger.Nodes()[0].Error; !strings.Contains(text, "ring.tls") {
		t.Errorf("the operator reads %q", text)
	}
}

func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "n1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if err := errors.Join(os.WriteFile(certFile, certPEM, 0o644), os.WriteFile(keyFile, keyPEM, 0o644)); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, pool
}

// hostile dials a node that greets well and answers all else with reply, then closes or, without a reply, stays silent.
func hostile(reply string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for lines := bufio.NewReader(server); ; {
				line, err := lines.ReadString('\n')
				switch {
				case err != nil:
					return
				case line == "gets "+markKey+"\r\n":
					fmt.Fprintf(server, "VALUE %s 0 16 1\r\n0123456789abcdef\r\nEND\r\n", markKey)
				case reply == "":
					_, _ = io.Copy(io.Discard, server)
					return
				default:
					fmt.Fprint(server, reply)
					return
				}
			}
		}()
		return client, nil
	}
}

// M5: whatever a node says, a load is a record, an absence or UNKNOWN; and a copy is acknowledged by STORED alone.
func TestHostileReplies(t *testing.T) {
	other := ring.StorageKey("shop", [16]byte{1})
	for _, reply := range []string{
		"", "\r\n", "garbage\r\n", "END", "VALUE", "VALUE x 0 0 1\r\n", "SERVER_ERROR out of memory\r\n", "ERROR Too many open connections\r\n",
		"VALUE " + other + " 0 3 1\r\nabc\r\nEND\r\n", "VALUE " + other + " 0 3000 1\r\nabc", "VALUE " + other + " 0 -1 1\r\n\r\nEND\r\n",
		"CLIENT_ERROR bad\r\n", "TOUCHED\r\n", "DELETED\r\n",
	} {
		s := newStore(t, Options{
			Nodes: []ring.Node{{Name: "n1", Address: "a:1"}}, Dial: hostile(reply), OpTimeout: 20 * time.Millisecond,
		})
		id := newID(t, "n1")
		if found, err := s.Load(context.Background(), id, store.Near); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("%q: load %+v, %v", reply, found, err)
		}
		if saved, err := s.Save(context.Background(), id, birth(record())); !errors.Is(err, store.ErrUnacknowledged) {
			t.Errorf("%q: save %+v, %v", reply, saved, err)
		}
	}
}

// FuzzReplies lets a node say anything after its greeting: no record comes of it, and no acknowledgement but STORED.
func FuzzReplies(f *testing.F) {
	for _, reply := range []string{"", "END\r\n", "VALUE x 0 3 1\r\nabc\r\nEND\r\n", "EXISTS\r\n", "NOT_FOUND\r\n", "SERVER_ERROR\r\n"} {
		f.Add(reply)
	}
	huge := regexp.MustCompile("[0-9]{8}") // gomemcache allocates whatever size a reply declares
	f.Fuzz(func(t *testing.T, reply string) {
		if huge.MatchString(reply) || strings.HasPrefix(reply, "STORED\r\n") {
			t.Skip()
		}
		s := newStore(t, Options{
			Nodes: []ring.Node{{Name: "n1", Address: "a:1"}}, Dial: hostile(reply), OpTimeout: 20 * time.Millisecond,
		})
		id := newID(t, "n1")
		if found, _ := s.Load(context.Background(), id, store.Near); found.Record != nil {
			t.Errorf("load found %+v", found)
		}
		if saved, err := s.Save(context.Background(), id, birth(record())); err == nil {
			t.Errorf("save acknowledged %+v", saved)
		}
	})
}

// A memcached that something else uses is not taken for an empty ring.
func TestForeignCanary(t *testing.T) {
	a := startReal(t)
	a.Command("set "+markKey+" 0 0 5\r\nhello", "STORED")
	s := testStore(t, Options{}, a)
	if _, err := s.Load(context.Background(), newID(t, "n1"), store.Near); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("err = %v", err)
	}
	if text := s.Nodes()[0].Error; !strings.Contains(text, "memcached of its own") {
		t.Errorf("the operator reads %q", text)
	}
}

// All sidecars agree on a node's life: the first writer of the canary wins.
func TestFirstWriterNamesTheLife(t *testing.T) {
	a := startReal(t)
	var lives []uint32
	for range 3 {
		s := testStore(t, Options{}, a)
		mustLoad(t, s, newID(t, "n1"), store.Near)
		lives = append(lives, s.fleet.Load().byName["n1"].now.Load().mark.Load().short())
	}
	if lives[0] == 0 || lives[0] != lives[1] || lives[1] != lives[2] {
		t.Errorf("lives %x", lives)
	}
}
