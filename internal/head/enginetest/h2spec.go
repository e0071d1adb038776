package enginetest

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"

	"github.com/pillion-proxy/pillion/internal/head"
)

// HTTP2Spec asks the questions of h2spec about RFC 9113 and RFC 7541, by prior knowledge and over TLS. Known failures are named by their
// ids, "tcp/" or "tls/" before them where they are of one only, with what makes them right; one that passes fails the test.
func HTTP2Spec(t *testing.T, build Build, known map[string]string) {
	for _, over := range []string{"tcp", "tls"} {
		t.Run(over, func(t *testing.T) {
			var o head.EngineOptions
			if over == "tls" {
				certified := httptest.NewTLSServer(nil)
				defer certified.Close()
				o.TLS = &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: []string{"h2"}}
			}
			r := startHTTP(t, build, nil, o, func(w http.ResponseWriter, req *http.Request) {
				_, _ = io.Copy(io.Discard, req.Body)
				fmt.Fprint(w, strings.Repeat("body", 256))
			})
			port := int(netip.MustParseAddrPort(r.addr).Port())
			c := &config.Config{Host: "127.0.0.1", Port: port, Path: "/", Timeout: h2Patience, MaxHeaderLen: 4000, TLS: o.TLS != nil, Insecure: true}
			var questions []*question
			for _, group := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
				questions = append(questions, questionsOf(group)...)
			}
			askAll(c, questions, 16)
			except := func(q *question) string { return known[q.id] + known[over+"/"+q.id] }
			for range 2 { // they measure time: on a busy machine what failed is asked again, one after the other
				askAll(c, slices.DeleteFunc(slices.Clone(questions), func(q *question) bool { return q.err == nil || except(q) != "" }), 1)
			}
			for _, q := range questions {
				switch why := except(q); {
				case q.err == nil && why != "":
					t.Errorf("%s, %s, passes and is no longer to be excepted: %s", q.id, q.Desc, why)
				case q.err != nil && why == "":
					t.Errorf("%s, %s: %s: %v", q.id, q.Desc, q.Requirement, q.err)
				}
			}
		})
	}
}

// h2Patience is more than the second that net/http lets pass between a GOAWAY and the end of its connection.
const h2Patience = 2 * time.Second

// question is one case of h2spec, and what came of it.
type question struct {
	*spec.TestCase
	id  string
	err error
}

// questionsOf are the cases of a group and of those below it.
func questionsOf(group *spec.TestGroup) (all []*question) {
	for i, one := range append(group.Tests, group.StrictTests...) {
		all = append(all, &question{TestCase: one, id: fmt.Sprintf("%s/%d", group.ID(), i+1)})
	}
	for _, below := range group.Groups {
		all = append(all, questionsOf(below)...)
	}
	return all
}

// askAll asks several at once, each on a connection of its own: some wait for nothing to happen.
func askAll(c *config.Config, questions []*question, atOnce int) {
	var asking sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for _, q := range questions {
		free <- struct{}{}
		asking.Go(func() {
			defer func() { <-free }()
			own := *c
			conn, err := spec.Dial(&own)
			if err != nil {
				q.err = err
				return
			}
			defer conn.Close()
			q.err = q.Run(&own, conn)
		})
	}
	asking.Wait()
}
