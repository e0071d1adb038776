package enginetest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
)

var requestsOverHTTP2 = behaviours{
	"Requests":        testRequestsHTTP2,
	"RequestToTheApp": func(t *testing.T, build Build) { testHTTP2(t, build, "http") },
	"ExpectContinue":  testExpectContinueHTTP2,
}

// HTTP/2 reaches the app as HTTP/1.1, over TLS or by prior knowledge.
func testHTTP2(t *testing.T, build Build, scheme string) {
	certified := httptest.NewUnstartedServer(nil) // for its certificate
	certified.StartTLS()
	defer certified.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())

	app := func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		w.Header().Set("Pillion-Patch", "{}")
		w.Header().Set("Trailer", "X-Sum, Pillion-Op")
		fmt.Fprintf(w, "%s %s %s %q %s %s %s", req.Proto, req.Method, req.RequestURI, req.Header["Cookie"], req.Header.Get("X-Forwarded-Proto"), body, req.Trailer.Get("X-T"))
		w.Header().Set("X-Sum", "7")
		w.Header().Set("Pillion-Op", "x")
	}
	var o head.EngineOptions
	if scheme == "https" {
		o.TLS = &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
	}
	r := startHTTP(t, build, nil, o, app)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(scheme == "https")
	protocols.SetUnencryptedHTTP2(scheme == "http")
	transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}}
	defer transport.CloseIdleConnections()

	req, _ := http.NewRequest("POST", scheme+"://"+r.addr+"/a%2Fb?y=%zz", io.MultiReader(strings.NewReader("body")))
	req.Header.Set("Cookie", "a=1; b=2")
	req.Trailer = http.Header{"X-T": {"8"}}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s: %v", scheme, err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	want := "HTTP/1.1 POST /a%2Fb?y=%zz [\"a=1; b=2\"] " + scheme + " body 8"
	if err != nil || res.ProtoMajor != 2 || string(body) != want {
		t.Errorf("%s: %s %q %v, want %q", scheme, res.Proto, body, err, want)
	}
	if res.Header.Get("Pillion-Patch") != "" || len(res.Trailer) != 1 || res.Trailer.Get("X-Sum") != "7" {
		t.Errorf("%s: header %v, trailers %v", scheme, res.Header, res.Trailer)
	}
	r.engine.Drain()
	res, err = transport.RoundTrip(req.Clone(t.Context()))
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s, draining: %v %v", scheme, res, err)
	}
	res.Body.Close()
}

// HTTP/1.1 is spoken on a TLS listener too.
func testTLS(t *testing.T, build Build) {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	r := startHTTP(t, build, nil, head.EngineOptions{TLS: &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}},
		func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, req.Header.Get("X-Forwarded-Proto")) })
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Get("https://" + r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.ProtoMajor != 1 || string(body) != "https" {
		t.Errorf("%s %q", res.Proto, body)
	}
}

// Who holds a body back is asked for it, by whomever.
func testExpectContinueHTTP2(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, req *http.Request) { _, _ = io.Copy(w, req.Body) })
	if _, body := r.do("POST", "/", strings.NewReader("body"), "Expect", "100-continue"); body != "body" || r.interims.Load() != 1 {
		t.Errorf("%q after %d 1xx", body, r.interims.Load())
	}
}
