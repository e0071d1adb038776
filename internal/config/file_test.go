package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"
)

const canary = "canary-0123456789-0123456789-abc" // 32 bytes

func TestKeyFiles(t *testing.T) {
	raw := []byte(canary)
	for name, content := range map[string]string{
		"raw": canary, "hex": hex.EncodeToString(raw) + "\n", "base64": base64.StdEncoding.EncodeToString(raw) + "\r\n",
	} {
		path, other := write(t, name, content), write(t, "other", strings.Repeat("ab", 32))
		yaml := write(t, "p.yaml", "keys:\n- {ID: 2, file: "+other+", use: open}\n- {id: 1, file: "+path+", use: seal}\n")
		c := mustLoad(t, "--config="+yaml, "--app-auth-keys="+path)
		if len(c.Keys) != 2 || c.Keys[0].ID != 1 || !c.Keys[0].Seal || !bytes.Equal(c.Keys[0].Content, raw) || c.Keys[1].ID != 2 || c.Keys[1].Seal {
			t.Errorf("%s: keys are %v, want 1 first", name, c.Keys)
		}
		if len(c.AppAuth.Keys) != 1 || !bytes.Equal(c.AppAuth.Keys[0].Content, raw) {
			t.Errorf("%s: app_auth.keys are %v", name, c.AppAuth.Keys)
		}
	}
}

// TestSecretsStaySecret prints a configuration in every way a program might.
func TestSecretsStaySecret(t *testing.T) {
	path, token := write(t, "key", canary), write(t, "token", canary+"\n")
	c := mustLoad(t, "--keys=id=1,file="+path+",use=seal", "--app-auth-keys="+path, "--admin-token-file="+token)
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %x %v", c, *c, *c, c.Keys[0].Content, c.Keys[0].Content, c.Keys)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("config", "config", c, "secret", c.Keys[0].Content)
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{canary, hex.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte(canary)), "99 97 110 97"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret is shown as %q", form)
		}
	}
	if !strings.Contains(out.String(), path) {
		t.Error("the path of the key file is not shown")
	}
	if got, err := c.AdminToken(); err != nil || got != canary {
		t.Errorf("AdminToken() = %q, %v", got, err)
	}
}

func TestRingAuth(t *testing.T) {
	c := mustLoad(t, "--ring-auth-file="+write(t, "auth", "pillion:a:b\n"))
	if user, password, err := c.Ring.Auth(); user != "pillion" || password != "a:b" || err != nil {
		t.Errorf("Auth() = %q, %q, %v", user, password, err)
	}
	for _, content := range []string{"", "user", ":p", "u:p\nv:q", "u:p q"} {
		got := mistakes(t, append(minimal[:3:3], "--ring-auth-file="+write(t, "auth", content)), nil)
		if len(got) != 1 || !strings.Contains(got[0], "must hold one line USER:PASSWORD") {
			t.Errorf("%q: %q", content, got)
		}
	}
	got := mistakes(t, append(minimal[:3:3], "--admin-token-file="+write(t, "token", "\n")), nil)
	if len(got) != 1 || !strings.Contains(got[0], "must hold one line") {
		t.Errorf("empty token: %q", got)
	}
}

func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	_, otherKey := certificate(t)
	c := mustLoad(t, "--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+cert, "--ring-nodes=n3=tls:10.0.0.1:11211", "--ring-tls-ca="+cert)
	server, err := c.TLS.Server()
	if err != nil || len(server.Certificates) != 1 || server.ClientCAs == nil {
		t.Errorf("Server() = %+v, %v", server, err)
	}
	client, err := c.Ring.TLS.Client()
	if err != nil || client.RootCAs == nil || len(client.Certificates) != 0 {
		t.Errorf("Client() = %+v, %v", client, err)
	}
	if plain, err := mustLoad(t).TLS.Server(); plain != nil || err != nil {
		t.Errorf("without certificate: Server() = %v, %v", plain, err)
	}
	for _, tc := range []struct{ want, args string }{
		{"a certificate and its key come together", "--tls-cert=" + cert},
		{"are not a certificate and its key", "--tls-cert=" + cert + " --tls-key=" + otherKey},
		{"holds no PEM certificate", "--tls-cert=" + cert + " --tls-key=" + key + " --tls-client-ca=" + key},
		{"holds no PEM certificate", "--ring-nodes=n3=tls:h:1 --ring-tls-ca=" + key},
	} {
		got := mistakes(t, append(minimal[:3:3], strings.Fields(tc.args)...), nil)
		if len(got) != 1 || !strings.Contains(got[0], tc.want) {
			t.Errorf("%s: %q, want %q", tc.args, got, tc.want)
		}
	}
}

// certificate makes a self-signed certificate and returns its files.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
}
