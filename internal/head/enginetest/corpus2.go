package enginetest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// CorpusHTTP2 runs the rows of the corpus that are about answers with a client of HTTP/2: what they mean stays, their framing is another.
// Exceptions are rows in the same form, for what an engine is known to do otherwise: each takes the place of the row of its name, so that it
// fails as soon as it is no longer true.
func CorpusHTTP2(t *testing.T, build Build, exceptions string) {
	all, err := merged(t, exceptions)
	if err != nil {
		t.Fatal(err)
	}
	c := startCourt(t, build, nil)
	c.loose = true
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true}
	defer transport.CloseIdleConnections()
	for _, w := range all {
		if w.client != "" || w.unsure {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			if err := c.tryHTTP2(w, transport); err != nil {
				t.Errorf("%s: %v", w.file, err)
				c.witness.conns.close()
			}
		})
	}
}

// merged are the rows of the corpus, with exceptions in the place of those of the same name.
func merged(t *testing.T, exceptions string) ([]row, error) {
	all, err := rows()
	if err != nil {
		return nil, err
	}
	other, err := parseRows("exceptions", exceptions)
	if err != nil {
		return nil, err
	}
	for _, exception := range other {
		at := slices.IndexFunc(all, func(w row) bool { return w.name == exception.name })
		if at < 0 {
			t.Errorf("the exception %q names no row", exception.name)
			continue
		}
		all[at] = exception
	}
	return all, nil
}

// tryHTTP2 runs one row, and asks for a probe after it on the same connection.
func (c *court) tryHTTP2(w row, transport *http.Transport) error {
	probe, _, _ := strings.Cut(strings.TrimPrefix(c.say(w.app, w.hangup, false), "GET "), " ")
	expected, err := parseExpected(w)
	if err != nil {
		return err
	}
	got, failed := ask2(transport, "http://"+c.addr+"/")
	if w.cut {
		if failed == nil {
			return fmt.Errorf("the client gets %q, and must not take it for whole", got)
		}
	} else if failed != nil || len(got) != len(expected) {
		return errors.Join(fmt.Errorf("the client gets %q, want %q", got, expected), failed)
	} else {
		for i, want := range expected {
			if err := c.compareHTTP2(w, want, got[i]); err != nil {
				return err
			}
		}
	}
	if next, err := ask2(transport, "http://"+c.addr+probe); err != nil || next[0].body != "ok" {
		return errors.Join(fmt.Errorf("the next request on the connection gets %q", next), err)
	}
	if !within(rowPatience, func() bool { return c.begun.Load() == c.ended.Load() }) {
		return errors.New("the exchange does not end")
	}
	next := w
	next.closed = false
	return c.judgeRequests(next)
}

// ask2 returns all answers to a GET as messages without what frames them.
func ask2(transport *http.Transport, url string) (got []*message, err error) {
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
		got = append(got, messageOf(status, http.Header(header)))
		return nil
	}}
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Host = "a"
	req.Header["User-Agent"] = nil
	res, err := transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return got, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	m := messageOf(res.StatusCode, res.Header)
	m.body, m.trailers = string(body), messageOf(0, res.Trailer).fields
	return append(got, m), err
}

// messageOf is a head as a message.
func messageOf(status int, header http.Header) *message {
	m := &message{start: "HTTP/1.1 " + strconv.Itoa(status)}
	for name, values := range header {
		for _, value := range values {
			m.fields = append(m.fields, name+": "+value)
		}
	}
	return m
}

// compareHTTP2 compares what two messages mean.
func (c *court) compareHTTP2(w row, want expected, got *message) error {
	if want.message == nil {
		return c.compareOwn(w, want, got)
	}
	framed := func(line string) bool {
		return strings.HasPrefix(line, "Date:") || slices.ContainsFunc(framing, func(name string) bool { return strings.HasPrefix(strings.ToLower(line), name) })
	}
	wanted, seen := want.message.without(framed), got.without(framed)
	wanted.start = statusLine(wanted.start)
	if !c.same(wanted, seen) {
		return fmt.Errorf("the client gets %q, want %q", seen, wanted)
	}
	return nil
}
