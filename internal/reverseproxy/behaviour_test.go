package reverseproxy

import (
	_ "embed"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/head/enginetest"
)

func build(o head.EngineOptions) enginetest.Engine { return New(o) }

func TestMain(m *testing.M) { enginetest.Main(m, "reverseproxy.(*", "httputil.") }

// What net/http makes of HTTP/1 that is left to internal/h1: a client that ends its own direction is gone; a body that was held back after an
// expectation is waited for; what came before a 101 is lost; and the goroutine that watches an idle connection of the app may see an answer that
// nobody asked for only after the next request went out on it.
func TestBehaviour(t *testing.T) {
	enginetest.Run(t, build, "HalfClosedClientGetsItsAnswer", "EarlyAnswersSmuggleNothing", "EarlyBytesAreTheTunnels", "UnaskedAnswerIsNobodys")
}

func TestHTTP2(t *testing.T) { enginetest.RunHTTP2(t, build) }

// What net/http decides otherwise than the corpus wants, and this engine cannot change.
//
//go:embed testdata/net_http.txt
var netHTTP string

func TestCorpus(t *testing.T) { enginetest.Corpus(t, build, netHTTP) }

func TestCorpusHTTP2(t *testing.T) { enginetest.CorpusHTTP2(t, build, netHTTP) }
