package h2

import (
	_ "embed"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/head/enginetest"
)

func build(o head.EngineOptions) enginetest.Engine { return New(o) }

func TestMain(m *testing.M) { enginetest.Main(m, "h2.(*", "httputil.") }

// The goroutine of net/http that watches an idle connection of the app may see an answer that nobody asked for only after the next request went
// out on it.
func TestBehaviour(t *testing.T) { enginetest.RunHTTP2(t, build, "UnaskedAnswerIsNobodys") }

// What net/http decides otherwise than the corpus wants, and this engine cannot change.
//
//go:embed testdata/net_http.txt
var netHTTP string

func TestCorpus(t *testing.T) { enginetest.CorpusHTTP2(t, build, netHTTP) }
